"""Thresholds for misses, checked against exact binomials, MAPIE and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from classifiers.guarantees.misses import control_expected_misses, control_misses
from schemas.cards import Level
from schemas.scores import SCORE_DECIMALS


def make_level(rate, confidence=0.95):
    """Return a level for the share of misses."""
    return Level(max_false_positive_rate=rate, confidence=confidence)


def test_the_threshold_is_an_order_statistic():
    """With 59 texts and 5 % at 95 %, none may be missed, so the lowest score is the threshold."""
    scores = np.linspace(0.1, 0.9, 59)
    assert control_misses(scores, make_level(0.05)).value == pytest.approx(0.1)
    assert control_misses(scores[1:], make_level(0.05)).value is None
    found = control_misses(np.append(scores, np.nan), make_level(0.2))
    assert (found.positives, found.missed) == (59, 6)


def test_the_expected_share_needs_fewer_texts():
    """With 19 texts, an expected share of 5 % allows no miss, and with 18 there is no threshold."""
    scores = np.linspace(0.1, 0.9, 19)
    assert control_expected_misses(scores, 0.05).value == pytest.approx(0.1)
    assert control_expected_misses(scores[1:], 0.05).value is None
    assert control_expected_misses(scores, 0.1).missed == 1


def test_ties_are_never_missed():
    """Texts with the threshold's score are found."""
    found = control_expected_misses(np.full(40, 0.5), 0.3)
    assert (found.value, found.missed) == (0.5, 0)


@pytest.mark.parametrize(("rate", "size"), [(0.05, 200), (0.2, 100), (0.1, 1_000)])
def test_the_level_of_misses_is_kept(rate, size):
    """Over 4,000 draws, the true share of misses exceeds the level in at most 5 % of them."""
    dice, draws = np.random.default_rng(3), 4_000
    values = [control_misses(dice.random(size), make_level(rate)).value for _ in range(draws)]
    misses = np.array(values)  # of uniform scores, this share is below the threshold
    exceeded = int((misses > rate).sum())
    assert exceeded <= binom.ppf(0.999, draws, 0.05)
    assert misses.mean() >= 0.45 * rate


@pytest.mark.parametrize(("rate", "size"), [(0.05, 99), (0.2, 50)])
def test_the_expected_share_of_misses_is_kept(rate, size):
    """Over 4,000 draws, the mean true share of misses is at most the rate, and near it."""
    dice, draws = np.random.default_rng(4), 4_000
    values = [control_expected_misses(dice.random(size), rate).value for _ in range(draws)]
    mean, noise = np.mean(values), 3 * np.std(values) / np.sqrt(draws)
    assert mean <= rate + noise
    assert mean >= 0.9 * rate - noise


@pytest.mark.parametrize(("rate", "confidence"), [(0.05, 0.8), (0.2, 0.95), (0.3, 0.5)])
def test_the_threshold_for_misses_is_mapies(rate, confidence):
    """Testing all thresholds from the lowest up, MAPIE stops at the same threshold."""
    from tests.support.peers import SIZES, try_thresholds

    dice = np.random.default_rng(5)
    for size in SIZES:
        scores = dice.integers(10, 60, size) / 60
        scores = np.round(scores, SCORE_DECIMALS)
        level = make_level(rate, confidence)
        found = try_thresholds(scores, np.unique(scores), level, "misses")
        wanted = control_misses(scores, level).value
        assert max(found.valid_predict_params) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("rate", [0.033, 0.121, 0.347])
def test_the_threshold_for_expected_misses_is_mapies(rate):
    """MAPIE's conformal risk control of the recall chooses the same threshold.

    No share of misses is exactly the rate, because MAPIE wants less than the rate.
    """
    from tests.support.peers import control_expected_recall

    dice = np.random.default_rng(6)
    for size in (40, 101, 150):
        scores = np.round(dice.integers(10, 60, size) / 60, SCORE_DECIMALS)
        wanted = control_expected_misses(scores, rate).value
        assert control_expected_recall(scores, rate) == pytest.approx(wanted, abs=1e-9)
