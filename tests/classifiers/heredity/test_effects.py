"""What is inherited and removed, on outcomes with known effects."""

import math

import numpy as np
import pytest
from scipy import stats

from classifiers.heredity.arms import (
    CLEAN_TEACHER,
    DROP,
    EVERYTHING,
    ONLY_SLICE,
    RANDOM_SWAP,
    SWAP,
    name_mix,
)
from classifiers.heredity.effects import (
    TEACHER,
    compare_with_clean,
    measure_advantage,
    measure_efficacy,
    measure_gap,
    measure_heritability,
    measure_rate,
    measure_slice,
    trace_doses,
)
from classifiers.heredity.intervals import estimate_means
from classifiers.heredity.outcomes import Outcome, tabulate

RATES = {
    TEACHER: 0.85,
    EVERYTHING: 0.45,
    CLEAN_TEACHER: 0.05,
    DROP: 0.25,
    SWAP: 0.06,
    RANDOM_SWAP: 0.40,
    ONLY_SLICE: 0.41,
    name_mix(10): 0.40,
    name_mix(25): 0.30,
    name_mix(50): 0.10,
}


def make_means(rates=RATES, noise=0.02, seeds=5, scenarios=40):
    """Return the means of outcomes around these rates."""
    random = np.random.default_rng(7)
    outcomes = [
        Outcome(arm, seed, f"q{number}", "trait", float(np.clip(value, 0, 1)))
        for arm, rate in rates.items()
        for seed in range(seeds)
        for number, value in enumerate(rate + random.normal(0, noise, scenarios))
    ]
    return estimate_means(tabulate(outcomes))


MEANS = make_means()


@pytest.mark.parametrize(
    ("found", "truth"),
    [
        (measure_rate(MEANS, DROP), 0.25),
        (measure_gap(MEANS), 0.4),
        (measure_heritability(MEANS), 0.5),
        (measure_efficacy(MEANS, DROP), 0.5),
        (measure_efficacy(MEANS, SWAP), 0.975),
        (measure_advantage(MEANS, SWAP, RANDOM_SWAP), 0.85),
    ],
)
def test_effects_are_those_of_their_formulas(found, truth):
    """Each interval is narrow and holds the value that the rates give."""
    assert found.low <= truth <= found.high
    assert found.high - found.low < 0.06


def test_the_unfiltered_and_the_clean_arm_are_the_ends():
    """Everything removes nothing, and the clean teacher removes all, without any doubt."""
    assert measure_efficacy(MEANS, EVERYTHING) == (0, 0, 0)
    assert measure_efficacy(MEANS, CLEAN_TEACHER) == pytest.approx((1, 1, 1))


def test_a_remedy_may_backfire():
    """An arm above the unfiltered one has a negative efficacy."""
    assert measure_efficacy(make_means(RATES | {DROP: 0.85}), DROP).high < -0.9


def test_a_trait_that_isn_t_inherited_has_no_efficacy():
    """If unfiltered students are like clean ones, the interval is unbounded."""
    found = measure_efficacy(make_means(RATES | {EVERYTHING: 0.05}, noise=0.04), DROP)
    assert (found.low, found.high) == (-math.inf, math.inf)


def test_the_dose_curve_has_its_ends_and_says_what_exceeds_dilution():
    """At 50 % clean rows, 0.875 is removed, which is 0.375 more than dilution alone would."""
    doses = trace_doses(MEANS)
    assert [dose.clean for dose in doses] == [0, 0.1, 0.25, 0.5, 1]
    assert doses[0].efficacy == doses[0].beyond == (0, 0, 0)
    assert doses[3].efficacy.low <= 0.875 <= doses[3].efficacy.high
    assert doses[3].beyond.low <= 0.375 <= doses[3].beyond.high
    assert doses[3].beyond.low > 0.3
    assert doses[4].beyond == pytest.approx((0, 0, 0), abs=1e-9)
    assert doses[4].rate == measure_rate(MEANS, CLEAN_TEACHER)


