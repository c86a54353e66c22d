"""`congener decide`: options and output."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.filter import EngineOptions, OutputOptions, PolicyOptions
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
    describe_clean_rows,
    describe_removals,
    describe_waiting_rows,
)
from pipelines.display.terminal import Verbatim, build_table
from schemas.errors import CardError

if TYPE_CHECKING:
    from schemas.manifests import Manifest


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


class DecideResult(NamedTuple):
    """A run that was decided again."""

    run: str
    output: str
    earlier: Manifest
    manifest: Manifest

    def render(self) -> Iterator[str | Table]:
        """Return a table of decisions in both runs, and the next commands."""
        from schemas.policies import DECISIONS

        before = self.earlier.conservation.by_decision
        after = self.manifest.conservation.by_decision
        table = build_table("decision", "before>", "now>", "change>")
        for name in DECISIONS:
            if name in before or name in after:
                old, new = before.get(name, 0), after.get(name, 0)
                table.add_row(name, f"{old:,}", f"{new:,}", f"{new - old:+,}" if new - old else "")
        yield table
        output = shlex.quote(self.output)
        yield Verbatim(f"done: {output}")
        yield from describe_removals(self.manifest)
        yield from describe_clean_rows(self.output, self.manifest)
        yield from describe_waiting_rows(self.output, self.manifest)
        yield Verbatim(
            f"next: congener diff {shlex.quote(self.run)} {output}\n      congener verify {output}"
        )

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
    restart: Restart = False,
    quiet: Quiet = False,
    as_json: Json = False,
    beam_options: BeamOptions = None,
) -> None:
    """Apply another policy to a finished run, without a model.

    The new run has every byte that `filter` would write with the policy, from the scores and places
    that RUN stored. Its input is read again for the rows, and must not have changed. RUN itself
    stays as it is. A policy that needs more than RUN stored is refused: a trait that RUN didn't
    score, a threshold below its span floor, or the nearest exemplars of rows that it didn't hold.
    --encode lets the encoder find these, which takes as long as scoring the shards they are in.
    If the command is interrupted, the same command resumes it.

    congener decide run/ --policy stricter.yaml --output run2/
    congener decide run/ --policy stricter.yaml -o run2/ --input moved/
    """
    if not (output.output and policy.policy):
        raise CardError(
            f"{'--policy' if output.output else '--output'} is needed",
            where="congener decide",
            remedy=f"congener decide {shlex.quote(run)} --policy POLICY --output RUN2",
        )
    settings = read_settings(None, output, policy, files, engine)

    from pipelines.early_checks import check_output, check_run

    check_run(run)
    check_output(settings.output)

    from pipelines.config import read_policy

    read_policy(settings.policy)

    from pipelines.decide import DecideConfig, run_decide
    from pipelines.display.progress import TerminalReporter
    from pipelines.runs.manifest_file import load_manifest

    folder = source.folder and expand_argument(source.folder)
    config = DecideConfig(run=run, input=folder, encode=encode, filter=settings)
    with TerminalReporter(quiet) as listener:
        manifest = run_decide(config, restart, sys.argv, tuple(beam_options or ()), listener)
    if as_json or not quiet:
        result = DecideResult(run, settings.output, load_manifest(run), manifest)
        print_result(result, as_json)
