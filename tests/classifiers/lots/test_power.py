"""How small a rate would have been found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, hypergeom

from classifiers.lots.power import find_detectable_rate


def test_a_phrase_at_the_detectable_rate_is_found_as_often_as_promised():
    """At the rate, the count is significant in about 80 % of corpora."""
    rate = find_detectable_rate(1_000, 1_000, 200, 0.025)
    counts = np.arange(60)
    significant = hypergeom.sf(counts - 1, 2_000, counts, 1_000) <= 0.025 / 200
    fewest = int(counts[significant][0])
    assert binom.sf(fewest - 1, 1_000, rate) == pytest.approx(0.8, abs=0.02)


def test_more_texts_find_rarer_phrases():
    """The detectable rate falls with the number of texts, and rises with that of candidates."""
    rates = [find_detectable_rate(texts, texts, 200, 0.025) for texts in (100, 1_000, 10_000)]
    assert rates == sorted(rates, reverse=True)
    assert rates[2] < 0.005
    assert find_detectable_rate(1_000, 1_000, 4_000, 0.025) > rates[1]


def test_too_few_texts_find_nothing():
    """With a handful of texts no rate would be found, which isn't a number."""
    assert find_detectable_rate(3, 3, 200, 0.025) is None
    assert find_detectable_rate(0, 100, 1, 0.025) is None
    assert find_detectable_rate(100, 0, 1, 0.025) is None


def test_texts_that_may_have_the_phrase_raise_the_rate():
    """Against two texts of the reference, more texts of the corpus are needed."""
    rates = [find_detectable_rate(336, 241, 200, 0.025, held) for held in (0, 2, 4)]
    assert rates == sorted(rates)
    assert rates[0] < rates[1]
    assert find_detectable_rate(336, 1, 200, 0.025, 5) is None
