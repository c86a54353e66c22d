"""Degenerate loops: the share of a text that repeats the words directly before."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from schemas.cards import RepetitionOptions

LONGEST_PERIOD = 80
"""The longest unit, in words, whose repetition counts. It is the length of a paragraph."""

FEWEST_COPIES = 3
"""The fewest consecutive copies that make a loop, because a chorus comes twice."""

FEWEST_WORDS = 12
"""The fewest words that make a loop. Shorter ones are emphasis ("no, no, no")."""

LONG_WORD = 40
WORD = re.compile(r"[^\W\d_]+|\S")


class Loop(NamedTuple):
    """A text's longest loop: its score in [0, 1] and the characters that it covers."""

    score: float
    start: int
    end: int


def find_loop(text: str, options: RepetitionOptions) -> Loop:
    """Return the longest loop of a text, or zeros if there is none.

    The score is the loop's number of words, as a share of `span` words or of all words if they are
    fewer. Words are compared without case. Digits and punctuation are skipped: numbering doesn't
    hide a loop, and a ruled line isn't one. A word of more than `LONG_WORD` characters counts as
    single letters.
    """
    words = _split_words(text)
    if len(words) < FEWEST_WORDS:
        return Loop(0.0, 0, 0)
    first, count = _find_longest_loop([word for word, _, _ in words])
    if count < FEWEST_WORDS:
        return Loop(0.0, 0, 0)
    return Loop(
        min(1.0, count / min(options.span, len(words))),
        words[first][1],
        words[first + count - 1][2],
    )


def _split_words(text: str) -> list[tuple[str, int, int]]:
    """Return the words of a text in lower case, each with its start and end."""
    found = []
    for match in WORD.finditer(text):
        word, start = match.group(), match.start()
        if not word[0].isalpha():
            continue
        if len(word) > LONG_WORD:
            letters = enumerate(word.lower(), start)
            found += [(letter, offset, offset + 1) for offset, letter in letters]
        else:
            found.append((word.lower(), start, match.end()))
    return found


def _find_longest_loop(words: list[str]) -> tuple[int, int]:
    """Return the index of the first word and the number of words of the longest loop."""
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(word, len(numbers)) for word in words])
    best = (0, 0)
    for period in range(1, min(LONGEST_PERIOD, len(ids) // FEWEST_COPIES) + 1):
        start, run = _find_longest_run(ids[period:] == ids[:-period])
        if run >= period * (FEWEST_COPIES - 1) and run + period > best[1]:
            best = (start, run + period)
    return best


def _find_longest_run(same: np.ndarray) -> tuple[int, int]:
    """Return the start and length of the longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], same.view(np.int8), [0]))))
    if not len(edges):
        return 0, 0
    lengths = edges[1::2] - edges[::2]
    longest = int(lengths.argmax())
    return int(edges[2 * longest]), int(lengths[longest])
