"""`congener decide`: options and output."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.filter import DOUBTFUL, EngineOptions, OutputOptions, PolicyOptions
from pipelines.cli.options import (
    BeamOptions,
    Json,
    Options,
    Quiet,
    Restart,
    Run,
    Setting,
    expand_argument,
    read_settings,
    spread_groups,
)
from pipelines.cli.output import print_result
from pipelines.cli.trainer_lines import (
    Command,
    count_doubtful_rows,
    describe_certified_parent,
    describe_clean_rows,
    describe_doubtful_rows,
    describe_removals,
    describe_useless_exceptions,
    has_useless_exceptions,
    list_swap_commands,
    render_commands,
)
from pipelines.display.terminal import Verbatim, build_table
from schemas.errors import CardError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pipelines.config import FilterConfig
    from pipelines.decide import DecideConfig
    from pipelines.decision_counts import DecisionCounts
    from schemas.events import Event, Listener
    from schemas.manifests import Manifest
    from schemas.policies import LotException, Policy


@dataclass(frozen=True)
class StoredInputOptions(Options):
    """Where the run's input is now."""

    heading = "Input and output"

    folder: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            metavar="FOLDER",
            help="The folder with the run's input files, if they have moved.",
        ),
    ] = None


@dataclass(frozen=True)
class DecideFileOptions(Options):
    """How the new run is written."""

    heading = "How the run is written"

    operator: Annotated[
        str | None,
        Setting("operator"),
        typer.Option("--operator", help="The person responsible for the run (default: the user)."),
    ] = None
    private_quarantine: Annotated[
        bool,
        Setting("private_quarantine", True),
        typer.Option(
            "--private-quarantine",
            help="Let only the owner read quarantine, rejects and swap list (local disks).",
        ),
    ] = False


Encode = Annotated[
    bool,
    typer.Option("--encode", help="Let the encoder find nearest exemplars that RUN didn't store."),
]
ReplacePolicy = Annotated[
    bool,
    typer.Option(
        "--replace-policy",
        help="Decide by POLICY alone: nothing of RUN's policy holds, no released row either.",
    ),
]
DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run", help="Count what POLICY would decide, and write nothing; needs no --output."
    ),
]


def tabulate_change(before: Mapping[str, int], after: Mapping[str, int]) -> Table:
    """Tabulate the rows by decision in two runs."""
    from schemas.policies import DECISIONS

    table = build_table("decision", "before>", "now>", "change>")
    for name in DECISIONS:
        if name in before or name in after:
            old, new = before.get(name, 0), after.get(name, 0)
            table.add_row(name, f"{old:,}", f"{new:,}", f"{new - old:+,}" if new - old else "")
    return table


