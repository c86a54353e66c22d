"""Wording: a linear classifier on the n-grams of single sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from classifiers.signals.sentences import Sentences

PRIOR = 0.01
"""The assumed share of sentences that show a trait. A classifier is trained on equal shares."""

SHORTEST = 4
"""Sentences with fewer tokens are scored as if they had this many."""

TABLE_BITS = 22


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
        self._weights = np.zeros((len(models), len(self.keys)), np.float32)
        for number, model in enumerate(models):
            self._weights[number, np.searchsorted(self.keys, model.keys)] = model.weights

    @cached_property
    def _may_be_known(self) -> np.ndarray:
        """For each value of the low bits, whether a key has them; this rules out most n-grams."""
        table = np.zeros(1 << TABLE_BITS, bool)
        table[self.keys & np.uint64(len(table) - 1)] = True
        return table

    def find_known(self, sentences: Sentences) -> tuple[np.ndarray, np.ndarray]:
        """Return the sentences that have a known n-gram, and the index of its key, once each."""
        low = sentences.grams & np.uint64((1 << TABLE_BITS) - 1)
        candidates = np.flatnonzero(self._may_be_known[low])
        places, known = look_up(self.keys, sentences.grams[candidates])
        return drop_repeats(sentences.owner[candidates[known]], places, len(self.keys))

    def compute_logits(self, sentences: Sentences) -> np.ndarray:
        """Return each classifier's logit for each sentence, float64 [classifiers, sentences]."""
        owner, places = self.find_known(sentences)
        scale = scale_length(sentences.length)
        sums = [
            np.bincount(owner, weights=weights[places], minlength=len(sentences))
            for weights in self._weights
        ]
        return np.asarray(np.stack(sums) * scale + self.biases[:, None])


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
