"""Degenerate loops: words that a text repeats, without a break or with a little between them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple

import numpy as np

from schemas.cards import RepetitionOptions

LONGEST_PERIOD = 80
"""The longest repeated unit, in words: about a paragraph."""

FEWEST_COPIES = 3
"""The smallest number of copies in a loop. Two copies are normal, as in a chorus."""

FEWEST_WORDS = 12
"""The smallest number of words in a loop. Fewer repeated words are emphasis ("no, no, no")."""

GRAM = 8
"""The number of tokens in the shortest repeated text that isn't a whole line.

A loop without a break has `FEWEST_WORDS` tokens and `FEWEST_COPIES` copies or more, so the same 8
tokens occur in it at least twice.
"""

BASES = [(width, np.uint64(pow(0x9E3779B97F4A7C15, width, 2**64))) for width in (1, 2, 4)]
"""The powers of a large odd number by which the polynomial hash of a gram grows to 8 tokens."""

LEAST_FILLED = 0.8
"""The smallest share of a scattered loop's letters that are copies.

A refrain has verses between its copies, and like items differ in more than a word. In a list that
is stuck, four of five letters are copies.
"""

LETTERS_PER_WORD = 5
"""The number of letters that count as a word in a scattered loop, as in measures of typing."""

LONG_WORD = 40
WORD = re.compile(r"[^\W\d_]+")
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]"
)
"""A letter of a script without blanks between words, from Thai to Chinese. Each is a token."""

LETTERS_PER_TOKEN = 2
"""The number of such letters that count as a word."""

TOKEN = re.compile(r"[^\W\d_]+(?:_*\d\w*)?|\d+(?:[.,:/-]\d+)*")
"""A name with a digit (such as `step_2`), a word or a number."""

NUMBERING = re.compile(r"\s*(?:[-*•]\s*)?\d+[.):]")
DIGIT = re.compile(r"\d")
LINE = re.compile(r"[^\n]+")

SYMBOL = re.compile(r"[<>{}\[\]|\\=;$&#_/]")
KEY = re.compile(r"""["']\s*:""")
"""The end of a key in a JSON or Python record."""

FENCE = "```"
CODE = re.compile(r"^\s*\||[A-Za-z0-9_]\(|[={}]|;\s*$|\w://|\bwww\.")
"""A row of a table, a call, an assignment, a block, the end of a statement, or an address."""

NAME_WITH_DIGIT = re.compile(r"[^\W\d_]_*\d")

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


class TokenSpan(NamedTuple):
    """A loop's score, its first token and the token after its last one."""

    score: float
    first: int
    stop: int


NO_LOOP = TokenSpan(0.0, 0, 0)


def find_loop(text: str, options: RepetitionOptions) -> Loop:
    """Return the longest loop in a text, or zeros without a loop.

    The score is the loop's number of words, divided by `span` or by the text's number of words,
    whichever is smaller. Case and punctuation are ignored, so a ruled line isn't a loop. Numbers
    are skipped in prose and at the start of a line, so numbering doesn't hide a loop. In structured
    lines, numbers are compared but don't count as words, so a table isn't a loop. A word longer
    than `LONG_WORD` characters counts as a sequence of letters, as does a word in a script without
    blanks between words, whose letters count as half a word. A line of single letters, such as a
    grid row, counts as one word.

    A scattered loop has copies that differ in a word or have other copies between them. Only its
    third and later copies count. If it scores higher than the loop without a break, it is returned.
    """
    lines = LINE.findall(text)
    parts = [_split_line(line) for line in lines]
    tokens = list(chain.from_iterable(parts))
    ids = _number_tokens(tokens)
    grams = hash_grams(ids)
    order = np.argsort(grams, kind="stable")
    recurrent = grams[order]
    found = NO_LOOP
    if _come_back_soon(order[1:] - order[:-1], recurrent[1:] == recurrent[:-1]):
        found = _score_contiguous(tokens, ids, options.span)
    if found.score < 1 and ((recurrent[2:] == recurrent[:-2]).any() or _has_copies(parts)):
        scattered = _score_scattered(lines, parts, grams, options.span)
        found = scattered if scattered.score > found.score else found
    if not found.score:
        return Loop(0.0, 0, 0)
    sizes = [len(part) for part in parts]
    start, _ = _locate_token(text, sizes, found.first)
    return Loop(found.score, start, _locate_token(text, sizes, found.stop - 1)[1])


