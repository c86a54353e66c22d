"""Degenerate loops: words that a text repeats without a break."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from schemas.cards import RepetitionOptions

LONGEST_PERIOD = 80
"""The longest repeated unit, in words: about a paragraph."""

FEWEST_COPIES = 3
"""The smallest number of copies in a loop. Two copies are normal, as in a chorus."""

FEWEST_WORDS = 12
"""The smallest number of words in a loop. Fewer repeated words are emphasis ("no, no, no")."""

LONG_WORD = 40
WORD = re.compile(r"[^\W\d_]+")
TOKEN = re.compile(r"[^\W\d_]+(?:_*\d\w*)?|\d+(?:[.,:/-]\d+)*")
"""A name with a digit (such as `step_2`), a word or a number."""

NUMBERING = re.compile(r"\s*(?:[-*•]\s*)?\d+[.):]")
DIGIT = re.compile(r"\d")
LINE = re.compile(r"[^\n]+")

SYMBOL = re.compile(r"[<>{}\[\]|\\=;$&#_/]")
KEY = re.compile(r"""["']\s*:""")
"""The end of a key in a JSON or Python record."""

FEWEST_NUMBERS = 0.25
"""The smallest share of numbers in a structured line.

Table rows, records and lines of code are structured, and may differ only in their numbers. "Step 2:
I am sorry" is prose: only one of five tokens is a number.
"""

MOST_SYMBOLS = 0.2
"""The largest share of code and markup symbols in a line of prose."""


class Loop(NamedTuple):
    """A text's longest loop: its score in [0, 1] and its characters."""

    score: float
    start: int
    end: int


def find_loop(text: str, options: RepetitionOptions) -> Loop:
    """Return the longest loop in a text, or zeros without a loop.

    The score is the loop's number of words, divided by `span` or by the text's number of words,
    whichever is smaller. Case and punctuation are ignored, so a ruled line isn't a loop. Numbers
    are skipped in prose and at the start of a line, so numbering doesn't hide a loop. In structured
    lines, numbers are compared but don't count as words, so a table isn't a loop. A word longer
    than `LONG_WORD` characters counts as a sequence of letters. A line of single letters, such as a
    grid row, counts as one word.
    """
    lines = [_split_line(line) for line in LINE.findall(text)]
    numbers: dict[str, int] = {}
    ids = np.array(
        [numbers.setdefault(token, len(numbers)) for line in lines for token in line], np.int32
    )
    first, length = _find_longest_loop(ids)
    if length < FEWEST_WORDS:
        return Loop(0.0, 0, 0)
    is_word = np.array([not token[0].isdecimal() for token in numbers], bool)[ids]
    count = int(is_word[first : first + length].sum())
    if count < FEWEST_WORDS:
        return Loop(0.0, 0, 0)
    score = min(1.0, count / min(options.span, int(is_word.sum())))
    sizes = [len(line) for line in lines]
    start, _ = _locate_token(text, sizes, first)
    return Loop(score, start, _locate_token(text, sizes, first + length - 1)[1])


def _split_line(line: str) -> list[str]:
    """Return a line's words in lower case, with its numbers if the line is structured."""
    has_digit = DIGIT.search(line) is not None
    found = (TOKEN if has_digit else WORD).findall(line, _skip_numbering(line) if has_digit else 0)
    longest = len(max(found, key=len, default=""))
    if not has_digit and 1 < longest <= LONG_WORD:
        return [word.lower() for word in found]  # most lines take this faster path
    if _is_grid_row(found):
        return ["".join(found).lower()]
    structured = _is_structured(line, found)
    return [piece.lower() for word in found for _, piece in _cut_word(word, structured)]


def _locate_token(text: str, sizes: Sequence[int], index: int) -> tuple[int, int]:
    """Return the start and end of a text's token, given the number of tokens of each line."""
    for line, size in zip(LINE.finditer(text), sizes, strict=True):
        if index < size:
            return _locate_in_line(line, index)
        index -= size
    raise IndexError("the text has fewer tokens")


def _locate_in_line(line: re.Match[str], index: int) -> tuple[int, int]:
    """Return the start and end of a line's token in the text.

    A line may have millions of tokens, so most of them are passed over without a Python loop.
    """
    has_digit = DIGIT.search(line[0]) is not None
    pattern = TOKEN if has_digit else WORD
    bounds = line.start() + (_skip_numbering(line[0]) if has_digit else 0), line.end()
    words, matches = pattern.findall(line.string, *bounds), pattern.finditer(line.string, *bounds)
    if _is_grid_row(words):
        found = list(matches)
        return found[0].start(), found[-1].end()
    structured = has_digit and _is_structured(line[0], words)
    if len(max(words, key=len)) <= LONG_WORD and (structured or not has_digit):
        return next(islice(matches, index, None)).span()
    spans = (
        (match.start() + offset, match.start() + offset + len(piece))
        for match in matches
        for offset, piece in _cut_word(match[0], structured)
    )
    return next(islice(spans, index, None))


def _is_grid_row(words: Sequence[str]) -> bool:
    """Return whether a line's words are a few single letters, as in a grid row."""
    return 1 < len(words) <= LONG_WORD and all(len(word) == 1 and word.isalpha() for word in words)


def _skip_numbering(line: str) -> int:
    numbered = NUMBERING.match(line)
    return numbered.end() if numbered else 0


def _cut_word(word: str, structured: bool) -> Iterator[tuple[int, str]]:
    """Yield the tokens of a word or number, each with its offset."""
    if word[0].isdecimal():
        if structured:
            yield 0, word
    elif len(word) > LONG_WORD:
        yield from enumerate(word)
    else:
        yield 0, word


def _is_structured(line: str, found: Sequence[str]) -> bool:
    numbers = sum(word[0].isdecimal() for word in found)
    if numbers >= FEWEST_NUMBERS * len(found) or KEY.search(line):
        return True
    return len(SYMBOL.findall(line)) > MOST_SYMBOLS * len(line)


def _find_longest_loop(ids: np.ndarray) -> tuple[int, int]:
    """Return the first token of the longest loop and its number of tokens.

    `ids` holds a number for each token, which equal tokens share. Loops of fewer than
    `FEWEST_WORDS` tokens may be missed.
    """
    best = (0, 0)
    for period in range(1, min(LONGEST_PERIOD, len(ids) // FEWEST_COPIES) + 1):
        same = ids[period:] == ids[:-period]
        needed = max(period * (FEWEST_COPIES - 1), FEWEST_WORDS - period, best[1] - period + 1)
        if np.count_nonzero(same) < needed:  # rules out most periods without searching for runs
            continue
        start, run = _find_longest_run(same)
        if run >= needed:
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
