"""Corrected shares, checked against known examples and simulations."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.guarantees.prevalence import (
    Counted,
    correct_prevalence,
    estimate_with_predictions,
)


def test_the_textbook_example():
    """Of 8 % flagged rows at a sensitivity of 70 % and 5 % false alarms, 4.6 % have the trait."""
    found = correct_prevalence(Counted(80, 1_000), Counted(70, 100), Counted(5, 100))
    assert found.estimate == pytest.approx((0.08 - 0.05) / 0.65)
    assert found.low < found.estimate < found.high
    assert found.is_clipped == (found.low == 0)


def test_fewer_flags_than_false_alarms_are_clipped():
    """An estimate below 0 is 0, and says so."""
    found = correct_prevalence(Counted(10, 1_000), Counted(70, 100), Counted(5, 100))
    assert (found.estimate, found.low, found.is_clipped) == (0.0, 0.0, True)


def test_a_judge_that_says_nothing_is_refused():
    """A judge must flag traited texts more often than clean ones."""
    with pytest.raises(ValueError, match="doesn't tell"):
        correct_prevalence(Counted(10, 100), Counted(5, 100), Counted(5, 100))


@pytest.mark.parametrize(
    ("share", "found", "alarms"), [(0.02, 0.8, 0.01), (0.3, 0.7, 0.1), (0.1, 1.0, 0.02)]
)
def test_the_interval_holds_the_truth(share, found, alarms):
    """Over 3,000 draws, the interval holds the share in about 95 % of them."""
    dice, draws, texts = np.random.default_rng(6), 3_000, 200
    flags = dice.binomial(2_000, share * found + (1 - share) * alarms, draws)
    hits, wrong = dice.binomial(texts, found, draws), dice.binomial(texts, alarms, draws)
    held = 0
    for flagged, right, false in zip(flags, hits, wrong, strict=True):
        result = correct_prevalence(
            Counted(int(flagged), 2_000), Counted(int(right), texts), Counted(int(false), texts)
        )
        held += result.low <= share <= result.high
    assert held / draws >= 0.93


def test_a_perfect_judge_needs_no_correction():
    """If the judge agrees with every read row, the share of all rows is the estimate."""
    judged = np.array([1.0] * 30 + [0.0] * 970)
    read = judged[::10]
    found = estimate_with_predictions(judged, read, read)
    assert found.estimate == pytest.approx(0.03)
    assert found.low < 0.03 < found.high
    with pytest.raises(ValueError, match="at least two rows"):
        estimate_with_predictions(judged, read[:1], read[:1])


@pytest.mark.parametrize("bias", [0.0, 0.2])
def test_a_biased_judge_is_corrected(bias):
    """Over 2,000 draws, the interval holds the truth in about 95 %, however biased the judge is."""
    dice, draws, share = np.random.default_rng(7), 2_000, 0.2
    held, estimates = 0, []
    for _ in range(draws):
        truth = dice.random(1_300) < share
        judged = np.where(dice.random(1_300) < 0.1, ~truth, truth) | (dice.random(1_300) < bias)
        found = estimate_with_predictions(
            judged[300:].astype(float), judged[:300].astype(float), truth[:300]
        )
        held += found.low <= share <= found.high
        estimates.append(found.estimate)
    assert held / draws >= 0.93
    assert np.mean(estimates) == pytest.approx(share, abs=0.003)


def test_a_good_judge_shortens_the_interval():
    """With a judge that is nearly always right, few read rows suffice."""
    dice = np.random.default_rng(8)
    truth = dice.random(10_200) < 0.2
    judged = np.where(dice.random(10_200) < 0.01, ~truth, truth).astype(float)
    good = estimate_with_predictions(judged[200:], judged[:200], truth[:200])
    noise = dice.random(10_200)
    poor = estimate_with_predictions(noise[200:], noise[:200], truth[:200])
    assert good.high - good.low < (poor.high - poor.low) / 2
