"""Finding known phrases, openings, closings, patterns, formats and grammar in texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.lots.discovery import (
    KINDS,
    LONGEST,
    Kind,
    LotCandidates,
    hash_edges,
    join_candidates,
)
from classifiers.lots.formats import HABITS, find_habits
from classifiers.lots.skeletons import classify_words, hide_words
from classifiers.lots.tokens import LotTokens, cut_tokens, hash_grams
from classifiers.signals.wording import KeySlots

SHOWN: dict[Kind, Callable[[LotTokens], LotTokens]] = {
    "phrase": lambda tokens: tokens,
    "pattern": hide_words,
    "grammar": classify_words,
}
"""The tokens in which n-grams of each kind are found."""


class Matches(NamedTuple):
    """Which texts hold which candidates, once each, in the order of texts.

    `start` and `end` are the span, in characters, of the first place. A format has no span: both
    are 0.
    """

    owner: np.ndarray
    candidate: np.ndarray
    start: np.ndarray
    end: np.ndarray


def add_formats(found: LotCandidates) -> LotCandidates:
    """Return the candidates and, after them, every habit of formatting."""
    count = len(HABITS)
    more = LotCandidates(
        np.full(count, KINDS.index("format")),
        np.zeros(count, np.int64),
        np.arange(count, dtype=np.uint64),
        np.zeros(count, np.int64),
        np.zeros(count, np.int64),
    )
    return join_candidates([found, more])


class Finder:
    """Finds candidates in texts.

    A candidate is identified by its kind, its size and its hash of 64 bits.
    """

    def __init__(self, candidates: LotCandidates) -> None:
        self.count = len(candidates)
        self._slots: dict[tuple[Kind, int], tuple[np.ndarray, KeySlots]] = {}
        for kind in KINDS:
            for size in range(1, LONGEST[kind] + 1):
                own = (candidates.kinds == KINDS.index(kind)) & (candidates.sizes == size)
                if own.any():
                    places = np.flatnonzero(own)
                    order = np.argsort(candidates.hashes[places], kind="stable")
                    keys = candidates.hashes[places[order]]
                    self._slots[kind, size] = places[order], KeySlots(keys)
        formats = np.flatnonzero(candidates.kinds == KINDS.index("format"))
        self._formats = formats, candidates.hashes[formats].astype(np.int64)

    def find(self, texts: pa.LargeStringArray) -> Matches:
        """Return the candidates of each text."""
        parts = [self._find_in_block(tokens) for tokens in cut_tokens(texts)]
        parts += [self._find_formats(texts)]
        joined = [np.concatenate(values) for values in zip(*parts, strict=True)]
        order = np.lexsort([joined[2], joined[1], joined[0]])
        owner, candidate = joined[0][order], joined[1][order]
        firsts = np.append(True, (owner[1:] != owner[:-1]) | (candidate[1:] != candidate[:-1]))
        return Matches(*(values[order][firsts[: len(order)]] for values in joined))

    def _find_formats(self, texts: pa.LargeStringArray) -> tuple[np.ndarray, ...]:
        places, habits = self._formats
        if not len(places):
            return (np.empty(0, np.int64),) * 4
        owner, which = np.nonzero(find_habits(texts)[:, habits])
        none = np.zeros(len(owner), np.int64)
        return owner, places[which], none, none

    def _find_in_block(self, tokens: LotTokens) -> tuple[np.ndarray, ...]:
        found = [
            (owner[which], numbers, tokens.start[first[which]], tokens.end[last[which]])
            for owner, first, last, which, numbers in self._look_up(tokens)
        ]
        empty = np.empty(0, np.int64)
        return tuple(np.concatenate(values) for values in zip((empty,) * 4, *found, strict=True))

    def _look_up(self, tokens: LotTokens) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield, for each kind and size, all places, and which of them are candidates."""
        for kind, show in SHOWN.items():
            sizes = [size for known, size in self._slots if known == kind]
            grams = hash_grams(show(tokens), max(sizes)) if sizes else ()
            for size, (places, hashes) in enumerate(grams, 1):
                if (kind, size) in self._slots:
                    numbers, slots = self._slots[kind, size]
                    index, which = slots.look_up(hashes)
                    yield tokens.text[places], places, places + size - 1, which, numbers[index]
        if not len(tokens):
            return
        before = int(tokens.text[0])  # a block's texts are counted from its first one
        block = replace(tokens, text=tokens.text - before)
        for edges in hash_edges(block, int(block.text[-1]) + 1):
            if (edges.kind, edges.size) in self._slots and len(edges.hashes):
                numbers, slots = self._slots[edges.kind, edges.size]
                index, which = slots.look_up(edges.hashes)
                yield edges.owner + before, edges.first, edges.last, which, numbers[index]
