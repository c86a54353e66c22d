"""Sentences: finding the sentences around a hit for a mask."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

STOP = re.compile(
    r"""[.!?…。！？\n](?:"""
    r"""(?<=[.!?…])(?<![.!?…]{2})(?P<more>[.!?…]*+)["'”’)\]*_]*+(?:\s+|\Z)"""
    r"""|(?<=[。！？])[。！？]*["'”’」』）]*\s*|(?<=\n)\n*)"""
)
"""A possible end of a sentence.

An end is a run of stops with optional closing quotes or brackets before white space, a run of
full-width stops, or a line break. The first character set makes the search fast. The possessive
`*+` tries a run only once, because a run may be as long as the text.
"""

ABBREVIATION = re.compile(
    r"(?<![\w'’])(?:(?:[a-z]\.)*[a-z]|mr|mrs|ms|messrs|dr|prof|rev|gen|capt|sgt|lt|sen|gov|hon"
    r"|st|jr|sr"
    r"|vs|cf|ca|viz|approx|incl|figs?|eqs?|vol|pp|inc|ltd|corp|dept"
    r"|jan|feb|aug|sept?|oct|nov|dec)\Z",
    re.IGNORECASE,
)
"""An abbreviation or single letters before a stop, as in `e.g.` and `J. Smith`."""

ITEM = re.compile(r"[ \t]*\(?\d{1,3}\Z")
"""The number of a list item at the start of a line."""

LONGEST_ABBREVIATION = 12

LONGEST_SENTENCE = 2_000
"""How far around a hit to search for its sentence's bounds, in characters.

This limit keeps the time proportional to the number of hits.
"""

SEARCH_STEP = 100
"""How far before a hit the first search goes. Most sentences begin within this distance."""

MANY_HITS = 50
"""From this many hits on, all sentences of a text may be found first."""


def widen_hits(text: str, hits: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Widen hits, given in text order, to their sentences without repeats.

    A hit in the previous hit's sentence isn't widened again. For many hits, the text's sentences
    are found once.
    """
    if len(hits) >= max(MANY_HITS, len(text) // LONGEST_SENTENCE):
        sentences = _Sentences(text)
        return list(dict.fromkeys(sentences.widen(start, end) for start, end in hits))
    widened: dict[tuple[int, int], None] = {}
    known = (0, 0, 0)  # the last hit's end, and its sentence's bounds
    for start, end in hits:
        before, first, last = known
        if (
            before <= start
            and end <= last
            and start <= first + LONGEST_SENTENCE
            and text[end - 1].isalnum()
        ):
            continue
        found = widen_to_sentences(text, start, end)
        widened[found] = None
        is_whole = found[1] < end + LONGEST_SENTENCE or found[1] == len(text)
        known = (end, *found) if is_whole and not STOP.search(text, start, end) else (0, 0, 0)
    return list(widened)


def widen_to_sentences(
    text: str, start: int, end: int, reach: int | None = None
) -> tuple[int, int]:
    """Widen a span to the sentences that it touches; return the start and end.

    The span grows by at most `reach` characters on each side (by default `LONGEST_SENTENCE`). A
    stop doesn't end a sentence inside a word or a number, before a lower-case letter, after an
    abbreviation, or after a list item's number. If in doubt, the span grows.
    """
    reach = LONGEST_SENTENCE if reach is None else reach
    first, last = max(0, start - reach), min(len(text), end + reach)
    after = _find_end(text, max(start, end - 1), last)
    return _find_start(text, first, start), max(after, end)


def list_sentences(text: str) -> list[tuple[int, int]]:
    """Return the bounds of a text's sentences, each with the white space after it."""
    matches = STOP.finditer(text)
    ends = [match.end() for match in matches if not _is_inside_sentence(text, match)]
    edges = list(dict.fromkeys([0, *ends, len(text)]))
    return list(pairwise(edges))


class _Sentences:
    """The ends of a text's sentences, for looking up hits."""

    def __init__(self, text: str) -> None:
        self._text = text
        stops = list(STOP.finditer(text))
        self._stops = [match.span() for match in stops]
        bounds = [match.span() for match in stops if not _is_inside_sentence(text, match)]
        self._starts, self._ends = [start for start, _ in bounds], [end for _, end in bounds]

    def widen(self, start: int, end: int) -> tuple[int, int]:
        """Return the same bounds as `widen_to_sentences`."""
        text, begin = self._text, max(start, end - 1)
        first, last = max(0, start - LONGEST_SENTENCE), min(len(text), end + LONGEST_SENTENCE)
        if self._is_inside_stop(first) or self._is_inside_stop(begin):
            return widen_to_sentences(text, start, end)
        before, after = bisect_right(self._ends, start), bisect_left(self._starts, begin)
        left = max(first, self._ends[before - 1]) if before else first
        right = min(last, self._ends[after]) if after < len(self._ends) else last
        return left, max(right, end)

    def _is_inside_stop(self, index: int) -> bool:
        """Return whether an index is inside a possible end of a sentence.

        A search from there may find a different end.
        """
        before = bisect_left(self._stops, (index,)) - 1
        return before >= 0 and self._stops[before][1] > index


def _find_start(text: str, first: int, start: int) -> int:
    """Return the end of the last sentence that ends between `first` and `start`, or `first`.

    The backward search grows in steps that begin at a letter or a digit. No sentence end contains a
    letter or digit, so the steps don't change the result.
    """
    step, begin = SEARCH_STEP, start
    while begin > first:
        begin = max(first, begin - step)
        while begin > first and not text[begin].isalnum():
            begin -= 1
        stops = list(STOP.finditer(text, begin, min(start + 1, len(text))))
        for match in reversed(stops):
            if match.end() <= start and not _is_inside_sentence(text, match):
                return match.end()
        step *= 2
    return first


def _find_end(text: str, begin: int, last: int) -> int:
    """Return the end of the first sentence that ends between `begin` and `last`, or `last`."""
    for match in STOP.finditer(text, begin, last):
        if not _is_inside_sentence(text, match):
            return match.end()
    return last


def _is_inside_sentence(text: str, match: re.Match[str]) -> bool:
    """Return whether a sentence continues after a stop.

    It continues before a lower-case word, after an abbreviation, and after a list item's number.
    """
    more, (start, end) = match["more"], match.span()
    if more is None or end == len(text) or "\n" in match[0]:
        return False
    if text[end].islower():
        return True
    if more or text[start] != ".":
        return False
    begin = max(0, start - LONGEST_ABBREVIATION)
    return ABBREVIATION.search(text[begin:start]) is not None or _is_item(text, begin, start)


def _is_item(text: str, begin: int, end: int) -> bool:
    """Return whether the text before `end` is only a list item's number."""
    line = text.rfind("\n", begin, end)
    return (line >= 0 or begin == 0) and ITEM.match(text, line + 1, end) is not None
