"""Thresholds, checked against known values, simulations, MAPIE and three other libraries."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, binomtest
from sklearn.metrics import roc_auc_score

from classifiers.guarantees import calibration
from classifiers.guarantees.calibration import (
    Threshold,
    bound_share,
    calibrate,
    compute_auroc,
    compute_intervals,
    compute_recall,
    compute_upper_bound,
    count_allowed,
    count_texts_needed,
    measure_found,
    split_confidence,
)
from schemas.cards import Level
from schemas.scores import LIKELY, SCORE_STEP

LEVELS = st.builds(
    Level, max_false_positive_rate=st.floats(0.002, 0.5), confidence=st.floats(0.5, 0.99)
)
SCORES = st.lists(
    st.integers(0, 10_000).map(lambda number: number / 10_000), min_size=1, max_size=20
)


def make_level(rate=0.01, confidence=0.95):
    """Return a level, by default a rate of 1 % with 95 % confidence."""
    return Level(max_false_positive_rate=rate, confidence=confidence)


@pytest.mark.parametrize(
    ("rate", "confidence", "needed"),
    [(0.01, 0.95, 299), (0.05, 0.95, 59), (0.001, 0.95, 2995), (0.01, 0.99, 459), (0.1, 0.9, 22)],
)
def test_known_numbers_of_texts(rate, confidence, needed):
    """A rate of 1 % at 95 % confidence needs 299 texts, as in tables of Wilks' formula."""
    assert count_texts_needed(make_level(rate, confidence)) == needed
    assert count_allowed(needed, make_level(rate, confidence)) == 0
    assert count_allowed(needed - 1, make_level(rate, confidence)) == -1


def test_bounds_at_a_split_confidence_hold_together():
    """In at most 5 % of 2,000 draws, one of ten bounds at once is below its true rate."""
    texts, rates = 1_000, np.geomspace(0.0005, 0.02, 10)
    counts = np.random.default_rng(4).binomial(texts, rates, (2_000, 10))
    confidence = split_confidence(0.95, 10)
    assert confidence == pytest.approx(0.995)
    highest = max(counts.ravel())
    bounds = np.array([compute_upper_bound(k, texts, confidence) for k in range(highest + 1)])
    failed = (bounds[counts] < rates).any(axis=1).mean()
    assert failed <= 0.05
    alone = np.array([compute_upper_bound(k, texts, 0.95) for k in range(highest + 1)])
    assert (alone[counts] < rates).any(axis=1).mean() > 0.1  # what splitting is for
    assert split_confidence(0.95, 0) == split_confidence(0.95, 1) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("rate", "confidence", "needed"),
    [(1e-17, 0.95, 3e17), (5e-324, 0.95, 1e308), (0.5, 1e-20, 1), (1e-9, 0.95, 2_995_732_273)],
)
def test_tiny_rates_need_many_texts(rate, confidence, needed):
    """The number of texts needed is finite even for rates and confidences that round to 1."""
    assert count_texts_needed(make_level(rate, confidence)) == pytest.approx(needed, rel=0.9)
    origin = calibrate(np.zeros(10, np.float32), make_level(rate)).origin
    assert origin == ("missing" if needed > 10 else "calibrated")


def test_a_rate_allows_the_texts_that_it_says():
    """A rate of 0.29 lets 29 of 100 negatives exceed the cut-off, despite float rounding."""
    negatives = np.arange(100) / 100
    assert compute_recall(np.array([0.705, 0.715]), negatives, 0.29) == 1
    assert compute_recall(np.array([0.695, 0.715]), negatives, 0.29) == 0.5


@pytest.mark.parametrize(
    ("total", "count"), [(298, -1), (299, 0), (472, 0), (473, 1), (628, 2), (773, 3)]
)
def test_known_numbers_of_exceedances(total, count):
    """At 1 % and 95 %, 473 texts allow one exceedance, 628 allow two, and 773 allow three."""
    assert count_allowed(total, make_level()) == count


@given(LEVELS)
@example(make_level(0.49999999999999994, 0.5))
@example(make_level(0.25, 0.578125))
def test_the_number_of_texts_is_the_smallest_that_will_do(wanted):
    """The bound is within the rate for the needed number of texts, but not for one text less."""
    # some levels have a bound equal to the rate
    needed, rate = count_texts_needed(wanted), wanted.max_false_positive_rate
    assert compute_upper_bound(0, needed, wanted.confidence) <= rate * (1 + 1e-9)
    assert compute_upper_bound(0, needed - 1, wanted.confidence) >= rate * (1 - 1e-9)


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.5, 0.99))
def test_the_bound_is_that_of_clopper_and_pearson(exceeding, more, confidence):
    """The upper bound equals the bound from scipy's exact binomial test."""
    total = exceeding + more
    expected = (
        binomtest(exceeding, total, alternative="less").proportion_ci(confidence, "exact").high
    )
    assert compute_upper_bound(exceeding, total, confidence) == pytest.approx(expected, abs=1e-9)
    assert compute_upper_bound(total, total, confidence) == 1.0


