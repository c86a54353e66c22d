"""The table of a policy's exceptions, and of the rows that each one changed or would change."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from pipelines.display.terminal import build_table
from schemas.policies import LotException
from schemas.receipts import ExceptionEffect


def tabulate_exceptions(
    exceptions: Sequence[LotException], effects: Sequence[ExceptionEffect], *, is_dry: bool = False
) -> Table:
    """Tabulate exceptions in the policy's order, each with its rows and its changes of actions."""
    changes = "rows it would change" if is_dry else "rows it changed"
    table = build_table(
        "exception", "trait", "lot or row", "its\nrows>", changes, title="exceptions"
    )
    for number, (item, effect) in enumerate(zip(exceptions, effects, strict=True), 1):
        name = Text(item.describe())
        table.add_row(str(number), item.trait, name, f"{effect.rows:,}", effect.describe())
    return table
