"""How tables look on a terminal."""

from __future__ import annotations

import os
import unicodedata
from typing import Any, TextIO

from rich import box
from rich.table import Table


def tabulated(*columns: str, title: str | None = None) -> Table:
    """Return an empty table; the first column is never folded, others are rather than cut; names that end with `>` are aligned to the right."""
    table = Table(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for place, name in enumerate(columns):
        table.add_column(
            name.removesuffix(">"),
            justify="right" if name.endswith(">") else "left",
            no_wrap=place == 0,
            overflow="fold",
        )
    return table


def plain(text: str) -> str:
    """Return a text with every character escaped that a terminal would obey, line breaks and tabs apart."""
    return "".join(
        char
        if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs")
        else f"<U+{ord(char):04X}>"
        for char in text
    )


class Lasting:
    """A stream that outlives its reader: what is written once a pipe is closed (`| head`) goes nowhere, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, if anybody reads it."""
        try:
            self._stream.write(text)
        except BrokenPipeError:
            self._let_go()
        return len(text)

    def flush(self) -> None:
        """Flush the stream, if anybody reads it."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._let_go()

    def _let_go(self) -> None:
        """Point the descriptor at nothing, for what is still buffered and all that is to come."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def lasting(stream: TextIO) -> TextIO:
    """Return a stream that outlives its reader; one that was closed from the start (`>&-`) is None, which Python and rich can do with."""
    return Lasting(stream) if stream is not None else stream  # type: ignore[return-value, redundant-expr]