def describe_dropped(before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[str]:
    """Say that nobody can check dropped rows, if the new policy drops more of them."""
    from schemas.notices import choose_form, format_count

    count = after.get("drop", 0)
    if count > before.get("drop", 0):
        yield (
            f"{format_count(count, 'row')} {choose_form(count, 'is', 'are')} dropped, and a run "
            "keeps no text of dropped rows: neither the report nor congener certify can find wrong "
            "removals among them; the action quarantine keeps the text"
        )


def describe_moves(moved: Mapping[tuple[str, str], int]) -> Iterator[str]:
    """Say in one line how many rows would go from one decision to another."""
    from schemas.notices import format_count

    parts = [f"{rows:,} from {before} to {after}" for (before, after), rows in moved.items()]
    total = format_count(sum(moved.values()), "row")
    yield (
        f"{total} would be decided otherwise: {', '.join(parts)}"
        if parts
        else ("no row would be decided otherwise")
    )


class DecideDryRun(NamedTuple):
    """What a policy would decide.

    `policy` is the whole policy, and `notes` say what it has or lacks of the run's policy, whose
    exceptions are `known`.
    """

    run: str
    counts: DecisionCounts
    policy: Policy
    notes: Sequence[str] = ()
    known: tuple[LotException, ...] = ()

    def render(self) -> Iterator[str | Table]:
        """Return the table of decisions, the changes, and what each exception does."""
        from pipelines.display.exception_table import tabulate_exceptions

        yield from self.notes
        yield tabulate_change(self.counts.before, self.counts.now)
        yield from describe_moves(self.counts.moved)
        if self.policy.exceptions != self.known:
            yield tabulate_exceptions(
                self.policy.exceptions, self.counts.effects, is_dry=True, known=self.known
            )
        yield from describe_dropped(self.counts.before, self.counts.now)
        yield f"dry run: nothing was written; {shlex.quote(self.run)} stays as it is"
        for number, name in self.counts.unmatched:
            yield f"warning: exception {number} of the policy ({name}) matches no row"
        for number, said in self.counts.idle:
            yield f"warning: exception {number} of the policy {said}"

    def to_json(self) -> dict[str, Any]:
        """Return the counts, what each exception does or that it does nothing, and the policy."""
        moved = [
            {"before": before, "after": after, "rows": rows}
            for (before, after), rows in self.counts.moved.items()
        ]
        effects = [
            {"exception": item.describe(), "trait": item.trait} | effect.model_dump(mode="json")
            for item, effect in zip(self.policy.exceptions, self.counts.effects, strict=True)
        ]
        fields = self.policy.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
        own = {"notes": list(self.notes), "policy": fields}
        return {**self.counts._asdict(), "moved": moved, "effects": effects, **own}


class DecideResult(NamedTuple):
    """A run that was decided again.

    `confirmed` is the number of removed rows that labels confirm, if labels were given.
    """

    run: str
    output: str
    earlier: Manifest
    manifest: Manifest
    confirmed: int | None = None

    def render(self) -> Iterator[str | Table]:
        """Return a table of decisions in both runs, and the next commands."""
        before = self.earlier.conservation.by_decision
        yield tabulate_change(before, self.manifest.conservation.by_decision)
        output = shlex.quote(self.output)
        yield Verbatim(f"done: {output}")
        yield from describe_removals(self.manifest, self.confirmed)
        yield from describe_dropped(before, self.manifest.conservation.by_decision)
        yield from describe_clean_rows(self.output, self.manifest)
        earlier = self.run, self.earlier
        doubtful = count_doubtful_rows(self.output, self.manifest, earlier)
        yield from describe_doubtful_rows(self.output, self.manifest, doubtful)
        yield from describe_certified_parent(self.run, self.output, self.manifest)
        commands = [
            Command(f"congener diff {shlex.quote(self.run)} {output}"),
            *list_swap_commands(self.output, self.manifest),
        ]
        yield from render_commands(commands)
        yield from describe_useless_exceptions(self.output, self.manifest)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest without its long lists."""
        return self.manifest.model_dump(mode="json", exclude={"outputs", "shards"})


@spread_groups
def decide_again(
    run: Run,
    source: StoredInputOptions,
    output: OutputOptions,
    policy: PolicyOptions,
    files: DecideFileOptions,
    engine: EngineOptions,
    encode: Encode = False,
    replace_policy: ReplacePolicy = False,
    dry_run: DryRun = False,
    restart: Restart = False,
    quiet: Quiet = False,
    as_json: Json = False,
    beam_options: BeamOptions = None,
) -> None:
    """Change the policy of a finished run, without a model.

    What POLICY says nothing about stays as it is in RUN: its other rules, and its exceptions, such
    as those of released rows. --replace-policy decides by POLICY alone. The new run has every byte
    that `filter` would write with the whole policy, from the scores and places that RUN stored. Its
    input is read again for the rows, and must not have changed. RUN itself stays as it is. A policy
    that needs more than RUN stored is refused: a trait that RUN didn't score, a threshold below its
    span floor, or the nearest exemplars of rows that it didn't hold. --encode lets the encoder find
    these, which takes as long as scoring the shards they are in. If the command is
    interrupted, the same command resumes it.

    congener decide run/ --policy stricter.yaml --output run2/
    congener decide run/ --policy stricter.yaml -o run2/ --input moved/
    congener decide run/ --policy stricter.yaml --dry-run     (writes nothing)
    congener decide run/ --policy whole.yaml --replace-policy -o run2/
    congener decide run/ --policy p.yaml --dry-run --strict   (for CI)
    """
    if dry_run and policy.policy:
        _count(run, source, policy, as_json, replaces=replace_policy, encode=encode)
        return
    _require_options(run, output, policy)
    settings = read_settings(None, output, policy, files, engine)

    from pipelines.early_checks import check_output, check_run

    check_run(run)
    check_output(settings.output)

    whole, notes = settle_policy(run, settings, replaces=replace_policy)
    folder = source.folder and expand_argument(source.folder)

    from pipelines.decide import DecideConfig

    own = settings.with_policy(whole)
    config = DecideConfig(run=run, input=folder, encode=encode, filter=own)
    earlier, manifest = report_decision(config, restart, beam_options, quiet, notes)
    if as_json or not quiet:
        print_result(DecideResult(run, settings.output, earlier, manifest), as_json)
    if policy.strict and has_useless_exceptions(settings.output, manifest):
        raise typer.Exit(DOUBTFUL)


def report_decision(
    config: DecideConfig,
    restart: bool,
    beam_options: Sequence[str] | None,
    quiet: bool,
    notes: Iterable[str] = (),
) -> tuple[Manifest, Manifest]:
    """Decide a run again, report that on the terminal, and return the manifests of both runs.

    Raises: CongenerError: for the same reasons as `run_decide`.
    """
    from pipelines.decide import run_decide
    from pipelines.display.progress import TerminalReporter
    from pipelines.runs.manifest_file import load_manifest

    earlier = load_manifest(config.run)
    with TerminalReporter(quiet) as reporter:
        reporter.earlier = earlier
        _send(reporter, notes)
        listener = skip_known(reporter, (config.run, earlier), config.filter.output)
        options = tuple(beam_options or ())
        return earlier, run_decide(config, restart, sys.argv, options, listener)


def _require_options(run: str, output: OutputOptions, policy: PolicyOptions) -> None:
    if not (output.output and policy.policy):
        raise CardError(
            f"{'--policy' if output.output else '--output'} is needed",
            where="congener decide",
            remedy=f"congener decide {shlex.quote(run)} --policy POLICY --output RUN2",
        )


def _send(listener: Listener, notes: Iterable[str]) -> None:
    from schemas.events import Noticed
    from schemas.notices import Notice

    for note in notes:
        listener(Noticed(Notice(note, is_recorded=False)))


def skip_known(
    listener: Listener, earlier: tuple[str, Manifest], output: str
) -> Callable[[Event], None]:
    """Return a listener that passes events on, without the notices that the earlier run has too.

    `earlier` is the folder and the manifest of the run that is decided again into `output`, and a
    notice may name either folder. Notices about exceptions are passed on, because the closing lines
    refer to them. Both manifests record all notices.
    """
    from schemas.events import Noticed

    run, manifest = earlier
    said = (item.text for item in manifest.list_notices())
    known = {
        text.replace(shlex.quote(run), "") for text in said if not text.startswith("exception ")
    }

    def pass_on(event: Event) -> None:
        is_known = isinstance(event, Noticed) and (
            event.notice.text.replace(shlex.quote(output), "") in known
        )
        if not is_known:
            listener(event)

    return pass_on


def settle_policy(
    run: str, settings: FilterConfig, *, replaces: bool
) -> tuple[Policy, Iterator[str]]:
    """Return the policy by which a run is decided, and what it has or lacks of the run's policy.

    Raises: CardError: the policy's file can't be read, or a field is wrong.
    """
    from pipelines.merged_policies import describe_kept, describe_lost, merge_policies
    from pipelines.runs.manifest_file import load_manifest
    from pipelines.runs.recorded_settings import read_recorded_policy

    given, base = settings.load_policy(), read_recorded_policy(load_manifest(run))
    named = (run, str(settings.policy), base, given)
    if replaces:
        return given, describe_lost(*named)
    return merge_policies(base, given), describe_kept(*named)


def _count(
    run: str,
    source: StoredInputOptions,
    options: PolicyOptions,
    as_json: bool,
    *,
    replaces: bool,
    encode: bool,
) -> None:
    """Print what a policy would decide, and fail as a decision by it would.

    If the policy is strict, an exception that does nothing is a failure, too.
    """
    from pipelines.early_checks import check_run

    check_run(run)
    from pipelines.decision_counts import count_decisions, require_publishable
    from pipelines.runs.manifest_file import load_manifest
    from pipelines.runs.recorded_settings import read_recorded_policy

    policy, notes = settle_policy(run, read_settings(None, options), replaces=replaces)
    folder = source.folder and expand_argument(source.folder)
    found = count_decisions(run, policy, folder)
    known = read_recorded_policy(load_manifest(run)).exceptions
    print_result(DecideDryRun(run, found, policy, list(notes), known), as_json)
    require_publishable(run, policy, found, encode=encode)
    if options.strict and (found.unmatched or found.idle):
        raise typer.Exit(DOUBTFUL)
