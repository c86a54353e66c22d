"""How `congener traits eval` prints a trait's rates by teacher, and which teachers differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from pipelines.display.excerpts import escape_name
from pipelines.display.terminal import build_table
from schemas.notices import format_count
from schemas.shares import format_interval, format_percent, round_down, round_up

if TYPE_CHECKING:
    from classifiers.guarantees.stratified import Interval
    from pipelines.trait_rates import TeacherPair, TraitRate

TEACHERS_SHOWN = 10
"""How many teachers' rates are shown."""

QUESTION = (
    "These rates say how often each teacher's rows show {trait}, as far as rows were read. "
    "The report answers another question, on which teachers' rows the trait fires more often, "
    "right or wrong (congener report RUN)."
)
"""Which question the rates by teacher answer, and which one the report answers."""

ALL_ROWS = 0.95
"""From this share of the corpus on, the number of rows to read is called all rows."""

FAR = 2
"""A corpus isn't called too small if it has more than one in so many of the rows needed."""

CHANCE = "with a chance of four in five, by a rough estimate"
"""How sure and how exact the number of rows needed is."""

LEAST_DECIMALS, MOST_DECIMALS = 2, 5
"""The decimals of percentage points: two digits of a small difference, up to a limit."""


def describe_interval(interval: Interval) -> str:
    """Return an estimate in percent, or `?`, with its interval."""
    shown = "?" if interval.estimate is None else format_percent(interval.estimate, 0)
    return f"{shown} ({format_interval(interval.low, interval.high, 0)})"


def describe_rates(
    rates: Sequence[TraitRate],
    trait: str,
) -> Iterator[Table | str]:
    """State how often the trait occurs in all rows, and tabulate the largest teachers."""
    for item in rates[:1]:
        if item.rate.estimate is None:
            yield (
                f"rate of {trait}: not measured, because no row with a low score was read; "
                f"it fired on {item.fired:,} of {format_count(item.rows, 'row')}"
            )
            return
        shown, ends = _format_rate(item)
        ends += ": all were read" * (item.read == item.rows)
        yield (
            f"rate of {trait}: {shown} of {format_count(item.rows, 'row')} ({ends}); for new rows "
            f"like these, {_format_new(item)}; it fired on {item.fired:,}"
        )
    if len(rates) < 3:
        return
    headings = ("teacher", "rows>", "fired>", "read>", "rate>", "these rows>", "new rows>")
    table = build_table(*headings, title=f"how often {trait} occurs")
    for item in rates[1 : 1 + TEACHERS_SHOWN]:
        counts = (f"{count:,}" for count in (item.rows, item.fired, item.read))
        name = escape_name(item.teacher or "")
        table.add_row(name, *counts, *_format_rate(item), _format_new(item))
    yield table
    yield from _explain_unknown(rates[1 : 1 + TEACHERS_SHOWN])
    known = [item for item in rates[1 : 1 + TEACHERS_SHOWN] if item.recall.estimate is not None]
    if known:
        recalls = [f"{escape_name(item.teacher or '')} {_describe_recall(item)}" for item in known]
        yield f"of each teacher's rows that show it, it fired on: {'; '.join(recalls)}"
    if (left := len(rates) - 1 - TEACHERS_SHOWN) > 0:
        yield f"{format_count(left, 'teacher')} with fewer rows: --json lists all"
    yield QUESTION.format(trait=trait)


def _explain_unknown(rates: Sequence[TraitRate]) -> Iterator[str]:
    """Say why teachers have no rate: none of their rows with low scores was read."""
    if named := [escape_name(item.teacher or "") for item in rates if item.rate.estimate is None]:
        yield (
            f"?: no row with a low score of {', '.join(named)} was read, so the rate isn't known, "
            "and it is compared with no other; more --rows read more of each teacher"
        )


def _format_rate(item: TraitRate) -> tuple[str, str]:
    """Return an estimate and its interval, which is exact if all rows were read."""
    rate = item.rate
    shown = "?" if rate.estimate is None else format_percent(rate.estimate)
    return shown, "exact" if item.read == item.rows else format_interval(rate.low, rate.high)


def _format_new(item: TraitRate) -> str:
    return format_interval(item.on_new_rows.low, item.on_new_rows.high)


