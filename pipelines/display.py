"""How tables look on a terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table


def tabulated(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; the first column is never folded, and names that end with `>` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for place, name in enumerate(columns):
        table.add_column(name.removesuffix(">"), justify="right" if name.endswith(">") else "left", no_wrap=place == 0)
    return table
