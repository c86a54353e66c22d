"""Wording: a linear classifier on the n-grams of single sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.signals.sentences import Sentences, cut_sentences

PRIOR = 0.01
"""The assumed share of sentences that show a trait. A classifier is trained on equal shares."""

SHORTEST = 4
"""Sentences with fewer tokens are scored as if they had this many."""

SLOTS_PER_KEY = 8
"""How many slots a table has for each key, so that few keys share one."""

FEWEST_SLOTS = 1 << 16


@dataclass(frozen=True)
class Wording:
    """A trained classifier: `keys` are hashes of n-grams, ascending uint64, with float32 weights.

    A sentence's logit is the sum of the weights of its different n-grams, divided by the square
    root of its length in tokens, plus the bias.
    """

    keys: np.ndarray
    weights: np.ndarray
    bias: float


class WordingTable:
    """The classifiers of several traits, which share a look-up of n-grams."""

    def __init__(self, models: Sequence[Wording]) -> None:
        self.keys = np.unique(np.concatenate([model.keys for model in models]))
        self.biases = np.array([model.bias for model in models])
        self._weights = np.zeros((len(models), len(self.keys)))
        for number, model in enumerate(models):
            self._weights[number, np.searchsorted(self.keys, model.keys)] = model.weights

    @cached_property
    def _slots(self) -> KeySlots:
        return KeySlots(self.keys)

    def find_known(self, sentences: Sentences) -> tuple[np.ndarray, np.ndarray]:
        """Return the sentences that have a known n-gram, and the index of its key, once each."""
        places, known = self._slots.look_up(sentences.grams)
        return drop_repeats(sentences.owner.take(known), places, len(self.keys))

    def compute_logits(self, sentences: Sentences) -> np.ndarray:
        """Return each classifier's logit for each sentence, float64 [classifiers, sentences]."""
        owner, places = self.find_known(sentences)
        scale = scale_length(sentences.length)
        sums = [
            np.bincount(owner, weights=weights.take(places), minlength=len(sentences))
            for weights in self._weights
        ]
        return np.asarray(np.stack(sums) * scale + self.biases[:, None])


class SentenceLogits(NamedTuple):
    """Each classifier's logit for each sentence of some texts, float64 [classifiers, sentences].

    `text` is the index of a sentence's text, and `spans` its start and end in characters, int64
    [sentences, 2].
    """

    text: np.ndarray
    spans: np.ndarray
    logits: np.ndarray


def score_sentences(models: Sequence[Wording], texts: pa.LargeStringArray) -> SentenceLogits:
    """Return the classifiers' logits for the sentences of texts, after a shift to the prior.

    The n-grams of a few texts at a time are in memory.
    """
    table = WordingTable(models)
    text, start, end, logits = [], [], [], []
    for block in cut_sentences(texts):
        text.append(block.text)
        start.append(block.start)
        end.append(block.end)
        logits.append(table.compute_logits(block))
    spans = np.stack([np.concatenate(start), np.concatenate(end)], axis=1)
    shifted = shift_to_prior(np.concatenate(logits, axis=1))
    return SentenceLogits(np.concatenate(text), spans, shifted)


class KeySlots:
    """Ascending keys, each found by its low bits, which is faster than a search among all keys.

    A slot has the first of its keys. The few others are searched for.
    """

    def __init__(self, keys: np.ndarray) -> None:
        wanted = max(FEWEST_SLOTS, SLOTS_PER_KEY * len(keys))
        self._mask = np.uint64((1 << (wanted - 1).bit_length()) - 1)
        slots, firsts = np.unique(keys & self._mask, return_index=True)
        self._keys = keys
        self._first = np.zeros(int(self._mask) + 1, np.int32)  # a wrong key where there is none
        self._first[slots] = firsts
        self._others = np.setdiff1d(np.arange(len(keys)), firsts)
        self._crowded = np.zeros(len(self._first), bool)
        self._crowded[keys[self._others] & self._mask] = True

    def look_up(self, grams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the indexes of n-grams among the keys, and which n-grams those are, in order."""
        if not len(self._keys):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        slots = (grams & self._mask).view(np.int64)
        places = self._first.take(slots)
        found = self._keys.take(places) == grams
        if len(self._others):
            crowded = np.flatnonzero(self._crowded.take(slots))
            others, which = look_up(self._keys[self._others], grams[crowded])
            places[crowded[which]] = self._others[others]
            found[crowded[which]] = True
        known = np.flatnonzero(found)
        return places.take(known).astype(np.int64), known


def look_up(keys: np.ndarray, grams: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the indexes of n-grams among ascending keys, and which n-grams those are."""
    if not len(keys):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    places = np.searchsorted(keys, grams)
    places[places == len(keys)] = 0
    known = np.flatnonzero(keys[places] == grams)
    return places[known], known


def drop_repeats(owner: np.ndarray, places: np.ndarray, keys: int) -> tuple[np.ndarray, np.ndarray]:
    """Return each pair of a sentence and an n-gram once, in order."""
    # numpy's unique is four times slower than sorting here
    pairs = np.sort(owner.astype(np.int64) * max(1, keys) + places)
    pairs = pairs[np.append(True, pairs[1:] != pairs[:-1])] if len(pairs) else pairs
    return pairs // max(1, keys), pairs % max(1, keys)


def scale_length(length: np.ndarray) -> np.ndarray:
    """Return the factor for a sentence of this many tokens."""
    return np.asarray(1 / np.sqrt(np.maximum(length, SHORTEST)))


def shift_to_prior(logits: np.ndarray) -> np.ndarray:
    """Return the logits for sentences of which a share of `PRIOR` shows the trait."""
    return np.asarray(logits + np.log(PRIOR / (1 - PRIOR)))
