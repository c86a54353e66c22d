"""Whether two sets of rows have different rates within the strata that both of them have."""

from __future__ import annotations

import numpy as np

from classifiers.guarantees.group_differences import SLACK, compute_p_values

MOST_EXACT = 5_000
"""Up to how many hits in all strata the test is exact. Beyond, it is the chi-squared one."""


def compute_stratified_p_values(
    counts: np.ndarray, totals: np.ndarray, other_counts: np.ndarray, other_totals: np.ndarray
) -> np.ndarray:
    """Return the two-sided p-value of each pair of rates, compared within strata.

    `counts` and `other_counts` are the hits of the two sets, [tests, strata], and `totals` and
    `other_totals` the rows of each stratum, of the same shape. A stratum without rows in one of the
    sets has no influence. With a single stratum left, this is Fisher's exact test.

    The null hypothesis is that the odds ratio is 1 in every stratum. The test is the exact one of
    Cochran, Mantel and Haenszel: given the margins of every stratum, the hits of the first set are
    a sum of independent hypergeometric numbers, and the p-value is the chance of a sum that is at
    most as likely as the one found (Mehta, Patel, Gray 1985). With more than `MOST_EXACT` hits it
    is the chi-squared test without correction (Mantel, Haenszel 1959). Rates that rise in one
    stratum and fall in another can cancel each other out.
    """
    stacked = np.stack([counts, totals, other_counts, other_totals], axis=-1)
    return np.array([_test(table) for table in stacked], float)


def _test(table: np.ndarray) -> float:
    """Return the p-value for one pair of sets, int64 [strata, 4]."""
    held = table[:, 0] + table[:, 2]
    rows = table[:, 1] + table[:, 3]
    useful = table[(table[:, 1] > 0) & (table[:, 3] > 0) & (held > 0) & (held < rows)]
    if len(useful) <= 1:
        return float(compute_p_values(*useful.T)[0]) if len(useful) else 1.0
    is_small = int((useful[:, 0] + useful[:, 2]).sum()) <= MOST_EXACT
    return _sum_chances(useful) if is_small else _approximate(useful)


def _sum_chances(table: np.ndarray) -> float:
    """Return the chance of all sums that are at most as likely as the one found."""
    chances, lowest = np.ones(1), 0
    for count, total, other, other_total in table.tolist():
        own, least = _draw(count + other, total, other_total)
        chances, lowest = np.convolve(chances, own), lowest + least
    found = chances[int(table[:, 0].sum()) - lowest]
    return float(min(1.0, chances[chances <= found * SLACK].sum() / chances.sum()))


def _draw(held: int, total: int, other_total: int) -> tuple[np.ndarray, int]:
    """Return the chances of each number of hits in the first set, and the lowest number."""
    from scipy.special import gammaln  # noqa: PLC0415 - it takes a tenth of a second to load

    least = max(0, held - other_total)
    possible = np.arange(least, min(total, held) + 1)
    logs = -(
        gammaln(possible + 1)
        + gammaln(total - possible + 1)
        + gammaln(held - possible + 1)
        + gammaln(other_total - held + possible + 1)
    )
    chances = np.exp(logs - logs.max())
    return chances / chances.sum(), least


def _approximate(table: np.ndarray) -> float:
    """Return the p-value of the chi-squared statistic with one degree of freedom."""
    from scipy.special import chdtrc  # noqa: PLC0415 - it takes a tenth of a second to load

    count, total, other, other_total = table.astype(float).T
    held, rows = count + other, total + other_total
    difference = float((count - held * total / rows).sum())
    variance = float((held * (rows - held) * total * other_total / rows**2 / (rows - 1)).sum())
    return float(chdtrc(1, difference**2 / variance))
