"""`congener losses`: options and output."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import Json, Run, expand_argument
from pipelines.cli.output import print_result
from pipelines.display.terminal import Verbatim, build_table
from schemas.notices import choose_form, format_count, list_names
from schemas.shares import format_interval, format_percent

if TYPE_CHECKING:
    from pipelines.losses import Losses

GROUPS_SHOWN = 20

Against = Annotated[
    str | None,
    typer.Option(
        "--against",
        metavar="RUN0",
        help="An earlier run: show what changed since then.",
    ),
]
By = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="GROUPING",
        help="length, language, topic, teacher, 'prompt source' or file; repeatable (default: "
        "all). The last three read no text.",
    ),
]
OnlyTrait = Annotated[
    str | None,
    typer.Option("--trait", help="Count only lost rows on which this trait fired."),
]
InputFolder = Annotated[
    str | None,
    typer.Option(
        "--input",
        "-i",
        metavar="FOLDER",
        help="The folder with the run's input files, if they have moved; the text of dropped "
        "rows is read from there.",
    ),
]
ParquetFile = Annotated[
    str | None,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Write all lines to this Parquet file as well."
    ),
]


class LossResult(NamedTuple):
    """What a run took out of its corpus."""

    run: str
    found: Losses
    has_earlier: bool
    output: str | None
    is_chosen: bool = False
    """Whether groupings were chosen, whose groups are shown even if none differs."""

    def render(self) -> Iterator[str | Table]:
        """Return a sentence, the table of groups, and the next command."""
        found = self.found
        cause = f" because of {found.trait}" if found.trait else ""
        share = format_percent(found.lost / found.rows) if found.rows else "none"
        yield f"lost{cause}: {found.lost:,} of {format_count(found.rows, 'row')} ({share})"
        if found.shift is not None:
            from pipelines.rate_tests import describe_shift

            yield f"all rows: {describe_shift(found.shift, has_p=not found.same_rows)}"
            if found.same_rows:
                yield "both runs read the same files, so their difference isn't tested"
            yield from found.notes
        if found.apart:
            listed = ", ".join(f"{name} {rows:,}" for name, rows in found.apart.items())
            yield f"not counted here: {listed}"
        yield from self._tabulate()
        if found.omitted and found.lost:
            small = ", ".join(f"{by} {count:,}" for by, count in found.omitted.items())
            yield f"groups of fewer than 20 rows aren't compared: {small}"
        if self.output:
            yield Verbatim(f"done: {shlex.quote(self.output)}")
        if found.lost:
            run = shlex.quote(self.run)
            yield Verbatim(f"next: congener inspect {run} --decision quarantine")

    def _tabulate(self) -> Iterator[str | Table]:
        lines = self.found.table.to_dicts()
        differing = [line for line in lines if line["differs"]]
        drifted = [line for line in lines if line["drifted"] and not line["differs"]]
        if not self.found.lost and not drifted:
            return
        if not lines:
            yield "there are no two groups to compare"
            return
        verb = choose_form(len(differing), "differs", "differ")
        yield (
            f"{len(differing):,} of {format_count(len(lines), 'group')} {verb} from the other rows "
            "(Fisher's exact test, 5 % for all groups together)"
        )
        yield from self._name_doubtful()
        if self.has_earlier:
            count = sum(bool(line["drifted"]) for line in lines)
            verb = choose_form(count, "has", "have")
            yield f"{format_count(count, 'group')} {verb} another share of lost rows than before"
        shown = (differing + drifted or lines * self.is_chosen)[:GROUPS_SHOWN]
        if shown:
            yield self._build_table(shown)
        if len(lines) > len(shown):
            more = "more " * bool(shown)
            yield f"{format_count(len(lines) - len(shown), f'{more}group')}: --json, or --output"

    def _name_doubtful(self) -> Iterator[str]:
        from pipelines.loss_summary import name_doubtful

        if names := name_doubtful(self.found):
            kind = "more group" if self.found.table["differs"].any() else "group"
            yield (
                f"tested alone, {format_count(len(names), kind)} would differ: "
                f"{list_names(names)}; chance alone gives about 1 in 20"
            )

    def _build_table(self, lines: list[dict[str, Any]]) -> Table:
        earlier = ("before>",) if self.has_earlier else ()
        from pipelines.loss_summary import name_group

        names = ("group", "lost>", "share>", "95 % interval>", "others>", *earlier)
        table = build_table(*names, wrap_first=True)
        for line in lines:
            before = line["share_before"]
            then = ("-" if before is None else format_percent(before, 1),)
            table.add_row(
                name_group(line["by"], line["group"]),
                f"{line['lost']:,} of {line['rows']:,}",
                format_percent(line["share"], 1),
                format_interval(line["low"], line["high"], 1),
                format_percent(line["rest"], 1),
                *(then if self.has_earlier else ()),
            )
        return table

    def to_json(self) -> dict[str, Any]:
        """Return everything, with the lines as objects."""
        shift = {"shift": self.found.shift and self.found.shift.to_json()}
        return {**self.found._asdict(), **shift, "table": self.found.table.to_dicts()}


def show_losses(
    run: Run,
    against: Against = None,
    by: By = None,
    trait: OnlyTrait = None,
    folder: InputFolder = None,
    output: ParquetFile = None,
    as_json: Json = False,
) -> None:
    """Show which kinds of rows a run took out of the corpus.

    A row is lost if it is in quarantine or was dropped. The share of lost rows in each group, by
    length, language, topic, teacher, prompt source and file, is compared with that of all other
    rows. Groups that differ come first, those that differ most at the top. Topics are clusters of
    the words of prompts, named by their most distinctive words.

    congener losses run/
    congener losses run/ --trait over-refusal --by topic --by length
    congener losses run/ --against last-month/ --output losses.parquet
    """
    from pipelines.early_checks import check_file, check_run

    check_run(run)
    earlier, file = (value and expand_argument(value) for value in (against, output))
    if earlier:
        check_run(earlier)
    if file:
        check_file(file)

    from pipelines.losses import GROUPINGS, measure_losses, write_table

    place = folder and expand_argument(folder)
    found = measure_losses(run, earlier, tuple(dict.fromkeys(by or GROUPINGS)), trait, place)
    if file:
        write_table(found, file)
    print_result(LossResult(run, found, earlier is not None, file, bool(by)), as_json)
