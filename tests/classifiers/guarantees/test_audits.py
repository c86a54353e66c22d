"""How an audit is spread over strata."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from classifiers.guarantees.audits import FLOOR, allocate_rows


def test_every_stratum_gets_the_floor():
    """A stratum in which nothing is expected is read too."""
    found = allocate_rows(np.array([100_000, 500, 10]), np.array([0.0, 0.5, 0.5]), 300)
    assert found.min() == 10
    assert found[0] >= FLOOR
    assert found.sum() == 300


def test_the_rest_follows_size_and_spread():
    """Of equal strata, the one with the more uncertain share gets more; Neyman's ratio is kept."""
    found = allocate_rows(np.array([10_000, 10_000]), np.array([0.5, 0.1]), 8_000, floor=0)
    assert found.tolist() == [5_000, 3_000]


def test_a_small_stratum_leaves_its_share_to_others():
    """No stratum is read beyond its rows."""
    found = allocate_rows(np.array([40, 1_000]), np.array([0.5, 0.5]), 600, floor=0)
    assert found.sum() == 600
    assert found[0] <= 40


@given(
    st.lists(st.tuples(st.integers(0, 300), st.floats(0, 1)), min_size=1, max_size=8),
    st.integers(0, 2_000),
    st.integers(0, 40),
)
def test_the_budget_is_spent(strata, budget, floor):
    """The sum is the budget, unless the floors need more or there are fewer rows."""
    rows = np.array([size for size, _ in strata])
    found = allocate_rows(rows, np.array([share for _, share in strata]), budget, floor)
    least = int(np.minimum(rows, floor).sum())
    assert found.sum() == max(least, min(budget, int(rows.sum())))
    assert (found <= rows).all()
    assert (found >= np.minimum(rows, floor)).all()
