"""Thresholds: known values, agreement with scipy and scikit-learn, and simulations that the promise is kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest
from sklearn.metrics import roc_auc_score

from classifiers.guarantees.calibration import (
    STEP,
    Threshold,
    allowed,
    auroc,
    calibrate,
    recall_at,
    texts_needed,
    upper_bound,
)
from schemas.cards import Level

LEVELS = st.builds(
    Level, max_false_positive_rate=st.floats(0.002, 0.5), confidence=st.floats(0.5, 0.99)
)
SCORES = st.lists(
    st.integers(0, 10_000).map(lambda number: number / 10_000), min_size=1, max_size=20
)


def level(rate=0.01, confidence=0.95):
    """Return a level."""
    return Level(max_false_positive_rate=rate, confidence=confidence)


@pytest.mark.parametrize(
    ("rate", "confidence", "needed"),
    [(0.01, 0.95, 299), (0.05, 0.95, 59), (0.001, 0.95, 2995), (0.01, 0.99, 459), (0.1, 0.9, 22)],
)
def test_known_numbers_of_texts(rate, confidence, needed):
    """For 1 % at 95 % it takes 299 clean texts, none of which exceeds, as tables of Wilks' formula say."""
    assert texts_needed(level(rate, confidence)) == needed
    assert allowed(needed, level(rate, confidence)) == 0
    assert allowed(needed - 1, level(rate, confidence)) == -1


@pytest.mark.parametrize(
    ("total", "count"), [(298, -1), (299, 0), (472, 0), (473, 1), (628, 2), (773, 3)]
)
def test_known_numbers_of_exceedances(total, count):
    """At 1 % and 95 % the first, second, third and fourth order statistics serve from 299, 473, 628 and 773 texts on."""
    assert allowed(total, level()) == count


@given(LEVELS)
@example(level(0.49999999999999994, 0.5))
@example(level(0.25, 0.578125))
def test_the_number_of_texts_is_the_smallest_that_will_do(wanted):
    """With so many texts the bound is within the level, with one fewer it isn't; where they are equal, the last bit may decide."""
    needed, rate = texts_needed(wanted), wanted.max_false_positive_rate
    assert upper_bound(0, needed, wanted.confidence) <= rate * (1 + 1e-9)
    assert upper_bound(0, needed - 1, wanted.confidence) >= rate * (1 - 1e-9)


@given(st.integers(0, 40), st.integers(1, 40), st.floats(0.5, 0.99))
def test_the_bound_is_that_of_clopper_and_pearson(exceeding, more, confidence):
    """Scipy's exact binomial test inverts to the same bound."""
    total = exceeding + more
    expected = (
        binomtest(exceeding, total, alternative="less").proportion_ci(confidence, "exact").high
    )
    assert upper_bound(exceeding, total, confidence) == pytest.approx(expected, abs=1e-9)
    assert upper_bound(total, total, confidence) == 1.0


def test_the_threshold_lies_just_above_the_highest_allowed_score():
    """Of 299 texts none may exceed, so that the threshold is a step above the highest."""
    scores = np.arange(299) / 1000
    assert calibrate(scores, level()) == Threshold(
        0.2981, "calibrated", 299, 0, upper_bound(0, 299, 0.95), 299
    )


def test_more_texts_lower_the_threshold():
    """Of 473 texts one may exceed: the threshold is a step above the second highest, and says so."""
    scores = np.arange(473) / 1000
    found = calibrate(scores, level())
    assert (found.value, found.exceeding, found.clean) == (0.4711, 1, 473)
    assert found.bound <= 0.01


def test_too_few_texts_give_no_threshold():
    """Nothing is guessed: without enough clean text the threshold is missing and the number that it takes is named."""
    assert calibrate(np.zeros(298), level()) == Threshold(None, "missing", clean=298, needed=299)
    assert calibrate(np.zeros(0), level()).value is None
    assert calibrate(np.full(400, np.nan), level()).clean == 0


def test_texts_without_a_score_do_not_count():
    """A row with nothing in scope is no evidence that the trait is rare."""
    scores = np.concatenate([np.full(100, np.nan), np.arange(299) / 1000])
    assert calibrate(scores, level()) == calibrate(scores[100:], level())


def test_a_threshold_above_one_never_fires():
    """When clean texts reach the top, the only threshold that keeps the level lies beyond it."""
    found = calibrate(np.ones(299), level())
    assert found.value == pytest.approx(1 + STEP)
    assert found.exceeding == 0


