"""Terminal output: tables, escaped control characters, and streams that survive closed pipes."""

from __future__ import annotations

import codecs
import io
import logging
import os
import unicodedata
from typing import Any, TextIO, cast

from rich import box
from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    RenderHook,
    RenderResult,
)
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pipelines.display.fitted_tables import FittedTable


def build_table(*columns: str, title: str | None = None, wrap_first: bool = False) -> Table:
    """Return an empty table. A column name that ends in `>` right-aligns the column.

    The columns get narrower to fit the terminal, the first one last, and no word is broken (see
    `FittedTable`). With `wrap_first`, the first column gives way first, and numbers stay whole.
    """
    table = FittedTable(title=title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for index, name in enumerate(columns):
        table.add_column(
            name.removesuffix(">"),
            justify="right" if name.endswith(">") else "left",
            no_wrap=name.endswith(">") if wrap_first else index == 0,
            overflow="fold",
        )
    return table


def escape_controls(text: str) -> str:
    """Escape every character that a terminal would interpret, except line breaks and tabs."""
    return "".join(
        char
        if char in "\n\t" or unicodedata.category(char) not in ("Cc", "Cf", "Cs")
        else f"<U+{ord(char):04X}>"
        for char in text
    )


class EscapeControls(RenderHook):
    """Escapes control characters in everything that a console renders."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return the renderables with their control characters escaped."""
        return [_Escaped(item) for item in renderables]


class _Escaped:
    def __init__(self, content: ConsoleRenderable) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self._content, options):
            if segment.control:
                yield segment
            else:
                yield Segment(escape_controls(segment.text), segment.style)


def open_console(**options: Any) -> Console:
    """Return a console that escapes control characters."""
    console = Console(highlight=False, **options)
    console.push_render_hook(EscapeControls())
    return console


class Verbatim(str):
    """Text that is never wrapped, such as a command to copy."""

    __slots__ = ()


def print_text(console: Console, text: str | Text) -> None:
    """Print text without markup.

    On a terminal, lines wrap between words. In a file or a pipe, and for `Verbatim` text, lines
    stay whole.
    """
    whole = isinstance(text, Verbatim) or not console.is_terminal
    console.print(text, markup=False, soft_wrap=whole)


class EscapingFormatter(logging.Formatter):
    """Escapes control characters in log records and tracebacks, which may quote a corpus."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as safe text."""
        return escape_controls(super().format(record))


SPELT = {
    "≥": ">=",
    "≤": "<=",
    "«": "<<",
    "»": ">>",
    "⟦": "[[",
    "⟧": "]]",
    "…": "...",
    "’": "'",
    "–": "-",
    "·": "*",
}
"""ASCII replacements for characters that a terminal may lack."""


def spell_signs(error: UnicodeError) -> tuple[str, int]:
    """Replace characters that an encoding lacks, with ASCII from `SPELT` or else `?`.

    This is an error handler for the `codecs` module.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end]
    return "".join(SPELT.get(char, "?") for char in missing), error.end


def never_fail(stream: TextIO) -> TextIO:
    """Make a stream replace characters that its encoding lacks, and return the stream."""
    if isinstance(stream, io.TextIOWrapper):
        codecs.register_error("congener.spell", spell_signs)
        stream.reconfigure(errors="congener.spell")
    return stream


class DurableStream:
    """A stream that outlives its reader.

    Once the pipe is closed (as by `| head`), output is discarded and the work continues.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write a text, or discard it if the pipe is closed."""
        try:
            self._stream.write(text)
        except BrokenPipeError:
            self._discard()
        return len(text)

    def flush(self) -> None:
        """Flush the stream, or discard the buffer if the pipe is closed."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._discard()

    def _discard(self) -> None:
        """Redirect the descriptor to the null device."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)


def outlive_reader(stream: TextIO) -> TextIO:
    """Return a stream that outlives its reader.

    A stream that was closed from the start (`>&-`) is None and stays None.
    """
    return stream if stream is None else cast("TextIO", DurableStream(stream))
