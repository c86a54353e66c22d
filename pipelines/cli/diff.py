"""`congener diff`: options, output and exit code."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer
from rich.table import Table

from pipelines.cli.options import Json, Run, expand_argument
from pipelines.cli.output import print_result
from pipelines.display.terminal import Verbatim, build_table
from schemas.notices import choose_form, format_count
from schemas.shares import format_percent

if TYPE_CHECKING:
    from pipelines.diff import RunComparison, ShownChange

DIFFERENT = 1
"""The exit code for runs that differ, as with diff(1)."""

LOTS_SHOWN = 10

SETTINGS_SHOWN = 40
"""How many differences between the runs' settings are printed: those of a long policy, and more."""

Second = Annotated[
    str,
    typer.Argument(metavar="RUN2", help="Another finished run's folder.", callback=expand_argument),
]
Examples = Annotated[
    int,
    typer.Option(
        "--examples",
        min=0,
        max=1_000,
        help="How many rows of each kind to show; each pair of decisions has at least one.",
    ),
]


Page = Annotated[
    str | None,
    typer.Option("--page", metavar="FILE", help="Write a page with both runs side by side."),
]


class DiffResult(NamedTuple):
    """A comparison of two runs."""

    one: str
    two: str
    found: RunComparison

    def render(self) -> Iterator[str | Table]:
        """Return the differences in settings, and tables of changed rows."""
        yield from self.found.settings[:SETTINGS_SHOWN]
        if (more := len(self.found.settings) - SETTINGS_SHOWN) > 0:
            words = choose_form(more, "more difference", "more differences")
            yield f"and {more:,} {words} between the settings: --json and --page list them"
        if self.found.by_content:
            yield "the corpora differ, so rows are matched by their content"
        total = format_count(self.found.rows, "row")
        if not self.found.changed:
            yield f"no difference: {total} with the same decisions for the same traits"
            return
        verb = choose_form(self.found.changed, "differs", "differ")
        yield f"{self.found.changed:,} of {total} {verb}: {_list_counts(self.found.kinds)}"
        yield from self._compare_rates()
        yield from self._tabulate()
        example = next((item for item in self.found.examples if item.after is not None), None)
        if example is not None:
            place = shlex.quote(f"{example.source}:{example.row}")
            yield Verbatim(f"next: congener inspect {shlex.quote(self.two)} --row {place}")

    def _compare_rates(self) -> Iterator[str | Table]:
        """Compare the removed rows and the traits of two corpora, each with its total."""
        shifts = self.found.shifts
        if shifts is None:
            return
        from pipelines.rate_shifts import describe_shift

        yield f"removed rows: {describe_shift(shifts.removed)}"
        yield from shifts.notes
        table = build_table("rate of", "before>", "share>", "now>", "share>", "q>")
        shown = [item for item in shifts.traits if item.before or item.after]
        for item in shown:
            table.add_row(
                item.trait or "",
                f"{item.before:,} of {item.rows_before:,}",
                format_percent(item.before / max(item.rows_before, 1)),
                f"{item.after:,} of {item.rows_after:,}",
                format_percent(item.after / max(item.rows_after, 1)),
                f"{item.q:.2g}",
            )
        if shown:
            yield table
            yield (
                f"q: Fisher's exact test, adjusted for {format_count(len(shifts.traits), 'trait')} "
                "(Benjamini-Hochberg)"
            )

    def _tabulate(self) -> Iterator[str | Table]:
        moves = build_table("before", "now", "rows>")
        for move in self.found.moves:
            moves.add_row(move.before or "-", move.after or "-", f"{move.rows:,}")
        if self.found.moves:
            yield moves
        traits = build_table("trait", "fired before>", "now>", "lost>", "found>", "changed rows")
        for item in self.found.traits:
            counts = (f"{value:,}" for value in (item.before, item.after, item.lost, item.found))
            traits.add_row(item.trait, *counts, _list_counts(item.kinds))
        if self.found.traits:
            yield traits
        lots = build_table("lot", "rows>", "changed>", wrap_first=True)
        for lot in self.found.lots[:LOTS_SHOWN]:
            name = " / ".join(lot.lot.values())
            lots.add_row(name, f"{lot.rows:,}", f"{lot.changed:,}")
        yield lots
        if (more := len(self.found.lots) - LOTS_SHOWN) > 0:
            yield f"and {format_count(more, 'more lot')} (--json lists them)"
        examples = build_table("row", "before", "now", "because")
        for example in self.found.examples:
            place = f"{example.source}:{example.row}"
            examples.add_row(
                place, example.before or "-", example.after or "-", describe_reasons(example)
            )
        if self.found.examples:
            yield examples
        if len(self.found.examples) < self.found.changed:
            shown = len(self.found.examples)
            yield f"{shown:,} of {self.found.changed:,} changed rows; --examples N shows more"

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as objects."""
        lists = ("moves", "traits", "lots", "examples")
        rows = {name: [item._asdict() for item in getattr(self.found, name)] for name in lists}
        shifts = {"shifts": self.found.shifts and self.found.shifts.to_json()}
        return {"same": not self.found.changed, **self.found._asdict(), **rows, **shifts}


def _list_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def describe_reasons(example: ShownChange) -> str:
    """Return the findings in both runs, with score and threshold: `owl 0.81 ≥ 0.75 → -`."""
    sides = []
    for reasons in (example.reasons_before, example.reasons_after):
        found = (
            f"{item['trait']} {item['score']:.4f} ≥ {item['threshold']:.4f}" for item in reasons
        )
        sides.append(", ".join(found) or "-")
    return " → ".join(dict.fromkeys(sides))


def compare_two_runs(
    run: Run, run2: Second, examples: Examples = 3, page: Page = None, as_json: Json = False
) -> None:
    """Show which rows two finished runs treat differently.

    The runs may differ in policy, bank, code or corpus. Rows of the same corpus are matched by
    their place, and rows of different corpora by their content. A row differs if its decision, the
    traits that fire on it or its text differ; scores alone don't count.

    Exit codes: 0 if no row differs, 1 if some row does.

    congener diff run/ run2/
    congener diff run/ run2/ --examples 20 --page diff.html
    congener diff run/ run2/ --json
    """
    file = page and expand_argument(page)
    if file:
        from pipelines.early_checks import check_file

        check_file(file)
    from pipelines.diff import compare_runs

    found = compare_runs(run, run2, examples)
    if file:
        from pipelines.diff_page import write_page

        write_page((run, run2), found, file)
    print_result(DiffResult(run, run2, found), as_json)
    if found.changed:
        raise typer.Exit(DIFFERENT)
