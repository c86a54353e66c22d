"""The table of a policy's exceptions, and of the rows that each one changed or would change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from pipelines.display.terminal import build_table
from pipelines.runs.parent_policies import list_reviews
from schemas.notices import format_count
from schemas.policies import LotException
from schemas.receipts import ExceptionEffect

MOST_ROWS = 10
"""How many exceptions that name a row have a line of their own."""


def tabulate_exceptions(
    exceptions: Sequence[LotException],
    effects: Sequence[ExceptionEffect],
    *,
    is_dry: bool = False,
    known: Iterable[LotException] = (),
) -> Table:
    """Tabulate exceptions in the policy's order, each with its rows and its changes of actions.

    Those for rows that labels released have one line for each trait. If more than `MOST_ROWS`
    others name a row, only the last ones have a line of their own, because a policy gets new ones
    at its end. `known` exceptions, which the earlier run has too, are only counted.
    """
    changes = "rows it would change" if is_dry else "rows it changed"
    table = build_table(
        "exception", "trait", "lot or row", "its\nrows>", changes, title="exceptions"
    )
    earlier = {item.model_dump_json() for item in known}
    pairs = {
        number: pair
        for number, pair in enumerate(zip(exceptions, effects, strict=True), 1)
        if pair[0].model_dump_json() not in earlier
    }
    if count := len(exceptions) - len(pairs):
        table.add_row("…", "", f"{format_count(count, 'exception')}, as before", "", "")
    joined = _join_rows({number: item for number, (item, _) in pairs.items()})
    for trait, numbers in joined.items():
        total = ExceptionEffect()
        for number in numbers:
            total = total.add(pairs[number][1])
        table.add_row(
            "…", trait, format_count(len(numbers), "named row"), f"{total.rows:,}", total.describe()
        )
    shared = {number for own in joined.values() for number in own}
    for number, (item, effect) in pairs.items():
        if number in shared:
            continue
        name = Text(item.describe())
        table.add_row(str(number), item.trait, name, f"{effect.rows:,}", effect.describe())
    return table


def _join_rows(items: Mapping[int, LotException]) -> dict[str, list[int]]:
    """Return the numbers of the exceptions for rows that have no line of their own, by trait."""
    named = [number for number, item in items.items() if item.row is not None]
    written = [at for at in named if not list_reviews([{"reason": items[at].reason}])]
    kept = set(written[-MOST_ROWS:])
    groups: dict[str, list[int]] = {}
    for number in named:
        if number not in kept:
            groups.setdefault(items[number].trait, []).append(number)
    return groups
