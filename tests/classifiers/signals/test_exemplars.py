"""Exemplar search: FAISS agrees with numpy, ties are ordered, and bytes give the index back."""

from __future__ import annotations

import sys

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from classifiers.signals.exemplars import (
    SCRATCH_BYTES,
    Neighbour,
    build_index,
    build_optional_index,
    contrast,
    deserialise_index,
    find_nearest,
    move_to_device,
    serialise_index,
    share_resources,
)
from schemas.errors import ModelError


def draw_units(count, dimension=16, seed=0):
    """Return random float32 unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def average_top(vectors, others, count):
    """Return the means of the largest inner products, computed by numpy in float64."""
    products = vectors.astype(np.float64) @ others.astype(np.float64).T
    return np.sort(products, axis=1)[:, ::-1][:, :count].mean(axis=1)


@settings(max_examples=40)
@given(
    st.integers(1, 50),
    st.integers(0, 50),
    st.integers(1, 60),
    st.integers(1, 12),
    st.integers(0, 1000),
)
def test_contrast_equals_that_of_numpy(positives, negatives, texts, neighbours, seed):
    """The contrast equals numpy's result, even with fewer exemplars than neighbours."""
    one, other, vectors = (
        draw_units(positives, seed=seed),
        draw_units(negatives, seed=seed + 1),
        draw_units(texts, seed=seed + 2),
    )
    found = contrast(
        vectors, build_index(one), build_index(other) if negatives else None, neighbours
    )
    expected = average_top(vectors, one, neighbours) - (
        average_top(vectors, other, neighbours) if negatives else 0
    )
    assert found.dtype == np.float32
    assert found.shape == (texts,)
    assert np.abs(found - expected).max() < 1e-5


def test_an_index_without_vectors_is_none():
    """FAISS isn't asked to search an empty index."""
    assert build_optional_index(np.empty((0, 4), np.float32)) is None
    assert build_optional_index(np.eye(4, dtype=np.float32)).ntotal == 4


def test_contrast_without_negatives_is_the_similarity_alone():
    """Without negatives, or with an empty index, the contrast is the similarity to positives."""
    vectors, positives = draw_units(3), draw_units(5, seed=1)
    empty = build_index(np.empty((0, 16), np.float32))
    expected = contrast(vectors, build_index(positives), None, 2)
    assert np.array_equal(contrast(vectors, build_index(positives), empty, 2), expected)
    assert np.abs(expected - average_top(vectors, positives, 2)).max() < 1e-6


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 1000))
def test_the_nearest_equal_those_of_numpy(size, count, seed):
    """Rows and similarities equal the result of a full sort."""
    index_vectors, vector = draw_units(size, seed=seed), draw_units(1, seed=seed + 1)[0]
    products = index_vectors.astype(np.float64) @ vector.astype(np.float64)
    order = np.argsort(-products, kind="stable")[:count]
    found = find_nearest(vector, build_index(index_vectors), count)
    assert [item.similarity for item in found] == pytest.approx(products[order], abs=2e-6)
    assert sorted(found, key=lambda item: (-item.similarity, item.row)) == found
    gaps = np.abs(np.diff(np.sort(products)))
    if not len(gaps) or gaps.min() > 1e-5:
        assert [item.row for item in found] == order.tolist()


@pytest.mark.parametrize("count", [1, 3, 8, 20])
def test_ties_are_ordered_by_row(count):
    """Equally near exemplars are ordered by row number."""
    vector = draw_units(1)[0]
    copies = np.stack([vector, -vector] * 10)
    found = find_nearest(vector, build_index(copies), count)
    assert [item.row for item in found] == [*range(0, 20, 2), *range(1, 20, 2)][:count]


def test_nearly_equal_similarities_are_ties():
    """Differences after the sixth decimal don't affect the order."""
    vector = np.zeros(16, np.float32)
    vector[0] = 1
    near = np.zeros((3, 16), np.float32)
    near[:, 0] = (0.5, 0.5 + 2e-7, 0.6)
    assert find_nearest(vector, build_index(near), 3) == [
        Neighbour(2, 0.6),
        Neighbour(0, 0.5),
        Neighbour(1, 0.5),
    ]


@settings(max_examples=25)
@given(
    arrays.arrays(
        np.float32, st.tuples(st.integers(1, 20), st.just(8)), elements=st.floats(-1, 1, width=32)
    )
)
def test_bytes_read_back_to_the_same_index(vectors):
    """An index that is read back has the same vectors and bytes."""
    index = build_index(vectors)
    data = serialise_index(index)
    again = deserialise_index(data)
    assert serialise_index(again) == data == serialise_index(build_index(vectors.copy()))
    assert again.ntotal == len(vectors)
    assert np.array_equal(again.reconstruct_n(0, len(vectors)), vectors)


def test_any_layout_of_the_vectors_will_do():
    """Float64 and transposed arrays become the float32 rows that FAISS needs."""
    vectors = draw_units(6)
    turned = np.asfortranarray(vectors.astype(np.float64))
    assert serialise_index(build_index(turned)) == serialise_index(build_index(vectors))
    assert np.array_equal(
        contrast(turned, build_index(vectors), None, 2),
        contrast(vectors, build_index(vectors), None, 2),
    )
    assert find_nearest(turned[2], build_index(vectors), 1)[0] == Neighbour(2, 1.0)


class Resources:
    """FAISS's memory on a GPU, as far as this machine without one can show its use."""

    def __init__(self):
        """Begin without a limit."""
        self.limits = []

    def setTempMemory(self, size):  # noqa: N802
        """Keep a limit."""
        self.limits.append(size)


def test_an_index_stays_on_the_cpu_unless_a_gpu_build_is_there(monkeypatch):
    """`cuda` moves an index to the first GPU only in a GPU build of FAISS."""
    index = build_index(draw_units(2))
    assert move_to_device(index, "cpu") is index
    monkeypatch.delattr(faiss, "StandardGpuResources", raising=False)
    assert move_to_device(index, "cuda") is index
    monkeypatch.setattr(faiss, "StandardGpuResources", Resources, raising=False)
    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 1, raising=False)
    monkeypatch.setattr(faiss, "index_cpu_to_gpu", lambda *arguments: arguments, raising=False)
    share_resources.cache_clear()
    try:
        first, second = (move_to_device(index, "cuda") for _ in range(2))
        assert first[1:] == (0, index)
        assert first[0] is second[0], "all indexes share their memory for searches"
        assert first[0].limits == [SCRATCH_BYTES]
    finally:
        share_resources.cache_clear()


def test_without_faiss_the_error_names_what_to_install(monkeypatch):
    """The error for a missing FAISS names both of its builds."""
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        ModelError, match=r"FAISS isn't installed(.|\n)*congener\[cpu\].*congener\[gpu\]"
    ):
        build_index(draw_units(2))