def test_the_threshold_is_one_step_above_the_highest_allowed_score():
    """None of 299 texts may reach the threshold, which is a step above the highest score."""
    scores = np.arange(299) / 1000
    assert calibrate(scores, make_level(), lowest=0) == Threshold(
        0.2981, "calibrated", 299, 0, compute_upper_bound(0, 299, 0.95), 299
    )


def test_more_texts_lower_the_threshold():
    """One of 473 texts may reach the threshold, which is a step above the second highest score."""
    scores = np.arange(473) / 1000
    found = calibrate(scores, make_level(), lowest=0)
    assert (found.value, found.exceeding, found.clean) == (0.4711, 1, 473)
    assert found.bound <= 0.01


def test_a_calibrated_threshold_is_at_least_one_half():
    """Clean text with low scores doesn't make a trait fire on rows that are likely clean."""
    scores = np.arange(299) / 1000
    found = calibrate(scores, make_level())
    assert (found.value, found.exceeding) == (LIKELY, 0) == (0.5, 0)
    assert calibrate(scores + 0.4, make_level()).value == 0.6981


def test_the_bound_belongs_to_the_count_beside_it():
    """At 0.5, the bound is for the texts that reach it, and elsewhere for those allowed."""
    low = np.zeros(1003)
    found = calibrate(low, make_level())
    assert (found.exceeding, found.bound) == (0, compute_upper_bound(0, 1003, 0.95))
    assert calibrate(np.append(low[2:], [0.9, 0.9]), make_level()).bound == compute_upper_bound(
        2, 1003, 0.95
    )
    tied = calibrate(np.append(low[9:], np.full(9, 0.9)), make_level())
    assert (tied.value, tied.exceeding) == (0.9001, 0)
    assert tied.bound == compute_upper_bound(count_allowed(1003, make_level()), 1003, 0.95)


@pytest.mark.parametrize("above", [0.005, 0.01, 0.03, 0.08])
def test_the_bound_holds_with_the_stated_confidence(above):
    """Over many draws, the true rate exceeds the bound no more often than stated."""
    generator = np.random.default_rng(11)
    missed, total = 0, 200
    for _ in range(1000):
        # clean scores are uniform, and this share of them is above 0.5
        found = calibrate(generator.random(total) + above - 0.5, make_level(0.05))
        missed += found.bound < above + 0.5 - max(found.value, 0.5)
    assert missed / 1000 <= 0.05 + 3 * (0.05 * 0.95 / 1000) ** 0.5


def test_too_few_texts_give_no_threshold():
    """Too few clean texts give no threshold, and the number needed is reported."""
    assert calibrate(np.zeros(298), make_level()) == Threshold(
        None, "missing", clean=298, needed=299
    )
    assert calibrate(np.zeros(0), make_level()).value is None
    assert calibrate(np.full(400, np.nan), make_level()).clean == 0


def test_texts_without_a_score_do_not_count():
    """A row with nothing in scope isn't evidence of a low false positive rate."""
    scores = np.concatenate([np.full(100, np.nan), np.arange(299) / 1000])
    assert calibrate(scores, make_level()) == calibrate(scores[100:], make_level())


def test_a_threshold_above_one_never_fires():
    """If clean texts score 1, the threshold is above 1."""
    found = calibrate(np.ones(299), make_level())
    assert found.value == pytest.approx(1 + SCORE_STEP)
    assert found.exceeding == 0


def test_float32_scores_fire_as_they_were_calibrated():
    """A float32 score reaches the same thresholds as the float64 score."""
    for tick in range(0, 10_000, 7):
        stored = np.full(299, np.float32(tick / 10_000))
        found = calibrate(stored, make_level(), lowest=0)
        assert found.exceeding == 0
        assert not (stored >= np.float32(found.value)).any()
        assert np.float32((tick + 1) / 10_000) >= np.float32(found.value)


