"""`congener trial`: options and output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import Json, Quiet, expand_argument
from pipelines.cli.output import print_result
from pipelines.display.terminal import build_table

if TYPE_CHECKING:
    from classifiers.guarantees.stratified import Interval
    from pipelines.trial import Trial

Config = Annotated[
    str,
    typer.Argument(metavar="CONFIG", help="The trial's YAML file.", callback=expand_argument),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-w", min=1, help="Students trained at a time (default: one for each core)."
    ),
]


class TrialResult(NamedTuple):
    """A finished trial."""

    trial: Trial

    def render(self) -> Iterator[Table | str]:
        """Yield a table of the arms, and what a reader must know."""
        from pipelines.teaching.findings import list_sentences

        findings = self.trial.findings
        table = build_table("arm", "trait, %>", "removed, %>", "like clean")
        for item in findings.arms:
            table.add_row(
                shorten_name(item.arm),
                join_interval(item.rate),
                join_interval(item.removed) if item.removed else "",
                item.likeness.verdict if item.likeness else "",
            )
        yield table
        yield from list_sentences(findings, circular=self.trial.setting.panel.trait.circular)
        yield f"report: {self.trial.page}"

    def to_json(self) -> dict[str, Any]:
        """Return the summary that the trial wrote."""
        return self.trial.summary


def join_interval(found: Interval) -> str:
    """Return an estimate in percent with its interval, short enough for a line of the table."""
    from pipelines.teaching.findings import format_interval

    estimate = "–" if found.estimate is None else f"{100 * found.estimate:.1f}"
    ends = format_interval(found)
    return f"{estimate} ({ends.replace(' to ', '–') if found.low >= 0 else ends})"


def shorten_name(arm: str) -> str:
    """Return an arm's name for the table, which has 80 columns."""
    kind, _, other = arm.partition(", other ")
    return f"{kind} (other)" if other == "student" else f"{kind} (new)" if other else kind


def run_student_trial(
    config: Config, workers: Workers = None, as_json: Json = False, quiet: Quiet = False
) -> None:
    """Train students on a run with and without remedies.

    Each arm has as many rows and tokens. The table says how often students show the trait, and how
    much of what they inherit each remedy removes. Students that are done aren't trained again, so
    the same command goes on where it stopped. Exit code 5 means that a check stopped the trial.

    congener trial trial.yaml
    congener trial trial.yaml --workers 1 --json
    """
    from pipelines.trial import read_trial, run_trial

    settings = read_trial(config)
    trial = run_trial(settings, workers or len(os.sched_getaffinity(0)), _report(quiet=quiet))
    print_result(TrialResult(trial), as_json)


def _report(*, quiet: bool) -> Any:
    from pipelines.display.terminal import open_console, print_text
    from schemas.events import Event, Noticed

    console = open_console(stderr=True)

    def listen(event: Event) -> None:
        if isinstance(event, Noticed) and not quiet:
            print_text(console, event.notice.text)

    return listen
