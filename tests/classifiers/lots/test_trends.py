"""Trends and differences over generations: exact chances, intervals, and unknown counts."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.lots.trends import (
    MOST_EXACT,
    compute_difference,
    compute_trend,
    fill_unknown,
    find_hardest,
    measure_slopes,
)

TOTALS = np.array([100, 110, 90, 105])


def count_by_hand(counts, totals):
    """Return the chance of at least this sum of steps, from all draws with as many texts."""
    held, reached = sum(counts), sum(step * count for step, count in enumerate(counts))
    chance = whole = 0
    for drawn in product(*(range(held + 1) for _ in totals)):
        if sum(drawn) == held:
            ways = np.prod([comb(n, k) for n, k in zip(totals, drawn, strict=True)], dtype=object)
            whole += ways
            chance += ways * (sum(step * count for step, count in enumerate(drawn)) >= reached)
    return chance / whole


@pytest.mark.parametrize("counts", [(0, 0, 3), (1, 1, 1), (3, 0, 0), (0, 1, 3), (0, 2, 1)])
def test_few_texts_are_tested_exactly(counts):
    """The chance is that of a draw without replacement, as counted by hand."""
    totals = np.array([6, 4, 5])
    found = compute_trend(np.array([counts]), totals)
    assert found[0] == pytest.approx(count_by_hand(counts, totals.tolist()), rel=1e-9)


def test_exact_and_normal_tests_agree():
    """With as many texts as the exact test takes, the normal one gives nearly the same."""
    totals = np.full(4, 1_000)
    exact = compute_trend(np.array([[15, 22, 28, 35]]), totals)
    assert MOST_EXACT == 15 + 22 + 28 + 35
    normal = compute_trend(np.array([[15, 22, 28, 35], [15, 22, 28, 36]]), totals)
    assert normal[1] < exact[0] < 2 * normal[1]
    assert 0.0005 < exact[0] < 0.005


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.4])
def test_the_level_is_kept(rate):
    """If rates don't differ, 5 % of the p-values are below 0.05, or fewer."""
    counts = np.random.default_rng(7).binomial(TOTALS, rate, (2_000, 4))
    for p in (compute_trend(counts, TOTALS), compute_difference(counts, TOTALS)):
        assert (p <= 0.05).mean() <= 0.06
        assert ((p >= 0) & (p <= 1)).all()


def test_a_rise_is_seen_and_a_fall_is_not():
    """The tests are one-sided, and turned round they see a fall."""
    rising, falling = np.array([[1, 5, 10, 20]]), np.array([[20, 10, 5, 1]])
    assert compute_trend(rising, TOTALS)[0] < 1e-4
    assert compute_trend(falling, TOTALS)[0] > 0.99
    assert compute_trend(falling[:, ::-1], TOTALS[::-1])[0] < 1e-4
    assert compute_difference(rising, TOTALS)[0] < 1e-3
    assert compute_difference(falling, TOTALS)[0] > 0.99


def test_slopes_are_those_of_a_line():
    """Rates on a line have its slope, within the interval."""
    totals = np.full(5, 1_000)
    (slope,) = measure_slopes(np.array([[10, 20, 30, 40, 50]]), totals)
    assert slope.value == pytest.approx(0.01)
    assert 0 < slope.low < slope.value < slope.high
    (flat,) = measure_slopes(np.zeros((1, 3), np.int64), np.full(3, 100))
    assert flat.value == 0
    assert flat.low < 0 < flat.high


def test_slopes_cover_the_truth():
    """The 95 % interval holds the true slope in about 95 % of draws."""
    generator = np.random.default_rng(3)
    rates = np.array([0.02, 0.03, 0.04, 0.05])
    counts = generator.binomial(500, rates, (800, 4))
    found = measure_slopes(counts, np.full(4, 500))
    held = np.mean([item.low <= 0.01 <= item.high for item in found])
    assert 0.92 <= held <= 0.99


def test_unknown_counts_make_a_change_hard_to_show():
    """For a rise, unknown counts before are large; for a fall, those now."""
    counts, known = np.array([[0, 0, 9]]), np.array([[False, False, True]])
    difference = find_hardest(3, rising=True, trend=False)
    assert fill_unknown(counts, known, 2, difference).tolist() == [[2, 2, 9]]
    trend = find_hardest(3, rising=True, trend=True)
    assert fill_unknown(counts, known, 2, trend).tolist() == [[2, 0, 9]]
    lost, seen = np.array([[9, 0, 0]]), np.array([[True, False, False]])
    fall = find_hardest(3, rising=False, trend=False)
    assert fill_unknown(lost, seen, 2, fall).tolist() == [[9, 0, 2]]
    fading = find_hardest(3, rising=False, trend=True)
    assert fill_unknown(lost, seen, 2, fading).tolist() == [[9, 2, 2]]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=2, max_size=5))
def test_the_hardest_counts_have_the_largest_p_value(items):
    """No other choice of unknown counts makes a rise harder to show."""
    generations = len(items)
    totals = np.full(generations, 40)
    counts = np.array([[count + 5 * place for place, (count, _) in enumerate(items)]])
    known = np.array([[is_known for _, is_known in items[:-1]] + [True]])
    hardest = find_hardest(generations, rising=True, trend=False)
    worst = compute_difference(fill_unknown(counts, known, 2, hardest), totals)[0]
    for values in product((0, 1, 2), repeat=generations):
        filled = np.where(known, counts, np.array([values]))
        assert compute_difference(filled, totals)[0] <= worst + 1e-9


def test_the_normal_test_is_that_of_statsmodels():
    """Beyond the exact test, the p-value agrees with statsmodels' linear trend test to 1e-9."""
    from scipy.stats import norm
    from statsmodels.stats.contingency_tables import Table

    dice = np.random.default_rng(8)
    for _ in range(50):
        totals = dice.integers(200, 600, dice.integers(3, 9))
        counts = dice.integers(80, totals)
        table = Table(np.stack([totals - counts, counts]), shift_zeros=False)
        steps = np.arange(len(totals))
        wanted = table.test_ordinal_association(np.array([0, 1]), steps)
        reach = (wanted.statistic - 0.5 - wanted.null_mean) / wanted.null_sd
        found = compute_trend(counts[None], totals)[0]
        assert found == pytest.approx(norm.sf(reach), abs=1e-9)
