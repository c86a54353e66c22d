"""Heads: logits from layers, whatever the type of the vectors."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.signals import heads as module
from classifiers.signals.heads import Head, compute_logits


def test_logits_are_layers_with_relu_between():
    """A head computes in float64 for any type of vectors."""
    generator = np.random.default_rng(3)
    layers = tuple(
        (generator.normal(size=(b, a)), generator.normal(size=b)) for a, b in ((5, 4), (4, 1))
    )
    vectors = generator.normal(size=(7, 5)).astype(np.float32)
    hidden = np.maximum(vectors.astype(np.float64) @ layers[0][0].T + layers[0][1], 0)
    expected = (hidden @ layers[1][0].T + layers[1][1])[:, 0]
    found = Head(layers, 1.0).compute_logits(vectors)
    assert found.dtype == np.float64
    assert found == pytest.approx(expected)
    single = Head(layers[1:], 1.0).compute_logits(np.ones((1, 4)))
    assert single == pytest.approx([layers[1][0].sum() + layers[1][1][0]])


def test_many_heads_compute_as_each_one_alone(monkeypatch):
    """Several heads give their own logits, in parts of any size."""
    generator = np.random.default_rng(4)
    heads = {
        "linear": Head(((generator.normal(size=(1, 5)), generator.normal(size=1)),), 1.0),
        "deep": Head(
            tuple(
                (generator.normal(size=(b, a)), generator.normal(size=b))
                for a, b in ((5, 3), (3, 1))
            ),
            1.0,
        ),
    }
    vectors = generator.normal(size=(9, 5)).astype(np.float32)
    for size in (2, 9, 1_024):
        monkeypatch.setattr(module, "VECTORS_AT_ONCE", size)
        found = compute_logits(heads, vectors)
        assert list(found) == list(heads)
        for name, head in heads.items():
            assert found[name] == pytest.approx(head.compute_logits(vectors))
    assert compute_logits({}, vectors) == {}
