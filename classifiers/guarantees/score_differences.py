"""Whether clean rows of different lots have different scores, by ranks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from classifiers.lots.permutations import adjust_p_values

DRAWS = 9_999
"""The number of random orders. The smallest possible p-value is 1 / (DRAWS + 1)."""

AT_ONCE = 1 << 20
"""How many ranks are drawn at once, so that memory stays flat."""

SLACK = 1 - 1e-9
"""Equal statistics may differ in their last bits."""


class LotShift(NamedTuple):
    """How one lot's scores lie among those of all other lots.

    `above` is the chance that a row of the lot scores higher than a row of the others, where a tie
    counts as half. `p` is the p-value of its distance from one half, and `q` is adjusted for the
    number of lots.
    """

    above: float
    p: float
    q: float


class ScoreDifference(NamedTuple):
    """The statistic of Kruskal and Wallis with its p-value, and each lot's shift."""

    statistic: float
    p: float
    shifts: list[LotShift]


def compare_scores(lots: Sequence[np.ndarray], seed: int = 0) -> ScoreDifference:
    """Test whether the scores of all lots come from one distribution.

    `lots` has the scores of each lot's rows, without NaN. The statistic is that of Kruskal and
    Wallis (1952), corrected for ties. The p-values are shares of random orders of all rows with at
    least this statistic, or at least a lot's distance from one half, so they hold for few rows and
    many ties too, apart from the draw (Phipson, Smyth 2010). The q-values are those of Benjamini
    and Hochberg (1995). The result depends on the seed only. A lot without rows, or all lots if
    fewer than two have rows, or if all scores are equal, have p-values of 1.
    """
    sizes = np.array([len(lot) for lot in lots], np.int64)
    scores = np.concatenate([np.empty(0), *lots])
    kept = np.flatnonzero(sizes)
    if len(kept) < 2 or scores.min() == scores.max():
        return ScoreDifference(0.0, 1.0, [LotShift(0.5, 1.0, 1.0) for _ in lots])
    ranks = rank_scores(scores)
    sums = np.add.reduceat(ranks, _find_starts(sizes[kept]))
    found = compute_statistic(sums, sizes[kept], ranks)
    distances = np.abs(_center(sums, sizes[kept]))
    larger, further = 1, np.ones(len(kept), np.int64)
    for drawn in _draw_sums(ranks, sizes[kept], seed):
        larger += int((compute_statistic(drawn, sizes[kept], ranks) >= found * SLACK).sum())
        further += (np.abs(_center(drawn, sizes[kept])) >= distances * SLACK).sum(axis=0)
    p_values, above = np.ones(len(lots)), np.full(len(lots), 0.5)
    p_values[kept] = further / (DRAWS + 1)
    above[kept] += _center(sums, sizes[kept]) / (sizes[kept] * (len(scores) - sizes[kept]))
    columns = (above.tolist(), p_values.tolist(), adjust_p_values(p_values).tolist())
    shifts = [LotShift(*values) for values in zip(*columns, strict=True)]
    return ScoreDifference(float(found), larger / (DRAWS + 1), shifts)


def rank_scores(scores: np.ndarray) -> np.ndarray:
    """Return ranks from 1, where equal scores share their mean rank."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    found: np.ndarray = (last - (counts - 1) / 2)[places]
    return found


def compute_statistic(sums: np.ndarray, sizes: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """Return Kruskal's and Wallis's H of sums of ranks [..., lots], corrected for ties.

    The ranks may not all be equal.
    """
    spread = ((ranks - ranks.mean()) ** 2).mean() * len(ranks) / (len(ranks) - 1)
    found: np.ndarray = (_center(sums, sizes) ** 2 / sizes).sum(axis=-1) / spread
    return found


def _center(sums: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return by how much sums of ranks are above those of equal lots."""
    centered: np.ndarray = sums - sizes * (sizes.sum() + 1) / 2
    return centered


def _find_starts(sizes: np.ndarray) -> np.ndarray:
    starts: np.ndarray = np.cumsum(sizes) - sizes
    return starts


def _draw_sums(ranks: np.ndarray, sizes: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Yield the sums of ranks of lots in random orders of all rows, as [some orders, lots]."""
    generator = np.random.default_rng(seed)
    at_once = max(1, AT_ONCE // len(ranks))
    for begin in range(0, DRAWS, at_once):
        orders = np.tile(ranks, (min(at_once, DRAWS - begin), 1))
        generator.permuted(orders, axis=1, out=orders)
        yield np.add.reduceat(orders, _find_starts(sizes), axis=1)
