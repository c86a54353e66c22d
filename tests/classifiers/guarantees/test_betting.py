"""Anytime-valid bounds, checked by simulations that look after every value."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from classifiers.guarantees.betting import GRID, bound_mean, choose_bets, compute_log_wealth
from classifiers.guarantees.calibration import compute_upper_bound

DRAWS = 4_000


def draw_values(
    kind: str, dice: np.random.Generator, size: tuple[int, ...]
) -> tuple[float, object]:
    """Return a distribution's mean, and values drawn from it."""
    if kind == "beta":
        return 1 / 6, dice.beta(1, 5, size)
    mean = {"rare": 0.01, "even": 0.5, "common": 0.9}[kind]
    return mean, (dice.random(size) < mean).astype(np.float64)


@pytest.mark.parametrize("sides", ["both", "upper", "lower"])
@pytest.mark.parametrize("kind", ["rare", "even", "common", "beta"])
def test_the_true_mean_is_rarely_excluded_at_any_time(kind, sides):
    """Over 4,000 draws, whoever stops when it suits them excludes the mean in at most 5 %."""
    mean, values = draw_values(kind, np.random.default_rng(11), (DRAWS, 300))
    wealth = compute_log_wealth(values, mean, 0.95, sides)
    excluded = int((wealth.max(axis=1) >= math.log(20)).sum())
    assert excluded <= binom.ppf(0.999, DRAWS, 0.05)


def test_the_wealth_is_a_martingale():
    """The mean wealth under the true mean stays at its start."""
    mean, values = draw_values("even", np.random.default_rng(2), (20_000, 8))
    wealth = np.exp(compute_log_wealth(values, mean, 0.95, "upper"))
    assert wealth.mean(axis=0) == pytest.approx(np.ones(8), abs=0.03)


def test_bets_depend_on_earlier_values_only():
    """A value doesn't change the bet on it, or earlier bets."""
    values = np.linspace(0, 1, 30)
    other = values.copy()
    other[20:] = 0
    assert (choose_bets(values, 0.95)[:21] == choose_bets(other, 0.95)[:21]).all()
    assert choose_bets(values, 0.95)[21] != choose_bets(other, 0.95)[21]


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.sampled_from([0.8, 0.95]))
def test_bounds_only_become_tighter(values, confidence):
    """Each bound is within the one before, and one-sided bounds leave the other side open."""
    both = bound_mean(np.array(values), confidence)
    assert (np.diff(both.low) >= 0).all()
    assert (np.diff(both.high) <= 0).all()
    assert (both.low <= both.high).all()
    assert (bound_mean(np.array(values), confidence, "upper").low == 0).all()
    assert (bound_mean(np.array(values), confidence, "lower").high == 1).all()


def test_bounds_hold_the_means_that_the_wealth_allows():
    """The ends are the tested means beside the last one that isn't excluded."""
    values = (np.random.default_rng(3).random(200) < 0.1).astype(np.float64)
    found = bound_mean(values, 0.95, "upper")
    wealth = compute_log_wealth(values[None, :], GRID[:, None], 0.95, "upper")
    allowed = np.flatnonzero(wealth.max(axis=1) < math.log(20))
    assert found.high[-1] == GRID[allowed[-1] + 1]


def test_a_clean_audit_has_a_useful_bound():
    """After 3,000 rows without the trait, the bound is within a factor of 4 of the exact one."""
    high = bound_mean(np.zeros(3_000), 0.95, "upper").high[-1]
    exact = compute_upper_bound(0, 3_000, 0.95)
    assert exact < high < 4 * exact


def test_values_outside_are_refused():
    """Values beyond 0 to 1 break the guarantee."""
    for values in ([0.5, 1.1], [-0.1], [np.nan]):
        with pytest.raises(ValueError, match="from 0 to 1"):
            bound_mean(np.array(values), 0.95)
    assert len(bound_mean(np.array([]), 0.95).high) == 0
