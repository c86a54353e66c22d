"""Sentences: where one begins and ends, so that a mask covers a thought whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

STOP = re.compile(
    r"""(?<![.!?…])(?P<stop>[.!?…]++)["'”’)\]*_]*+(?:\s+|\Z)|[。！？]+["'”’」』）]*\s*|\n+"""
)
"""What may end a sentence: stops and what closes behind them, before white space; full-width stops; the end of a line.

A run of stops is tried once, from its beginning, and given back nothing of (`++`): it may be as long as the text.
"""

ABBREVIATION = re.compile(
    r"(?<!\w)(?:(?:[a-z]\.)*[a-z]|mr|mrs|ms|messrs|dr|prof|rev|gen|capt|sgt|lt|sen|gov|hon|st|jr|sr|vs|cf|ca|viz|approx|incl|figs?|eqs?"
    r"|vol|pp|inc|ltd|corp|dept|jan|feb|aug|sept?|oct|nov|dec)\Z",
    re.IGNORECASE,
)
"""A word that a full stop shortens, at the end of a text; single letters too, as in `e.g.` and `J. Smith`."""

LONGEST_ABBREVIATION = 12
LONGEST_SENTENCE = 2_000
"""Characters before and after a hit in which its sentence is looked for, so that many hits take time in proportion to their number."""


def sentence_around(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a stretch of text to the sentences that it touches, by at most `LONGEST_SENTENCE` characters each way.

    A stop inside a word or a number, before a lower-case letter or behind an abbreviation ends nothing: in doubt the stretch is
    the wider one.
    """
    first, last = max(0, start - LONGEST_SENTENCE), min(len(text), end + LONGEST_SENTENCE)
    before = [found for found in _ends(text, first, min(start + 1, len(text))) if found <= start]
    after = next(_ends(text, max(start, end - 1), last), last)
    return (before[-1] if before else first), max(after, end)


def _ends(text: str, start: int, end: int) -> Iterator[int]:
    """Yield where sentences end in a part of a text, behind the white space that follows."""
    return (match.end() for match in STOP.finditer(text, start, end) if not _inside(text, match))


def _inside(text: str, match: re.Match[str]) -> bool:
    """Say whether a stop stands inside a sentence: the next word is in lower case, or the word before is an abbreviation."""
    if match["stop"] is None or "\n" in match[0] or match.end() == len(text):
        return False
    before = text[max(0, match.start() - LONGEST_ABBREVIATION) : match.start()]
    return text[match.end()].islower() or (
        match["stop"] == "." and ABBREVIATION.search(before) is not None
    )
