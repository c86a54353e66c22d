"""Heads: logistic regression against scikit-learn, hidden layers, weights and folds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from classifiers.signals import head_training
from classifiers.signals.head_training import (
    FOLDS,
    STRENGTHS,
    Labelled,
    balance_weights,
    fit_scale,
    train_head,
)
from schemas.cards import HeadOptions


def draw_clouds(count=80, dimension=12, seed=0, apart=1.0):
    """Return two overlapping clouds of unit vectors, a quarter of them positive."""
    generator = np.random.default_rng(seed)
    labels = (np.arange(count) % 4 == 0).astype(float)
    vectors = generator.normal(size=(count, dimension))
    vectors[labels == 1, 0] += apart
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    return Labelled(vectors, labels, balance_weights(labels, np.arange(count) % 3 == 0))


def train_reference(data, strength):
    """Train scikit-learn's logistic regression with a head's objective."""
    model = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000)
    return model.fit(data.vectors.astype(np.float64), data.labels, sample_weight=data.weights)


def compute_probabilities(head, vectors):
    """Return a head's probabilities."""
    return 1 / (1 + np.exp(-head.compute_logits(vectors)))


def train_once(data, options, strength=STRENGTHS[1]):
    """Train a head with a fixed strength."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head_training, "FOLDS", 1)
        patch.setattr(head_training, "STRENGTHS", (strength, strength))
        head = train_head(data, options).head
    assert head.strength == strength
    return head


@settings(max_examples=12)
@given(
    st.integers(0, 1000),
    st.sampled_from([20, 60, 120]),
    st.sampled_from([0.0, 1.0, 4.0]),
    st.sampled_from(STRENGTHS),
)
def test_a_linear_head_equals_scikit_learns(seed, count, apart, strength):
    """Probabilities match scikit-learn to 1e-3 on training and unseen vectors."""
    data = draw_clouds(count, seed=seed, apart=apart)
    head = train_once(data, HeadOptions(), strength)
    model = train_reference(data, strength)
    for vectors in (data.vectors, draw_clouds(seed=seed + 1).vectors):
        expected = model.predict_proba(vectors.astype(np.float64))[:, 1]
        assert np.abs(compute_probabilities(head, vectors) - expected).max() < 1e-3


def test_the_strength_is_the_best_on_held_out_folds():
    """scikit-learn's weighted log loss is lowest at the chosen strength."""
    chosen = set()
    # the unweighted loss would choose another strength
    for seed, apart in ((8, 4.0), (11, 2.0)):
        data = draw_clouds(48, 6, seed, apart)
        fold_of = np.empty(len(data.labels), int)
        for label in (0, 1):
            fold_of[data.labels == label] = np.arange((data.labels == label).sum()) % FOLDS

        def compute_loss(strength, data=data, fold_of=fold_of):
            total = 0.0
            for fold in range(FOLDS):
                inside, outside = (
                    Labelled(*(item[side] for item in data))
                    for side in (fold_of != fold, fold_of == fold)
                )
                predicted = train_reference(inside, strength).predict_proba(
                    outside.vectors.astype(np.float64)
                )[:, 1]
                total += log_loss(
                    outside.labels, predicted, sample_weight=outside.weights, normalize=False
                )
            return total

        head = train_head(data, HeadOptions()).head
        assert head.strength == min(STRENGTHS, key=compute_loss)
        chosen.add(head.strength)
    assert len(chosen) > 1


def test_held_out_logits_are_of_heads_without_the_fold():
    """A text's held-out logit comes from a head that was trained on the other folds."""
    data = draw_clouds(40, 6)
    head, held_out = train_head(data, HeadOptions())
    fold_of = np.empty(len(data.labels), int)
    for label in (0, 1):
        fold_of[data.labels == label] = np.arange((data.labels == label).sum()) % FOLDS
    for fold in range(FOLDS):
        inside = Labelled(*(item[fold_of != fold] for item in data))
        expected = train_reference(inside, head.strength).decision_function(
            data.vectors[fold_of == fold].astype(np.float64)
        )
        assert held_out[fold_of == fold] == pytest.approx(expected, abs=1e-2)
    assert train_head(Labelled(data.vectors, np.zeros(40), np.ones(40)), HeadOptions())[1] is None


