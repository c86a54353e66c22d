"""How much higher a corpus scores, checked against scipy and by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from classifiers.guarantees.likeness import measure_excess

SCORES = st.lists(st.integers(0, 20).map(lambda score: score / 20), min_size=1, max_size=40)


@given(SCORES, SCORES)
def test_the_share_is_the_one_sided_kolmogorov_smirnov_distance(corpus, clean):
    """The share equals scipy's one-sided distance, with ties as well."""
    found = measure_excess(np.array(corpus), np.array(clean))
    expected = ks_2samp(corpus, clean, alternative="less", method="asymp").statistic
    assert found.share == pytest.approx(expected)
    assert 0 <= found.p <= 1


def test_higher_clean_scores_are_no_excess():
    """A corpus that scores lower than the clean texts has no excess."""
    low, high = np.linspace(0, 0.4, 50), np.linspace(0.5, 1, 50)
    assert measure_excess(low, high)[:2] == (0.0, 1.0)
    assert measure_excess(high, low).share == 1.0
    assert measure_excess(high, low).p == pytest.approx(math.exp(-50))


def test_a_difference_below_the_lowest_score_does_not_count():
    """Rows that score 0.1 instead of 0 say nothing about a threshold of 0.5."""
    clean, corpus = np.zeros(100), np.array([0.1] * 80 + [0.7] * 20)
    assert measure_excess(corpus, clean).share == 1.0
    found = measure_excess(corpus, clean, 0.25)
    assert found[:2] == (pytest.approx(0.2), pytest.approx(math.exp(-2 * 0.04 * 50)))
    assert found[2:] == (0.7, pytest.approx(0.2), 0.0)
    assert measure_excess(corpus, clean, 0.8).share == 0.0


@given(SCORES, SCORES, st.integers(0, 20).map(lambda score: score / 20))
def test_the_shares_are_those_of_texts_that_reach_the_score(corpus, clean, lowest):
    """The named score is in the tail, and both shares can be counted again."""
    ours, theirs = np.array(corpus), np.array(clean)
    found = measure_excess(ours, theirs, lowest)
    assert found.score >= lowest
    assert found.corpus == pytest.approx((ours >= found.score).mean())
    assert found.clean == pytest.approx((theirs >= found.score).mean())
    assert found.share == pytest.approx(max(0.0, found.corpus - found.clean))


def test_missing_scores_are_ignored():
    """NaN scores count nothing, and without other scores there is no result."""
    nan, scores = np.array([np.nan]), np.array([0.1, 0.9])
    assert measure_excess(nan, scores) is None
    assert measure_excess(scores, nan) is None
    assert measure_excess(np.append(scores, nan), scores) == measure_excess(scores, scores)


def test_equal_distributions_rarely_look_different():
    """Of two samples from one distribution, at most a share p has a probability up to p."""
    generator = np.random.default_rng(5)
    found = [measure_excess(generator.random(300), generator.random(200)).p for _ in range(400)]
    assert np.mean(np.array(found) <= 0.05) <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
