"""Whether two sets of texts differ in an encoder's vectors, and which kinds of text are in excess.

It is said beside the audit's tests, and doesn't count for its verdict.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from classifiers.lots.comparison import Viewed, number_units, view
from classifiers.lots.confirmation import bound_rate, compare_strata
from classifiers.lots.permutations import adjust_p_values
from classifiers.lots.samples import LotSample
from classifiers.lots.strata import cluster

MOST_ENCODED = 1_500
"""How many texts of each set are encoded: whole prompts, in the order of their hashes."""

LONGEST_ENCODED = 1_200
"""How many characters of a text are encoded: about as many as an encoder's window holds."""

MOST_CLUSTERS = 24
TEXTS_A_CLUSTER = 60
"""About how many texts of the learning half a cluster should have."""

SMALLEST = 1e-6
"""Below this length, a difference between vectors is rounding."""

EXAMPLES = 3
EXAMPLE_CHARACTERS = 160


class MeaningCluster(NamedTuple):
    """Texts that are alike in meaning, and more frequent in the first set.

    Rates and intervals are of the confirming half, for the first and the second set. `examples` are
    the first set's texts nearest to the cluster's centre, and `contrasts` the second set's answers
    to the same prompts, or none if prompts aren't matched.
    """

    rates: tuple[float, float]
    intervals: tuple[tuple[float, float], tuple[float, float]]
    q_value: float
    examples: tuple[str, ...]
    contrasts: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return one field for each number."""
        (low, high), (reference_low, reference_high) = self.intervals
        return {
            "rate_corpus": self.rates[0],
            "rate_reference": self.rates[1],
            "corpus_low": low,
            "corpus_high": high,
            "reference_low": reference_low,
            "reference_high": reference_high,
            "q_value": self.q_value,
            "examples": list(self.examples),
            "reference_examples": list(self.contrasts),
        }


class MeaningComparison(NamedTuple):
    """The classifier's test on vectors, the clusters in excess, and how many were tested."""

    viewed: Viewed
    clusters: list[MeaningCluster]
    tested: int


def limit_texts(sample: LotSample, most: int = MOST_ENCODED) -> np.ndarray:
    """Return which texts are encoded: whole prompts, in order, up to a number of each set."""
    within = np.ones(len(sample), bool)
    for own in (True, False):
        within &= np.cumsum(sample.own == own) <= most
    if within.all() or not len(sample):
        return within
    return np.asarray(sample.keys < sample.keys[np.argmin(within)])


def compare_meanings(
    sample: LotSample, vectors: np.ndarray, blocks: np.ndarray, matched: bool, level: float
) -> MeaningComparison:
    """Compare two sets by vectors of unit length, float32 [texts, dimension].

    As in the other views, what is learnt on one half is tested on the other. The false discovery
    rate among clusters is `level` (Benjamini, Hochberg, 1995). Answers to a prompt by the same set
    count as independent.

    If prompts are matched, all sets answer the same topics, so texts are clustered by how they
    differ from the other answers to their prompt: clusters are found among the first set's texts,
    and tested within prompts. Otherwise they are found in both sets together.
    """
    units = np.arange(len(sample)) if matched else number_units(sample)
    viewed = view(vectors.astype(np.float64), sample, units, blocks)
    learns = ~sample.confirms
    number = min(MOST_CLUSTERS, int(learns.sum()) // TEXTS_A_CLUSTER)
    if number < 2:
        return MeaningComparison(viewed, [], 0)
    if matched:
        vectors, learns = subtract_prompts(vectors, blocks), learns & sample.own
    likeness = vectors @ cluster(vectors[learns], number).T
    clusters = _test_clusters(sample, likeness, blocks if matched else None, level)
    return MeaningComparison(viewed, clusters, number)


def subtract_prompts(vectors: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """Return each vector less its prompt's mean, with unit length, or 0 if it is the mean."""
    sums = np.zeros((int(blocks.max(initial=-1)) + 1, vectors.shape[1]))
    np.add.at(sums, blocks, vectors)
    rest = vectors - sums[blocks] / np.bincount(blocks)[blocks][:, np.newaxis]
    norms = np.linalg.norm(rest, axis=1, keepdims=True)
    return np.asarray(np.where(norms > SMALLEST, rest / np.maximum(norms, SMALLEST), 0.0))


def _test_clusters(
    sample: LotSample, likeness: np.ndarray, prompts: np.ndarray | None, level: float
) -> list[MeaningCluster]:
    nearest = np.argmax(likeness, axis=1)
    strata = np.zeros(len(sample), np.int64) if prompts is None else prompts
    shape = likeness.shape[1], int(strata.max(initial=0)) + 1
    sides = [sample.confirms & (sample.own == own) for own in (True, False)]
    counts = [_count(nearest[side], strata[side], shape) for side in sides]
    totals = [np.bincount(strata[side], minlength=shape[1]) for side in sides]
    q = adjust_p_values(compare_strata(counts[0], counts[1], totals[0], totals[1]))
    chosen = np.flatnonzero(q <= level)
    found = []
    for place in chosen[np.argsort(q[chosen], kind="stable")].tolist():
        own, other = (int(count[place].sum()) for count in counts)
        owns, others = (int(side.sum()) for side in sides)
        found.append(
            MeaningCluster(
                (own / max(owns, 1), other / max(others, 1)),
                (bound_rate(own, owns), bound_rate(other, others)),
                float(q[place]),
                *_quote(sample, likeness[:, place], nearest == place, prompts),
            )
        )
    return found


def _count(clusters: np.ndarray, strata: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Count texts by cluster and stratum, int64 [clusters, strata]."""
    flat = np.bincount(clusters * shape[1] + strata, minlength=shape[0] * shape[1])
    return flat.reshape(shape)


def _quote(
    sample: LotSample, likeness: np.ndarray, inside: np.ndarray, prompts: np.ndarray | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the beginnings of the first set's texts nearest to a centre, and those of others.

    The others are the second set's first answers to the same prompts.
    """
    places = np.flatnonzero(inside & sample.own)
    order = places[np.lexsort([sample.digests[places], -likeness[places]])][:EXAMPLES]
    if prompts is None:
        return _begin(sample, order), ()
    others = np.flatnonzero(~sample.own)
    answers = [others[prompts[others] == prompts[place]][:1] for place in order.tolist()]
    return _begin(sample, order), _begin(sample, np.concatenate([order[:0], *answers]))


def _begin(sample: LotSample, places: np.ndarray) -> tuple[str, ...]:
    texts = (" ".join(sample.texts[place].as_py().split()) for place in places.tolist())
    return tuple(text[:EXAMPLE_CHARACTERS] for text in texts)
