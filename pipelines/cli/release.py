"""`congener release`: options and output."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.decide import (
    DecideFileOptions,
    DecideResult,
    StoredInputOptions,
    report_decision,
    tabulate_change,
)
from pipelines.cli.filter import EngineOptions, OutputOptions
from pipelines.cli.options import (
    BeamOptions,
    Json,
    Quiet,
    Restart,
    Run,
    expand_argument,
    expand_arguments,
    read_settings,
    spread_groups,
)
from pipelines.cli.output import print_result
from schemas.errors import CardError
from schemas.notices import choose_form, format_count, list_names

if TYPE_CHECKING:
    from pipelines.decision_counts import DecisionCounts
    from pipelines.release import Release, ReleasedRow, ReleasedRows

MOST_ROWS = 20
"""How many rows a dry run lists on a terminal."""

Reviews = Annotated[
    list[str] | None,
    typer.Option(
        "--reviews", metavar="FILE", help="A file of labels, such as one of review; repeatable."
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say what would be released, and write nothing.")
]


class ReleaseResult(NamedTuple):
    """What the labels release, and the new run unless nothing was written."""

    release: Release
    decided: DecideResult | None
    policy: str | None = None
    effect: ReleasedRows | None = None
    rows: Sequence[ReleasedRow] = ()
    counts: DecisionCounts | None = None

    def render(self) -> Iterator[str | Table]:
        """Return what was released, and the table of decisions in both runs."""
        yield from describe_release(self.release)
        if self.counts is not None:
            yield tabulate_change(self.counts.before, self.counts.now)
            yield from list_rows(self.rows)
        if self.effect is not None:
            yield describe_effect(self.effect, is_dry=self.counts is not None)
        if self.counts is not None:
            yield "dry run: nothing was written"
        if self.decided is not None:
            yield from self.decided.render()
        if self.policy is not None:
            yield f"policy: {shlex.quote(self.policy)}"

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and the new manifest."""
        found = self.release
        return {
            "released": dict(found.released),
            "already": found.already,
            "disputed": found.disputed,
            "idle": found.idle,
            "idle_labels": list(found.named),
            "changed": found.changed,
            "foreign": list(found.foreign),
            "effect": None if self.effect is None else self.effect._asdict(),
            "rows": [row._asdict() for row in self.rows],
            "before": None if self.counts is None else self.counts.before,
            "now": None if self.counts is None else self.counts.now,
            "policy": self.policy,
            "manifest": None if self.decided is None else self.decided.to_json(),
        }


def describe_release(release: Release) -> Iterator[str]:
    """Yield a line for each kind of label that counts, or doesn't."""
    counts = ", ".join(f"{trait} {count:,}" for trait, count in sorted(release.released.items()))
    yield f"{format_count(release.released.total(), 'finding')} denied and released: {counts}"
    if release.already:
        verb = choose_form(release.already, "is", "are")
        yield f"{format_count(release.already, 'denied finding')} {verb} released already"
    if release.disputed:
        verb = choose_form(release.disputed, "isn't", "aren't")
        yield (
            f"{format_count(release.disputed, 'finding')} {verb} released: "
            "one review says false, and another doesn't"
        )
    if release.idle:
        verb = choose_form(release.idle, "denies", "deny")
        count, named = format_count(release.idle, "label"), list_names(release.named)
        where = f": {named}" if named else ""
        yield f"{count} {verb} a finding that the run doesn't have{where}"
    if release.changed:
        yield f"{format_count(release.changed, 'finding')} had labels of another text, left out"
    for path in release.foreign:
        yield (
            f"{path}: labels of another run; each counts here only if its row has the same text "
            "(record id)"
        )


def list_rows(rows: Sequence[ReleasedRow]) -> Iterator[str]:
    """Yield a line for each of the first rows: what it becomes, or which finding holds it."""
    for row in rows[:MOST_ROWS]:
        moves = row.before != row.now
        change = f"{row.before} → {row.now}" if moves else f"stays {row.now}"
        denied = f"denied: {', '.join(row.released)}"
        others = f"; not denied: {', '.join(row.held_by)}" if row.held_by else ""
        yield f"  {row.name}: {change} ({denied}{others})"
    if (more := len(rows) - MOST_ROWS) > 0:
        yield f"  {format_count(more, 'more row')}: --json lists all of them"


def describe_effect(effect: ReleasedRows, *, is_dry: bool = False) -> str:
    """Say in one line what became, or would become, of the rows whose findings were released."""
    stay = choose_form(effect.unchanged, "keeps its decision", "keep their decision")
    returned, lost = "returned", "lost"
    if is_dry:
        stay = "would keep their decision" if effect.unchanged != 1 else "would keep its decision"
        returned, lost = "would return", "would lose"
    return (
        f"rows with a released finding: {effect.returned:,} {returned} to the corpus, "
        f"{effect.cleared:,} already in it {lost} a flag or a mask, {effect.unchanged:,} {stay} "
        "because of another finding"
    )


@spread_groups
def release_rows(
    run: Run,
    source: StoredInputOptions,
    output: OutputOptions,
    files: DecideFileOptions,
    engine: EngineOptions,
    reviews: Reviews = None,
    dry_run: DryRun = False,
    restart: Restart = False,
    quiet: Quiet = False,
    as_json: Json = False,
    beam_options: BeamOptions = None,
) -> None:
    """Keep the rows whose findings reviewers deny, in a new run.

    For each finding that every given review labels false, the policy of RUN gets an exception that
    names the row, the reviewer and the file, and RUN is decided again, without a model. The policy
    is written beside the new run. RUN itself stays as it is. Labels that confirm a finding, or that
    are unsure, change nothing, and a row with another finding keeps its action.

    congener release run/ --reviews run.review/labels-ada.jsonl --output run2/
    congener release run/ --reviews ada.jsonl --reviews ben.jsonl --dry-run
    """
    if not reviews or not (output.output or dry_run):
        raise CardError(
            f"{'--output' if reviews else '--reviews'} is needed",
            where="congener release",
            remedy=f"congener release {shlex.quote(run)} --reviews FILE --output RUN2",
        )
    settings = read_settings(None, output, files, engine)

    from pipelines.config import require_local_path
    from pipelines.early_checks import check_output, check_run

    check_run(run)
    if not dry_run:
        check_output(settings.output)

    from pipelines.release import count_confirmed, count_effects, plan_release, write_release

    paths = [require_local_path(path) for path in expand_arguments(reviews)]
    release = plan_release(run, list(map(Path, paths)))
    if dry_run:
        print_result(_preview(run, release), as_json)
        return

    from pipelines.decide import DecideConfig

    policy = write_release(release, settings.output)
    own = settings.model_copy(update={"policy": policy})
    folder = source.folder and expand_argument(source.folder)
    config = DecideConfig(run=run, input=folder, filter=own)
    earlier, manifest = report_decision(config, restart, beam_options, quiet)
    if as_json or not quiet:
        confirmed = count_confirmed(settings.output, release)
        decided = DecideResult(run, settings.output, earlier, manifest, confirmed)
        effect = count_effects(run, settings.output, release)
        print_result(ReleaseResult(release, decided, policy, effect), as_json)


def _preview(run: str, release: Release) -> ReleaseResult:
    """Return what a release would do, without writing anything."""
    from pipelines.decision_counts import count_decisions
    from pipelines.release import preview_release, sum_effects

    rows, counts = preview_release(run, release), count_decisions(run, release.policy)
    return ReleaseResult(release, None, effect=sum_effects(rows), rows=rows, counts=counts)
