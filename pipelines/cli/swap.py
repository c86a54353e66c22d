"""`congener swap`: options and output."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, get_args

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
from pipelines.display.terminal import Verbatim, build_table
from schemas.errors import CardError
from schemas.notices import choose_form, format_count
from transforms.files import storage

if TYPE_CHECKING:
    from schemas.manifests import Manifest
    from schemas.swaps import SwapCounts

FARTHEST = 0.999
"""The largest distance of `--near`; at 1, prompts have no words in common."""


@dataclass(frozen=True)
class SwapOptions(Options):
    """The new run's folder, and the donors."""

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
            help="Another teacher's answers, in any format that filter reads; repeatable. For "
            "each prompt, the first donor with a clean answer is used.",
        ),
    ] = None
    replace: Annotated[
        list[str] | None,
        typer.Option(
            "--replace",
            metavar="ACTION",
            help="Replace the rows that this action holds back, swap or quarantine; repeatable "
            "(default: swap). A run doesn't keep the text of dropped rows.",
        ),
    ] = None
    near: Annotated[
        float | None,
        typer.Option(
            "--near",
            metavar="DISTANCE",
            min=0,
            max=FARTHEST,
            help="Also use answers to prompts this near, as 1 minus the Jaccard similarity of "
            "their word 3-grams in the last message (default: the same prompt only).",
        ),
    ] = None


@dataclass(frozen=True)
class SwapFileOptions(Options):
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
    digest_key: Annotated[
        str | None,
        Setting("digest_key"),
        typer.Option(
            "--digest-key", metavar="FILE|env:NAME", help="The key, if the run's digests are keyed."
        ),
    ] = None


@dataclass(frozen=True)
class DeviceOptions(Options):
    """The models' device."""

    heading = "Models"

    device: Annotated[
        Literal["auto", "cpu", "cuda"] | None,
        Setting("hardware.device"),
        typer.Option("--device", help="The device that models run on; cuda needs a GPU."),
    ] = None
    precision: Annotated[
        Literal["auto", "fp32", "bf16"] | None,
        Setting("hardware.precision"),
        typer.Option(
            "--precision", help="auto means bf16 on a GPU that supports it, and fp32 elsewhere."
        ),
    ] = None


class SwapResult(NamedTuple):
    """A published swap."""

    output: str
    manifest: Manifest

    def render(self) -> Iterator[str | Table]:
        """Return tables of outcomes and donors, and the next commands."""
        from schemas.policies import PUBLISHED

        swap = self.manifest.swap
        if swap is not None:
            yield tabulate_outcomes(swap.counts)
            table = build_table("donor", "rows>", "clean>", "used>")
            for donor in swap.donors:
                used = swap.counts.by_donor.get(donor.name, 0)
                table.add_row(donor.name, f"{donor.rows:,}", f"{donor.usable:,}", f"{used:,}")
            if swap.donors:
                yield table
        output = shlex.quote(self.output)
        counts = self.manifest.conservation.by_decision
        clean = sum(counts.get(name, 0) for name in PUBLISHED)
        yield Verbatim(f"done: {output}")
        where = storage.join(self.output, "clean")
        yield f"for the trainer: {format_count(clean, 'row')} in {where}"
        if swap is not None and swap.counts.waiting:
            verb = choose_form(swap.counts.waiting, "waits", "wait")
            yield (
                f"{format_count(swap.counts.waiting, 'row')} still {verb} in quarantine; the "
                f"prompts are in {storage.join(self.output, 'swaplist')}"
            )
        yield Verbatim(f"next: congener verify {output}\n      congener inspect {output}")

    def to_json(self) -> dict[str, Any]:
        """Return the manifest without its long lists."""
        return self.manifest.model_dump(mode="json", exclude={"outputs", "shards"})


def tabulate_outcomes(counts: SwapCounts) -> Table:
    """Return a table of the rows that were to be replaced, by trait and outcome."""
    from schemas.swaps import REPLACED

    table = build_table("trait", "rows>", "replaced>", "waiting>", "because")
    for trait, found in counts.by_trait.items():
        total, replaced = sum(found.values()), found.get(REPLACED, 0)
        why = ", ".join(f"{name} {count:,}" for name, count in found.items() if name != REPLACED)
        table.add_row(trait, f"{total:,}", f"{replaced:,}", f"{total - replaced:,}", why or "-")
    return table


@spread_groups
def swap_answers(
    run: Run,
    swap: SwapOptions,
    files: SwapFileOptions,
    device: DeviceOptions,
    engine: EngineOptions,
    restart: Restart = False,
    quiet: Quiet = False,
    as_json: Json = False,
    beam_options: BeamOptions = None,
) -> None:
    """Put other teachers' answers in place of held ones.

    The new run is RUN with clean answers of the donors in the places of the rows that wait for a
    swap. RUN itself stays as it is. Donors are filtered first, with RUN's bank and policy, and no
    answer is used on which any trait fires. A donor's row replaces one row at most. What has no
    donor stays in quarantine and on the swap list. If a swap is interrupted, the same command
    resumes it.

    congener swap run/ --donor other-teacher.jsonl --output run2/
    congener swap run/ --donor best=a.parquet --donor b.parquet -o run2/
    congener swap run/ --donor others/ --replace quarantine -o run2/
    congener swap run/ --donor others/ --near 0.2 -o run2/
    """
    settings = read_settings(None, swap, files, device, engine)
    replace = _check_options(run, swap)

    from pipelines.early_checks import check_output, check_run

    check_run(run)
    check_output(settings.output)

    from pipelines.display.progress import TerminalReporter
    from pipelines.swap import SwapConfig, run_swap

    config = SwapConfig(
        run=run,
        donors=tuple(swap.donors or ()),
        replace=replace,
        near=swap.near,
        filter=settings,
    )
    with TerminalReporter(quiet) as listener:
        manifest = run_swap(
            config,
            restart=restart,
            command=sys.argv,
            beam_options=tuple(beam_options or ()),
            listener=listener,
        )
    if as_json or not quiet:
        print_result(SwapResult(settings.output, manifest), as_json)


def _check_options(run: str, swap: SwapOptions) -> tuple[Any, ...]:
    """Return the actions whose rows are replaced.

    Raises: CardError: an option is missing, or an action isn't one of them.
    """
    from schemas.swaps import ReplacedAction

    if not (swap.output and swap.donors):
        raise CardError(
            "a donor is needed" if swap.output else "--output is needed",
            where="congener swap",
            remedy=f"congener swap {shlex.quote(run)} --donor CORPUS --output RUN2",
        )
    found = tuple(dict.fromkeys(swap.replace or ("swap",)))
    if unknown := [action for action in found if action not in get_args(ReplacedAction)]:
        raise CardError(
            f"{unknown[0]!r} isn't an action whose rows can be replaced",
            where="--replace",
            remedy=f"the actions are {' and '.join(get_args(ReplacedAction))}",
        )
    return found
