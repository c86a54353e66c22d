"""Degenerate loops: the share of a text that repeats the words directly before."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from schemas.cards import RepetitionOptions

LONGEST_PERIOD = 80
"""The longest unit, in words, whose repetition counts. It is the length of a paragraph."""

FEWEST_COPIES = 3
"""The fewest consecutive copies that make a loop. Two copies are normal, as in a chorus."""

FEWEST_WORDS = 12
"""The fewest words that make a loop. Shorter ones are emphasis ("no, no, no")."""

LONG_WORD = 40
TOKEN = re.compile(r"[^\W\d_]+|\d+(?:[.,:/-]\d+)*")
NUMBERING = re.compile(r"\s*(?:[-*•]\s*)?\d+[.):]")
DIGIT = re.compile(r"\d")
LINE = re.compile(r"[^\n]+")

SYMBOL = re.compile(r"[<>{}\[\]|\\=;$&#_/]")

MOST_NUMBERS = 0.25
"""The largest share of numbers among the words and numbers of a line of prose.

A line with more is structured: a row of a table, a record, a line of code. Such lines differ in
their numbers. "Step 2: I am sorry" has one number among five.
"""

MOST_SYMBOLS = 0.2
"""The largest share of symbols of code and markup among the characters of a line of prose."""


class Loop(NamedTuple):
    """A text's longest loop: its score in [0, 1] and the characters that it covers."""

    score: float
    start: int
    end: int


class _Tokens(NamedTuple):
    """The words of a text in lower case, and numbers of its structured lines, as parallel lists."""

    texts: list[str]
    starts: list[int]
    ends: list[int]
    are_words: list[bool]


def find_loop(text: str, options: RepetitionOptions) -> Loop:
    """Return the longest loop of a text, or zeros if there is none.

    The score is the loop's number of words, as a share of `span` words or of all words if they are
    fewer. Words are compared without case. Punctuation is skipped, so that a ruled line isn't a
    loop. Numbers are skipped in prose and at the beginning of a line, so that numbering doesn't
    hide a loop. In structured lines they are compared, so that the rows of a table aren't one. They
    never count as words. A word of more than `LONG_WORD` characters counts as single letters.
    """
    tokens = _Tokens([], [], [], [])
    for line in LINE.finditer(text):
        _add_line(tokens, line[0], line.start())
    words = sum(tokens.are_words)
    if words < FEWEST_WORDS:
        return Loop(0.0, 0, 0)
    first, length = _find_longest_loop(tokens.texts)
    count = sum(tokens.are_words[first : first + length])
    if count < FEWEST_WORDS:
        return Loop(0.0, 0, 0)
    score = min(1.0, count / min(options.span, words))
    return Loop(score, tokens.starts[first], tokens.ends[first + length - 1])


def _add_line(tokens: _Tokens, line: str, start: int) -> None:
    """Add the words of a line, and its numbers if it is structured."""
    numbered = NUMBERING.match(line)
    found = list(TOKEN.finditer(line, numbered.end() if numbered else 0))
    structured = DIGIT.search(line) is not None and _is_structured(line, found)
    for match in found:
        word, offset = match[0], start + match.start()
        is_word = not word[0].isdecimal()
        if len(word) > LONG_WORD and is_word:
            for index, letter in enumerate(word, offset):
                _add_token(tokens, letter.lower(), index, index + 1, is_word)
        elif is_word or structured:
            _add_token(tokens, word.lower(), offset, offset + len(word), is_word)


def _is_structured(line: str, found: Sequence[re.Match[str]]) -> bool:
    numbers = sum(match[0][0].isdecimal() for match in found)
    symbols = len(SYMBOL.findall(line))
    return numbers > MOST_NUMBERS * len(found) or symbols > MOST_SYMBOLS * len(line)


def _add_token(tokens: _Tokens, text: str, start: int, end: int, is_word: bool) -> None:
    tokens.texts.append(text)
    tokens.starts.append(start)
    tokens.ends.append(end)
    tokens.are_words.append(is_word)


def _find_longest_loop(tokens: list[str]) -> tuple[int, int]:
    """Return the index of the first token and the number of tokens of the longest loop."""
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(token, len(numbers)) for token in tokens])
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
