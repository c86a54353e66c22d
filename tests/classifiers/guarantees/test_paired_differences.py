"""Two sets of answers to the same prompts: how they are counted, and McNemar's exact test."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar

from classifiers.guarantees.paired_differences import compute_paired_p_values, count_pairs


@given(st.integers(0, 60), st.integers(0, 60))
def test_p_values_are_those_of_scipy_and_statsmodels(first, second):
    """The p-value is that of a binomial test of the prompts with a hit of one set alone."""
    (found,) = compute_paired_p_values(np.array([first]), np.array([second]))
    if first + second:
        assert found == pytest.approx(binomtest(first, first + second).pvalue, abs=1e-9)
        expected = mcnemar([[5, first], [second, 9]], exact=True).pvalue
        assert found == pytest.approx(min(1.0, expected), abs=1e-9)
    else:
        assert found == 1.0


def test_many_prompts_are_exact_too():
    """With a million prompts, the p-value is still scipy's."""
    (found,) = compute_paired_p_values(np.array([501_500]), np.array([498_500]))
    assert found == pytest.approx(binomtest(501_500, 1_000_000).pvalue, rel=1e-6)
    assert compute_paired_p_values(np.array([], int), np.array([], int)).tolist() == []


def count_by_hand(answered, hits):
    """Count each pair of sets prompt by prompt."""
    size = answered.shape[1]
    shared, fired, alone = (np.zeros((size, size), int) for _ in range(3))
    for there, hit in zip(answered, hits, strict=True):
        for one in range(size):
            for two in range(size):
                both = there[one] and there[two]
                shared[one, two] += both
                fired[one, two] += both and hit[one]
                alone[one, two] += both and hit[one] and not hit[two]
    return shared, fired, alone


@given(st.integers(0, 30), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_counts_are_those_prompt_by_prompt(prompts, size, seed):
    """Every pair has the prompts that both answered, and the hits there; blocks add up."""
    random = np.random.default_rng(seed)
    answered, hits = random.random((2, prompts, size)) < 0.5
    hits &= answered
    found = count_pairs(answered, hits)
    for own, expected in zip(found, count_by_hand(answered, hits), strict=True):
        assert np.array_equal(own, expected)
    half = prompts // 2
    parts = count_pairs(answered[:half], hits[:half]).add(count_pairs(answered[half:], hits[half:]))
    assert all(np.array_equal(one, two) for one, two in zip(parts, found, strict=True))


def test_hits_without_an_answer_do_not_count():
    """A hit needs an answer."""
    answered = np.array([[True, True], [True, False]])
    found = count_pairs(answered, np.ones((2, 2), bool))
    assert found.shared.tolist() == [[2, 1], [1, 1]]
    assert found.alone.tolist() == [[0, 0], [0, 0]]


def test_equal_rates_seldom_differ():
    """Over 2,000 draws without a difference, at most 5 % of the tests say that there is one.

    Three standard errors are allowed.
    """
    random = np.random.default_rng(0)
    first = random.binomial(200, 0.2, 2_000)
    second = random.binomial(200, 0.2, 2_000)
    share = (compute_paired_p_values(first, second) <= 0.05).mean()
    assert share <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 2_000)
