"""Conformal p-values and the share of clean findings, checked by simulation and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from classifiers.guarantees.conformal import (
    STEPS,
    CountedScores,
    compute_p_values,
    count_scores,
    find_cutoff,
    select_findings,
)

NOTHING = np.zeros(STEPS + 1, np.int64)


def test_p_values_count_clean_scores_at_or_above():
    """A tie counts, and the smallest p-value is 1 / (n + 1)."""
    clean = np.array([0.1, 0.2, 0.3, np.nan])
    assert compute_p_values(np.array([0.4, 0.3, 0.15, 0.0]), clean).tolist() == [
        *(0.25, 0.5, 0.75, 1.0)
    ]


@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=12),
    st.lists(st.integers(0, 20), min_size=1, max_size=12),
)
def test_p_values_equal_a_loop(scores, clean):
    """Each p-value is what the formula says."""
    found = compute_p_values(np.array(scores) / 20, np.array(clean) / 20)
    wanted = [(1 + sum(item >= score for item in clean)) / (len(clean) + 1) for score in scores]
    np.testing.assert_allclose(found, wanted, atol=1e-12)


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=40),
    st.sampled_from([0.01, 0.05, 0.1, 0.3]),
)
def test_the_cutoff_agrees_with_scipy(numbers, share):
    """The selected tests are those whose adjusted p-value in scipy is within the share."""
    values = np.array(numbers) / 101
    cutoff = find_cutoff(values, np.ones(len(values), np.int64), share)
    adjusted = false_discovery_control(values, method="bh")
    distance = np.abs(adjusted - share)
    wanted = adjusted <= share
    found = values <= (-1 if cutoff is None else cutoff)
    assert ((found == wanted) | (distance < 1e-9)).all()


def test_counts_mean_equal_tests():
    """A p-value with a count of 3 is three tests, and one with a count of 0 is none."""
    values, counts = np.array([0.01, 0.04, 0.5]), np.array([3, 1, 0])
    repeated = np.repeat(values, counts)
    single = find_cutoff(repeated, np.ones(4, np.int64), 0.05)
    assert find_cutoff(values, counts, 0.05) == single == pytest.approx(0.04)
    assert find_cutoff(values, np.array([0, 0, 2]), 0.05) is None
    assert find_cutoff(np.array([]), np.array([], np.int64), 0.05) is None


def test_scores_are_counted_by_step():
    """Float32 scores fall on their steps, and NaN is left out."""
    counts = count_scores(np.array([0.0, 0.1234, 0.1234, 1.0, np.nan], np.float32))
    assert counts.sum() == 4
    assert (counts[0], counts[1_234], counts[STEPS]) == (1, 2, 1)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.2]))
def test_thresholds_select_the_rows_of_single_tests(seed, share):
    """Counting by step gives the findings of tests row by row, over all traits together."""
    dice = np.random.default_rng(seed)
    names = ("owl", "heron")
    clean = {name: dice.integers(0, 5_000, 99) / STEPS for name in names}
    rows = {name: dice.integers(0, STEPS + 1, 200) / STEPS for name in names}
    found = select_findings(
        {
            name: CountedScores(count_scores(rows[name]), count_scores(clean[name]))
            for name in names
        },
        share,
    )
    values = np.concatenate([compute_p_values(rows[name], clean[name]) for name in names])
    selected = false_discovery_control(values, method="bh") <= share + 1e-12
    assert sum(found.findings.values()) == selected.sum()
    assert found.tests == 400
    for name in names:
        threshold = found.thresholds[name]
        reached = 0 if threshold is None else int((rows[name] >= threshold - 1e-9).sum())
        assert reached == found.findings[name]


def test_without_strong_findings_nothing_is_selected():
    """Too few clean texts, or rows like them, give no threshold."""
    clean = count_scores(np.linspace(0, 0.5, 50))
    rows = count_scores(np.concatenate([np.linspace(0, 0.5, 500), [0.9]]))
    found = select_findings({"owl": CountedScores(rows, clean)}, 0.1)
    assert (found.thresholds, found.findings, found.cutoff) == ({"owl": None}, {"owl": 0}, None)
    assert select_findings({}, 0.1).tests == 0
    assert select_findings({"owl": CountedScores(NOTHING, clean)}, 0.1).thresholds == {"owl": None}


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_the_share_of_clean_findings_is_kept(share):
    """Over 2,000 draws of two traits, the mean share of clean findings is at most the level."""
    dice, draws, size, traited = np.random.default_rng(17), 2_000, 400, 40
    shares = []
    for _ in range(draws):
        counts, truth = {}, {}
        for name, shift in (("owl", 4.0), ("heron", 2.5)):
            clean = dice.normal(size=1_000)
            rows = dice.normal(size=size)
            rows[:traited] += shift
            squeezed = [np.round(1 / (1 + np.exp(-values)), 4) for values in (rows, clean)]
            counts[name] = CountedScores(*map(count_scores, squeezed))
            truth[name] = squeezed[0]
        found = select_findings(counts, share)
        wrong = sum(
            int((truth[name][traited:] >= threshold - 1e-9).sum())
            for name, threshold in found.thresholds.items()
            if threshold is not None
        )
        shares.append(wrong / max(1, sum(found.findings.values())))
    mean, noise = np.mean(shares), 3 * np.std(shares) / np.sqrt(draws)
    assert mean <= share * (1 - traited / size) + noise
    assert mean >= 0.6 * share


def test_scores_below_the_lowest_are_never_selected():
    """A floor raises p-values to 1, which can only lower the number of findings."""
    clean, rows = count_scores(np.zeros(999)), count_scores(np.array([0.3] * 50 + [0.7] * 50))
    counts = {"owl": CountedScores(rows, clean)}
    assert select_findings(counts, 0.1).findings == {"owl": 100}
    found = select_findings(counts, 0.1, lowest=0.5)
    assert (found.thresholds, found.findings) == ({"owl": 0.5}, {"owl": 50})


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30, unique=True),
    st.lists(st.floats(0, 1), min_size=1, max_size=10),
)
def test_p_values_are_those_of_mapie(clean, scores):
    """They agree to 1e-9 with MAPIE's p-values, at the largest of its random numbers."""
    from mapie.exchangeability_testing import OnlineMartingaleTest

    class Largest:
        def uniform(self):
            return 1.0

    martingale = OnlineMartingaleTest()
    martingale.rng = Largest()
    wanted = [martingale.compute_p_value(score, np.array(clean)) for score in scores]
    found = compute_p_values(np.array(scores), np.array(clean))
    np.testing.assert_allclose(found, wanted, atol=1e-9, rtol=0)


