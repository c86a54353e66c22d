"""Near misses: rows just below a threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.receipts import NearMisses
from schemas.scores import NEAR_MISS, fires
from tests.support.rules import build_rule
from transforms.near_misses import find_near_misses, measure_near_misses


def test_rows_just_below_the_threshold_are_counted():
    """Fired rows, far rows and rows without a score aren't near misses."""
    scores = np.array([0.9, 0.5, 0.4999, 0.45, 0.4499, 0.1, np.nan], np.float32)
    assert measure_near_misses(scores, 0.5) == NearMisses(rows=2, best=0.4999)


def test_the_best_row_may_be_far_below():
    """The best score below the threshold may be far below."""
    assert measure_near_misses(np.array([0.1, 0.2], np.float32), 0.9).best == pytest.approx(0.2)
    assert measure_near_misses(np.array([0.95, np.nan], np.float32), 0.9) == NearMisses()
    assert measure_near_misses(np.empty(0, np.float32), 0.9) == NearMisses()


@given(
    st.lists(st.integers(0, 10_000), max_size=30),
    st.integers(1, 10_000),
    st.integers(0, 30),
)
def test_near_misses_of_parts_add_up(steps, threshold, cut):
    """Shards' near misses add up to those of all rows."""
    scores, limit = (np.array(steps) / 10_000).astype(np.float32), threshold / 10_000
    parts = (measure_near_misses(part, limit) for part in (scores[:cut], scores[cut:]))
    whole = measure_near_misses(scores, limit)
    assert next(parts).add(next(parts)) == whole
    near = fires(scores, limit - NEAR_MISS) & ~fires(scores, limit) & (scores > 0)
    assert whole.rows == near.sum()


def test_a_score_of_nought_is_no_near_miss():
    """A score of 0 isn't a near miss."""
    assert measure_near_misses(np.zeros(3, np.float32), 0.0001) == NearMisses()


def test_each_rule_looks_at_its_own_column():
    """A rule's near misses come from its own signal, on trained texts."""
    scores = {
        "owl": np.array([0.48, 0.2], np.float32),
        "owl/head": np.array([0.1, 0.49], np.float32),
        "owl@rejected": np.array([0.47, 0.47], np.float32),
    }
    assert find_near_misses(scores, [build_rule()]) == {"owl": NearMisses(rows=1, best=0.48)}
    assert find_near_misses(scores, [build_rule(signal="head")])["owl"].best == 0.49