@given(SCORES, LEVELS)
def test_no_more_exceed_than_are_allowed(scores, wanted):
    """At most the allowed number of calibration texts reach the threshold, even if scores tie."""
    values = np.array(scores)
    found = calibrate(values, wanted, lowest=0)
    if found.value is None:
        assert count_allowed(len(scores), wanted) == -1
        return
    assert (
        found.exceeding
        == (values >= found.value - SCORE_STEP / 2).sum()
        <= count_allowed(len(scores), wanted)
    )
    assert found.bound <= wanted.max_false_positive_rate
    lower = round(found.value - SCORE_STEP, 4)
    assert (values >= lower - SCORE_STEP / 2).sum() > count_allowed(
        len(scores), wanted
    ) or lower < 0


@given(SCORES, st.floats(0.05, 0.5), st.floats(0.01, 0.4), st.floats(0.5, 0.9))
def test_a_laxer_level_never_raises_the_threshold(scores, rate, more, confidence):
    """A higher false positive rate never raises the threshold."""
    strict, lax = (
        calibrate(np.array(scores), make_level(r, confidence)) for r in (rate, rate + more)
    )
    if strict.value is not None:
        assert lax.value is not None
        assert lax.value <= strict.value


def measure_kept_share(draw, true_rate, total, wanted, draws):
    """Return the share of simulated calibrations whose threshold keeps to the level."""
    with pytest.MonkeyPatch.context() as patch:
        # Every draw needs the same few bounds, which scipy computes slowly.
        patch.setattr(calibration, "compute_upper_bound", cache(compute_upper_bound))
        kept = [
            true_rate(calibrate(draw(total), wanted, lowest=0).value)
            <= wanted.max_false_positive_rate
            for _ in range(draws)
        ]
    return np.mean(kept)


@pytest.mark.parametrize(
    ("total", "rate", "confidence"), [(299, 0.01, 0.95), (130, 0.05, 0.9), (60, 0.05, 0.95)]
)
def test_the_level_holds_with_the_stated_confidence(total, rate, confidence):
    """Over many draws of calibration texts, the level holds as often as stated."""
    generator = np.random.default_rng(7)
    draws = 3000
    share = measure_kept_share(
        generator.random,
        lambda value: 1 - (value - SCORE_STEP / 2),
        total,
        make_level(rate, confidence),
        draws,
    )
    noise = 3 * np.sqrt(confidence * (1 - confidence) / draws)
    count = count_allowed(total, make_level(rate, confidence))
    # if k of n texts may reach the threshold, the share above it follows Beta(k + 1, n - k)
    exact = beta.cdf(rate, count + 1, total - count)
    assert exact >= confidence
    assert share >= confidence - noise
    # Rounding the threshold up makes the level hold slightly more often.
    assert share == pytest.approx(exact, abs=noise + 0.01)


def test_the_level_is_used_at_5000_texts():
    """At n = 5,000, the mean true rate is at least 0.6 α, and exceeds α in at most 5 % of draws.

    The order statistic is that of the umbrella algorithm (Tong, Feng, Li 2018).
    """
    dice, draws, level = np.random.default_rng(12), 2_000, make_level(0.01)
    values = [calibrate(dice.random(5_000), level).value for _ in range(draws)]
    rates = 1 - np.array(values) + SCORE_STEP / 2  # uniform scores, rounded to steps
    assert rates.mean() >= 0.6 * 0.01
    assert (rates > 0.01).mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / draws)
    allowed = count_allowed(5_000, level)
    tails = binom.cdf([allowed, allowed + 1], 5_000, 0.01)
    assert tails[0] <= 0.05 < tails[1]
    assert 5_000 - allowed == 4_962  # the umbrella's k*, counted from the lowest score


