"""Sentences: finding the sentence around a hit, so that a mask covers a whole thought."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

STOP = re.compile(
    r"""[.!?…。！？\n](?:"""
    r"""(?<=[.!?…])(?<![.!?…]{2})(?P<more>[.!?…]*+)["'”’)\]*_]*+(?:\s+|\Z)"""
    r"""|(?<=[。！？])[。！？]*["'”’」』）]*\s*|(?<=\n)\n*)"""
)
"""A pattern for a possible end of a sentence.

An end is a run of stops, perhaps with closing quotes or brackets, before white space; a run of
full-width stops; or a line break. The pattern begins with a single set of characters, which `re`
finds quickly. The possessive `*+` tries a run only once, because a run may be as long as the text.
"""

ABBREVIATION = re.compile(
    r"(?<![\w'’])(?:(?:[a-z]\.)*[a-z]|mr|mrs|ms|messrs|dr|prof|rev|gen|capt|sgt|lt|sen|gov|hon"
    r"|st|jr|sr"
    r"|vs|cf|ca|viz|approx|incl|figs?|eqs?|vol|pp|inc|ltd|corp|dept"
    r"|jan|feb|aug|sept?|oct|nov|dec)\Z",
    re.IGNORECASE,
)
"""A pattern for an abbreviation or single letters before a stop, as in `e.g.` and `J. Smith`."""

ITEM = re.compile(r"[ \t]*\(?\d{1,3}\Z")
"""A pattern for the number of a list item, at the start of a line."""

LONGEST_ABBREVIATION = 12

LONGEST_SENTENCE = 2_000
"""How many characters before and after a hit are searched for the bounds of its sentence.

With this limit, the time for many hits in one text is proportional to their number.
"""

SEARCH_STEP = 100
"""How many characters before a hit are searched first; most sentences begin there."""

MANY_HITS = 50
"""From how many hits on the sentences of the whole text may be found first."""


def widen_hits(text: str, hits: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Widen hits, given in text order, to the sentences that they touch, without repeats.

    A hit that is clearly in the same sentence as the previous one isn't widened again. If the text
    has many hits, its sentences are found once, and the hits are looked up.
    """
    if len(hits) >= max(MANY_HITS, len(text) // LONGEST_SENTENCE):
        sentences = _Sentences(text)
        return list(dict.fromkeys(sentences.widen(start, end) for start, end in hits))
    widened: dict[tuple[int, int], None] = {}
    known = (0, 0, 0)  # the end of the last hit, and the start and end of its sentence
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
    """Widen a span of a text to the sentences that it touches, and return its start and end.

    The span grows by at most `reach` characters on each side (by default `LONGEST_SENTENCE`). A
    stop inside a word or a number, before a lower-case letter, after an abbreviation or after the
    number of a list item doesn't end a sentence. If in doubt, the span is widened.
    """
    reach = LONGEST_SENTENCE if reach is None else reach
    first, last = max(0, start - reach), min(len(text), end + reach)
    after = _find_end(text, max(start, end - 1), last)
    return _find_start(text, first, start), max(after, end)


class _Sentences:
    """The ends of a text's sentences, in which hits are looked up."""

    def __init__(self, text: str) -> None:
        self._text = text
        stops = list(STOP.finditer(text))
        self._stops = [match.span() for match in stops]
        bounds = [match.span() for match in stops if not _is_inside_sentence(text, match)]
        self._starts, self._ends = [start for start, _ in bounds], [end for _, end in bounds]

    def widen(self, start: int, end: int) -> tuple[int, int]:
        """Return the same as `widen_to_sentences`."""
        text, begin = self._text, max(start, end - 1)
        first, last = max(0, start - LONGEST_SENTENCE), min(len(text), end + LONGEST_SENTENCE)
        if self._is_inside_stop(first) or self._is_inside_stop(begin):
            return widen_to_sentences(text, start, end)
        before, after = bisect_right(self._ends, start), bisect_left(self._starts, begin)
        left = max(first, self._ends[before - 1]) if before else first
        right = min(last, self._ends[after]) if after < len(self._ends) else last
        return left, max(right, end)

    def _is_inside_stop(self, index: int) -> bool:
        """Return whether a possible end of a sentence begins before an index and ends after it.

        A search that begins there may find another end.
        """
        before = bisect_left(self._stops, (index,)) - 1
        return before >= 0 and self._stops[before][1] > index


def _find_start(text: str, first: int, start: int) -> int:
    """Return the end of the last sentence that ends between `first` and `start`, or else `first`.

    The text is searched backwards in growing steps, each of which begins at a letter or a digit.
    The end of a sentence contains no letter or digit, so the same ends are found wherever a step
    begins.
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
    """Return the end of the first sentence that ends between `begin` and `last`, or else `last`."""
    ends = (
        match.end()
        for match in STOP.finditer(text, begin, last)
        if not _is_inside_sentence(text, match)
    )
    return next(ends, last)


def _is_inside_sentence(text: str, match: re.Match[str]) -> bool:
    """Return whether a sentence continues after a stop.

    The sentence continues if the next word begins with a lower-case letter, if the previous word is
    an abbreviation, or if only the number of a list item precedes it in its line.
    """
    if match["more"] is None or "\n" in match[0] or match.end() == len(text):
        return False
    if text[match.end()].islower():
        return True
    if match["more"] or text[match.start()] != ".":
        return False
    begin = max(0, match.start() - LONGEST_ABBREVIATION)
    before = text[begin : match.start()]
    return ABBREVIATION.search(before) is not None or _is_item(text, begin, match.start())


def _is_item(text: str, begin: int, end: int) -> bool:
    """Return whether the text before `end` is the number of a list item, alone in its line."""
    line = text.rfind("\n", begin, end)
    return (line >= 0 or begin == 0) and ITEM.match(text, line + 1, end) is not None
