"""Intervals over seeds and scenarios, against scipy and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from classifiers.heredity.intervals import (
    compute_p,
    estimate_means,
    measure_contrast,
    measure_ratio,
    spread_contrast,
)
from classifiers.heredity.outcomes import OutcomeTable
from schemas.errors import TrialError

CLEAN, MIDDLE, DIRTY = "clean", "middle", "dirty"
MEANS = np.array([0.1, 0.3, 0.5])


def make_table(values):
    """Return a table of arms, seeds and scenarios with these values."""
    arms, seeds, scenarios = values.shape
    names = (CLEAN, MIDDLE, DIRTY)[:arms]
    return OutcomeTable(names, tuple(range(seeds)), tuple(map(str, range(scenarios))), values)


def draw_values(random, *, seeds=5, scenarios=20, by_seed=0.03, by_scenario=0.1, rest=0.1):
    """Draw outcomes around known means, with effects of seeds, of scenarios and of neither."""
    shape = (3, seeds, scenarios)
    own = random.normal(0, by_seed, (3, seeds, 1))
    harder = random.normal(0, by_scenario, scenarios) * np.array([0.5, 1, 1.5])[:, None, None]
    return MEANS[:, None, None] + own + harder + random.normal(0, rest, shape)


def test_with_one_scenario_the_interval_is_student_s():
    """For seeds alone, the interval of a difference is scipy's paired t interval."""
    values = np.random.default_rng(1).random((2, 6, 1))
    means = estimate_means(make_table(values), draws=40_000)
    found = measure_contrast(means, {MIDDLE: 1, CLEAN: -1})
    oracle = stats.ttest_rel(values[1, :, 0], values[0, :, 0])
    low, high = oracle.confidence_interval()
    assert found.estimate == pytest.approx((low + high) / 2)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.02 * (high - low))
    assert compute_p(means, {MIDDLE: 1, CLEAN: -1}) == pytest.approx(
        stats.ttest_rel(values[1, :, 0], values[0, :, 0], alternative="less").pvalue, abs=0.01
    )


def test_without_a_correction_the_error_is_scipy_s_bootstrap():
    """For seeds alone, the standard error is the bootstrap's, corrected for few seeds."""
    values = np.random.default_rng(2).random((1, 8, 1))
    means = estimate_means(make_table(values))
    oracle = stats.bootstrap(
        (values[0, :, 0],), np.mean, n_resamples=20_000, method="percentile", rng=3
    )
    found = spread_contrast(means, means.weigh({CLEAN: 1}))
    assert found.error == pytest.approx(oracle.standard_error * math.sqrt(8 / 7), rel=0.03)
    assert found.freedom == pytest.approx(7)


def test_the_parts_of_the_variance_are_those_of_the_design():
    """With many seeds and scenarios, the error is that of a crossed design's known variances."""
    random = np.random.default_rng(3)
    values = draw_values(random, seeds=60, scenarios=80)
    means = estimate_means(make_table(values))
    expected = 0.03**2 / 60 + 0.1**2 / 80 + 0.1**2 / (60 * 80)
    found = spread_contrast(means, means.weigh({MIDDLE: 1})).error
    assert found == pytest.approx(math.sqrt(expected), rel=0.15)


@pytest.mark.parametrize(
    ("seeds", "scenarios", "effects"),
    [
        (3, 20, (0.03, 0.1, 0.1)),
        (5, 20, (0.03, 0.1, 0.1)),
        (5, 50, (0.0, 0.0, 0.2)),
        (5, 50, (0.05, 0.0, 0.1)),
        (5, 50, (0.0, 0.2, 0.05)),
    ],
)
def test_intervals_cover_the_truth(seeds, scenarios, effects):
    """Over 200 draws, at least 92 % of the intervals hold the true difference and ratio.

    The level is 95 %. With 200 draws, 92 % is two standard errors below it.
    """
    random = np.random.default_rng(11)
    by_seed, by_scenario, rest = effects
    hits = np.zeros(2)
    for _ in range(200):
        values = draw_values(
            random, seeds=seeds, scenarios=scenarios, by_seed=by_seed, by_scenario=by_scenario,
            rest=rest,
        )  # fmt: skip
        means = estimate_means(make_table(values), draws=500)
        difference = measure_contrast(means, {MIDDLE: 1, CLEAN: -1})
        ratio = measure_ratio(means, {DIRTY: 1, MIDDLE: -1}, {DIRTY: 1, CLEAN: -1})
        hits += (difference.low <= 0.2 <= difference.high, ratio.low <= 0.5 <= ratio.high)
    assert (hits / 200 >= 0.92).all()


