"""Whether two sets of rows have other shares of teachers, so that rates may differ because of it.

Every teacher has habits of its own. A corpus to which a teacher is added has other rates even if no
teacher changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipelines.display.excerpts import escape_name
from schemas.lots import UNKNOWN
from schemas.notices import format_count

LEAST_MOVED = 0.01
"""The smallest share of rows with another teacher that is mentioned (the total variation)."""

TEACHERS_SHOWN = 4
"""How many teachers are named, those whose shares differ most."""


def describe_shares(before: Mapping[str, int], now: Mapping[str, int]) -> str | None:
    """Say how many rows each teacher has in both sets, or return None if the shares are alike.

    Both arguments count rows by teacher, with `UNKNOWN` for rows that name none. An empty set has
    no shares.
    """
    rows = sum(before.values()), sum(now.values())
    if not all(rows):
        return None
    moved = {
        name: now.get(name, 0) / rows[1] - before.get(name, 0) / rows[0]
        for name in {**before, **now}
    }
    if sum(map(abs, moved.values())) / 2 < LEAST_MOVED:
        return None
    ranked = sorted(moved, key=lambda name: (-abs(moved[name]), name))
    named = [
        f"{_name_teacher(name)} {before.get(name, 0):,} of {rows[0]:,} before, "
        f"{now.get(name, 0):,} of {rows[1]:,} now"
        for name in ranked[:TEACHERS_SHOWN]
    ]
    if (left := len(ranked) - TEACHERS_SHOWN) > 0:
        named.append(format_count(left, "more teacher"))
    return (
        f"the teachers' shares of the rows differ ({'; '.join(named)}), so rates may differ for "
        "that reason alone"
    )


def _name_teacher(name: str) -> str:
    return "no named teacher" if name == UNKNOWN else escape_name(name)
