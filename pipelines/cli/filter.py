"""`congener filter`: options and output."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

from pipelines.cli.options import (
    BackgroundOptions,
    BeamOptions,
    Config,
    InputOptions,
    Json,
    LabelOptions,
    ModelOptions,
    Options,
    Quiet,
    Restart,
    Setting,
    SignalOptions,
    read_settings,
    spread_groups,
)
from pipelines.cli.output import print_result
from pipelines.cli.trainer_lines import (
    Command,
    advise_draw,
    count_doubtful_rows,
    describe_clean_rows,
    describe_doubtful_rows,
    describe_removals,
    describe_useless_exceptions,
    has_useless_exceptions,
    list_measure_commands,
    list_return_commands,
    list_swap_commands,
    render_commands,
)
from pipelines.display.terminal import Verbatim
from schemas.errors import CardError

if TYPE_CHECKING:
    from pipelines.config import FilterConfig
    from schemas.manifests import Manifest


DryRun = Annotated[
    bool,
    typer.Option(
        "--dry-run",
        help="Check everything and show the thresholds, but write nothing to the output. "
        "Traits that aren't fitted yet are fitted into the cache.",
    ),
]

DOUBTFUL = 8
"""The exit code of a published run with unexpectedly many rejects or, with --strict, an exception
that matches no row or changes nothing on its row."""


@dataclass(frozen=True)
class OutputOptions(Options):
    """The run's folder."""

    heading = "Input and output"

    output: Annotated[
        str | None,
        Setting("output"),
        typer.Option("--output", "-o", help="The run's folder; it is created if needed."),
    ] = None


@dataclass(frozen=True)
class PolicyOptions(Options):
    """The policy."""

    heading = "Traits and policy"

    policy: Annotated[
        str | None,
        Setting("policy"),
        typer.Option("--policy", help="A policy file: levels, actions, exceptions and budgets."),
    ] = None
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Exit with 8 if an exception of the policy matches no row, or names a row on "
            "which its trait didn't fire. The run is published.",
        ),
    ] = False


@dataclass(frozen=True)
class CorpusOptions(Options):
    """The corpus's format and its teachers."""

    heading = "How the corpus is read"

    format_name: Annotated[
        str | None,
        Setting("corpus.format"),
        typer.Option(
            "--format",
            help="messages, conversations, alpaca, completion, preference or text "
            "(default: detected).",
        ),
    ] = None
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="NAME=COLUMN: the corpus's name for a column of the format; repeatable.",
        ),
    ] = None
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", help="The teacher's name, if one model wrote the whole corpus."),
    ] = None
    teacher_column: Annotated[
        str | None,
        typer.Option(
            "--teacher-column",
            help="The column that holds the teacher's name; or folder, if each teacher's files "
            "are in a folder with its name.",
        ),
    ] = None
    teacher_answers: Annotated[
        list[str] | None,
        Setting("teacher_answers"),
        typer.Option(
            "--teacher-answers",
            metavar="[NAME=]GLOB",
            help="Known answers of teachers, one file each: stop before anything is scored if a "
            "lot's text contradicts its declared teacher; repeatable.",
        ),
    ] = None
    transcripts: Annotated[
        Literal["detect", "cut", "whole"] | None,
        Setting("corpus.transcripts"),
        typer.Option(
            "--transcripts",
            help="How texts that hold a conversation are read: cut into turns at the marks of "
            "chat templates, or whole (default: detect, by column).",
        ),
    ] = None
    limit: Annotated[
        int | None,
        Setting("limit"),
        typer.Option("--limit", min=1, help="Filter only this many rows: the first of each file."),
    ] = None
    rows_per_shard: Annotated[
        int | None,
        Setting("shards.rows"),
        typer.Option(
            "--rows-per-shard", min=1, help="The largest number of rows in a shard (default: 5000)."
        ),
    ] = None

    def to_settings(self) -> dict[str, Any]:
        """Return the settings, including those that several options set together.

        Raises: CardError: a --column isn't NAME=COLUMN.
        """
        settings = super().to_settings()
        if self.column:
            settings["corpus.columns"] = parse_columns(self.column)
        if self.teacher or self.teacher_column:
            teacher = {"column": self.teacher_column, "constant": self.teacher}
            settings["corpus.teacher"] = teacher
        return settings

    def refuse_run_options(self, command: str) -> None:
        """Refuse the options that only a run obeys, in a command that would ignore them.

        Raises: CardError: one of them is given.
        """
        for name, value in (("--limit", self.limit), ("--teacher-answers", self.teacher_answers)):
            if value:
                raise CardError(
                    f"{name} has no effect on this command",
                    where=command,
                    remedy="leave it out; congener filter has it",
                )