def test_float32_scores_fire_as_they_were_calibrated():
    """Scores are stored in float32: rounding them and comparing again gives the same rows on every step of the scale."""
    for tick in range(0, 10_000, 7):
        stored = np.full(299, np.float32(tick / 10_000))
        found = calibrate(stored, level())
        assert found.exceeding == 0
        assert not (stored >= np.float32(found.value)).any()
        assert np.float32((tick + 1) / 10_000) >= np.float32(found.value)


@given(SCORES, LEVELS)
def test_no_more_exceed_than_are_allowed(scores, wanted):
    """Of the calibration texts themselves at most the allowed number is at or above the threshold, ties or not."""
    values = np.array(scores)
    found = calibrate(values, wanted)
    if found.value is None:
        assert allowed(len(scores), wanted) == -1
        return
    assert (
        found.exceeding == (values >= found.value - STEP / 2).sum() <= allowed(len(scores), wanted)
    )
    assert found.bound <= wanted.max_false_positive_rate
    lower = round(found.value - STEP, 4)
    assert (values >= lower - STEP / 2).sum() > allowed(len(scores), wanted) or lower < 0


@given(SCORES, st.floats(0.05, 0.5), st.floats(0.01, 0.4), st.floats(0.5, 0.9))
def test_a_laxer_level_never_raises_the_threshold(scores, rate, more, confidence):
    """Allowing more false positives can only catch more."""
    strict, lax = (calibrate(np.array(scores), level(r, confidence)) for r in (rate, rate + more))
    if strict.value is not None:
        assert lax.value is not None
        assert lax.value <= strict.value


def kept_share(draw, true_rate, total, wanted, draws):
    """Return the share of calibrations whose threshold keeps the level on all clean text."""
    kept = [
        true_rate(calibrate(draw(total), wanted).value) <= wanted.max_false_positive_rate
        for _ in range(draws)
    ]
    return np.mean(kept)


@pytest.mark.parametrize(
    ("total", "rate", "confidence"), [(299, 0.01, 0.95), (130, 0.05, 0.9), (60, 0.05, 0.95)]
)
def test_the_level_holds_with_the_stated_confidence(total, rate, confidence):
    """Over thousands of draws of calibration texts the promise is kept as often as stated, and hardly oftener than need be."""
    generator = np.random.default_rng(7)
    draws = 3000
    share = kept_share(
        generator.random,
        lambda value: 1 - (value - STEP / 2),
        total,
        level(rate, confidence),
        draws,
    )
    noise = 3 * np.sqrt(confidence * (1 - confidence) / draws)
    count = allowed(total, level(rate, confidence))
    exact = beta.cdf(
        rate, count + 1, total - count
    )  # with k exceedances the share above follows Beta(k + 1, n - k)
    assert exact >= confidence
    assert share >= confidence - noise
    assert share == pytest.approx(exact, abs=noise + 0.01)  # rounding up by a step adds a little


def test_the_level_holds_for_scores_full_of_ties():
    """Lexicon scores take few values; the threshold goes above a tie, and the level holds all the more."""
    generator = np.random.default_rng(11)
    values, chances = np.array([0.0, 0.3935, 0.6321, 0.8647]), np.array([0.97, 0.02, 0.006, 0.004])
    share = kept_share(
        lambda size: generator.choice(values, size, p=chances),
        lambda value: chances[values >= value].sum(),
        299,
        level(),
        2000,
    )
    assert share >= 0.95 - 3 * np.sqrt(0.05 * 0.95 / 2000)


@settings(max_examples=60)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=30),
    st.lists(st.integers(0, 6), min_size=1, max_size=30),
)
def test_auroc_is_scikit_learns(positives, negatives):
    """Ties count half, as in scikit-learn."""
    expected = roc_auc_score([1] * len(positives) + [0] * len(negatives), positives + negatives)
    assert auroc(np.array(positives, float), np.array(negatives, float)) == pytest.approx(
        expected, abs=1e-12
    )


@given(
    st.lists(st.integers(0, 9), min_size=1, max_size=40),
    st.lists(st.integers(0, 9), min_size=1, max_size=40),
    st.floats(0, 0.9),
)
def test_recall_is_taken_where_few_negatives_exceed(positives, negatives, rate):
    """The cut is the lowest score that no more than the rate of the negatives exceed."""
    allowed_count = int(rate * len(negatives))
    cut = min(
        score for score in negatives if sum(other > score for other in negatives) <= allowed_count
    )
    expected = np.mean([score > cut for score in positives])
    assert recall_at(np.array(positives), np.array(negatives), rate) == pytest.approx(expected)