@given(st.integers(0, 2**32 - 1), st.integers(20, 200), st.sampled_from([0.0513, 0.1017, 0.2511]))
@settings(max_examples=20)
def test_small_p_values_are_scores_outside_mapies_intervals(seed, size, share):
    """A p-value is at most the share if and only if the score exceeds the conformal quantile."""
    from mapie.regression import SplitConformalRegressor
    from sklearn.dummy import DummyRegressor

    dice = np.random.default_rng(seed)
    clean, scores = dice.random(size), dice.random(100)
    nothing = np.zeros((size, 1))
    zero = DummyRegressor(strategy="constant", constant=0.0).fit(nothing, clean)
    regressor = SplitConformalRegressor(zero, confidence_level=1 - share)
    _, intervals = regressor.conformalize(nothing, clean).predict_interval(nothing[:1])
    quantile = float(intervals[0, 1, 0])
    found = compute_p_values(scores, clean) <= share
    assert (found == (scores > quantile)).all()
    assert compute_p_values(np.array([quantile]), clean)[0] > share


@given(st.lists(st.integers(1, 100), min_size=1, max_size=40))
def test_the_cutoff_agrees_with_statsmodels(numbers):
    """The selected tests are those that Benjamini and Hochberg's procedure in statsmodels rejects.

    The share isn't a multiple of 1 / 101, so no p-value is on the line.
    """
    from statsmodels.stats.multitest import multipletests

    values = np.array(numbers) / 101
    cutoff = find_cutoff(values, np.ones(len(values), np.int64), 0.0513)
    wanted = multipletests(values, 0.0513, method="fdr_bh")[0]
    assert ((values <= (-1 if cutoff is None else cutoff)) == wanted).all()
