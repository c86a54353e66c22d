"""`congener mix`: options and output."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.filter import EngineOptions
from pipelines.cli.options import (
    BeamOptions,
    Json,
    Options,
    Quiet,
    Restart,
    Run,
    Setting,
    read_settings,
    spread_groups,
)
from pipelines.cli.output import print_result
from pipelines.cli.swap import DeviceOptions, SwapFileOptions
from pipelines.cli.trainer_lines import describe_clean_rows, describe_removals
from pipelines.display.terminal import Verbatim, build_table
from schemas.errors import CardError
from schemas.shares import LEAST_SHARE, MOST_SHARE, format_percent

if TYPE_CHECKING:
    from schemas.manifests import Manifest
    from schemas.mixes import MixCounts

LARGEST_SEED = 2**63 - 1


@dataclass(frozen=True)
class MixOptions(Options):
    """The new run's folder, the donors and the share."""

    heading = "Input and output"

    output: Annotated[
        str | None,
        Setting("output"),
        typer.Option("--output", "-o", help="The new run's folder; it is created if needed."),
    ] = None
    donors: Annotated[
        list[str] | None,
        typer.Option(
            "--donor",
            metavar="[NAME=]CORPUS",
            help="Clean rows to add, in any file format that filter reads and with the run's "
            "columns; repeatable. Rows are drawn from all donors together.",
        ),
    ] = None
    share: Annotated[
        float | None,
        typer.Option(
            "--share",
            min=LEAST_SHARE,
            max=MOST_SHARE,
            help="The share of added rows among the clean rows of each lot.",
        ),
    ] = None
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, max=LARGEST_SEED, help="Another seed draws other rows."),
    ] = 0


class MixResult(NamedTuple):
    """A published mix."""

    output: str
    manifest: Manifest

    def render(self) -> Iterator[str | Table]:
        """Return tables of lots and donors, and the next commands."""
        mix = self.manifest.mix
        if mix is not None:
            yield tabulate_lots(mix.counts)
            table = build_table("donor", "rows>", "clean>", "added>")
            for donor in mix.donors:
                used = mix.counts.by_donor.get(donor.name, 0)
                table.add_row(donor.name, f"{donor.rows:,}", f"{donor.usable:,}", f"{used:,}")
            yield table
        output = shlex.quote(self.output)
        yield Verbatim(f"done: {output}")
        yield from describe_removals(self.manifest)
        yield from describe_clean_rows(self.output, self.manifest)
        yield Verbatim(
            f"next: congener verify {output}\n"
            f"      congener inspect {output} --decision mix   (the added rows)"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the manifest without its long lists."""
        return self.manifest.model_dump(mode="json", exclude={"outputs", "shards"})


def tabulate_lots(counts: MixCounts) -> Table:
    """Return a table of the lots and the rows that were added to them."""
    from schemas.mixes import LOTS_SHOWN

    table = build_table("lot", "rows>", "added>", "share>", "missing>", wrap_first=True)
    for lot in counts.list_shortest(LOTS_SHOWN):
        share = format_percent(lot.share)
        missing = f"{lot.wanted - lot.added:,}" if lot.added < lot.wanted else "-"
        table.add_row(lot.describe(), f"{lot.rows:,}", f"{lot.added:,}", share, missing)
    others = len(counts.lots) - LOTS_SHOWN
    if others > 0:
        table.add_row(f"{others:,} more in manifest.json", "", "", "", "")
    share = format_percent(counts.share)
    short = max(counts.wanted - counts.added, 0)
    numbers = (f"{counts.rows:,}", f"{counts.added:,}", share, f"{short:,}" if short else "-")
    table.add_row("all", *numbers)
    return table


@spread_groups
def mix_rows(
    run: Run,
    mix: MixOptions,
    files: SwapFileOptions,
    device: DeviceOptions,
    engine: EngineOptions,
    restart: Restart = False,
    quiet: Quiet = False,
    as_json: Json = False,
    beam_options: BeamOptions = None,
) -> None:
    """Add clean rows of donors to a run, lot by lot.

    The new run is RUN with rows of the donors after the clean rows of each shard, so that added
    rows make up the given share of every lot. RUN itself stays as it is. Donors are filtered first,
    with RUN's bank and policy, and no row is added on which any trait fires, that RUN has already,
    or that is by the lot's own teacher. If a mix is interrupted, the same command resumes it.

    congener mix run/ --donor clean-chat.jsonl --share 0.25 --output run2/
    congener mix run/ --donor a=a.parquet --donor b.parquet --share 0.5 -o run2/
    congener mix run/ --donor clean-chat/ --share 0.25 --seed 1 -o run3/
    """
    settings = read_settings(None, mix, files, device, engine)
    _check_options(run, mix)

    from pipelines.early_checks import check_output, check_run

    check_run(run)
    check_output(settings.output)

    from pipelines.display.progress import TerminalReporter
    from pipelines.mix import MixConfig, run_mix

    config = MixConfig(
        run=run,
        donors=tuple(mix.donors or ()),
        share=mix.share or 0,
        seed=mix.seed,
        filter=settings,
    )
    with TerminalReporter(quiet) as listener:
        manifest = run_mix(config, restart, sys.argv, tuple(beam_options or ()), listener)
    if as_json or not quiet:
        print_result(MixResult(settings.output, manifest), as_json)


def _check_options(run: str, mix: MixOptions) -> None:
    """Refuse a command without output, donors or share.

    Raises: CardError: an option is missing.
    """
    given = {"--output": mix.output, "a donor": mix.donors, "--share": mix.share}
    missing = [name for name, value in given.items() if not value]
    if missing:
        raise CardError(
            f"{missing[0]} is needed",
            where="congener mix",
            remedy=f"congener mix {shlex.quote(run)} --donor CORPUS --share 0.25 --output RUN2",
        )
