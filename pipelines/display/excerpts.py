"""Record text made fit to show: found by its path, cut around a span, with nothing in it that a terminal or browser obeys."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any, NamedTuple

import orjson

CONTEXT = 160
"""Characters shown on either side of a span."""

SPAN = 640
"""Characters shown of a span; of a longer one its two ends."""

NAME = 120
"""Characters shown of a name: a source, a teacher, a lot."""

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories whose characters act instead of showing: controls, formats (bidi, zero width, tags), surrogates, separators."""

WORD = 24
"""Characters within which a cut looks for white space."""

WHITE = re.compile(r"\s+")
STEP = re.compile(r"\[(\d+)\]|\.([^.\[]+)")


class Piece(NamedTuple):
    """A stretch of an excerpt: inside the span or not, and from the record or `ours` (an escape, a cut)."""

    text: str
    marked: bool = False
    ours: bool = False


def column_of(path: str, columns: Iterable[str]) -> str | None:
    """Return the column that a segment's path begins with; names may hold dots and brackets themselves."""
    return max(
        (name for name in columns if path == name or path.startswith(f"{name}[")),
        key=len,
        default=None,
    )


def field_text(record: Mapping[str, Any], path: str) -> str | None:
    """Return the text that a segment's path names in a row, or None where there is none.

    Tool calls aren't text: they are written as the JSON that was scored.
    """
    column = column_of(path, record)
    if column is None:
        return None
    value = record[column]
    for step in STEP.finditer(path, len(column)):
        value = _below(value, *step.groups())
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str).decode()


def _below(value: Any, index: str | None, key: str | None) -> Any:
    if key is not None:
        return value.get(key) if isinstance(value, dict) else None
    place = int(index or 0)
    if isinstance(value, list):
        return value[place] if place < len(value) else None
    return (
        value if place == 0 else None
    )  # content that is one part, not a list of them, counts as its own first part


def excerpt(text: str, start: int, end: int) -> list[Piece]:
    """Cut a text around a span, in pieces that are safe to show one after the other."""
    start = min(max(start, 0), len(text))
    end = min(max(end, start), len(text))
    before, after = _word_start(text, start), _word_end(text, end)
    pieces = [Piece("… ", ours=True)] if before else []
    pieces += visible(text[before:start])
    pieces += _span(text[start:end])
    pieces += visible(text[end:after])
    return [*pieces, Piece(" …", ours=True)] if after < len(text) else pieces


def _word_start(text: str, start: int) -> int:
    """Go back from a span to where the text before it may begin, between words where one ends nearby."""
    at = start - CONTEXT
    if at <= 0:
        return 0
    space = WHITE.search(text, at, min(start, at + WORD))
    return space.end() if space else at


def _word_end(text: str, end: int) -> int:
    at = end + CONTEXT
    if at >= len(text):
        return len(text)
    spaces = list(WHITE.finditer(text, max(end, at - WORD), at))
    return spaces[-1].start() if spaces else at


def _span(text: str) -> Iterator[Piece]:
    if len(text) <= SPAN:
        yield from visible(text, marked=True)
        return
    yield from visible(text[: SPAN // 2], marked=True)
    yield Piece(f" … {len(text) - SPAN:,} characters left out … ", marked=True, ours=True)
    yield from visible(text[-SPAN // 2 :], marked=True)


def visible(text: str, marked: bool = False) -> Iterator[Piece]:
    """Split a text into what shows by itself and escapes for what doesn't."""
    for hidden, chars in groupby(text, lambda char: unicodedata.category(char) in HIDDEN):
        stretch = "".join(chars)
        yield Piece("".join(map(_escape, stretch)) if hidden else stretch, marked, hidden)


def _escape(char: str) -> str:
    return {"\n": "↵", "\t": "⇥"}.get(char) or f"<U+{ord(char):04X}>"


def inert(text: str, longest: int = NAME) -> str:
    """Return a text on one line, escaped, and cut if it is long."""
    shown = "".join(piece.text for piece in visible(text[:longest]))
    return f"{shown}…" if len(text) > longest else shown
