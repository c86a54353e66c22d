"""Thresholds for misses, checked against exact binomials and simulations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from classifiers.guarantees.misses import control_expected_misses, control_misses
from schemas.cards import Level


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
