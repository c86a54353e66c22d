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

EXAMPLES = 3
EXAMPLE_CHARACTERS = 160


class MeaningCluster(NamedTuple):
    """Texts that are alike in meaning, and more frequent in the first set.

    Rates and intervals are of the confirming half, for the first and the second set. `examples` are
    the first set's texts nearest to the cluster's centre.
    """

    rates: tuple[float, float]
    intervals: tuple[tuple[float, float], tuple[float, float]]
    q_value: float
    examples: tuple[str, ...]

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

    As in the other views, what is learnt on one half is tested on the other. Clusters are found in
    both sets together, and the false discovery rate among them is `level` (Benjamini, Hochberg,
    1995). Answers to a prompt by the same set count as independent.
    """
    units = np.arange(len(sample)) if matched else number_units(sample)
    viewed = view(vectors.astype(np.float64), sample, units, blocks)
    learns = ~sample.confirms
    number = min(MOST_CLUSTERS, int(learns.sum()) // TEXTS_A_CLUSTER)
    if number < 2:
        return MeaningComparison(viewed, [], 0)
    centres = cluster(vectors[learns], number)
    return MeaningComparison(viewed, _test_clusters(sample, vectors, centres, level), number)


def _test_clusters(
    sample: LotSample, vectors: np.ndarray, centres: np.ndarray, level: float
) -> list[MeaningCluster]:
    likeness = vectors @ centres.T
    nearest = np.argmax(likeness, axis=1)
    sides = [sample.confirms & (sample.own == own) for own in (True, False)]
    counts = [np.bincount(nearest[side], minlength=len(centres)) for side in sides]
    owns, others = (int(side.sum()) for side in sides)
    totals = np.array([owns]), np.array([others])
    q = adjust_p_values(compare_strata(counts[0][:, None], counts[1][:, None], *totals))
    chosen = np.flatnonzero(q <= level)
    return [
        MeaningCluster(
            (float(counts[0][place] / max(owns, 1)), float(counts[1][place] / max(others, 1))),
            (bound_rate(int(counts[0][place]), owns), bound_rate(int(counts[1][place]), others)),
            float(q[place]),
            _quote(sample, likeness[:, place], nearest == place),
        )
        for place in chosen[np.argsort(q[chosen], kind="stable")].tolist()
    ]


def _quote(sample: LotSample, likeness: np.ndarray, inside: np.ndarray) -> tuple[str, ...]:
    """Return the beginnings of the first set's texts nearest to a centre."""
    places = np.flatnonzero(inside & sample.own)
    order = places[np.lexsort([sample.digests[places], -likeness[places]])]
    texts = (" ".join(sample.texts[place].as_py().split()) for place in order[:EXAMPLES].tolist())
    return tuple(text[:EXAMPLE_CHARACTERS] for text in texts)
