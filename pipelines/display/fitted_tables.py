"""Tables that fit a terminal without breaking a word: narrower columns, or else one block a row."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

PIECE = re.compile(r"[^-/_]*[-/_]+|[^-/_]+")
"""A part of a name that stays whole: up to a hyphen, a slash or an underscore."""

WITHOUT_LIMIT = 10**6
"""A width that no table reaches."""

LEAST_FOLDED = 12
"""The least width of a column in which a word that is wider than the terminal is folded."""

BLOCK_INDENT = 2
"""How far the lines of a block are indented below its first line, if their words leave room."""


class Widths(NamedTuple):
    """The widths that a column may have: for whole lines, for whole words, for pieces of names."""

    lines: int
    words: int
    pieces: int


class FittedTable(Table):
    """A table of texts whose words stay whole.

    If it is wider than the terminal, texts wrap between words, then also the names in the columns
    that don't wrap, and last a name after a hyphen, a slash or an underscore. Headings and words
    without such a mark are never broken, unless a word is wider than the terminal. If that isn't
    enough, every row becomes a block with a line for each column.
    """

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        cells = [self._read_cells(console, column) for column in self.columns]
        if self._measure(console, options) <= options.max_width or not all(cells):
            yield from super().__rich_console__(console, options)
            return
        heads = [_to_text(console, column.header) for column in self.columns]
        found = [
            _measure_column(head, texts, options.max_width)
            for head, texts in zip(heads, cells, strict=True)
        ]
        overhead = self._measure(console, options) - sum(width.lines for width in found)
        fixed = [column.no_wrap for column in self.columns]
        names = [column.justify == "left" for column in self.columns]
        widths = fit_widths(found, options.max_width - overhead, fixed, names)
        if widths is None:
            yield from self._render_blocks(heads, cells, console, options)
            return
        yield from self._fit(heads, cells, widths, console, options)

    def _read_cells(self, console: Console, column: Column) -> list[Text]:
        return [_to_text(console, cell) for cell in column.cells]

    def _measure(self, console: Console, options: ConsoleOptions) -> int:
        """Return the width of the table if no line wraps."""
        wide = options.update(max_width=WITHOUT_LIMIT)
        return super().__rich_measure__(console, wide).maximum

    def _fit(
        self,
        heads: Sequence[Text],
        cells: Sequence[Sequence[Text]],
        widths: Sequence[int],
        console: Console,
        options: ConsoleOptions,
    ) -> RenderResult:
        """Render the table with columns of these widths, in which lines are broken already."""
        fitted = copy.copy(self)
        fitted.columns = [
            replace(
                column,
                header=break_lines(head, width, is_name=False),
                width=width,
                no_wrap=False,
                _cells=[break_lines(text, width) for text in texts],
            )
            for column, head, texts, width in zip(self.columns, heads, cells, widths, strict=True)
        ]
        yield from Table.__rich_console__(fitted, console, options)

    def _render_blocks(
        self,
        heads: Sequence[Text],
        cells: Sequence[Sequence[Text]],
        console: Console,
        options: ConsoleOptions,
    ) -> Iterator[RenderableType]:
        """Yield a line with the first cell of each row, and below it a line for each other cell."""
        if self.title:
            yield _to_text(console, self.title)
        words = (word for texts in cells for text in texts for word in text.plain.split())
        widest = _find_widest(words, options.max_width)
        indent = min(BLOCK_INDENT, options.max_width - widest)
        for row in zip(*cells, strict=True):
            yield break_lines(_name_cell(heads[0], row[0]), options.max_width)
            for head, text in zip(heads[1:], row[1:], strict=True):
                line = break_lines(_name_cell(head, text), options.max_width - indent)
                yield Padding(line, (0, 0, 0, indent), expand=False)
        if self.caption:
            yield _to_text(console, self.caption)


def _name_cell(head: Text, text: Text) -> Text:
    name = " ".join(head.plain.split())
    return Text.assemble((f"{name}: " if name else "", "bold"), text)


def _to_text(console: Console, cell: RenderableType) -> Text:
    """Return a cell as a text; everything in a fitted table is a text."""
    return cell if isinstance(cell, Text) else console.render_str(str(cell))


def _measure_column(head: Text, texts: Sequence[Text], most: int) -> Widths:
    """Return the widths that a column may have; a word that no terminal holds isn't counted."""
    lines = max(cell_len(line) for text in (head, *texts) for line in text.plain.split("\n"))
    own = [word for text in texts for word in text.plain.split()]
    pieces = [piece for word in own for piece in PIECE.findall(word)]
    least = _find_widest(head.plain.split(), most)
    words = min(lines, max(least, _find_widest(own, most)))
    return Widths(lines, words, min(words, max(least, _find_widest(pieces, most))))


def _find_widest(words: Iterable[str], most: int) -> int:
    widths = [cell_len(word) for word in words]
    fitting = [width for width in widths if width <= most]
    return max([*fitting, *[LEAST_FOLDED] * (len(fitting) < len(widths)), 1])


def fit_widths(
    columns: Sequence[Widths], room: int, fixed: Sequence[bool], names: Sequence[bool]
) -> list[int] | None:
    """Return the widths of columns that fit the room together, or None if there are none.

    Columns that aren't fixed give way first, down to their words. Then columns of names give way,
    down to words and at last to pieces of names; fixed columns of numbers are the last. The widest
    column gives way first.
    """
    widths = [item.lines for item in columns]
    parts = list(zip(columns, fixed, names, strict=True))
    steps = (
        [own.lines if is_fixed else own.words for own, is_fixed, _ in parts],
        [own.lines if is_fixed and not is_name else own.words for own, is_fixed, is_name in parts],
        [
            own.pieces if is_name else own.lines if is_fixed else own.words
            for own, is_fixed, is_name in parts
        ],
        [own.pieces if is_name else own.words for own, _, is_name in parts],
    )
    for least in steps:
        widths = _narrow(widths, least, room)
        if sum(widths) <= room:
            return widths
    return None


def _narrow(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Return widths that fit the room, none of them below its least; the widest gives way first."""
    found = list(widths)
    while sum(found) > room:
        free = [index for index, width in enumerate(found) if width > least[index]]
        if not free:
            break
        found[max(free, key=lambda index: found[index])] -= 1
    return found


def break_lines(text: Text, width: int, *, is_name: bool = True) -> Text:
    """Return a text with line breaks between words or, in a name, after `-`, `/` or `_`.

    A piece that is wider than the width is folded.
    """
    lines: list[Text] = []
    for line in text.split("\n", allow_blank=True):
        cuts = _find_cuts(line.plain, width, is_name=is_name)
        parts = line.divide(cuts) if cuts else [line]
        for part in parts:
            part.rstrip()
        lines.extend(parts)
    return Text("\n").join(lines)


def _find_cuts(line: str, width: int, *, is_name: bool) -> list[int]:
    """Return the places at which a line is broken."""
    cuts: list[int] = []
    start = used = 0
    for found in re.finditer(r"\s*\S+", line):
        word = found[0]
        if used and used + cell_len(word) > width:
            start = found.end() - len(word.lstrip())
            cuts.append(start)
            used, word = 0, word.lstrip()
        place = found.end() - len(word)
        pieces = PIECE.findall(word) if is_name and used + cell_len(word) > width else [word]
        for piece in pieces:
            if used and used + cell_len(piece) > width:
                cuts.append(place)
                used = 0
            place += len(piece)
            used += cell_len(piece)
    return cuts
