"""`congener trial`: options and output."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import Json, Quiet, expand_argument
from pipelines.cli.output import print_result
from pipelines.display.terminal import build_table
from schemas.notices import format_count

LONGEST_NAME = 34
"""The most characters of a slice's name in a table of 80 columns."""

SIZES = ("rows", "tokens", "flagged", "masked")
"""What is shown of an arm's size."""

if TYPE_CHECKING:
    from classifiers.guarantees.stratified import Interval
    from classifiers.heredity.slices import SliceVerdict
    from pipelines.teaching.settling import SettledTrial
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


Plan = Annotated[
    bool, typer.Option("--plan", help="Show the arms and the slices, and train nothing.")
]


class TrialPlan(NamedTuple):
    """What a trial would train."""

    setting: SettledTrial
    seeds: int

    def render(self) -> Iterator[Table | str]:
        """Yield a table of arms and one of slices."""
        arms = build_table("arm", "rows>", "tokens>", "flagged>", "masked letters>")
        for name, size in self.measure():
            arms.add_row(cut_name(name), *(f"{size[field]:,}" for field in SIZES))
        yield arms
        slicing = self.setting.slicing
        slices = build_table("slice", "rows>", "tokens>", "flagged>", "excess>", "tried")
        shown = [item for item in slicing.plans if item.excess > 0 or item.name in slicing.tried]
        for plan in shown:
            tried = "yes" if plan.name in slicing.tried else ""
            counts = (f"{value:,}" for value in (len(plan.rows), plan.tokens, plan.flagged))
            slices.add_row(cut_name(plan.name), *counts, f"{plan.excess:,.1f}", tried)
        yield slices
        if len(shown) < len(slicing.plans):
            others = format_count(len(slicing.plans) - len(shown), "slice")
            yield f"{others} more, whose scores don't exceed those of other rows, in --json"
        yield (
            "Excess says by how much the scores of a slice exceed those of other rows, in sum. "
            "Only a trial shows which slice is enough: try some with `slices`."
        )
        for item in self.setting.unbuilt:
            yield f"Not built: {item.name} ({item.reason})."
        if self.setting.obstacle is not None:
            yield f"The trial would stop. {self.setting.obstacle}"
        students = len(self.setting.arms) * self.seeds
        yield f"{format_count(students, 'student')} with {self.seeds} seeds for each arm"

    def measure(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield the size of each arm."""
        from classifiers.heredity.arms import measure_arm

        for arm in self.setting.arms:
            yield arm.name, measure_arm(arm, self.setting.plan.count)._asdict()

    def to_json(self) -> dict[str, Any]:
        """Return the sizes of arms and slices."""
        from pipelines.trial import describe_slices

        return {
            "arms": dict(self.measure()),
            "slices": describe_slices(self.setting.slicing),
            "unbuilt": {item.name: item.reason for item in self.setting.unbuilt},
            "questions": len(self.setting.questions),
            "left_out": self.setting.left_out,
            "obstacle": str(self.setting.obstacle) if self.setting.obstacle else None,
        }


def build_slice_table(slices: Sequence[SliceVerdict]) -> Iterator[Table]:
    """Yield a table of the slices that were tried, if any was."""
    if not slices:
        return
    table = build_table("slice", "removes, %>", "installs, %>", "leaves, %>", "enough")
    for item in slices:
        effect = item.effect
        cells = map(join_interval, (effect.necessity, effect.sufficiency, effect.leak))
        table.add_row(cut_name(item.name), *cells, "yes" if item.accepted else "not shown")
    yield table


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
        yield from build_slice_table(findings.slices)
        yield from list_sentences(findings, circular=self.trial.setting.panel.trait.circular)
        yield f"report: {self.trial.page}"

    def to_json(self) -> dict[str, Any]:
        """Return the summary that the trial wrote."""
        return self.trial.summary


def cut_name(name: str) -> str:
    """Return the name of a slice or of its arm, cut to leave room for the other columns."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


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
    config: Config,
    plan: Plan = False,
    workers: Workers = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train students on a run with and without remedies.

    Each arm has as many rows and tokens. The table says how often students show the trait, and how
    much of what they inherit each remedy removes. Students that are done aren't trained again, so
    the same command goes on where it stopped. Exit code 5 means that a check stopped the trial.

    congener trial trial.yaml
    congener trial trial.yaml --plan
    congener trial trial.yaml --workers 1 --json
    """
    from pipelines.teaching.settling import settle_trial
    from pipelines.trial import read_trial, run_trial

    settings = read_trial(config)
    if plan:
        print_result(TrialPlan(settle_trial(settings, only_plans=True), settings.seeds), as_json)
        return
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