def _come_back_soon(distances: np.ndarray, equal: np.ndarray) -> bool:
    """Return whether as many grams come back as soon as in a loop without a break.

    `distances` are the tokens between grams in the order of their hashes, and `equal` says which
    two are equal. A loop that repeats p tokens has at least 3p tokens, and at least 12. So at least
    2p - 7 of its grams, and at least one, come back after p tokens or fewer.
    """
    if not equal.any():  # rules out most texts
        return False
    soon = np.sort(distances[equal])
    return bool((np.arange(1, len(soon) + 1) >= 2 * soon - GRAM + 1).any())


def _score_contiguous(tokens: Sequence[str], ids: np.ndarray, span: int) -> TokenSpan:
    """Return the longest loop without a break."""
    first, length = _find_longest_loop(ids)
    if length < FEWEST_WORDS:
        return NO_LOOP
    count = _count_words(tokens[first : first + length])
    if count < FEWEST_WORDS:
        return NO_LOOP
    return TokenSpan(min(1.0, count / min(span, _count_words(tokens))), first, first + length)


def _score_scattered(
    lines: Sequence[str], parts: Sequence[Sequence[str]], grams: np.ndarray, span: int
) -> TokenSpan:
    """Return the stretch of prose in which the same grams or short lines come back.

    Counting the letters in repeated n-grams follows Rae et al. (2021), "Scaling Language Models",
    table A1. A line with fewer tokens than a gram is compared as a whole. Text that is structured,
    fenced or cut from a long word has no copies, because it repeats with good reason.
    """
    _, needless = _mark_copies(parts, grams, np.ones(len(parts), np.bool_))
    if needless.sum() < FEWEST_WORDS:  # spares most texts the search for prose
        return NO_LOOP
    copied, needless = _mark_copies(parts, grams, np.array(_find_prose(lines, parts)))
    if needless.sum() < FEWEST_WORDS:
        return NO_LOOP
    first, stop = (int(position) for position in np.flatnonzero(copied)[[0, -1]] + [0, 1])
    tokens = chain.from_iterable(parts)
    letters = np.array([0 if token[0].isdecimal() else len(token) for token in tokens])
    if letters[copied].sum() < LEAST_FILLED * letters[first:stop].sum():
        return NO_LOOP
    most = min(span * LETTERS_PER_WORD, int(letters.sum()))
    return TokenSpan(min(1.0, float(letters[needless].sum()) / most), first, stop)


