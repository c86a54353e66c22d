"""The test of candidates on the confirming half."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import hypergeom

from classifiers.lots.confirmation import (
    MOST_EXACT,
    bound_rate,
    compare_strata,
    confirm,
    expect_rates,
)
from classifiers.lots.counts import Counts


def compare_one(own, other, owns, others):
    """Return the p-value of one candidate."""
    arrays = [np.array(values) for values in (own, other, owns, others)]
    return float(compare_strata(arrays[0][None], arrays[1][None], arrays[2], arrays[3])[0])


@pytest.mark.parametrize(
    ("own", "other", "owns", "others"),
    [(6, 0, 400, 2_000), (3, 2, 50, 50), (0, 5, 10, 10), (10, 10, 100, 300), (1, 0, 5, 5)],
)
def test_one_stratum_is_fishers_test(own, other, owns, others):
    """Without strata, the p-value is that of Fisher's exact test."""
    expected = hypergeom.sf(own - 1, owns + others, own + other, owns)
    assert compare_one([own], [other], [owns], [others]) == pytest.approx(expected)


def test_strata_are_added_up_exactly():
    """With two strata, the p-value is the sum over all ways to reach the number."""
    expected = sum(
        hypergeom.pmf(one, 30, 4, 10) * hypergeom.pmf(other, 50, 6, 30)
        for one in range(5)
        for other in range(7)
        if one + other >= 8
    )
    assert compare_one([3, 5], [1, 1], [10, 30], [20, 20]) == pytest.approx(expected)


def test_many_texts_are_approximated():
    """Beyond the exact limit, the normal limit is close to the exact value."""
    own, other = MOST_EXACT // 2 + 40, MOST_EXACT // 2 - 20
    exact = hypergeom.sf(own - 1, 8_000, own + other, 4_000)
    assert compare_one([own], [other], [4_000], [4_000]) == pytest.approx(exact, rel=0.1)


def test_a_difference_between_strata_is_no_finding():
    """A phrase of one topic isn't over-represented because the corpus has more of that topic."""
    assert compare_one([80, 1], [20, 4], [800, 200], [200, 800]) > 0.2
    assert compare_one([81], [24], [1_000], [1_000]) < 1e-6


def test_strata_of_one_set_say_nothing():
    """A stratum without texts of the other set is left out."""
    assert compare_one([5, 9], [0, 0], [10, 9], [10, 0]) == compare_one([5], [0], [10], [10])
    assert compare_one([9], [0], [9], [0]) == 1.0


def test_the_level_holds():
    """Where rates are equal, p-values up to 5 % have a chance of at most 5 %."""
    dice = np.random.default_rng(0)
    owns, others = np.array([100, 50]), np.array([60, 150])
    rates = np.array([0.02, 0.2])
    own = dice.binomial(owns, rates, (4_000, 2))
    other = dice.binomial(others, rates, (4_000, 2))
    p = compare_strata(own, other, owns, others)
    assert 0.01 <= (p <= 0.05).mean() <= 0.05


def test_inflation_raises_p_values():
    """A larger variance makes a candidate less significant."""
    own, other = np.array([[20]]), np.array([[5]])
    plain = compare_strata(own, other, np.array([100]), np.array([100]))
    inflated = compare_strata(own, other, np.array([100]), np.array([100]), np.array([4.0]))
    assert plain[0] < 0.01 < inflated[0]


def test_expected_rates_are_those_of_like_texts():
    """The reference's rate is weighted by the corpus's cells, and empty cells get its mean."""
    other, owns, others = np.array([[10, 50]]), np.array([90, 10]), np.array([100, 100])
    assert expect_rates(other, owns, others) == pytest.approx([0.9 * 0.1 + 0.1 * 0.5])
    assert expect_rates(np.array([[10, 0]]), np.array([0, 10]), np.array([100, 0])) == [0.1]
    assert expect_rates(np.zeros((1, 2)), np.zeros(2), np.zeros(2)) == [0.0]


def build_counts(own, other, owns, others):
    """Return counts of the confirming half, [candidates, cells] of each set."""
    counts = Counts.start(len(own), len(owns), 1)
    counts.by_cell[:, 1], counts.by_cell[:, 0] = own, other
    counts.texts_by_cell[1], counts.texts_by_cell[0] = owns, others
    return counts


def test_a_habit_of_format_is_adjusted():
    """What length and format explain has a small q-value, and a large adjusted one."""
    counts = build_counts(
        own=[[0, 81], [15, 15]], other=[[2, 18], [0, 0]], owns=[100, 900], others=[900, 200]
    )
    found = confirm(counts, 1)
    assert found.q[0] < 0.01
    assert found.adjusted_q[0] > 0.05
    assert found.expected[0] == pytest.approx(0.081, abs=0.001)
    assert found.adjusted_q[1] < 0.05
    assert (found.own.tolist(), found.other.tolist()) == ([81, 30], [20, 0])
    assert (found.owns, found.others) == (1_000, 1_100)


def test_strata_and_formats_are_told_apart():
    """Cells are strata times formats, and the unadjusted test joins the formats of a stratum."""
    own, other = [[1, 2, 3, 4]], [[1, 1, 1, 1]]
    found = confirm(build_counts(own, other, [10] * 4, [10] * 4), 2)
    expected = compare_one([3, 7], [2, 2], [20, 20], [20, 20])
    assert found.p[0] == pytest.approx(expected)


def test_ranks_prefer_rare_in_the_reference():
    """A phrase that the reference lacks ranks above a common one of like significance."""
    found = confirm(build_counts([[40], [600]], [[0], [500]], [1_000], [1_000]), 1)
    assert found.rank[0] > found.rank[1]
    assert (found.rank < found.log_odds).all()


def test_intervals_of_rates():
    """A rate has its Clopper-Pearson interval, and without texts any value."""
    low, high = bound_rate(5, 100)
    assert low < 0.05 < high
    assert bound_rate(0, 0) == (0.0, 1.0)
