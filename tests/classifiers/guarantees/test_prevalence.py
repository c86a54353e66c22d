"""Corrected shares, checked against known examples and simulations."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.guarantees.prevalence import (
    Counted,
    ReadErrors,
    RemovedShare,
    correct_after_removal,
    correct_prevalence,
    estimate_with_draws,
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


def test_draws_of_one_part_give_the_estimate_of_predictions():
    """An even sample in one part has the estimate of prediction-powered inference."""
    dice = np.random.default_rng(8)
    judged, truth = dice.random(2_000), dice.random(200) < 0.3
    read = dice.random(200)
    plain = estimate_with_predictions(judged, read, truth)
    own = estimate_with_draws(float(judged.mean()), [ReadErrors(1.0, truth - read)])
    assert own.estimate == pytest.approx(plain.estimate, abs=1e-9)
    assert plain.low <= own.low < own.high <= plain.high


def test_draws_by_weight_hold_the_truth_in_about_95_percent():
    """Over 2,000 audits of two strata with unequal chances, the interval holds the share."""
    dice, held, tries = np.random.default_rng(9), 0, 2_000
    shares, rates, alarms = np.array([0.9, 0.1]), np.array([0.05, 0.5]), np.array([0.02, 0.8])
    judged, true = float(shares @ alarms), float(shares @ rates)
    for _ in range(tries):
        stratum = (dice.random(300) < 0.5).astype(int)
        errors = (dice.random(300) < rates[stratum]).astype(float)
        errors -= dice.random(300) < alarms[stratum]
        found = estimate_with_draws(judged, [ReadErrors(1.0, errors * shares[stratum] / 0.5)])
        held += found.low <= true <= found.high
    assert 0.93 <= held / tries <= 0.97


def test_parts_that_were_drawn_apart_add_up():
    """Each part counts by its share, and its variance by the square."""
    first, second = np.array([0.0, 1.0, 0.0, 1.0]), np.array([-1.0, -1.0, 0.0])
    found = estimate_with_draws(0.5, [ReadErrors(0.75, first), ReadErrors(0.25, second)])
    assert found.estimate == pytest.approx(0.5 + 0.75 * 0.5 - 0.25 * 2 / 3)
    variance = 0.75**2 * first.var(ddof=1) / 4 + 0.25**2 * second.var(ddof=1) / 3
    assert min(found.estimate + 1.959964 * variance**0.5, 1) == pytest.approx(found.high, abs=1e-6)


def test_a_part_with_one_draw_is_refused():
    """One draw has no variance."""
    with pytest.raises(ValueError, match="at least two"):
        estimate_with_draws(0.1, [ReadErrors(1.0, np.array([0.0]))])


def test_what_is_left_after_removal():
    """A filter that finds 80 % and removes all of it leaves a fifth of the rows with the trait."""
    before = correct_prevalence(Counted(90, 1_000), Counted(80, 100), Counted(1, 100))
    found = correct_after_removal(before, Counted(80, 100), RemovedShare(1_000, 910, 1.0))
    assert found.estimate == pytest.approx(before.estimate * 0.2 / 0.91)
    assert found.low < found.estimate < found.high
    kept = correct_after_removal(before, Counted(80, 100), RemovedShare(1_000, 1_000, 0.0))
    assert kept == before


def test_the_interval_with_predictions_is_that_of_statsmodels():
    """It is the interval of a difference of means with unequal variances, to 1e-9."""
    from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

    dice = np.random.default_rng(10)
    for confidence in (0.8, 0.95, 0.99):
        judged, read = dice.random(500), dice.random(80)
        truth = dice.random(80) < 0.4
        found = estimate_with_predictions(judged, read, truth, confidence)
        means = CompareMeans(DescrStatsW(judged), DescrStatsW(read - truth))
        wanted = means.zconfint_diff(alpha=1 - confidence, usevar="unequal")
        assert not found.is_clipped
        assert (found.low, found.high) == pytest.approx(wanted, abs=1e-9)