def _mark_copies(
    parts: Sequence[Sequence[str]], grams: np.ndarray, usable: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return which tokens of usable lines are in copies, and which in third or later copies."""
    lengths = np.array([len(tokens) for tokens in parts])
    starts = np.cumsum(lengths) - lengths
    short = np.flatnonzero(usable & (lengths > 0) & (lengths < GRAM))
    numbers: dict[tuple[str, ...], int] = {}
    keys = [numbers.setdefault(tuple(parts[row]), len(numbers)) for row in short.tolist()]
    before = np.cumsum(np.concatenate(([0], np.repeat(usable, lengths))))
    inside = np.flatnonzero(before[GRAM:] - before[:-GRAM] == GRAM)
    edges = np.zeros((2, len(before)), np.int64)
    for units, first, length in (
        (np.array(keys, np.uint64), starts[short], lengths[short]),
        (grams[inside], inside, np.full(len(inside), GRAM)),
    ):
        count, earlier = _count_copies(units)
        copied = count >= FEWEST_COPIES
        for edge, chosen in zip(edges, (copied, copied & (earlier > 1)), strict=True):
            np.add.at(edge, first[chosen], 1)
            np.add.at(edge, (first + length)[chosen], -1)
    marks = np.cumsum(edges, axis=1)[:, :-1] > 0
    return marks[0], marks[1]


def _count_copies(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many keys equal each key, and how many of them come before it."""
    order = np.argsort(keys, kind="stable")
    places = np.arange(len(keys))
    new = np.concatenate(([True], np.diff(keys[order]) != 0))[: len(keys)]
    group = np.cumsum(new) - 1
    count, earlier = np.empty((2, len(keys)), np.int64)
    count[order] = np.bincount(group)[group] if len(keys) else 0
    earlier[order] = places - np.maximum.accumulate(np.where(new, places, 0))
    return count, earlier


def _has_copies(parts: Iterable[Sequence[str]]) -> bool:
    """Return whether enough short lines are equal to be a loop."""
    short = [tuple(tokens) for tokens in parts if 0 < len(tokens) < GRAM]
    if len(short) - len(set(short)) < FEWEST_COPIES - 1:
        return False
    return max(Counter(short).values()) >= FEWEST_COPIES


def _find_prose(lines: Iterable[str], parts: Iterable[Sequence[str]]) -> list[bool]:
    """Return which lines are neither structured nor in a fenced block."""
    fenced = False
    known: dict[str, bool] = {}
    found = []
    for line, tokens in zip(lines, parts, strict=True):
        if line not in known:  # a text may repeat a line a million times
            known[line] = _is_prose(line, tokens)
        fenced ^= line.lstrip().startswith(FENCE)
        found.append(known[line] and not fenced)
    return found


def _is_prose(line: str, tokens: Sequence[str]) -> bool:
    """Return whether a line has no sign of a table, code, an address, or words that were cut."""
    if CODE.search(line):
        return False
    words = TOKEN.findall(line, _skip_numbering(line))
    named = sum(NAME_WITH_DIGIT.match(word) is not None for word in words)
    return (
        len(tokens) <= len(words)
        and not _is_grid_row(words)
        and not (named >= FEWEST_NUMBERS * len(words) or _is_structured(line, words))
    )


def _number_tokens(tokens: Sequence[str]) -> np.ndarray:
    """Return a number for each token, the same for equal tokens."""
    numbers = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    return np.fromiter(map(numbers.__getitem__, tokens), np.int32, len(tokens))


def hash_grams(ids: np.ndarray) -> np.ndarray:
    """Return a hash of each `GRAM` tokens in a row."""
    hashes = ids.astype(np.uint64) + np.uint64(1)
    for width, base in BASES:  # a gram is hashed from its two halves
        hashes = hashes[:-width] * base + hashes[width:]
    return hashes


def _count_words(tokens: Iterable[str]) -> float:
    """Return the number of words, of which letters without blanks between words are parts."""
    words = [token for token in tokens if not token[0].isdecimal()]
    letters = sum(UNSPACED.match(token) is not None for token in words)
    return len(words) - letters + letters / LETTERS_PER_TOKEN


def _split_line(line: str) -> list[str]:
    """Return a line's words in lower case, with its numbers if the line is structured."""
    has_digit = DIGIT.search(line) is not None
    found = (TOKEN if has_digit else WORD).findall(line, _skip_numbering(line) if has_digit else 0)
    longest = len(max(found, key=len, default=""))
    if not line.isascii() and UNSPACED.search(line):
        longest = LONG_WORD + 1  # its words are cut
    if not has_digit and 1 < longest <= LONG_WORD:
        return [word.lower() for word in found]  # most lines take this faster path
    if _is_grid_row(found):
        return ["".join(found).lower()]
    structured = _is_structured(line, found)
    if longest <= LONG_WORD:
        return [word.lower() for word in found if structured or not word[0].isdecimal()]
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
    whole = len(max(words, key=len)) <= LONG_WORD and not UNSPACED.search(line[0])
    if whole and (structured or not has_digit):
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
    elif len(word) > LONG_WORD or UNSPACED.search(word):
        yield from enumerate(word)
    else:
        yield 0, word


def _is_structured(line: str, found: Sequence[str]) -> bool:
    numbers = len([word for word in found if word[0].isdecimal()])
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
