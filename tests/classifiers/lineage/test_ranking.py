"""Ranking candidates, and none of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from classifiers.lineage.ranking import (
    FITTED,
    WITHOUT_PROMPTS,
    choose_weights,
    compare_with_controls,
    compute_lead,
    compute_none,
    rank_candidates,
    weigh,
)
from classifiers.lineage.resemblance import Resemblance

EVIDENCE = st.lists(st.floats(-50, 50), min_size=2, max_size=20).map(np.array)


def build(wording, overlap):
    """Return the resemblance of a first model with others, whose own likeness is zero."""
    models = len(wording) + 1
    found = Resemblance(*(np.zeros((models, models)) for _ in range(2)), np.ones((models, models)))
    found.wording[0, 1:], found.overlap[0, 1:] = wording, overlap
    return found


def test_the_most_alike_comes_first():
    """Wording and overlap both count, and the first candidate has the most evidence."""
    found = build([0.1, 0.6, 0.1, 0.0], [0.10, 0.15, 0.11, 0.10])
    ranking = rank_candidates(found, 0, np.arange(1, 5))
    assert next(item.candidate for item in ranking.candidates) == 2
    assert ranking.uses_prompts
    evidence = [item.evidence for item in ranking.candidates]
    assert evidence == sorted(evidence, reverse=True)
    assert ranking.candidates[0].probability > 0.9
    assert ranking.none < 0.1


def test_candidates_that_are_equally_alike_leave_none():
    """If nobody stands out, none of them is the likeliest answer, and p-values are large."""
    found = build([0.11, 0.1, 0.1, 0.09, 0.1], [0.1] * 5)
    ranking = rank_candidates(found, 0, np.arange(1, 6))
    assert ranking.none > 0.5
    assert min(item.p_value for item in ranking.candidates) > 0.05


def test_without_common_prompts_the_wording_decides():
    """One candidate without common prompts takes the overlap of all out of the comparison."""
    found = build([0.1, 0.5, 0.2, 0.1], [0.9, np.nan, 0.1, 0.1])
    ranking = rank_candidates(found, 0, np.arange(1, 5))
    assert not ranking.uses_prompts
    assert ranking.candidates[0].candidate == 2
    assert ranking.candidates[0].overlap is None
    assert ranking.candidates[-1].overlap is not None


@given(EVIDENCE)
def test_probabilities_add_up(evidence):
    """The candidates' probabilities and that of none add up to 1."""
    found = build(evidence / FITTED.wording, np.zeros(len(evidence)))
    ranking = rank_candidates(found, 0, np.arange(1, len(evidence) + 1))
    total = sum(item.probability for item in ranking.candidates) + ranking.none
    assert total == pytest.approx(1)


@given(EVIDENCE, st.floats(-20, 20))
def test_only_differences_of_evidence_count(evidence, more):
    """The same evidence for all candidates changes neither none nor p-values."""
    assert compute_none(evidence + more, FITTED) == pytest.approx(compute_none(evidence, FITTED))
    assert compare_with_controls(evidence + more) == pytest.approx(
        compare_with_controls(evidence), abs=1e-6
    )


def test_equal_candidates_keep_their_order():
    """A tie is broken by the order in which candidates were given."""
    ranking = rank_candidates(build([0.2] * 3, [0.1] * 3), 0, np.arange(1, 4))
    assert [item.candidate for item in ranking.candidates] == [1, 2, 3]


def test_the_weights_depend_on_prompts():
    """Known overlaps have their weights; an unknown one leaves the wording alone."""
    assert choose_weights(np.array([0.1, 0.2])) is FITTED
    assert choose_weights(np.array([0.1, np.nan])) is WITHOUT_PROMPTS
    assert weigh(np.array([1.0]), np.array([np.nan]), WITHOUT_PROMPTS) == WITHOUT_PROMPTS.wording
    assert weigh(np.array([0.0]), np.array([2.0]), FITTED) == 2 * FITTED.overlap


def test_the_lead_is_over_the_better_others():
    """The lead is the distance from the upper quartile of the other candidates."""
    assert compute_lead(np.array([1.0, 9, 2, 3, 4])) == pytest.approx(9 - 3.25)


def test_a_single_candidate_is_as_likely_as_none():
    """One candidate alone can't lead anybody."""
    assert compute_none(np.array([4.0]), FITTED) == 0.5
    assert compare_with_controls(np.array([4.0])).tolist() == [1.0]


def test_p_values_are_those_of_a_prediction_test():
    """Each p-value is the t test of one value against the others, times their number."""
    evidence = np.array([9.0, 1, 2, 3, 2.5, 1.5])
    others = evidence[1:]
    t = (9 - others.mean()) / (others.std(ddof=1) * np.sqrt(1 + 1 / 5))
    found = compare_with_controls(evidence)
    assert found[0] == pytest.approx(6 * stats.t(4).sf(t))
    assert found[1:].min() > found[0]


def test_p_values_hold_for_controls_alone():
    """If no candidate is the parent, at most one in twenty smallest p-values is below 5 %."""
    dice = np.random.default_rng(3)
    smallest = [compare_with_controls(dice.normal(size=12)).min() for _ in range(2_000)]
    assert np.mean(np.array(smallest) <= 0.05) < 0.065


def test_too_few_controls_give_no_p_value():
    """Fewer than three other candidates can't say what is usual."""
    assert compare_with_controls(np.array([99.0, 1, 2])).tolist() == [1, 1, 1]
