"""Sentences: the extent of a sentence around a hit, so that a mask covers a whole thought."""

from __future__ import annotations

import re
from collections.abc import Iterator

STOP = re.compile(
    r"""(?<![.!?…])(?P<stop>[.!?…]++)["'”’)\]*_]*+(?:\s+|\Z)|[。！？]+["'”’」』）]*\s*|\n+"""
)
"""A possible end of a sentence.

It is a run of stops with closing quotes or brackets before white space, a run of full-width stops,
or a line break. The possessive `++` has a run tried only once, since it may be as long as the text.
"""

ABBREVIATION = re.compile(
    r"(?<!\w)(?:(?:[a-z]\.)*[a-z]|mr|mrs|ms|messrs|dr|prof|rev|gen|capt|sgt|lt|sen|gov|hon|st|jr|sr"
    r"|vs|cf|ca|viz|approx|incl|figs?|eqs?|vol|pp|inc|ltd|corp|dept"
    r"|jan|feb|aug|sept?|oct|nov|dec)\Z",
    re.IGNORECASE,
)
"""An abbreviation at the end of a text; also single letters, as in `e.g.` and `J. Smith`."""

LONGEST_ABBREVIATION = 12

LONGEST_SENTENCE = 2_000
"""Characters before and after a hit that are searched for the ends of its sentence.

The limit keeps the time for many hits in one text proportional to their number.
"""


def widen_to_sentences(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span of a text to the sentences that it touches, and return its start and end.

    Each side grows by at most `LONGEST_SENTENCE` characters. A stop inside a word or a number,
    before a lower-case letter or after an abbreviation doesn't end a sentence: in doubt, the span
    is the wider one.
    """
    first, last = max(0, start - LONGEST_SENTENCE), min(len(text), end + LONGEST_SENTENCE)
    before = first
    for offset in _find_ends(text, first, min(start + 1, len(text))):
        before = offset if offset <= start else before
    after = next(_find_ends(text, max(start, end - 1), last), last)
    return before, max(after, end)


def _find_ends(text: str, start: int, end: int) -> Iterator[int]:
    """Yield the offsets after the sentences, and the white space, that end in part of a text."""
    return (
        match.end()
        for match in STOP.finditer(text, start, end)
        if not _is_inside_sentence(text, match)
    )


def _is_inside_sentence(text: str, match: re.Match[str]) -> bool:
    """Return whether a sentence continues after a stop.

    It does if the next word is in lower case or the word before is an abbreviation.
    """
    if match["stop"] is None or "\n" in match[0] or match.end() == len(text):
        return False
    before = text[max(0, match.start() - LONGEST_ABBREVIATION) : match.start()]
    return text[match.end()].islower() or (
        match["stop"] == "." and ABBREVIATION.search(before) is not None
    )
