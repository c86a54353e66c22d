"""Exemplar tables: one product gives what FAISS gives index by index, also where vectors repeat."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.signals import exemplar_tables as module
from classifiers.signals.exemplar_tables import Exemplars, ExemplarTable, select_highest
from classifiers.signals.exemplars import build_index, contrast


def draw_units(count, seed=0, dimension=16):
    """Return random float32 unit vectors."""
    vectors = np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


POOL = draw_units(300)
"""Vectors that several indexes share."""

PLACES = st.lists(st.integers(0, 40), max_size=12)


def make_exemplars(positives, negatives, neighbours):
    """Return the indexes of vectors of the pool, in order."""
    return Exemplars(
        build_index(POOL[positives]),
        build_index(POOL[negatives]) if len(negatives) else None,
        neighbours,
    )


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(PLACES.filter(bool), PLACES, st.integers(1, 6)),
        min_size=1,
        max_size=4,
    ),
    st.integers(0, 30),
)
def test_a_table_gives_every_traits_contrast(traits, texts):
    """The contrast equals that of FAISS, even if an index has a vector twice."""
    exemplars = [
        make_exemplars(np.array(ones), np.array(others, np.int64), count)
        for ones, others, count in traits
    ]
    vectors = draw_units(texts, seed=1)
    found = ExemplarTable(exemplars).contrast(vectors)
    assert found.dtype == np.float32
    assert found.shape == (len(traits), texts)
    for own, trait in zip(found, exemplars, strict=True):
        assert own == pytest.approx(contrast(vectors, *trait), abs=1e-6)
    in_torch = ExemplarTable(exemplars).contrast_in_torch(vectors, "cpu")
    assert in_torch.shape == found.shape
    assert in_torch == pytest.approx(found, abs=1e-6)


@pytest.fixture
def shared():
    """Return traits that share most of their negatives."""
    return [
        make_exemplars(np.arange(0, 8), np.arange(20, 280), 5),
        make_exemplars(np.arange(8, 16), np.arange(20, 290), 3),
        make_exemplars(np.arange(16, 20), np.arange(10, 250), 9),
    ]


def test_shared_negatives_are_compared_once(shared):
    """A large block of shared vectors is in the table once, and searched once."""
    table = ExemplarTable(shared)
    assert len(table._vectors) == 290
    assert [block.indexes for block in table._blocks] == [(1, 3, 5)]
    assert table._blocks[0].columns.stop - table._blocks[0].columns.start == 230
    vectors = draw_units(50, seed=2)
    for own, trait in zip(table.contrast(vectors), shared, strict=True):
        assert own == pytest.approx(contrast(vectors, *trait), abs=1e-6)


@pytest.mark.parametrize(("at_once", "rows"), [(1, 1), (3_000, 7), (1 << 23, 256)])
def test_parts_give_the_same_contrast(shared, monkeypatch, at_once, rows):
    """The number of similarities in memory doesn't change the result."""
    vectors = draw_units(40, seed=3)
    expected = ExemplarTable(shared).contrast(vectors)
    monkeypatch.setattr(module, "SIMILARITIES_AT_ONCE", at_once)
    monkeypatch.setattr(module, "ROWS_AT_ONCE", rows)
    assert ExemplarTable(shared).contrast(vectors) == pytest.approx(expected, abs=1e-6)


def test_torch_searches_shared_negatives_alike(shared, monkeypatch):
    """What a card would compute equals what the CPU computes, in parts of any size."""
    vectors = draw_units(50, seed=5)
    expected = ExemplarTable(shared).contrast(vectors)
    for size in (2_000, 1 << 23):
        monkeypatch.setattr(module, "SIMILARITIES_AT_ONCE", size)
        found = ExemplarTable(shared).contrast_in_torch(vectors, "cpu")
        assert found == pytest.approx(expected, abs=1e-6)


def test_many_exemplars_are_moved_to_a_card(shared, monkeypatch):
    """Indexes that FAISS searches are moved to the table's device, and smaller tables' aren't."""
    moved = []
    monkeypatch.setattr(
        module, "move_to_device", lambda index, device: (moved.append(device), index)[1]
    )
    vectors = draw_units(10, seed=6)
    ExemplarTable(shared, "cuda")
    assert moved == []
    expected = ExemplarTable(shared).contrast(vectors)
    monkeypatch.setattr(module, "MOST_EXEMPLARS", 100)
    monkeypatch.setattr(module, "searches_on_card", lambda: True)
    assert ExemplarTable(shared, "cuda").contrast(vectors) == pytest.approx(expected, abs=1e-6)
    assert moved == ["cuda"] * 6


def test_torch_searches_many_exemplars_where_faiss_cannot(shared, monkeypatch):
    """Without a build of FAISS for GPUs, torch searches on the card, however many there are."""
    vectors = draw_units(10, seed=7)
    expected = [contrast(vectors, *trait) for trait in shared]
    in_torch = ExemplarTable.contrast_in_torch
    asked = []

    def search(self, vectors, device):
        asked.append(device)
        return in_torch(self, vectors, "cpu")

    monkeypatch.setattr(ExemplarTable, "contrast_in_torch", search)
    monkeypatch.setattr(module, "MOST_EXEMPLARS", 100)
    monkeypatch.setattr(module, "searches_on_card", lambda: False)
    found = ExemplarTable(shared, "cuda").contrast(vectors)
    assert found == pytest.approx(np.stack(expected), abs=1e-6)
    assert asked == ["cuda"]


def test_many_exemplars_are_left_to_faiss(shared, monkeypatch):
    """Beyond a number of exemplars, each index is searched by FAISS."""
    vectors = draw_units(10, seed=4)
    expected = [contrast(vectors, *trait) for trait in shared]
    monkeypatch.setattr(module, "MOST_EXEMPLARS", 100)
    assert np.array_equal(ExemplarTable(shared).contrast(vectors), expected)


@given(
    st.lists(st.lists(st.integers(-9, 9), min_size=4, max_size=4), min_size=1, max_size=5),
    st.integers(1, 6),
)
def test_the_highest_values_come_first(rows, count):
    """Each row's highest values are in descending order, or all values if there are fewer."""
    found = select_highest(np.array(rows, np.float32), count)
    assert found.tolist() == [sorted(row, reverse=True)[:count] for row in rows]
