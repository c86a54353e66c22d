"""Which groups differ: the exact test and its adjustment."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, fisher_exact

from classifiers.guarantees.group_differences import (
    POWER,
    adjust_by_holm,
    compute_p_values,
    find_detectable_share,
)


def compute_one(count, total, other, other_total):
    """Return one p-value."""
    return float(
        compute_p_values(*(np.array([value]) for value in (count, total, other, other_total)))[0]
    )


@given(st.tuples(*[st.integers(0, 60)] * 4))
def test_p_values_are_those_of_scipy(numbers):
    """The p-value of any table is that of scipy's `fisher_exact`."""
    hit, miss, other, rest = numbers
    found = compute_one(hit, hit + miss, other, other + rest)
    if hit + miss and other + rest:
        expected = fisher_exact([[hit, miss], [other, rest]]).pvalue
        assert found == pytest.approx(expected, abs=1e-9)
    else:
        assert found == 1.0


def test_large_tables_are_exact_too():
    """With a million rows, the p-value is still that of scipy."""
    table = [[3_200, 96_800], [27_000, 873_000]]
    found = compute_one(3_200, 100_000, 27_000, 900_000)
    assert found == pytest.approx(fisher_exact(table).pvalue, rel=1e-6)


def test_equal_tables_have_equal_p_values():
    """A table's p-value doesn't depend on the others, and no tables have none."""
    counts, totals = np.array([3, 5, 3]), np.array([10, 40, 10])
    others, rests = np.array([30, 28, 30]), np.array([300, 270, 300])
    found = compute_p_values(counts, totals, others, rests)
    assert found[0] == found[2] == compute_one(3, 10, 30, 300)
    none = np.empty(0, np.int64)
    assert compute_p_values(none, none, none, none).tolist() == []


@given(st.lists(st.floats(0, 1), max_size=30))
def test_adjusted_values_keep_the_order(values):
    """Adjusted p-values are in the order of the p-values, and between them and Bonferroni's."""
    given_values = np.array(values, float)
    found = adjust_by_holm(given_values)
    assert np.all(found >= given_values)
    assert np.all(found <= np.minimum(1, given_values * len(values)) + 1e-12)
    order = np.argsort(given_values, kind="stable")
    assert np.all(np.diff(found[order]) >= 0)
    if len(values):
        assert np.all(found >= false_discovery_control(given_values) - 1e-12)


def test_adjusted_values_are_those_of_holm():
    """The values are those of Holm's own rule, in steps."""
    found = adjust_by_holm(np.array([0.01, 0.04, 0.03, 0.005]))
    assert found == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_equal_groups_seldom_differ():
    """Over 1,000 draws without a difference, some group differs in at most 5 % of them.

    The draws divide the same rows into 20 groups; three standard errors are allowed.
    """
    random = np.random.default_rng(0)
    rows, false = np.full(20, 100), 0
    for _ in range(1_000):
        lost = random.binomial(rows, 0.03)
        rest = lost.sum() - lost
        p = compute_p_values(lost, rows, rest, rows.sum() - rows)
        false += bool((adjust_by_holm(p) <= 0.05).any())
    assert false <= 50 + 3 * np.sqrt(1_000 * 0.05 * 0.95)


def test_a_large_difference_is_found():
    """A group that loses 20 % while the others lose 3 % differs in nearly every draw."""
    random = np.random.default_rng(1)
    rows, found = np.full(20, 200), 0
    for _ in range(100):
        lost = random.binomial(rows, [0.2, *[0.03] * 19])
        p = compute_p_values(lost, rows, lost.sum() - lost, rows.sum() - rows)
        found += bool(adjust_by_holm(p)[0] <= 0.05)
    assert found >= 95


def test_a_detectable_share_is_found_as_often_as_it_says():
    """In simulations, four in five samples with this share differ, and fewer with a lower one."""
    share = find_detectable_share(8, 700, 700, 0.05)
    assert share is not None
    generator = np.random.default_rng(1)
    found = []
    for rate in (share, share * 0.8):
        counts = generator.binomial(700, rate, 2_000)
        eights, rows = np.full(2_000, 8), np.full(2_000, 700)
        p = compute_p_values(eights, rows, counts, rows)
        found.append(float(((p <= 0.05) & (counts > 8)).mean()))
    assert found[0] == pytest.approx(POWER, abs=0.03)
    assert found[1] < POWER - 0.1


@given(st.integers(0, 40), st.integers(40, 400), st.integers(1, 400))
def test_a_detectable_share_is_a_rise(count, total, rows):
    """It is above the share that is compared with, and more rows find a lower one."""
    found = find_detectable_share(count, total, rows, 0.05)
    assert found is None or count / total < found <= 1
    more = find_detectable_share(count, total, 10 * rows, 0.05)
    assert found is None or (more is not None and more <= found)


def test_few_rows_find_nothing():
    """Three rows can't differ from three others, and no rows differ from none."""
    assert find_detectable_share(0, 3, 3, 0.05) is None
    assert find_detectable_share(0, 0, 3, 0.05) is None
    assert find_detectable_share(0, 3, 0, 0.05) is None