def draw_corners(count=120, seed=0):
    """Return points near a square's corners with XOR labels."""
    generator = np.random.default_rng(seed)
    signs = generator.choice([-1.0, 1.0], size=(count, 2))
    points = np.zeros((count, 6))
    points[:, :2] = signs + generator.normal(scale=0.15, size=(count, 2))
    labels = (signs[:, 0] * signs[:, 1] > 0).astype(float)
    return Labelled(points.astype(np.float32), labels, balance_weights(labels))


def test_a_hidden_layer_separates_what_no_line_can():
    """An MLP gets nearly all unseen XOR points right, but a linear head doesn't."""
    seen, unseen = draw_corners(60), draw_corners(seed=1)
    deep = train_once(seen, HeadOptions(kind="mlp", hidden=8))
    flat = train_once(seen, HeadOptions(kind="linear"))
    assert ((deep.compute_logits(unseen.vectors) > 0) == unseen.labels).mean() > 0.97
    assert ((flat.compute_logits(unseen.vectors) > 0) == unseen.labels).mean() < 0.75
    assert [weight.shape for weight, _ in deep.layers] == [(8, 6), (1, 8)]


def test_training_is_deterministic(monkeypatch):
    """The same vectors give the same bytes, even with a hidden layer."""
    monkeypatch.setattr(head_training, "FOLDS", 2)
    for options in (HeadOptions(), HeadOptions(kind="mlp", hidden=2)):
        one, other = (train_head(draw_corners(16), options).head for _ in range(2))
        assert one.strength == other.strength
        for (weight, bias), (weight_again, bias_again) in zip(
            one.layers, other.layers, strict=True
        ):
            assert np.array_equal(weight, weight_again)
            assert np.array_equal(bias, bias_again)


@pytest.mark.parametrize("positives", [0, 1])
def test_too_few_of_a_label_take_the_second_strength(positives):
    """With fewer than two positives, the default strength is used."""
    data = draw_clouds(20)
    labels = (np.arange(20) < positives).astype(float)
    head = train_head(Labelled(data.vectors, labels, np.ones(20)), HeadOptions()).head
    assert head.strength == STRENGTHS[1]
    assert np.isfinite(head.compute_logits(data.vectors)).all()


@given(st.lists(st.sampled_from(["positive", "hard", "background"]), min_size=1, max_size=40))
def test_weights_balance_labels_and_kinds_of_negatives(kinds):
    """Positives get half of the weight, and hard negatives and background a quarter each."""
    labels = np.array([kind == "positive" for kind in kinds], float)
    hard = np.array([kind == "hard" for kind in kinds])
    weights = balance_weights(labels, hard)
    shares = {
        kind: weights[[item == kind for item in kinds]].sum() / len(kinds) for kind in set(kinds)
    }
    if len(shares) == 3:
        assert shares == pytest.approx({"positive": 0.5, "hard": 0.25, "background": 0.25})
    else:
        assert all(share == pytest.approx(0.5) for share in shares.values())
    for kind in shares:
        assert len(set(np.round(weights[[item == kind for item in kinds]], 12))) == 1


def test_weights_without_hard_negatives_balance_the_labels():
    """Without hard negatives, positives and negatives have equal totals."""
    weights = balance_weights(np.array([1.0] * 3 + [0.0] * 9))
    assert weights[:3].sum() == pytest.approx(weights[3:].sum()) == pytest.approx(6)


def test_the_scale_of_a_margin_is_a_logistic_regression():
    """Slope and offset match scikit-learn, and the slope is positive."""
    generator = np.random.default_rng(5)
    labels = (np.arange(60) % 3 == 0).astype(float)
    margins = generator.normal(scale=0.2, size=60) + 0.3 * labels
    weights = balance_weights(labels)
    slope, offset = fit_scale(margins, labels, weights)
    model = LogisticRegression(C=10.0, tol=1e-10, max_iter=100_000).fit(
        margins[:, None], labels, sample_weight=weights
    )
    assert slope > 0
    assert (slope, offset) == pytest.approx((model.coef_[0, 0], model.intercept_[0]), abs=1e-3)
