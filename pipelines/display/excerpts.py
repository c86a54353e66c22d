"""Make record text safe to show: cut it around a span, and escape control characters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

CONTEXT = 160
"""How many characters are shown on each side of a span."""

LONGEST_SPAN = 640
"""How many characters of a span are shown. A longer span loses its middle."""

LONGEST_NAME = 120
"""How many characters of a name, such as a source or a teacher, are shown."""

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""The Unicode categories of invisible and control characters.

These are controls, format characters (bidirectional marks, zero-width characters, tags),
surrogates, and line and paragraph separators.
"""

LONGEST_WORD = 24
"""The search for white space reaches this many characters from a cut."""

WHITE_SPACE = re.compile(r"\s+")
SYMBOLS = {"\n": "↵", "\t": "⇥"}


class Piece(NamedTuple):
    """A part of an excerpt.

    `marked` parts are inside the span, and `masked` parts are left out of the loss. An `added` part
    is an escape or an ellipsis.
    """

    text: str
    marked: bool = False
    added: bool = False
    masked: bool = False


def build_excerpt(
    text: str,
    start: int,
    end: int,
    masks: Sequence[tuple[int, int]] = (),
    context: int = CONTEXT,
    longest: int = LONGEST_SPAN,
) -> list[Piece]:
    """Cut a text around a span, and return safe pieces.

    `masks` are the stretches that are left out of the loss. A span of more than `longest`
    characters loses its middle.
    """
    start = min(max(start, 0), len(text))
    end = min(max(end, start), len(text))
    first, last = _find_first(text, start, context), _find_last(text, end, context)
    masks = [(begin, stop) for begin, stop in masks if begin < last and first < stop]
    # an ellipsis inside a mask shows that the mask goes on where the text is cut
    pieces = [Piece("… ", added=True, masked=_is_inside(first, masks))] if first else []
    pieces += _show(text, first, start, masks)
    pieces += _show_span(text, start, end, masks, longest)
    pieces += _show(text, end, last, masks)
    if last < len(text):
        pieces.append(Piece(" …", added=True, masked=_is_inside(last, masks)))
    return pieces


def _is_inside(place: int, masks: Sequence[tuple[int, int]]) -> bool:
    """Return whether a cut divides a masked stretch."""
    return any(begin < place < stop for begin, stop in masks)


def build_whole(
    text: str, marks: Sequence[tuple[int, int]], masks: Sequence[tuple[int, int]]
) -> list[Piece]:
    """Return safe pieces of a whole text, with its line breaks and tabs."""
    edges = {min(max(edge, 0), len(text)) for bounds in (*marks, *masks) for edge in bounds}
    pieces = []
    for begin, stop in pairwise(sorted({0, len(text), *edges})):
        marked, masked = (
            any(first <= begin < last for first, last in bounds) for bounds in (marks, masks)
        )
        stretch = text[begin:stop].replace("\r\n", "\n")
        pieces += [item._replace(masked=masked) for item in escape_text(stretch, marked, "\n\t")]
    return pieces


def _find_first(text: str, start: int, context: int) -> int:
    """Return the start of the text before a span, at a word if one begins nearby."""
    cut = start - context
    if cut <= 0:
        return 0
    space = WHITE_SPACE.search(text, cut, min(start, cut + LONGEST_WORD))
    return space.end() if space else cut


def _find_last(text: str, end: int, context: int) -> int:
    """Return the end of the text after a span, after a word if one ends nearby."""
    cut = end + context
    if cut >= len(text):
        return len(text)
    spaces = list(WHITE_SPACE.finditer(text, max(end, cut - LONGEST_WORD), cut))
    return spaces[-1].start() if spaces else cut


def _show_span(
    text: str, start: int, end: int, masks: Sequence[tuple[int, int]], longest: int
) -> Iterator[Piece]:
    """Show a span. A long one loses its middle, if that is longer than the note in its place."""
    first, last = start, end
    if end - start > longest:
        first = _find_last(text, start, longest // 2)
        last = _find_first(text, end, longest // 2)
    note = f" … {last - first:,} characters left out … "
    if last - first <= len(note) or first == start:
        yield from _show(text, start, end, masks, marked=True)
        return
    yield from _show(text, start, first, masks, marked=True)
    hidden = any(begin < last and first < stop for begin, stop in masks)
    yield Piece(note, marked=True, added=True, masked=hidden)
    yield from _show(text, last, end, masks, marked=True)


def _show(
    text: str, start: int, end: int, masks: Sequence[tuple[int, int]], marked: bool = False
) -> Iterator[Piece]:
    """Yield the pieces of a stretch, divided at the bounds of masks."""
    edges = {min(max(edge, start), end) for mask in masks for edge in mask}
    for begin, stop in pairwise(sorted({start, end, *edges})):
        masked = any(first <= begin < last for first, last in masks)
        for piece in escape_text(text[begin:stop], marked):
            yield piece._replace(masked=masked)


def escape_text(text: str, marked: bool = False, kept: str = "") -> Iterator[Piece]:
    """Split a text into visible stretches and escapes of hidden characters.

    The hidden characters in `kept` stay as they are.
    """
    for hidden, chars in groupby(
        text, lambda char: char not in kept and unicodedata.category(char) in HIDDEN
    ):
        stretch = "".join(chars)
        yield Piece("".join(map(_escape, stretch)) if hidden else stretch, marked, hidden)


def _escape(char: str) -> str:
    return SYMBOLS.get(char) or f"<U+{ord(char):04X}>"


def shorten_text(text: str, longest: int, *, from_end: bool = False) -> str:
    """Return a text as one line, cut to `longest` characters at its end, or at its beginning."""
    line = " ".join(text.split())
    if len(line) <= longest:
        return line
    return f"…{line[len(line) - longest :]}" if from_end else f"{line[:longest]}…"


def escape_name(text: str, longest: int = LONGEST_NAME) -> str:
    """Escape a text as one line of at most `longest` characters, cut between words if it can be."""
    cut = text[:longest]
    if len(text) > longest and not text[longest].isspace():
        spaces = list(WHITE_SPACE.finditer(cut, max(0, longest - LONGEST_WORD)))
        cut = cut[: spaces[-1].start()] if spaces and spaces[-1].start() else cut
    shown = "".join(piece.text for piece in escape_text(cut))
    return f"{shown}…" if len(text) > longest else shown
