"""Random rows with the tokens of other rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.heredity.matching import CLOSE, draw_like, plan_exchanges

TOKENS = st.lists(st.integers(1, 200), max_size=60).map(lambda found: np.array(found, np.int64))


@given(TOKENS, TOKENS)
def test_as_many_rows_are_drawn_as_are_wanted(pool, wanted):
    """The draw has distinct, sorted rows of the pool: as many as wanted, or the whole pool."""
    drawn = draw_like(pool, wanted)
    assert len(drawn) == min(len(pool), len(wanted))
    assert (np.diff(drawn) > 0).all()
    assert len(drawn) == 0 or 0 <= drawn[0] <= drawn[-1] < len(pool)


def test_the_tokens_agree_with_the_rows_wanted():
    """From a large pool, long rows are matched by long rows, and the sums agree closely."""
    random = np.random.default_rng(5)
    pool = random.integers(5, 400, 5_000)
    wanted = random.integers(200, 400, 300)
    drawn = pool[draw_like(pool, wanted)]
    assert drawn.sum() == pytest.approx(wanted.sum(), rel=CLOSE)
    assert np.quantile(drawn, 0.5) == pytest.approx(np.quantile(wanted, 0.5), rel=0.05)
    assert np.quantile(drawn, 0.1) == pytest.approx(np.quantile(wanted, 0.1), rel=0.05)


def test_the_first_rows_of_each_length_are_drawn():
    """A pool in random order gives a random draw, because the earlier of equal rows is taken."""
    assert draw_like(np.full(10, 7), np.full(4, 7)).tolist() == [0, 1, 2, 3]


@given(TOKENS, TOKENS, st.integers(-500, 500), st.integers(0, 20))
def test_exchanges_bring_the_tokens_closer(inside, outside, gap, most):
    """Each exchange narrows the gap, no row is exchanged twice, and there aren't too many."""
    exchanges = plan_exchanges(inside, outside, gap, most)
    left = gap
    for leaves, comes in exchanges:
        before, left = left, left - int(outside[comes] - inside[leaves])
        assert abs(left) < abs(before)
    assert len(exchanges) <= most
    assert all(len(set(side)) == len(exchanges) for side in zip(*exchanges, strict=True))


def test_a_gap_closes_exactly_where_it_can():
    """A single exchange of the right size is found, wherever it is."""
    assert plan_exchanges(np.array([10, 20]), np.array([10, 11, 17]), 7, 5) == [(0, 2)]


def test_nothing_is_exchanged_without_a_gap():
    """Equal tokens need no exchange."""
    assert plan_exchanges(np.array([10, 20]), np.array([1, 2]), 0, 5) == []