def test_intervals_cover_rare_answers():
    """Also with yes-or-no outcomes of 2 %, at least 92 % of 200 intervals hold the truth."""
    random = np.random.default_rng(12)
    hits = 0
    for _ in range(200):
        values = (random.random((2, 5, 100)) < 0.02).astype(float)
        found = measure_contrast(estimate_means(make_table(values), draws=500), {CLEAN: 1})
        hits += found.low <= 0.02 <= found.high
    assert hits / 200 >= 0.92


def test_a_ratio_with_a_small_denominator_is_unbounded():
    """If nothing may have been inherited, the efficacy may be anything."""
    values = draw_values(np.random.default_rng(4), rest=1.0)
    means = estimate_means(make_table(values))
    found = measure_ratio(means, {MIDDLE: 1}, {CLEAN: 1})
    assert (found.low, found.high) == (-math.inf, math.inf)
    empty = measure_ratio(means, {MIDDLE: 1}, {CLEAN: 0})
    assert empty == (None, -math.inf, math.inf)


def test_a_ratio_without_noise_is_exact():
    """Equal seeds and scenarios leave no doubt."""
    values = np.broadcast_to(MEANS[:, None, None], (3, 4, 6)).copy()
    means = estimate_means(make_table(values))
    found = measure_ratio(means, {MIDDLE: 1, CLEAN: -1}, {DIRTY: 1, CLEAN: -1})
    assert found == pytest.approx((0.5, 0.5, 0.5))
    assert compute_p(means, {MIDDLE: 1}, 0.31) == pytest.approx(0)
    assert compute_p(means, {MIDDLE: 1}, 0.29) == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_no_case_in_n_isn_t_a_rate_of_none(value):
    """An arm in which all of 100 outcomes are equal still has an interval of some 3 points."""
    values = np.full((1, 5, 20), value)
    found = measure_contrast(estimate_means(make_table(values)), {CLEAN: 1})
    assert 0.02 < found.high - value < 0.05


def test_arms_share_seeds_and_scenarios():
    """Effects that all arms share don't count in their difference."""
    random = np.random.default_rng(5)
    shared = random.normal(0, 0.2, (1, 5, 1)) + random.normal(0, 0.2, (1, 1, 30))
    means = estimate_means(make_table(MEANS[:, None, None] + np.broadcast_to(shared, (3, 5, 30))))
    difference = measure_contrast(means, {DIRTY: 1, CLEAN: -1})
    alone = measure_contrast(means, {DIRTY: 1})
    assert difference.high - difference.low < 1e-6
    assert alone.high - alone.low > 0.2


@given(st.integers(2, 6), st.integers(1, 9), st.integers(0, 99))
def test_intervals_hold_their_estimate_and_repeat(seeds, scenarios, seed):
    """Whatever the size, the estimate is inside, and a second computation gives the same."""
    values = np.random.default_rng(seed).random((2, seeds, scenarios))
    one, two = (estimate_means(make_table(values), draws=200) for _ in range(2))
    weights = {MIDDLE: 1, CLEAN: -0.5}
    found = measure_contrast(one, weights)
    assert found.low <= found.estimate <= found.high
    assert found == measure_contrast(two, weights)


def test_one_seed_has_no_interval():
    """A single student says nothing about others."""
    with pytest.raises(TrialError, match="one seed has no interval"):
        estimate_means(make_table(np.zeros((2, 1, 5))))


def test_an_arm_without_outcomes_is_named():
    """A weight for an arm that wasn't trained is an error."""
    means = estimate_means(make_table(np.zeros((2, 2, 5))))
    with pytest.raises(TrialError, match="no outcomes of 'swap'"):
        measure_contrast(means, {"swap": 1})
