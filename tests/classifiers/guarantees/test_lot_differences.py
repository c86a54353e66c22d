"""The test of lots, checked against scipy and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, chi2_contingency, fisher_exact

from classifiers.guarantees.lot_differences import DRAWS, compare_lots, compute_statistic


def test_the_statistic_is_scipys():
    """Pearson's statistic agrees to 1e-9, whatever the table."""
    dice = np.random.default_rng(1)
    for _ in range(200):
        totals = dice.integers(5, 500, dice.integers(2, 9))
        reached = dice.integers(1, totals)
        table = np.stack([reached, totals - reached])
        wanted = chi2_contingency(table, correction=False).statistic
        assert compute_statistic(reached, totals) == pytest.approx(wanted, rel=1e-9)


def test_two_lots_agree_with_fishers_test():
    """With two lots, tables ordered by the statistic give nearly Fisher's p-value."""
    found = compare_lots(np.array([3, 15]), np.array([100, 100]))
    wanted = fisher_exact([[3, 15], [97, 85]]).pvalue
    assert found.p == pytest.approx(wanted, abs=4 * np.sqrt(wanted / DRAWS))


def test_lots_that_clearly_differ_are_found():
    """The smallest p-value is that of the number of draws."""
    found = compare_lots(np.array([0, 200, 0]), np.array([400, 400, 400]))
    assert found.p == pytest.approx(1 / (DRAWS + 1))
    assert compare_lots(np.array([0, 200]), np.array([400, 400])) == compare_lots(
        np.array([0, 0, 200]), np.array([400, 0, 400])
    )


def test_without_a_choice_no_lot_differs():
    """One lot, no exceedance or only exceedances have a p-value of 1."""
    for reached, totals in (([5], [10]), ([0, 0], [5, 9]), ([5, 9], [5, 9]), ([], [])):
        assert compare_lots(np.array(reached), np.array(totals)) == (0.0, 1.0)


def test_equal_lots_are_rarely_called_different():
    """Over 1,000 draws of equal lots, p is at most 5 % in about 5 % of them."""
    dice, draws = np.random.default_rng(5), 1_000
    totals = np.array([200, 400, 100])
    found = [compare_lots(dice.binomial(totals, 0.02), totals).p for _ in range(draws)]
    rejected = int((np.array(found) <= 0.05).sum())
    assert rejected <= binom.ppf(0.999, draws, 0.05)
    assert rejected >= 10
