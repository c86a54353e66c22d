"""Rule out texts without a loop, on a whole column, before each other text is searched for one.

Texts are compared by the letters of their words alone. Words that are equal in a loop
(`repetition.find_loop`) are equal here, so every rule below is true of every loop, and no text with
a loop is ruled out. Different words may be equal here, which only means a needless search.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.signals.repetition import (
    FEWEST_COPIES,
    FEWEST_WORDS,
    GRAM,
    UNSPACED,
    find_loop,
    hash_grams,
)
from classifiers.signals.sentences import read_codes
from schemas.cards import RepetitionOptions

AT_ONCE = 1 << 19
"""How many bytes of text are processed at once, so that the arrays fit in a processor's cache."""

PLANE = 1 << 16
OTHER, LINE_BREAK, JOINT, LONGER_IN_LOWER_CASE, LETTER = range(5)
"""Kinds of characters. A joint is a digit or an underscore. A letter has a number from 4 on.

The only letter that is longer in lower case than in upper case is the Turkish İ.
"""

WIDTH = 8
"""How many letters of a word are compared, besides its length: as many as 64 bits hold."""

MASKS = np.array([(1 << 8 * length) - 1 for length in range(WIDTH + 1)], np.uint64)
MIXER = np.uint64(0xBF58476D1CE4E5B9)
SPREAD = np.uint64(0x9E3779B97F4A7C15)
SHIFT = np.uint64(31)
ALL_JOINED = np.uint64(0x0101010101010101)
TABLE_BITS = 18


class _Words(NamedTuple):
    """The words of some texts: `key` is the same for equal words, `length` is in letters.

    `text` is the index of each word's text. `ends` holds the number of words up to the end of each
    line.
    """

    key: np.ndarray
    length: np.ndarray
    text: np.ndarray
    ends: np.ndarray


class _Units(NamedTuple):
    """Grams or lines that have copies in their text. Equal ones follow each other, in order.

    `first` is the first word and `size` the number of words of each one. `copies` is how many are
    equal to it, and `earlier` how many of these come before it.
    """

    first: np.ndarray
    size: np.ndarray
    copies: np.ndarray
    earlier: np.ndarray


def score_loops(
    texts: pa.LargeStringArray, options: RepetitionOptions
) -> tuple[np.ndarray, np.ndarray]:
    """Return the score of each text's longest loop, and its start and end, int32 [texts, 2]."""
    scores, spans = np.zeros(len(texts), np.float32), np.zeros((len(texts), 2), np.int32)
    candidates = find_repetitive(texts)
    for index, text in zip(candidates, texts.take(pa.array(candidates)).to_pylist(), strict=True):
        scores[index], *spans[index] = find_loop(text, options)
    return scores, spans


def find_repetitive(texts: pa.LargeStringArray) -> np.ndarray:
    """Return the ascending indexes of the texts that may have a loop."""
    plain = pc.string_is_ascii(texts).to_numpy(zero_copy_only=False)
    parts = [np.flatnonzero(plain), np.flatnonzero(~plain)]
    found = [part[_find_in_part(texts.take(pa.array(part)))] for part in parts if len(part)]
    # Without blanks, words are cut into letters, which the rules below don't know.
    unspaced = pc.match_substring_regex(texts.take(pa.array(parts[1])), UNSPACED.pattern)
    found.append(parts[1][unspaced.to_numpy(zero_copy_only=False)])
    return np.unique(np.concatenate([np.empty(0, np.int64), *found]))


def _find_in_part(texts: pa.LargeStringArray) -> np.ndarray:
    groups = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False)) // AT_ONCE
    edges = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(texts)]
    marks = [_mark_texts(texts.slice(begin, end - begin)) for begin, end in pairwise(edges)]
    return np.flatnonzero(np.concatenate(marks))


def _mark_texts(texts: pa.LargeStringArray) -> np.ndarray:
    """Return which texts may have a loop, as bools [texts]."""
    kinds, ends = _read_kinds(texts)
    words = _find_words(kinds, ends)
    grams, lines = _find_grams(words), _find_lines(words)
    marks = _have_third_copies(words, (grams, lines), len(texts))
    marks &= _have_filled_stretch(words, (grams, lines), len(texts)) | _have_odd_words(kinds, ends)
    marks[_find_dense(words, grams)] = True
    marks[_find_grid_rows(words)] = marks[_find_long(kinds, ends)] = True
    return marks


