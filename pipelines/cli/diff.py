"""`congener diff`: options, output and exit code."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
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
    from pipelines.rate_shifts import RateShifts
    from pipelines.rate_tests import RateShift

DIFFERENT = 1
"""The exit code for runs that differ, as with diff(1)."""

LOTS_SHOWN = 10

TRAITS_SHOWN = 5
TEACHERS_SHOWN = 6
"""How many traits the table by teacher has, and how many teachers of each."""

SUMMED = {
    "exception removed: ": "exceptions removed",
    "exception added: ": "exceptions added",
    "input ": "inputs that differ",
}
"""The starts of lines that say how two runs differ, and what such lines are called together."""

SAME_KIND = 3
"""How many lines with the same start are shown; more are only counted."""

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
        """Return the number of changed rows, differences in settings, and tables of the rows."""
        if self.found.by_content:
            yield "the corpora differ, so rows are matched by their content"
        total = format_count(self.found.rows, "row")
        if not self.found.changed:
            yield f"no difference: {total} with the same decisions for the same traits"
            yield from self._describe_settings()
            return
        verb = choose_form(self.found.changed, "differs", "differ")
        yield f"{self.found.changed:,} of {total} {verb}: {_list_counts(self.found.kinds)}"
        yield from self._describe_settings()
        yield from self._compare_rates()
        yield from self._tabulate()
        example = next((item for item in self.found.examples if item.after is not None), None)
        if example is not None:
            place = shlex.quote(f"{example.source}:{example.row}")
            has_first = self.found.by_content and example.before is not None
            run = self.one if has_first else self.two
            yield Verbatim(f"next: congener inspect {shlex.quote(run)} --row {place}")

    def _describe_settings(self) -> Iterator[str]:
        """Say how the runs were made differently; many lines of one kind are only counted."""
        lines = list(sum_up_settings(self.found.settings))
        yield from lines[:SETTINGS_SHOWN]
        if (more := len(lines) - SETTINGS_SHOWN) > 0:
            words = choose_form(more, "more difference", "more differences")
            yield f"and {more:,} {words} between the settings: --json and --page list them"

    def _compare_rates(self) -> Iterator[str | Table]:
        """Compare the removed rows and the traits of two corpora, each with its total."""
        shifts = self.found.shifts
        if shifts is None:
            return
        from pipelines.rate_shifts import describe_tests
        from pipelines.rate_tests import describe_power, describe_shift

        power = describe_power(shifts.removed)
        yield f"removed rows: {describe_shift(shifts.removed)}{power and f'; {power}'}"
        yield from shifts.notes
        shown = [item for item in shifts.traits if item.before or item.after]
        if shown:
            yield tabulate_shifts(shown)
            yield describe_tests(shifts)
        teachers = choose_teachers(shifts)
        if teachers:
            yield tabulate_teachers(teachers[:TRAITS_SHOWN])
            yield (
                "by teacher: traits whose rate differs in total or for a teacher; q: Fisher's "
                "exact test, adjusted for all traits and teachers"
            )
        if (more := len(teachers) - TRAITS_SHOWN) > 0:
            yield f"and {format_count(more, 'more trait')} by teacher (--json lists them)"

    def _tabulate(self) -> Iterator[str | Table]:
        moves = build_table("before", "now", "rows>")
        for move in self.found.moves:
            moves.add_row(move.before or "-", move.after or "-", f"{move.rows:,}")
        if self.found.moves:
            yield moves
        yield from self._tabulate_traits()
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

    def _tabulate_traits(self) -> Iterator[str | Table]:
        traits = build_table("trait", "fired before>", "now>", "lost>", "found>", "changed rows")
        for item in self.found.traits:
            counts = (f"{value:,}" for value in (item.before, item.after, item.lost, item.found))
            traits.add_row(item.trait, *counts, _list_counts(item.kinds))
        if self.found.traits:
            yield traits
        if any(self.found.taken_out):
            before, after = self.found.taken_out
            yield f"not among them: rows taken out by a person, {before:,} before and {after:,} now"

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as objects."""
        lists = ("moves", "traits", "lots", "examples")
        rows = {name: [item._asdict() for item in getattr(self.found, name)] for name in lists}
        shifts = {"shifts": self.found.shifts and self.found.shifts.to_json()}
        return {"same": not self.found.changed, **self.found._asdict(), **rows, **shifts}


