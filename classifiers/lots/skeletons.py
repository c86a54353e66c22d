"""Texts with most words hidden: gaps, or parts of speech, between function words and marks."""

from __future__ import annotations

from functools import cache

import numpy as np

from classifiers.lots.parts_of_speech import (
    CLASSES,
    FUNCTION_WORDS,
    KEPT,
    MARKS,
    MORE_MARKS,
    UNKNOWN,
    hash_words,
    tag_words,
)
from classifiers.lots.tokens import LotTokens, mix
from classifiers.signals.wording import KeySlots

GAP = np.uint64(0xA0761D6478BD642F)
"""The hash that stands for any other word in a pattern."""

PATTERN = np.uint64(0x589965CC75374CC3)
GRAMMAR = np.uint64(0x1D8E4E27C47D124F)


@cache
def _hash_function_words() -> np.ndarray:
    return np.sort(hash_words(" ".join(sorted(FUNCTION_WORDS))))


@cache
def _find_kept() -> KeySlots:
    marks = hash_words(" ".join(MARKS))
    return KeySlots(np.sort(np.concatenate([_hash_function_words(), marks])))


@cache
def _hash_marks() -> np.ndarray:
    """Return the hash of each mark among hidden words."""
    return mix(hash_words(" ".join([*MARKS, MORE_MARKS])) + PATTERN)


@cache
def _hash_classes() -> np.ndarray:
    """Return the hash of each class; that of unknown words is a gap."""
    hashes = mix(np.arange(len(CLASSES), dtype=np.uint64) + GRAMMAR)
    hashes[CLASSES.index(UNKNOWN)] = GAP
    return hashes


def hide_words(tokens: LotTokens) -> LotTokens:
    """Return the tokens with one hash in place of all but function words and common marks."""
    _, kept = _find_kept().look_up(tokens.hashes)
    hashes = np.full(len(tokens), GAP)
    hashes[kept] = mix(tokens.hashes[kept] + PATTERN)
    return tokens.with_hashes(hashes)


def find_patterns(hidden: LotTokens, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return which n-grams of hidden words are patterns.

    They begin and end with a function word, and have a gap between. Without a gap, an n-gram is a
    phrase, and at a gap's edge it says too little.
    """
    words = np.isin(hidden.hashes, mix(_hash_function_words() + PATTERN))
    gaps = np.append(0, np.cumsum(hidden.hashes == GAP))
    return np.asarray(words[first] & words[last] & (gaps[last + 1] > gaps[first]))


def classify_words(tokens: LotTokens) -> LotTokens:
    """Return the tokens with the hash of a part of speech in place of all but kept words and marks.

    A word that the lexicon doesn't know becomes a gap.
    """
    classes = tag_words(tokens)
    kept = np.flatnonzero(classes == CLASSES.index(KEPT))
    hashes = _hash_classes().take(classes)
    hashes[kept] = mix(tokens.hashes[kept] + PATTERN)
    return tokens.with_hashes(hashes)


def find_grammars(classified: LotTokens, first: np.ndarray, size: int) -> np.ndarray:
    """Return which n-grams of classified words say something about grammar.

    They have at least one part of speech and more words than marks, begin and end with a word or
    mark that is known, and have no other gap than one. `first` are the indexes of first tokens.
    """
    grams = classified.hashes[first[:, np.newaxis] + np.arange(size)]
    gaps, marks = grams == GAP, np.isin(grams, _hash_marks())
    known = np.isin(grams, np.setdiff1d(_hash_classes(), [GAP])).any(1)
    more = (~(gaps | marks)).sum(1) > marks.sum(1)
    return np.asarray(known & more & (gaps.sum(1) <= 1) & ~gaps[:, 0] & ~gaps[:, -1])