def _read_kinds(texts: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """Return the kind of each character of the texts, and where each text ends.

    A line break follows each text. The first character and the last ones are padding, up to a
    number of 8-byte words.
    """
    joined = pc.binary_join_element_wise(texts, *(pa.scalar(x, texts.type) for x in ("", "\n")))
    codes = read_codes(joined)
    kinds = np.zeros((len(codes) // WIDTH + 3) * WIDTH, np.uint8)
    folded = kinds[1 : len(codes) + 1]
    if codes.dtype == np.uint8:
        np.take(_describe_characters()[:128], codes, out=folded)
    else:
        np.take(_describe_characters(), np.minimum(codes, PLANE - 1), out=folded)
        beyond = np.flatnonzero(codes >= PLANE)
        for code in set(codes[beyond].tolist()):
            folded[beyond[codes[beyond] == code]] = _describe_character(chr(code))
    return kinds, np.cumsum(pc.utf8_length(joined).to_numpy(zero_copy_only=False))


@cache
def _describe_characters() -> np.ndarray:
    return np.array([_describe_character(chr(code)) for code in range(PLANE)], np.uint8)


def _describe_character(character: str) -> int:
    """Return a character's kind, which is the same for both cases of a letter."""
    if character == "\n":
        return LINE_BREAK
    if character == "_" or character.isdecimal():
        return JOINT
    if not character.isalnum():
        return OTHER
    lower = character.lower().replace("ς", "σ")
    if len(lower) > 1:
        return LONGER_IN_LOWER_CASE
    return LETTER + ord(lower) % (256 - LETTER)


def _find_words(kinds: np.ndarray, ends: np.ndarray) -> _Words:
    letters = kinds >= LONGER_IN_LOWER_CASE
    edges = np.flatnonzero(letters[1:] != letters[:-1]) + 1
    starts, length = edges[::2], np.diff(edges)[::2]
    packed = kinds.view("<u8")
    place, offset = starts // WIDTH, (starts % WIDTH * WIDTH).astype(np.uint64)
    rest = (packed[place + 1] << np.uint64(1)) << (np.uint64(63) - offset)
    key = ((packed[place] >> offset) | rest) & MASKS[np.minimum(length, WIDTH)]
    key = _mix(key + length.astype(np.uint64) * SPREAD)
    before = np.searchsorted(starts, ends)
    text = np.repeat(np.arange(len(ends)), np.diff(before, prepend=0))
    breaks = np.flatnonzero(kinds == LINE_BREAK)
    return _Words(key, length, text, np.searchsorted(starts, breaks))


def _find_copies(keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the indexes of keys that occur again, their number of copies, and of earlier copies.

    Equal keys follow each other, in order. Some keys that don't occur again are among them.
    """
    low = _mix(keys) & np.uint64((1 << TABLE_BITS) - 1)
    ordered = np.sort(keys)
    again = np.zeros(1 << TABLE_BITS, np.bool_)
    again[_mix(ordered[1:][ordered[1:] == ordered[:-1]]) & np.uint64((1 << TABLE_BITS) - 1)] = True
    found = np.flatnonzero(again[low])  # to sort only these by key is far faster
    order = found[np.argsort(keys[found], kind="stable")]
    new = np.flatnonzero(np.append(True, keys[order[1:]] != keys[order[:-1]])[: len(order)])
    sizes = np.diff(np.append(new, len(order)))
    return order, np.repeat(sizes, sizes), np.arange(len(order)) - np.repeat(new, sizes)


def _find_grams(words: _Words) -> _Units:
    """Return the grams that occur again in their text."""
    grams = hash_grams(words.key)
    inside = np.flatnonzero(words.text[GRAM - 1 :] == words.text[: len(grams)])
    keys = grams[inside] + words.text[inside].view(np.uint64) * SPREAD
    order, copies, earlier = _find_copies(keys)
    return _Units(inside[order], np.full(len(order), GRAM), copies, earlier)


def _find_lines(words: _Words) -> _Units:
    """Return the lines with fewer words than a gram that occur again in their text."""
    sizes = np.diff(words.ends, prepend=0)
    short = np.flatnonzero((sizes > 0) & (sizes < GRAM))
    sizes = sizes[short]
    first = words.ends[short] - sizes
    sums = np.cumsum(words.key)
    keys = sums[first + sizes - 1] - sums[first] + words.key[first] * MIXER
    order, copies, earlier = _find_copies(keys + words.text[first].view(np.uint64) * SPREAD)
    return _Units(first[order], sizes[order], copies, earlier)


def _find_dense(words: _Words, grams: _Units) -> np.ndarray:
    """Return the texts in which grams come back as soon as they do in a loop without a break.

    A loop that repeats r words has at least 3r words, and at least 12. So at least 2r - 7 of its
    grams, and at least one, come back after r words or fewer.
    """
    again = np.flatnonzero(grams.earlier)
    distance = grams.first[again] - grams.first[again - 1]
    text = words.text[grams.first[again]]
    order = np.lexsort((distance, text))
    text, distance = text[order], distance[order]
    rank = np.arange(1, len(text) + 1) - np.searchsorted(text, text)
    return np.asarray(text[rank >= 2 * distance - 7])


def _have_third_copies(words: _Words, units: Sequence[_Units], texts: int) -> np.ndarray:
    """Return which texts have enough words in third and later copies for a scattered loop."""
    covered = np.zeros(texts)
    for found in units:
        third = found.earlier > 1
        text, sizes = words.text[found.first[third]], found.size[third]
        covered += np.bincount(text, sizes, texts)
    return covered >= FEWEST_WORDS


def _have_filled_stretch(words: _Words, units: Sequence[_Units], texts: int) -> np.ndarray:
    """Return which texts have a stretch that copies fill as in a scattered loop.

    It reaches from a first copy to a third one, or further on both sides, and four of five of its
    letters are in copies.
    """
    change = words.length * np.where(_mark_copies(units, len(words.text)), 1, -4)
    balance = np.cumsum(change)
    step = words.text * (np.abs(change).sum() + 1)  # keeps the texts apart
    lowest = np.minimum.accumulate(balance - change - step) + step
    highest = np.maximum.accumulate((balance - step)[::-1])[::-1] + step
    marks = np.zeros(texts, np.bool_)
    for found in units:
        third = np.flatnonzero(found.earlier > 1)
        begin = found.first[third - found.earlier[third]]
        end = found.first[third] + found.size[third] - 1
        marks[words.text[end[highest[end] - lowest[begin] >= -1]]] = True
    return marks


def _mark_copies(units: Sequence[_Units], words: int) -> np.ndarray:
    """Return which words are in units with enough copies for a loop."""
    edges = np.zeros(words + 1, np.int64)
    for found in units:
        copied = found.copies >= FEWEST_COPIES
        np.add.at(edges, found.first[copied], 1)
        np.add.at(edges, found.first[copied] + found.size[copied], -1)
    return np.asarray(np.cumsum(edges)[:-1] > 0)


def _have_odd_words(kinds: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return which texts have words whose letters a loop doesn't count as here."""
    odd = (kinds[:-1] >= LONGER_IN_LOWER_CASE) & (kinds[1:] == JOINT)
    odd |= kinds[:-1] == LONGER_IN_LOWER_CASE
    marks = np.zeros(len(ends), np.bool_)
    marks[np.searchsorted(ends, np.flatnonzero(odd) - 1, "right")] = True
    return marks


def _find_grid_rows(words: _Words) -> np.ndarray:
    """Return the texts with a line of several single letters, which count as one word in a loop."""
    sizes = np.diff(words.ends, prepend=0)
    letters = np.diff(np.append(0, np.cumsum(words.length))[words.ends], prepend=0)
    return np.asarray(words.text[words.ends[(sizes > 1) & (letters == sizes)] - 1])


def _find_long(kinds: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the texts with a run of more than `LONG_WORD` letters and joints.

    Such a run fills four aligned words of 8 bytes.
    """
    joined = (kinds >= JOINT).view(np.uint64) == ALL_JOINED
    filled = np.flatnonzero(joined[:-3] & joined[1:-2] & joined[2:-1] & joined[3:])
    return np.searchsorted(ends, filled * WIDTH - 1, "right")


def _mix(values: np.ndarray) -> np.ndarray:
    """Scramble hashes, so that their low bits depend on all bits."""
    values = (values ^ (values >> SHIFT)) * MIXER
    return np.asarray(values ^ (values >> SHIFT))
