"""Whether clean rows of different lots reach a threshold at different rates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

DRAWS = 9_999
"""The number of random tables. The smallest possible p-value is 1 / (DRAWS + 1)."""


class LotDifference(NamedTuple):
    """Pearson's chi-square statistic of a table of lots, and its p-value by permutation."""

    statistic: float
    p: float


def compare_lots(reached: np.ndarray, totals: np.ndarray, seed: int = 0) -> LotDifference:
    """Test whether all lots have the same share of clean rows that reach a threshold.

    `reached` and `totals` are counts by lot. The p-value is the share of random tables with the
    same margins whose statistic is at least as large, which is exact for small counts too, apart
    from the draw (Phipson, Smyth 2010). The result depends on the seed only. Without a row that
    reaches the threshold, or with all of them, no lot differs.
    """
    totals, reached = np.asarray(totals, np.int64), np.asarray(reached, np.int64)
    kept = totals > 0
    totals, reached = totals[kept], reached[kept]
    count = int(reached.sum())
    if len(totals) < 2 or count in (0, int(totals.sum())):
        return LotDifference(0.0, 1.0)
    found = float(compute_statistic(reached, totals))
    generator = np.random.default_rng(seed)
    tables = generator.multivariate_hypergeometric(totals, count, DRAWS, method="marginals")
    # equal statistics may differ in their last bits
    larger = int((compute_statistic(tables, totals) >= found * (1 - 1e-9)).sum())
    return LotDifference(found, (1 + larger) / (DRAWS + 1))


def compute_statistic(reached: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return Pearson's chi-square of tables [..., lots] without continuity correction."""
    share = reached.sum(axis=-1, keepdims=True) / totals.sum()
    expected = share * totals
    deviations = (reached - expected) ** 2
    statistic: np.ndarray = (deviations / expected + deviations / (totals - expected)).sum(axis=-1)
    return statistic
