"""A linear classifier, its AUROC, and that of bags."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from scipy.stats import rankdata
from sklearn.linear_model import Ridge

from classifiers.lots.separation import (
    RIDGE,
    fit_linear,
    learn_scaling,
    measure_auroc,
    measure_bags,
    rank,
)


def draw(rows=200, columns=30, shift=0.5, seed=0):
    """Draw two sets of normal rows, of which the first has a shifted column."""
    dice = np.random.default_rng(seed)
    labels = dice.random(rows) < 0.3
    features = dice.normal(size=(rows, columns)) / np.sqrt(columns)
    features[labels, 0] += shift
    return features, labels


def test_the_classifier_is_a_balanced_ridge_regression():
    """ColumnWeights and bias are those of scikit-learn with balanced classes."""
    features, labels = draw()
    found = fit_linear(features, labels)
    balance = np.where(labels, 0.5 / labels.mean(), 0.5 / (1 - labels.mean()))
    expected = Ridge(alpha=RIDGE).fit(features, np.where(labels, 1, -1), sample_weight=balance)
    assert found.weights == pytest.approx(expected.coef_, abs=2e-3)
    assert found.bias == pytest.approx(expected.intercept_, abs=2e-3)


def test_sparse_features_give_the_same_classifier():
    """A sparse matrix is fitted like a dense one."""
    features, labels = draw()
    dense, sparse = fit_linear(features, labels), fit_linear(csr_matrix(features), labels)
    assert sparse.weights == pytest.approx(dense.weights, abs=1e-9)
    assert sparse.score(csr_matrix(features)) == pytest.approx(dense.score(features))


def test_the_classifier_finds_a_difference_on_new_rows():
    """The first set's new rows score higher, and without a difference they don't."""
    model = fit_linear(*draw(2_000))
    features, labels = draw(2_000, seed=1)
    assert measure_auroc(model.score(features), labels) > 0.9
    none = fit_linear(*draw(2_000, shift=0.0))
    features, labels = draw(2_000, shift=0.0, seed=1)
    assert measure_auroc(none.score(features), labels) == pytest.approx(0.5, abs=0.05)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_ranks(values):
    """Equal scores share the mean of their ranks."""
    scores = np.array(values, np.float64)
    assert rank(scores).tolist() == rankdata(scores).tolist()


def test_an_auroc_needs_both_sets():
    """With texts of one set alone, nothing can be distinguished."""
    scores = np.array([1.0, 2.0])
    assert measure_auroc(scores, np.array([True, True])) == 0.5
    assert measure_auroc(scores, np.array([False, False])) == 0.5
    assert measure_auroc(scores, np.array([False, True])) == 1.0


def test_constant_columns_are_not_divided_by_zero():
    """A constant column becomes zero, and an outlier is cut."""
    scaling = learn_scaling(np.array([[1.0, 0.0], [1.0, 2.0]]))
    assert scaling.apply(np.array([[1.0, 2.0], [1.0, 1e9]])).tolist() == [[0, 1], [0, 10]]


def test_bags_are_told_apart_better_than_texts():
    """The AUROC of bags grows with their size, as it does for normal scores."""
    dice = np.random.default_rng(0)
    labels = np.arange(4_000) < 2_000
    scores = dice.normal(size=4_000) + 0.36 * labels
    found = [measure_bags(scores, labels, size) for size in (1, 4, 16)]
    assert found == pytest.approx([0.60, 0.69, 0.85], abs=0.06)
    assert found == [measure_bags(scores, labels, size) for size in (1, 4, 16)]


def test_bags_need_enough_texts():
    """A set with fewer texts than two bags has no AUROC of bags."""
    labels = np.arange(40) < 8
    assert measure_bags(np.arange(40.0), labels, 4) is not None
    assert measure_bags(np.arange(40.0), labels, 5) is None
