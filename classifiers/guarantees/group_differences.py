"""Which groups of rows have another rate than the other rows, with many groups at once."""

from __future__ import annotations

import numpy as np

POWER = 0.8
"""The chance with which a difference that is called detectable is found."""

SLACK = 1 + 1e-7
"""Tables whose chances differ only in their last digits are equally likely, as in R and scipy."""


def compute_p_values(
    counts: np.ndarray, totals: np.ndarray, other_counts: np.ndarray, other_totals: np.ndarray
) -> np.ndarray:
    """Return the two-sided p-value of Fisher's exact test for each pair of shares.

    It is the chance of a table with the same margins that is at most as likely as the one found. A
    group without rows, or without other rows, has a p-value of 1.
    """
    tables = np.stack([counts, totals, other_counts, other_totals], axis=1)
    unique, places = np.unique(tables, axis=0, return_inverse=True)
    found = np.array([_test(*map(int, table)) for table in unique])
    return found[places.ravel()] if len(found) else np.empty(0)


def _test(count: int, total: int, other: int, other_total: int) -> float:
    from scipy.special import gammaln  # noqa: PLC0415 - it takes a tenth of a second to load

    whole = count + other
    if not total or not other_total or whole in (0, total + other_total):
        return 1.0
    possible = np.arange(max(0, whole - other_total), min(total, whole) + 1)
    logs = -(
        gammaln(possible + 1)
        + gammaln(total - possible + 1)
        + gammaln(whole - possible + 1)
        + gammaln(other_total - whole + possible + 1)
    )
    chances = np.exp(logs - logs.max())
    own = chances[count - possible[0]]
    return float(min(1.0, chances[chances <= own * SLACK].sum() / chances.sum()))


def find_detectable_share(count: int, total: int, other_total: int, level: float) -> float | None:
    """Return the lowest higher share of other rows that the test finds with a chance of `POWER`.

    `count` of `total` rows are taken as they are, and `level` is the largest p-value of a finding.
    None if no share is found.
    """
    from scipy.special import bdtrc  # noqa: PLC0415 - it takes a tenth of a second to load

    low, high = int(count / total * other_total) if total else 0, other_total
    if not total or not other_total or _test(count, total, high, other_total) > level:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        is_found = _test(count, total, middle, other_total) <= level
        low, high = (low, middle) if is_found else (middle, high)
    shares = np.linspace(high / other_total / 2, 1.0, 4_000)
    enough = bdtrc(high - 1, other_total, shares) >= POWER
    return float(shares[np.argmax(enough)])


def adjust_by_holm(values: np.ndarray) -> np.ndarray:
    """Return adjusted p-values (Holm 1979).

    With those up to a level called different, the chance of calling any equal group different is at
    most the level, however the tests depend on each other.
    """
    order = np.argsort(values, kind="stable")
    scaled = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    found = np.empty(len(values))
    found[order] = np.minimum(scaled, 1.0)
    return found
