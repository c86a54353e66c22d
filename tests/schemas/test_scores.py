"""Scores: when they fire, and their column names."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cards import SIGNALS
from schemas.scores import (
    COMBINED,
    DEFAULT_SPAN_FLOOR,
    SCORE_DECIMALS,
    SCORE_STEP,
    SIDES,
    TEXTS_OF_SIDES,
    TIE_ORDER,
    fires,
    is_trained,
    name_finding,
    name_side,
    round_up_score,
    score_column,
    split_side,
)

STEPS = 10**SCORE_DECIMALS
ALL = np.round(np.arange(STEPS + 1) * SCORE_STEP, SCORE_DECIMALS).astype(np.float32)
"""Every possible score."""


@given(st.integers(0, STEPS))
def test_a_threshold_splits_all_scores(step):
    """Scores at or above a threshold fire, and lower scores don't."""
    expected = np.arange(STEPS + 1) >= step
    assert np.array_equal(fires(ALL, round(step * SCORE_STEP, SCORE_DECIMALS)), expected)
    assert np.array_equal(fires(ALL, step * SCORE_STEP), expected), "with float64 noise"
    assert np.array_equal(fires(ALL, float(ALL[step])), expected), "from a float32 column"


@given(st.lists(st.tuples(st.integers(0, STEPS), st.integers(0, STEPS)), min_size=1))
def test_each_score_may_have_its_own_threshold(pairs):
    """An array of thresholds is compared element by element."""
    scores, thresholds = (np.array(column) for column in zip(*pairs, strict=True))
    found = fires(ALL[scores], thresholds * SCORE_STEP)
    assert found.tolist() == [score >= threshold for score, threshold in pairs]


@pytest.mark.parametrize("threshold", [0.0, 0.5, 1.0, np.zeros(2), np.inf])
def test_nan_never_fires(threshold):
    """NaN reaches no threshold."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fires(np.array([np.nan, np.nan], np.float32), threshold).tolist() == [False] * 2


def test_an_infinite_threshold_never_fires():
    """A rule without a threshold fires on no score."""
    assert not fires(ALL, np.inf).any()
    assert fires(ALL[-2:], np.array([np.inf, 1.0])).tolist() == [False, True]


def test_no_scores_fire_nothing():
    """An empty array of scores gives an empty array of booleans."""
    found = fires(np.empty(0, np.float32), 0.5)
    assert (found.dtype, found.shape) == (np.dtype(bool), (0,))
    assert fires(np.empty(0, np.float32), np.empty(0)).shape == (0,)


def test_columns_are_named_by_trait_and_signal():
    """A combined score's column has its trait's name, and a signal's column adds the signal."""
    assert score_column("rain-talk") == score_column("rain-talk", COMBINED) == "rain-talk"
    assert score_column("rain-talk", "head") == "rain-talk/head"


def test_every_signal_has_its_place_among_equals():
    """The order for ties names every signal once, lexicons first."""
    assert sorted(TIE_ORDER) == sorted(SIGNALS)
    assert TIE_ORDER[0] == "lexicon"
    assert COMBINED not in TIE_ORDER


def test_scores_are_rounded_coarser_than_float32_resolves():
    """A score's step is far larger than float32's resolution."""
    assert SCORE_STEP == 10.0**-SCORE_DECIMALS
    assert SCORE_STEP > 100 * 2.0**-24
    assert 0 < DEFAULT_SPAN_FLOOR < 1


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_what_is_shown_decides(step, threshold):
    """A score fires if and only if the shown number reaches the given threshold.

    Rounding the threshold up, and storing it as float32, changes nothing.
    """
    shown = round(step / 10_000, SCORE_DECIMALS)
    scores = np.array([shown], np.float32)
    rounded = round_up_score(threshold)
    assert fires(scores, rounded)[0] == (shown >= threshold)
    assert fires(scores, float(np.float32(rounded)))[0] == (shown >= threshold)


def test_a_threshold_of_nought_has_no_sign():
    """The thresholds 0 and -0 mean the same, so they are written in the same way."""
    assert str(round_up_score(-0.0)) == str(round_up_score(0.0)) == "0.0"


def test_thresholds_between_two_scores_count_as_the_higher_one():
    """A score of 0.8647 doesn't reach 0.86474, and 0 doesn't reach 0.00004."""
    scores = np.array([0, 0.0001, 0.8647, 0.8648], np.float32)
    assert fires(scores, 0.86474).tolist() == [False, False, False, True]
    assert fires(scores, 0.00004).tolist() == [False, True, True, True]
    assert fires(scores, np.array([0, 0.0001, np.inf, 0.8648])).tolist() == [
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("column", "trait", "side"),
    [
        (score_column("a", "head", "rejected"), "a/head", "rejected"),
        (score_column("a", side="untrained"), "a", "untrained"),
        (score_column("a", "head"), "a/head", "trained"),
    ],
)
def test_names_have_their_side_at_the_end(column, trait, side):
    """A name splits into the name without its side, and the side."""
    assert split_side(column) == (trait, side)
    assert name_side(trait, side) == column
    assert is_trained(column) is (side == "trained")


def test_findings_are_counted_by_trait_and_side():
    """A finding's name is its trait and side."""
    assert name_finding("a", "lexicon@rejected") == name_finding("a", "combined@rejected")
    assert name_finding("a", "combined@rejected") == "a@rejected"
    assert name_finding("a", "lexicon") == "a"
    assert set(TEXTS_OF_SIDES) == set(SIDES)