def _describe_recall(item: TraitRate) -> str:
    """Return a teacher's recall and its interval, which is exact if all rows were read."""
    if item.read == item.rows and item.recall.estimate is not None:
        return f"{format_percent(item.recall.estimate, 0)} (exact)"
    return describe_interval(item.recall)


def describe_pairs(pairs: Sequence[TeacherPair], rates: Sequence[TraitRate]) -> Iterator[str]:
    """Say which teachers' rates differ on new rows, and how many rows would rank the others.

    The pairs that can't be ranked share a line, so that they don't bury those that can.
    """
    for item in pairs:
        if item.is_ranked:
            first, second = escape_name(item.first), escape_name(item.second)
            yield f"{first} shows it more often than {second}: {_describe_difference(item)}"
    if left := [item for item in pairs if not item.is_ranked]:
        yield _describe_unranked(left, len(pairs), rates[0].rows)
    if pairs:
        hold = (
            "The intervals of these differences hold together"
            if len(pairs) > 1
            else "The interval of this difference holds"
        )
        yield (
            f"{hold} with 95% confidence; --json has every pair. Rows are compared whatever was "
            "asked, so teachers with other prompts may differ because of the prompts."
        )


def _describe_difference(item: TeacherPair) -> str:
    """Return a difference in these rows, and its interval for new rows like them."""
    known, new = item.difference, item.on_new_rows
    values = [known.low, known.high, known.estimate or 0.0, new.low, new.high]
    decimals = _choose_decimals(values)
    here = "" if known.estimate is None else f"{100 * known.estimate:+.{decimals}f} points"
    ends = "exact" if item.is_exact else _format_points(known, decimals)
    return (
        f"{here or 'by an unknown difference'} in these rows ({ends}); on new rows like these, "
        f"{_format_points(new, decimals)} points"
    )


def _format_points(interval: Interval, decimals: int) -> str:
    """Format an interval of a difference in percentage points, rounded outwards."""
    low = 100 * round_down(interval.low, decimals + 2)
    high = 100 * round_up(interval.high, decimals + 2)
    return f"{low:+.{decimals}f} to {high:+.{decimals}f}"


def _choose_decimals(values: Sequence[float]) -> int:
    """Return so many decimals that the smallest difference in points has two digits."""
    sizes = [abs(100 * value) for value in values if round(100 * value, MOST_DECIMALS)]
    wanted = 1 - math.floor(math.log10(min(sizes))) if sizes else 0
    return min(max(wanted, LEAST_DECIMALS), MOST_DECIMALS)


def _describe_unranked(pairs: Sequence[TeacherPair], compared: int, rows: int) -> str:
    """Say in one line which pairs can't be ranked, and how many rows the closest to it needs."""
    names = dict.fromkeys(name for item in pairs for name in (item.first, item.second))
    if compared == 1:
        subject = f"{' and '.join(map(escape_name, names))} can't be ranked"
    elif len(pairs) == compared:
        subject = f"no two of the {len(names)} teachers with a rate can be ranked"
    else:
        listed = [f"{escape_name(item.first)} and {escape_name(item.second)}" for item in pairs]
        subject = f"{'; '.join(listed)} can't be ranked"
    best = min(pairs, key=lambda item: (item.rows_needed or math.inf, -item.on_new_rows.low))
    pair = f"{escape_name(best.first)} against {escape_name(best.second)}, " * (compared > 1)
    return (
        f"{subject}, because on new rows their rates may be equal ({pair}"
        f"{_describe_difference(best)}){_describe_needed(best, rows)}"
    )


def _describe_needed(item: TeacherPair, rows: int) -> str:
    """Say how many rows would show a difference as large as the estimate."""
    if item.rows_needed is None:
        return ""
    least = "; if their rates differ as much as estimated, "
    needed = item.rows_needed
    if needed > rows and (item.is_exact or needed > FAR * rows):
        return (
            f"{least}it takes about {needed:,} rows like these, all read, to show it {CHANCE}: "
            f"more than this corpus's {rows:,}"
        )
    if needed > rows:
        return f"{least}reading all {rows:,} rows may show it (--rows {rows})"
    if needed > ALL_ROWS * rows:
        return f"{least}reading all {rows:,} rows would show it {CHANCE} (--rows {rows})"
    return f"{least}reading about {needed:,} rows in all would show it {CHANCE} (--rows {needed})"
