"""The texts that signals score: the segments of rows, their parts in scope, and their prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.cards import Scope

PROMPT_ROLES = ("system", "user", "tool")
"""The roles whose texts an answer responds to."""

PROMPT_CHANNELS = ("answer", "thinking", "tool")


class Texts(Protocol):
    """The segments of rows, as parallel columns."""

    @property
    def rows(self) -> np.ndarray:
        """Return each segment's row; the rows are ascending integers."""

    @property
    def text(self) -> pa.LargeStringArray:
        """Return each segment's text."""

    def find_in_scope(self, roles: Iterable[str], channels: Iterable[str]) -> np.ndarray:
        """Return the ascending indexes of the segments with these roles and channels."""


class Prompts:
    """The texts that answers respond to.

    If only some of the segments are scored, such as those of one side of a pair, `places` holds
    their indexes.
    """

    def __init__(self, texts: Texts, places: np.ndarray | None = None) -> None:
        """Find the prompts among the segments of rows."""
        self._text = texts.text
        self._all_rows = texts.rows
        self._places = places
        self._asked = texts.find_in_scope(PROMPT_ROLES, PROMPT_CHANNELS)
        self._rows = texts.rows[self._asked]

    def make_reader(self, segments: np.ndarray) -> Callable[[int], str]:
        """Return a function that returns the prompt of the segment with an index in `segments`."""
        return lambda index: self.read(int(segments[index]))

    def read(self, segment: int) -> str:
        """Return what was said before a scored segment in its row, except by the assistant.

        If nothing was, the result is what was said after it, as in a row whose columns begin with
        the answer. Without any such text, the result is empty.
        """
        place = segment if self._places is None else int(self._places[segment])
        row = self._all_rows[place]
        first, last = np.searchsorted(self._rows, (row, row + 1))
        before = np.searchsorted(self._asked, place)
        chosen = self._asked[first : before if before > first else last]
        return "\n".join(self._text[index].as_py() for index in chosen.tolist())


def find_in_scope(texts: Texts, scope: Scope) -> np.ndarray:
    """Return the indexes of the segments in scope."""
    return texts.find_in_scope(scope.roles, scope.channels)


def cut_texts(
    texts: Texts, segments: Sequence[int] | np.ndarray, part: int
) -> tuple[pa.LargeStringArray, np.ndarray]:
    """Return the part of segments' texts that a scope reads, and where each begins, as int32.

    `part` is `Scope.part`; positions are in characters of the whole text.
    """
    chosen = take_texts(texts, segments)
    starts = np.zeros(len(chosen), np.int32)
    if part < 0:
        lengths = pc.utf8_length(chosen).to_numpy(zero_copy_only=False)
        starts = np.maximum(lengths + part, 0).astype(np.int32)
        return pc.utf8_slice_codeunits(chosen, part), starts
    return pc.utf8_slice_codeunits(chosen, 0, part) if part else chosen, starts


def take_texts(texts: Texts, segments: Sequence[int] | np.ndarray) -> pa.LargeStringArray:
    """Return the whole texts of segments."""
    if len(segments) == len(texts.text):
        return texts.text
    return texts.text.take(pa.array(segments, pa.int64()))


def shift_spans(spans: Sequence[tuple[int, int]], start: int) -> list[tuple[int, int]]:
    """Return spans of a part of a text as spans of the text; the part begins at `start`."""
    if not start:
        return list(spans)
    return [(first + start, last + start) for first, last in spans]


def shift_hits(
    hits: Mapping[int, Sequence[tuple[int, int]]], segments: np.ndarray, starts: np.ndarray
) -> dict[int, list[tuple[int, int]]]:
    """Return hits in the parts of some segments, keyed by segment, as spans of the whole texts."""
    return {
        int(segments[index]): shift_spans(spans, int(starts[index]))
        for index, spans in hits.items()
    }
