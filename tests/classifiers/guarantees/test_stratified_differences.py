"""Rates that are compared within strata: the exact test, the approximation, and their limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact, hypergeom
from statsmodels.stats.contingency_tables import StratifiedTable

from classifiers.guarantees import stratified_differences
from classifiers.guarantees.stratified_differences import compute_stratified_p_values

STRATA = st.lists(st.tuples(*[st.integers(0, 25)] * 4), min_size=1, max_size=4)


def compute_one(*strata):
    """Return the p-value for strata as (hits, rows, other hits, other rows)."""
    columns = np.array(strata, np.int64).reshape(-1, 4).T
    return float(compute_stratified_p_values(*(column[None] for column in columns))[0])


def count_by_hand(strata):
    """Return the exact p-value by going through all pairs of outcomes of two strata."""
    drawn = [hypergeom(rows + others, hits + more, rows) for hits, rows, more, others in strata]
    sums = {}
    for first in range(strata[0][1] + 1):
        for second in range(strata[1][1] + 1):
            chance = drawn[0].pmf(first) * drawn[1].pmf(second)
            sums[first + second] = sums.get(first + second, 0.0) + chance
    found = sums[strata[0][0] + strata[1][0]]
    return sum(chance for chance in sums.values() if chance <= found * (1 + 1e-7))


def test_two_strata_are_as_counted_by_hand():
    """The p-value is the chance of all sums that are at most as likely as the one found."""
    strata = [(7, 12, 2, 10), (4, 9, 3, 15)]
    assert compute_one(*strata) == pytest.approx(count_by_hand(strata), rel=1e-9)
    assert compute_one(*strata) < 0.1


def test_a_worked_example_of_three_numbers():
    """Two strata of one hit in 1 + 1 rows have sums 0, 1, 2 with chances 1/4, 1/2, 1/4."""
    assert compute_one((1, 1, 0, 1), (1, 1, 0, 1)) == pytest.approx(0.5)
    assert compute_one((1, 1, 0, 1), (0, 1, 1, 1)) == pytest.approx(1.0)


@given(st.tuples(*[st.integers(0, 60)] * 4))
def test_one_stratum_is_fishers_test(numbers):
    """With one stratum, the p-value is that of scipy's `fisher_exact`."""
    hit, miss, other, rest = numbers
    if hit + miss and other + rest:
        expected = fisher_exact([[hit, miss], [other, rest]]).pvalue
        assert compute_one((hit, hit + miss, other, other + rest)) == pytest.approx(
            expected, abs=1e-9
        )


def test_many_hits_are_tested_by_chi_squared():
    """Beyond the limit, the p-value is that of statsmodels, and the exact one is close to it."""
    strata = [(2_100, 60_000, 1_800, 58_000), (1_500, 9_000, 1_400, 9_100)]
    tables = [
        np.array([[hit, rows - hit], [other, others - other]])
        for hit, rows, other, others in strata
    ]
    expected = StratifiedTable(tables).test_null_odds(correction=False).pvalue
    assert sum(hit + other for hit, _, other, _ in strata) > stratified_differences.MOST_EXACT
    assert compute_one(*strata) == pytest.approx(expected, rel=1e-9)
    exact = stratified_differences._sum_chances(np.array(strata))
    assert exact == pytest.approx(expected, rel=0.1)


@given(STRATA)
def test_a_stratum_of_one_set_says_nothing(strata):
    """Rows of a teacher that only one set has don't change the p-value."""
    given_strata = [
        (min(hit, rows), rows, min(more, others), others) for hit, rows, more, others in strata
    ]
    found = compute_one(*given_strata)
    assert 0 <= found <= 1
    assert compute_one(*given_strata, (9, 20, 0, 0), (0, 0, 3, 7)) == pytest.approx(found)
    assert compute_one(*given_strata[::-1]) == pytest.approx(found)


@given(STRATA)
def test_the_order_of_the_sets_does_not_matter(strata):
    """Exchanging the sets leaves the p-value as it is."""
    one = [(min(hit, rows), rows, min(more, others), others) for hit, rows, more, others in strata]
    assert compute_one(*one) == pytest.approx(
        compute_one(*((more, others, hit, rows) for hit, rows, more, others in one))
    )


def test_a_new_teacher_without_the_habit_is_no_change():
    """The rate of all rows falls although the only shared teacher's rate is within chance."""
    pooled = fisher_exact([[77, 323], [58, 642]]).pvalue
    within = compute_one((77, 400, 57, 350), (0, 0, 1, 350))
    assert pooled < 1e-5
    assert within == pytest.approx(fisher_exact([[77, 323], [57, 293]]).pvalue)
    assert within > 0.25


def test_no_strata_have_a_p_value_of_1():
    """Without a shared stratum there is no evidence, and no tests have no p-values."""
    assert compute_one((5, 10, 0, 0)) == 1.0
    assert compute_one() == 1.0
    none = np.empty((0, 2), np.int64)
    assert compute_stratified_p_values(none, none, none, none).tolist() == []


def test_equal_rates_seldom_differ():
    """Over 1,000 draws without a difference, at most 5 % of the tests say that there is one.

    The teachers' shares differ, so a test of the totals would nearly always say so; three standard
    errors are allowed.
    """
    random = np.random.default_rng(0)
    rates = np.array([0.2, 0.02])
    rows = np.array([[300, 50], [100, 250]])
    hits = [random.binomial(part, rates, (1_000, 2)) for part in rows]
    whole = [np.broadcast_to(part, (1_000, 2)) for part in rows]
    p = compute_stratified_p_values(hits[0], whole[0], hits[1], whole[1])
    assert (p <= 0.05).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 1_000)
    assert (p <= 0.05).mean() > 0.01
