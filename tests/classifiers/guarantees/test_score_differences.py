"""The test of lots' scores by ranks, checked against scipy and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import (
    binom,
    false_discovery_control,
    kruskal,
    mannwhitneyu,
    permutation_test,
    rankdata,
)

from classifiers.guarantees import score_differences
from classifiers.guarantees.score_differences import (
    DRAWS,
    LotShift,
    compare_scores,
    compute_statistic,
    rank_scores,
)


def draw_lots(dice, *shifts, rows=60):
    """Return lots of rounded scores, most of them 0, with a shift for each lot."""
    return [np.clip(dice.normal(shift, 0.5, rows), 0, 1).round(1) for shift in shifts]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_ranks_are_scipys(scores):
    """Equal scores share their mean rank."""
    assert rank_scores(np.array(scores)).tolist() == rankdata(scores).tolist()


def test_the_statistic_is_scipys():
    """The statistic with many ties agrees with scipy's to 1e-9."""
    dice = np.random.default_rng(1)
    for _ in range(100):
        lots = [dice.integers(0, 4, dice.integers(2, 40)) / 4 for _ in range(dice.integers(2, 7))]
        sizes, ranks = np.array([*map(len, lots)]), rank_scores(np.concatenate(lots))
        sums = np.array([part.sum() for part in np.split(ranks, np.cumsum(sizes)[:-1])])
        wanted = kruskal(*lots).statistic
        assert compute_statistic(sums, sizes, ranks) == pytest.approx(wanted, rel=1e-9)


def test_p_values_are_those_of_scipy_in_large_lots():
    """With many rows, the p-values are near those of the limits that scipy has."""
    lots = draw_lots(np.random.default_rng(2), 0.0, 0.03, 0.06, rows=400)
    found = compare_scores(lots)
    wanted = kruskal(*lots)
    assert found.statistic == pytest.approx(wanted.statistic, rel=1e-9)
    assert 0.001 < wanted.pvalue < 0.9
    assert found.p == pytest.approx(wanted.pvalue, abs=4 * np.sqrt(wanted.pvalue / DRAWS))
    for number, shift in enumerate(found.shifts):
        others = np.concatenate([lot for other, lot in enumerate(lots) if other != number])
        one = mannwhitneyu(lots[number], others, method="asymptotic", use_continuity=False)
        size = len(lots[number]) * len(others)
        assert shift.above == pytest.approx(one.statistic / size, rel=1e-9)
        assert shift.p == pytest.approx(one.pvalue, abs=5 * np.sqrt(one.pvalue / DRAWS))


def test_the_p_value_of_small_lots_is_exact():
    """With a handful of rows, p is near the share of all orders, which scipy counts."""
    lots = (np.array([0.0, 0.0, 0.1]), np.array([0.5, 0.6, 0.1]))
    exact = permutation_test(lots, lambda *own: kruskal(*own).statistic, alternative="greater")
    found = compare_scores(lots)
    assert found.p == pytest.approx(exact.pvalue, abs=4 * np.sqrt(exact.pvalue / DRAWS))
    assert found.p == found.shifts[0].p == found.shifts[1].p, "two lots are one comparison"


def test_shifts_are_adjusted_for_the_number_of_lots():
    """The q-values are scipy's, and name the lot that is shifted."""
    lots = draw_lots(np.random.default_rng(3), 0.0, 0.0, 0.0, 0.7, 0.0)
    found = compare_scores(lots)
    wanted = false_discovery_control([shift.p for shift in found.shifts])
    assert [shift.q for shift in found.shifts] == pytest.approx(wanted.tolist(), rel=1e-9)
    assert found.shifts[3].q == min(shift.q for shift in found.shifts) < 0.05
    assert found.shifts[3].above > 0.7


def test_lots_that_clearly_differ_are_found():
    """The smallest p-value is that of the number of draws, also if a lot has no rows."""
    lots = [np.zeros(50), np.empty(0), np.linspace(0.1, 1, 50)]
    found = compare_scores(lots)
    assert found.p == pytest.approx(1 / (DRAWS + 1))
    assert [shift.above for shift in found.shifts] == [0.0, 0.5, 1.0]
    assert found.shifts[1] == LotShift(0.5, 1.0, 1.0)
    assert compare_scores([lots[0], lots[2]]).statistic == found.statistic


@pytest.mark.parametrize("lots", [[], [[]], [[0.5, 0.6]], [[], [0.5]], [[0.5, 0.5], [0.5]]])
def test_without_a_comparison_no_lot_differs(lots):
    """One lot, no rows, or one score have a p-value of 1."""
    found = compare_scores([np.array(lot, float) for lot in lots])
    assert (found.statistic, found.p) == (0.0, 1.0)
    assert found.shifts == [LotShift(0.5, 1.0, 1.0)] * len(lots)


def test_equal_lots_are_rarely_called_different(monkeypatch):
    """Over 500 draws of equal lots of unequal sizes, p is at most 5 % in about 5 % of them."""
    monkeypatch.setattr(score_differences, "DRAWS", 199)
    dice, draws = np.random.default_rng(5), 500
    lots = ([dice.binomial(3, 0.2, size) / 3 for size in (12, 30, 5)] for _ in range(draws))
    rejected = sum(compare_scores(own).p <= 0.05 for own in lots)
    assert 10 <= rejected <= binom.ppf(0.999, draws, 0.05)


def test_the_result_depends_on_the_seed_only(monkeypatch):
    """The same seed gives the same p-values, however many orders are drawn at once."""
    lots = draw_lots(np.random.default_rng(6), 0.0, 0.1, rows=20)
    first = compare_scores(lots)
    assert compare_scores(lots) == first
    monkeypatch.setattr(score_differences, "AT_ONCE", 1)
    assert compare_scores(lots) == first
    assert compare_scores(lots, seed=1).statistic == first.statistic