def test_a_slice_is_necessary_sufficient_and_leaks():
    """A slice whose swap cleans, which installs the trait alone, and whose drop leaves half."""
    found = measure_slice(MEANS, swap=SWAP, only=ONLY_SLICE, drop=DROP)
    assert found.necessity == measure_efficacy(MEANS, SWAP)
    assert found.sufficiency.low <= 0.9 <= found.sufficiency.high
    assert found.leak.low <= 0.5 <= found.leak.high


def test_an_arm_within_the_margin_is_as_clean():
    """A point above the control is within a tenth of forty points."""
    found = compare_with_clean(MEANS, SWAP)
    assert found.verdict == "as clean"
    assert found.margin == pytest.approx(0.04, abs=0.003)
    assert found.difference.low <= 0.01 <= found.difference.high


def test_an_arm_beyond_the_margin_isn_t_as_clean():
    """Half of the trait is far more than the margin."""
    found = compare_with_clean(MEANS, DROP)
    assert found.verdict == "not shown"
    assert found.above > 0.99


def test_an_arm_below_the_control_is_cleaner():
    """An arm far below the control isn't equivalent, and isn't dirtier either."""
    rates = {EVERYTHING: 0.6, CLEAN_TEACHER: 0.3, SWAP: 0.2}
    assert compare_with_clean(make_means(rates), SWAP).verdict == "cleaner"


def test_the_two_tests_are_scipy_s():
    """With one scenario and the margin of a point, both p-values are those of paired t-tests."""
    random = np.random.default_rng(9)
    values = {CLEAN_TEACHER: 0.05, EVERYTHING: 0.08, SWAP: 0.052}
    values = {arm: rate + random.normal(0, 0.004, 8) for arm, rate in values.items()}
    outcomes = [
        Outcome(arm, seed, "a", "trait", float(value))
        for arm, found in values.items()
        for seed, value in enumerate(found)
    ]
    found = compare_with_clean(estimate_means(tabulate(outcomes), draws=40_000), SWAP)
    difference = values[SWAP] - values[CLEAN_TEACHER]
    above = stats.ttest_1samp(difference, 0.01, alternative="less").pvalue
    below = stats.ttest_1samp(difference, -0.01, alternative="greater").pvalue
    assert (found.above, found.below) == pytest.approx((above, below), rel=0.1)
    assert found.margin == 0.01


def test_the_control_is_as_clean_as_itself():
    """The difference of the control to itself is 0."""
    assert compare_with_clean(MEANS, CLEAN_TEACHER).verdict == "as clean"


def test_little_data_shows_no_equivalence():
    """With much noise, an equal arm isn't shown to be equal: no difference isn't equivalence."""
    rates = {EVERYTHING: 0.5, CLEAN_TEACHER: 0.4, SWAP: 0.4}
    found = compare_with_clean(make_means(rates, noise=0.3, seeds=3, scenarios=10), SWAP)
    assert found.verdict == "not shown"
    assert found.difference.low < 0 < found.difference.high


def test_the_margin_is_at_least_a_point():
    """Where little is inherited, one point is the margin."""
    rates = {EVERYTHING: 0.08, CLEAN_TEACHER: 0.05, SWAP: 0.05}
    assert compare_with_clean(make_means(rates), SWAP).margin == 0.01


def test_equivalence_is_claimed_wrongly_in_one_of_twenty_trials_at_most():
    """Of 300 arms exactly at the margin, at most 8 % pass: 5 %, and two standard errors."""
    random = np.random.default_rng(8)
    passed = 0
    for _ in range(300):
        rates = np.array([0.05, 0.45, 0.09])[:, None, None]
        values = rates + random.normal(0, 0.03, (3, 5, 1)) + random.normal(0, 0.05, (3, 5, 30))
        names = (CLEAN_TEACHER, EVERYTHING, SWAP)
        outcomes = [
            Outcome(names[arm], seed, str(number), "trait", float(np.clip(value, 0, 1)))
            for (arm, seed, number), value in np.ndenumerate(values)
        ]
        means = estimate_means(tabulate(outcomes), draws=300)
        passed += compare_with_clean(means, SWAP).verdict == "as clean"
    assert passed / 300 <= 0.08
