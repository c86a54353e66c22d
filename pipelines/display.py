"""How tables look on a terminal."""

from __future__ import annotations

import unicodedata

from rich import box
from rich.table import Table


def tabulated(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; the first column is never folded, and names that end with `>` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for place, name in enumerate(columns):
        table.add_column(name.removesuffix(">"), justify="right" if name.endswith(">") else "left", no_wrap=place == 0)
    return table


def plain(text: str) -> str:
    """Return a text with every character escaped that a terminal would obey, line breaks and tabs apart."""
    return "".join(
        char if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs") else f"<U+{ord(char):04X}>" for char in text
    )
