"""Trees of models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.cluster.hierarchy import average
from scipy.spatial.distance import squareform

from classifiers.lineage.trees import Join, build_tree, order_leaves


def draw_likeness(models: int, seed: int) -> np.ndarray:
    """Return a symmetric matrix of likeness."""
    found = np.random.default_rng(seed).normal(size=(models, models))
    return found + found.T


@given(st.integers(2, 12), st.integers(0, 1_000))
def test_joins_agree_with_scipy(models, seed):
    """Distances are those of average linkage."""
    likeness = draw_likeness(models, seed)
    apart = ~np.eye(models, dtype=bool)
    distance = np.where(apart, likeness[apart].max() - likeness, 0)
    expected = average(squareform(distance, checks=False))
    joins = build_tree(likeness)
    assert [join.distance for join in joins] == pytest.approx(expected[:, 2].tolist())


@given(st.integers(1, 12), st.integers(0, 1_000))
def test_each_leaf_is_drawn_once(models, seed):
    """The order of leaves is a permutation."""
    joins = build_tree(draw_likeness(models, seed))
    assert len(joins) == models - 1
    assert sorted(order_leaves(joins, models)) == list(range(models))


def test_the_most_alike_are_joined_first():
    """Two pairs are joined before they meet."""
    likeness = np.array([[0.0, 9, 1, 1], [9, 0, 1, 1], [1, 1, 0, 8], [1, 1, 8, 0]])
    joins = build_tree(likeness)
    assert joins[:2] == [Join(0, 1, 0.0), Join(2, 3, 1.0)]
    assert joins[2].distance == 8
    assert order_leaves(joins, 4) == [0, 1, 2, 3]


def test_a_single_model_is_a_tree():
    """One model has no joins."""
    assert build_tree(np.zeros((1, 1))) == []
    assert order_leaves([], 1) == [0]