def test_the_level_holds_for_scores_full_of_ties():
    """The level holds even for scores with many ties, as lexicons give."""
    generator = np.random.default_rng(11)
    values, chances = np.array([0.0, 0.3935, 0.6321, 0.8647]), np.array([0.97, 0.02, 0.006, 0.004])
    share = measure_kept_share(
        lambda size: generator.choice(values, size, p=chances),
        lambda value: chances[values >= value].sum(),
        299,
        make_level(),
        2000,
    )
    assert share >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 2000)


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=30),
    st.lists(st.integers(0, 6), min_size=1, max_size=30),
)
def test_auroc_equals_scikit_learns(positives, negatives):
    """A positive that ties with a negative counts as half a win, as in scikit-learn."""
    expected = roc_auc_score([1] * len(positives) + [0] * len(negatives), positives + negatives)
    assert compute_auroc(np.array(positives, float), np.array(negatives, float)) == pytest.approx(
        expected, abs=1e-12
    )


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=40),
    st.lists(st.integers(0, 9), min_size=1, max_size=40),
    st.floats(0, 0.9),
)
def test_recall_is_measured_at_the_stated_false_positive_rate(positives, negatives, rate):
    """The cut-off is the lowest negative score that at most a `rate` share of negatives exceed."""
    allowed_count = math.floor(Fraction(repr(rate)) * len(negatives))
    cut = min(
        score for score in negatives if sum(other > score for other in negatives) <= allowed_count
    )
    expected = np.mean([score > cut for score in positives])
    assert compute_recall(np.array(positives), np.array(negatives), rate) == pytest.approx(expected)


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=5))
def test_intervals_are_clopper_pearsons(pairs):
    """The intervals of several shares equal scipy's exact intervals, even at 0 and 1."""
    counts = np.array([count for count, _ in pairs])
    totals = counts + np.array([max(rest, 1 - count) for count, rest in pairs])
    low, high = compute_intervals(counts, totals, 0.9)
    for index, (count, total) in enumerate(zip(counts.tolist(), totals.tolist(), strict=True)):
        exact = binomtest(count, total).proportion_ci(0.9, "exact")
        assert low[index] == pytest.approx(exact.low, abs=1e-9)
        assert high[index] == pytest.approx(exact.high, abs=1e-9)


@given(st.integers(0, 30), st.integers(1, 30))
def test_one_share_has_its_interval(found, total):
    """An interval equals scipy's exact interval, and contains the observed share."""
    found = min(found, total)
    low, high = bound_share(found, total)
    exact = binomtest(found, total).proportion_ci(0.95, method="exact")
    assert (low, high) == pytest.approx((exact.low, exact.high), abs=1e-9)
    assert low - 1e-9 <= found / total <= high + 1e-9


def test_positives_found_are_counted_as_rows_are():
    """A positive at the threshold counts, NaN doesn't, and the median ignores NaN."""
    scores = np.array([0.9, 0.5, 0.4999, np.nan, 0.1], np.float32)
    found = measure_found(scores, 0.5)
    assert (found.positives, found.found) == (4, 2)
    assert found.median == pytest.approx(0.5, abs=1e-4)
    assert found.low < 0.5 < found.high
    assert found.is_in_noise
    assert not measure_found(scores, 0.4).is_in_noise
    assert measure_found(np.array([np.nan]), 0.5) is None
    assert measure_found(np.empty(0), 0.5) is None


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(1, 300)), min_size=1, max_size=5))
def test_intervals_are_those_of_statsmodels(pairs):
    """The intervals of several shares agree with statsmodels' exact intervals to 1e-9."""
    from statsmodels.stats.proportion import proportion_confint

    counts = np.array([count for count, _ in pairs])
    totals = counts + np.array([rest for _, rest in pairs])
    low, high = compute_intervals(counts, totals, 0.9)
    wanted = proportion_confint(counts, totals, alpha=0.1, method="beta")
    np.testing.assert_allclose([low, high], wanted, atol=1e-9, rtol=0)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_threshold_is_mapies(rate, confidence):
    """Testing all thresholds from the highest down, MAPIE stops at the same threshold."""
    from tests.support.peers import SIZES, try_thresholds

    level, dice = make_level(rate, confidence), np.random.default_rng(3)
    for size in SIZES:
        scores = dice.integers(0, 40, size) / 50
        thresholds = np.unique(np.concatenate([scores, scores + SCORE_STEP]))
        found = try_thresholds(scores, thresholds, level, "fpr")
        wanted = calibrate(scores, level, lowest=0).value
        assert min(found.valid_predict_params) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.4])
def test_bounds_invert_mapies_p_values(rate):
    """At the confidence 1 - p, the upper bound is the rate that MAPIE tested, to 1e-9."""
    from tests.support.peers import try_thresholds

    scores = np.random.default_rng(4).integers(0, 1_000, 512) / 1_000
    thresholds = np.unique(scores)[1:]
    found = try_thresholds(scores, thresholds, make_level(rate, 0.9), "fpr").p_values[:, 0]
    exceeding = (scores >= thresholds[:, None]).sum(1)
    known = (found > 1e-6) & (found < 1 - 1e-6)  # beyond that, 1 - p has too few digits
    assert known.sum() >= 10
    for count, p in zip(exceeding[known].tolist(), found[known].tolist(), strict=True):
        assert compute_upper_bound(count, len(scores), 1 - p) == pytest.approx(rate, abs=1e-9)