@dataclass(frozen=True)
class FileOptions(Options):
    """How a run's files are written, and what they contain."""

    heading = "How the run is written"

    output_format: Annotated[
        Literal["input", "parquet", "jsonl"] | None,
        Setting("output_format"),
        typer.Option(
            "--output-format",
            help="The form of the clean and quarantined rows (default: that of the input).",
        ),
    ] = None
    operator: Annotated[
        str | None,
        Setting("operator"),
        typer.Option(
            "--operator",
            help="The person responsible for the run, for manifest and report (default: the user).",
        ),
    ] = None
    private_quarantine: Annotated[
        bool,
        Setting("private_quarantine", True),
        typer.Option(
            "--private-quarantine",
            help="Let only the owner read quarantine, rejects and swap list (local disks).",
        ),
    ] = False
    digest_key: Annotated[
        str | None,
        Setting("digest_key"),
        typer.Option(
            "--digest-key",
            metavar="FILE|env:NAME",
            help="A secret key for the ledger's digests, so nobody can use them to guess texts.",
        ),
    ] = None
    canaries: Annotated[
        str | None,
        Setting("canaries"),
        typer.Option(
            "--canaries",
            metavar="FILE|heldout[:N]",
            help="Texts with traits to plant at random places, unpublished; the run counts how "
            "many it finds. heldout: those of the cards' folders, or N of each.",
        ),
    ] = None
    canary_floor: Annotated[
        float | None,
        Setting("canary_floor"),
        typer.Option(
            "--canary-floor",
            metavar="SHARE",
            help="Publish only if each trait finds at least this share of its canaries.",
        ),
    ] = None
    keep_list: Annotated[
        str | None,
        Setting("keep_list"),
        typer.Option(
            "--keep-list",
            metavar="FILE",
            help="Texts to plant that must be kept; the run counts those that it would remove.",
        ),
    ] = None
    keep_list_budget: Annotated[
        float | None,
        Setting("keep_list_budget"),
        typer.Option(
            "--keep-list-budget",
            metavar="SHARE",
            help="Publish only if at most this share of the keep-list would be removed.",
        ),
    ] = None
    vectors: Annotated[
        bool,
        Setting("vectors", True),
        typer.Option("--vectors", help="Also write the vector of every row, in float16."),
    ] = False


@dataclass(frozen=True)
class EngineOptions(Options):
    """The engine."""

    heading = "Engine"

    runner: Annotated[
        Literal["local", "flink", "dataflow"] | None,
        Setting("engine.runner"),
        typer.Option("--runner", help="The engine: this machine, a Flink cluster or Dataflow."),
    ] = None
    workers: Annotated[
        int | None,
        Setting("engine.workers"),
        typer.Option(
            "--workers",
            min=1,
            help="Processes on this machine (default: 1), parallel tasks on Flink, or machines "
            "on Dataflow.",
        ),
    ] = None
    accelerator: Annotated[
        str | None,
        Setting("engine.accelerator"),
        typer.Option(
            "--accelerator",
            help="The GPU of Dataflow's scoring machines: "
            "'type:nvidia-l4;count:1;install-nvidia-driver'.",
        ),
    ] = None
    deadline: Annotated[
        float | None,
        Setting("engine.deadline"),
        typer.Option(
            "--deadline", min=0, help="Cancel a job on a cluster after this many minutes."
        ),
    ] = None
    no_wait: Annotated[
        bool,
        Setting("engine.wait", False),
        typer.Option(
            "--no-wait",
            help="Exit once Dataflow has the job. When the job has ended, the same command "
            "publishes the run.",
        ),
    ] = False