def sum_up_settings(settings: Sequence[str]) -> Iterator[str]:
    """Yield the lines of differences; of a kind with more than `SAME_KIND` lines, their number."""
    groups: dict[str, list[str]] = {}
    for line in settings:
        kind = next((start for start in SUMMED if line.startswith(start)), line)
        groups.setdefault(kind, []).append(line)
    for kind, lines in groups.items():
        if len(lines) <= SAME_KIND:
            yield from lines
        else:
            yield f"{SUMMED[kind]}: {len(lines):,} (--json and --page list them)"


def tabulate_shifts(shifts: Sequence[RateShift]) -> Table:
    """Tabulate how often traits fire in two runs, and the test's q.

    Where rates were compared within teachers, the counts are those of the teachers of both runs,
    and the last column has the shares of all rows.
    """
    if shifts[0].within is None:
        table = build_table("rate of", "before>", "share>", "now>", "share>", "q>")
        for item in shifts:
            table.add_row(item.trait or "", *_show_counts(item[1:5]), _show_q(item.q))
        return table
    table = build_table("rate of", "rows>", "share>", "q>", "of all rows>")
    for item in shifts:
        if item.within is not None:
            rows = f"{item.within.before:,} → {item.within.after:,}"
            shares = (" → ".join(_divide_both(counts)) for counts in (item.within, item[1:5]))
            within, whole = shares
            table.add_row(item.trait or "", rows, within, _show_q(item.q), whole)
    return table


def choose_teachers(shifts: RateShifts) -> list[RateShift]:
    """Return the traits whose rate differs in total, within teachers or for one teacher.

    There are none if rates were compared in total.
    """
    from pipelines.rate_tests import LEVEL, differs_in_total

    return [
        item
        for item in shifts.traits
        if item.teachers
        and (
            item.has_shifted
            or differs_in_total(item)
            or any(one.q is not None and one.q <= LEVEL for one in item.teachers)
        )
    ]


def tabulate_teachers(shifts: Sequence[RateShift]) -> Table:
    """Tabulate how often traits fire in two runs: on all rows, and on each teacher's.

    Up to `TEACHERS_SHOWN` teachers have a line, those with most rows.
    """
    from pipelines.teacher_shares import name_teacher

    table = build_table(
        "rate by teacher", "before>", "share>", "now>", "share>", "q>", wrap_first=True
    )
    for shift in shifts:
        table.add_row(f"{shift.trait}, all rows", *_show_counts(shift[1:5]), "")
        for item in shift.teachers[:TEACHERS_SHOWN]:
            counts = _show_counts(item[1:5])
            table.add_row(f"  {name_teacher(item.teacher)}", *counts, _show_q(item.q))
        if (more := len(shift.teachers) - TEACHERS_SHOWN) > 0:
            table.add_row(f"  and {format_count(more, 'more teacher')}: --json")
    return table


def _show_counts(counts: Sequence[int]) -> tuple[str, str, str, str]:
    """Return both counts with their rows and shares, or dashes where there are no rows."""
    before, rows_before, after, rows_after = counts
    shares = _divide_both(counts)
    return (
        f"{before:,} of {rows_before:,}" if rows_before else "-",
        shares[0],
        f"{after:,} of {rows_after:,}" if rows_after else "-",
        shares[1],
    )


def _divide_both(counts: Sequence[int]) -> tuple[str, str]:
    before, rows_before, after, rows_after = counts
    return (
        format_percent(before / rows_before) if rows_before else "-",
        format_percent(after / rows_after) if rows_after else "-",
    )


def _show_q(q: float | None) -> str:
    return "-" if q is None else f"{q:.2g}"


def _list_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def describe_reasons(example: ShownChange) -> str:
    """Return the findings in both runs, with score and threshold: `owl 0.81 ≥ 0.75 → -`."""
    from pipelines.diff_page import describe_reason

    sides = [
        ", ".join(map(describe_reason, reasons)) or "-"
        for reasons in (example.reasons_before, example.reasons_after)
    ]
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
