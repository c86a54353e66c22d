"""Degenerate loops: how much of a text repeats what went directly before it."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from schemas.cards import RepetitionOptions

LONGEST_PERIOD = 80
"""Longest unit, in words, whose repetition counts: a paragraph."""

FEWEST_COPIES = 3
"""Fewest copies in a row that make a loop; a chorus comes twice."""

FEWEST_WORDS = 12
"""Fewest words that a loop must cover: shorter ones are emphasis ("no, no, no")."""

LONG_WORD = 40
WORD = re.compile(r"[^\W\d_]+|\S")


class Loop(NamedTuple):
    """A text's worst loop: score in [0, 1] and the characters it covers."""

    score: float
    start: int
    end: int


def find_loop(text: str, options: RepetitionOptions) -> Loop:
    """Return the longest loop and its score: the share of the last `span` words (or of all, if fewer) that it covers.

    Words are compared without case; digits and punctuation are passed over, so that numbering doesn't hide a loop and a
    ruled line isn't one. A word of more than `LONG_WORD` characters is taken letter by letter.
    """
    words = _words(text)
    if len(words) < FEWEST_WORDS:
        return Loop(0.0, 0, 0)
    first, count = _longest([word for word, _, _ in words])
    if count < FEWEST_WORDS:
        return Loop(0.0, 0, 0)
    return Loop(
        min(1.0, count / min(options.span, len(words))),
        words[first][1],
        words[first + count - 1][2],
    )


def _words(text: str) -> list[tuple[str, int, int]]:
    found = []
    for match in WORD.finditer(text):
        word = match.group()
        if not word[0].isalpha():
            continue
        if len(word) > LONG_WORD:
            found += [
                (letter, match.start() + at, match.start() + at + 1)
                for at, letter in enumerate(word.lower())
            ]
        else:
            found.append((word.lower(), match.start(), match.end()))
    return found


def _longest(words: list[str]) -> tuple[int, int]:
    """Return the first word and the number of words of the longest stretch that is one unit over and over."""
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(word, len(numbers)) for word in words])
    best = (0, 0)
    for period in range(1, min(LONGEST_PERIOD, len(ids) // FEWEST_COPIES) + 1):
        start, run = _longest_run(ids[period:] == ids[:-period])
        if run >= period * (FEWEST_COPIES - 1) and run + period > best[1]:
            best = (start, run + period)
    return best


def _longest_run(same: np.ndarray) -> tuple[int, int]:
    """Return start and length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], same.view(np.int8), [0]))))
    if not len(edges):
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    longest = int(lengths.argmax())
    return int(edges[2 * longest]), int(lengths[longest])
