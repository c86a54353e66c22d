"""Strata of prompts by length and topic, within which sets with other prompts are compared."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.lots.tokens import cut_tokens, drop_repeats

TOPIC_BITS = 12
TOPICS = 6
LENGTHS = 3
ROUNDS = 12

AT_ONCE = 2_000
"""How many prompts are held as vectors at once."""

MOST_LEARNED = 4_000
"""From how many prompts topics are learned."""

FEWEST_A_STRATUM = 40
"""About how many texts a stratum should have. Few texts have few strata."""

FREQUENT = 0.2
"""Words in more than this share of prompts say nothing about a topic."""


class Strata(NamedTuple):
    """How prompts are divided.

    `edges` are the lengths, in characters, at which the next length begins. `idf` are the weights
    of hashed words, and `centres` the topics' directions, float32 [topics, 2^TOPIC_BITS].
    """

    edges: np.ndarray
    idf: np.ndarray
    centres: np.ndarray

    @property
    def size(self) -> int:
        """Return the number of strata."""
        return (len(self.edges) + 1) * len(self.centres)

    def assign(self, prompts: pa.LargeStringArray) -> np.ndarray:
        """Return the stratum of each prompt, int64."""
        if self.size == 1 or not len(prompts):
            return np.zeros(len(prompts), np.int64)
        length = np.searchsorted(self.edges, _measure(prompts), "right")
        blocks = range(0, len(prompts), AT_ONCE)
        topic = np.concatenate(
            [self._find_nearest(prompts.slice(first, AT_ONCE)) for first in blocks]
        )
        return np.asarray(length * len(self.centres) + topic, np.int64)

    def _find_nearest(self, prompts: pa.LargeStringArray) -> np.ndarray:
        vectors = embed(find_words(prompts), len(prompts), self.idf)
        return np.asarray(np.argmax(vectors @ self.centres.T, axis=1))


SINGLE = Strata(np.empty(0), np.empty(0, np.float32), np.zeros((1, 1 << TOPIC_BITS), np.float32))
"""One stratum for all texts."""


def learn_strata(prompts: pa.LargeStringArray) -> Strata:
    """Divide prompts by thirds of length and by topic, with fewer strata for few prompts.

    Topics are clusters of hashed words (spherical k-means from evenly spread prompts in the order
    of their nearness to the first centre). The result depends only on the prompts and their order.
    The first prompts should be like the others.
    """
    wanted = len(prompts) // FEWEST_A_STRATUM
    if wanted < 2:
        return SINGLE
    lengths = min(LENGTHS, wanted)
    edges = np.unique(np.quantile(_measure(prompts), np.arange(1, lengths) / lengths))
    topics = max(1, min(TOPICS, wanted // (len(edges) + 1)))
    chosen = prompts.slice(0, MOST_LEARNED)
    words = find_words(chosen)
    idf = learn_idf(words, len(chosen))
    return Strata(edges, idf, cluster(embed(words, len(chosen), idf), topics))


def _measure(prompts: pa.LargeStringArray) -> np.ndarray:
    return np.asarray(pc.utf8_length(prompts).to_numpy(zero_copy_only=False))


def find_words(prompts: pa.LargeStringArray) -> tuple[np.ndarray, np.ndarray]:
    """Return each prompt's different hashed words: the prompts' indexes, and the words' columns."""
    owners, columns = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for tokens in cut_tokens(prompts):
        owner, column = drop_repeats(tokens.text, tokens.hashes >> np.uint64(64 - TOPIC_BITS))
        owners.append(owner)
        columns.append(column)
    return np.concatenate(owners), np.concatenate(columns)


def learn_idf(words: tuple[np.ndarray, np.ndarray], prompts: int) -> np.ndarray:
    """Return the weight of each column, float32; frequent words weigh nothing."""
    seen = np.bincount(words[1], minlength=1 << TOPIC_BITS)
    idf = np.log(prompts / np.maximum(seen, 1))
    return np.where(seen > FREQUENT * prompts, 0, idf).astype(np.float32)


def embed(words: tuple[np.ndarray, np.ndarray], prompts: int, idf: np.ndarray) -> np.ndarray:
    """Return the direction of each prompt, float32 [prompts, 2^TOPIC_BITS]."""
    owners, columns = words
    vectors = np.zeros((prompts, 1 << TOPIC_BITS), np.float32)
    vectors[owners, columns] = idf[columns]
    return _scale(vectors)


def _scale(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1))


def cluster(vectors: np.ndarray, topics: int) -> np.ndarray:
    """Return the directions of topics by spherical k-means (see `learn_strata`)."""
    centre = _scale(vectors.mean(axis=0, keepdims=True))
    order = np.argsort((vectors @ centre.T).ravel(), kind="stable")
    spread = order[np.linspace(0, len(order) - 1, topics).astype(np.int64)]
    centres = vectors[spread] if topics > 1 else centre
    for _ in range(ROUNDS if topics > 1 else 0):
        nearest = np.argmax(vectors @ centres.T, axis=1)
        sums = np.stack([vectors[nearest == topic].sum(axis=0) for topic in range(topics)])
        centres = _scale(sums)
    return centres