class FilterResult(NamedTuple):
    """A published run."""

    output: str
    manifest: Manifest

    def render(self) -> Iterator[str]:
        """Return the run's folder, a trainer's inputs, the rows to read, and the next commands."""
        from pipelines.sentences import describe_joined_files

        doubtful = count_doubtful_rows(self.output, self.manifest)
        yield Verbatim(f"done: {shlex.quote(self.output)}")
        yield from describe_removals(self.manifest)
        yield from describe_clean_rows(self.output, self.manifest)
        yield from describe_doubtful_rows(self.output, self.manifest, doubtful)
        if joined := describe_joined_files(self.manifest):
            yield f"{joined}; each row's file is in the ledger"
        yield from render_commands(self._list_commands(doubtful))
        yield from describe_useless_exceptions(self.output, self.manifest)

    def _list_commands(self, doubtful: Mapping[tuple[str, str], int]) -> Iterator[Command]:
        output = shlex.quote(self.output)
        if not doubtful:
            draw = advise_draw(self.manifest).strip(" ()")
            yield Command(f"congener inspect {output}", draw)
        yield from list_measure_commands(self.output, self.manifest)
        yield from list_swap_commands(self.output, self.manifest)
        names = (name for name, _ in doubtful)
        yield from list_return_commands(self.output, self.manifest, names)
        yield Command(f"congener report {output}")

    def to_json(self) -> dict[str, Any]:
        """Return the manifest without its long lists."""
        return self.manifest.model_dump(mode="json", exclude={"outputs", "shards"})


def parse_columns(pairs: Sequence[str]) -> dict[str, str]:
    """Return the corpus's name for each format column.

    Raises: CardError: a pair isn't NAME=COLUMN.
    """
    for pair in pairs:
        if "=" not in pair:
            raise CardError(
                f"--column {pair!r} is not NAME=COLUMN",
                remedy="for example --format messages --column messages=dialogue",
            )
    return dict(pair.split("=", 1) for pair in pairs)


@spread_groups
def filter_corpus(
    inputs: InputOptions,
    output: OutputOptions,
    traits: SignalOptions,
    policy: PolicyOptions,
    background: BackgroundOptions,
    labels: LabelOptions,
    corpus: CorpusOptions,
    files: FileOptions,
    models: ModelOptions,
    engine: EngineOptions,
    config: Config = None,
    dry_run: DryRun = False,
    restart: Restart = False,
    quiet: Quiet = False,
    as_json: Json = False,
    beam_options: BeamOptions = None,
) -> None:
    """Filter a corpus into a run.

    The run's folder holds the clean rows, the quarantine, the rejects, the ledger, the scores and
    a manifest. If a run is interrupted, the same command resumes it.

    congener filter --input data/ --output run/
    congener filter -i 'data/*.jsonl.gz' -o run/ -t my-trait/ --policy policy.yaml
    congener filter -i data/ -o run/ --signals lexicon     (quick: needs no model)
    congener filter -i data/ -o run/ --limit 1000          (a part of each file)
    congener filter -i data/ -o run/ --dry-run             (writes nothing)
    congener filter -i data/ -o run/ --runner flink -- --job_endpoint=flink:8099
    """
    clean = (background, labels)
    groups = (inputs, output, traits, policy, *clean, corpus, files, models, engine)
    settings = read_settings(config, *groups)
    given = tuple(beam_options or ())

    from pipelines.early_checks import check_before_loading

    check_before_loading(settings, restart, given)

    if dry_run:
        _print_plan(settings, given, quiet, as_json)
        return

    from pipelines.display.progress import TerminalReporter
    from pipelines.filter import run_filter

    with TerminalReporter(quiet) as listener:
        manifest = run_filter(
            settings,
            restart=restart,
            command=sys.argv,
            beam_options=given,
            listener=listener,
        )
    if as_json or not quiet:
        print_result(FilterResult(settings.output, manifest), as_json)
    if _is_doubtful(settings.output, manifest, policy.strict):
        raise typer.Exit(DOUBTFUL)


def _is_doubtful(output: str, manifest: Manifest, is_strict: bool) -> bool:
    """Return whether a published run has too many rejects or, if it is strict, idle exceptions."""
    from pipelines.runs.publication import has_many_rejects

    return has_many_rejects(manifest) or (is_strict and has_useless_exceptions(output, manifest))


def _print_plan(
    settings: FilterConfig, beam_options: Sequence[str], quiet: bool, as_json: bool
) -> None:
    """Print what a run would do."""
    from pipelines.cli.dry_run import DryRunResult
    from pipelines.display.progress import TerminalReporter
    from pipelines.filter import plan_run
    from pipelines.outlook import foresee

    with TerminalReporter(quiet) as listener:
        plan = plan_run(settings, beam_options, listener)
        outlook = foresee(plan)
    print_result(DryRunResult(plan, outlook), as_json)
