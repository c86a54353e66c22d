"""The table of a policy's exceptions, and of the rows that each one changed or would change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

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
    exceptions: Sequence[LotException], effects: Sequence[ExceptionEffect], *, is_dry: bool = False
) -> Table:
    """Tabulate exceptions in the policy's order, each with its rows and its changes of actions.

    If more than `MOST_ROWS` exceptions name a row, only the last ones that no label led to have a
    line each: a policy gets new ones at its end. The others have one line for each trait.
    """
    changes = "rows it would change" if is_dry else "rows it changed"
    table = build_table(
        "exception", "trait", "lot or row", "its\nrows>", changes, title="exceptions"
    )
    pairs = list(zip(exceptions, effects, strict=True))
    joined = _join_rows(exceptions)
    sums: dict[str, ExceptionEffect] = {}
    counts = Counter(exceptions[number - 1].trait for number in joined)
    for number in joined:
        item, effect = pairs[number - 1]
        sums[item.trait] = effect.add(sums.get(item.trait, ExceptionEffect()))
    for trait, effect in sums.items():
        name = Text(format_count(counts[trait], "named row"))
        table.add_row("…", trait, name, f"{effect.rows:,}", effect.describe())
    for number, (item, effect) in enumerate(pairs, 1):
        if number in joined:
            continue
        name = Text(item.describe())
        table.add_row(str(number), item.trait, name, f"{effect.rows:,}", effect.describe())
    return table


def _join_rows(exceptions: Sequence[LotException]) -> list[int]:
    """Return the numbers of the exceptions for rows that have no line of their own."""
    named = [number for number, item in enumerate(exceptions, 1) if item.row is not None]
    if len(named) <= MOST_ROWS:
        return []
    written = [at for at in named if not list_reviews([{"reason": exceptions[at - 1].reason}])]
    kept = set(written[-MOST_ROWS:])
    return [number for number in named if number not in kept]
