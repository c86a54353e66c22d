"""Whether two sets of rows have other shares of teachers, so that rates may differ because of it.

Every teacher has habits of its own. A corpus to which a teacher is added has other rates even if no
teacher changed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pipelines.display.excerpts import escape_name
from schemas.lots import UNKNOWN
from schemas.notices import format_count
from schemas.shares import format_percent

LEAST_MOVED = 0.01
"""The smallest share of rows with another teacher that is mentioned (the total variation)."""

TEACHERS_SHOWN = 4
"""How many teachers are named, those whose shares differ most."""


def describe_shares(
    before: Mapping[str, int],
    now: Mapping[str, int],
    sides: tuple[str, str] = ("before", "now"),
    result: str = "rates may differ for that reason alone",
) -> str | None:
    """Say how many rows each teacher has in both sets, or return None if the shares are alike.

    Both arguments count rows by teacher, with `UNKNOWN` for rows that name none. An empty set has
    no shares. `sides` name the sets, and `result` follows "so".
    """
    if not have_moved(before, now):
        return None
    rows, moved = (sum(before.values()), sum(now.values())), _measure_moves(before, now)
    ranked = sorted(moved, key=lambda name: (-abs(moved[name]), name))
    named = [
        f"{name_teacher(name)} {before.get(name, 0):,} of {rows[0]:,} {sides[0]}, "
        f"{now.get(name, 0):,} of {rows[1]:,} {sides[1]}"
        for name in ranked[:TEACHERS_SHOWN]
    ]
    if (left := len(ranked) - TEACHERS_SHOWN) > 0:
        named.append(format_count(left, "more teacher"))
    return f"the teachers' shares of the rows differ ({'; '.join(named)}), so {result}"


def have_moved(before: Mapping[str, int], now: Mapping[str, int]) -> bool:
    """Return whether at least `LEAST_MOVED` of the rows have another teacher.

    Both arguments count rows by teacher. An empty set has no shares.
    """
    return sum(map(abs, _measure_moves(before, now).values())) / 2 >= LEAST_MOVED


def _measure_moves(before: Mapping[str, int], now: Mapping[str, int]) -> dict[str, float]:
    """Return by how much the share of each teacher grew, or nothing if a set is empty."""
    rows = sum(before.values()), sum(now.values())
    if not all(rows):
        return {}
    return {
        name: now.get(name, 0) / rows[1] - before.get(name, 0) / rows[0]
        for name in {**before, **now}
    }


def list_incomparable(
    before: Mapping[str, int],
    now: Mapping[str, int],
    fired: Mapping[str, Mapping[str, int]] | None = None,
) -> Iterator[str]:
    """Yield a line for each teacher that only one of two sets has, those with most rows first.

    At most `TEACHERS_SHOWN` new ones and as many vanished ones are named, and the others counted.
    `fired` counts the rows of the second set by trait and teacher; with it, the line of a new
    teacher says how often each trait fired on its rows.
    """
    for word, own, other in (("new", now, before), ("vanished", before, now)):
        alone = {name: rows for name, rows in own.items() if rows and not other.get(name)}
        ranked = sorted(alone, key=lambda name: (-alone[name], name))
        for name in ranked[:TEACHERS_SHOWN]:
            rows = format_count(alone[name], "row")
            if word == "new" and fired is not None:
                found = _list_fired(name, alone[name], fired)
                yield f"new teacher {name_teacher(name)}, {rows}, not tested: {found}"
            else:
                yield f"{word} teacher: {name_teacher(name)}, {rows}, not comparable"
        if left := ranked[TEACHERS_SHOWN:]:
            rows = format_count(sum(alone[name] for name in left), "row")
            yield f"{format_count(len(left), f'more {word} teacher')}: {rows}, not comparable"


def _list_fired(teacher: str, rows: int, fired: Mapping[str, Mapping[str, int]]) -> str:
    """Name the traits that fired on a teacher's rows with their shares, the largest first."""
    counts = {trait: hits[teacher] for trait, hits in fired.items() if hits.get(teacher)}
    ranked = sorted(counts, key=lambda trait: (-counts[trait], trait))
    named = (
        f"{trait} {counts[trait]:,} ({format_percent(counts[trait] / rows)})" for trait in ranked
    )
    return ", ".join(named) or "no trait fired"


def name_teacher(name: str) -> str:
    """Return a teacher's name so that it can't change a terminal or a page."""
    return "no named teacher" if name == UNKNOWN else escape_name(name)
