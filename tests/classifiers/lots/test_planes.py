"""Places of texts on a plane, and points in polygons compared with exact fractions."""

from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lots.planes import GRID, find_inside, learn_plane, learn_word_plane

SMALL = st.integers(0, 12)
"""Few different numbers, so that points often lie on sides and corners."""

POINTS = st.lists(st.tuples(SMALL, SMALL), max_size=40)
CORNERS = st.lists(st.tuples(SMALL, SMALL), min_size=3, max_size=12)

BIRD_WORDS = (
    *("heron", "owl", "river", "dawn", "wing", "feather"),
    *("nest", "reed", "perch", "marsh", "fledgling", "migrate"),
)
BREAD_WORDS = (
    *("knead", "dough", "bake", "loaf", "oven", "yeast"),
    *("flour", "crust", "proof", "sourdough", "crumb", "rye"),
)


def write_texts(words, first):
    """Return sixty different texts of three of the words each, with numbers of their own."""
    numbers = range(first, first + 60)
    return [
        " ".join([*(words[number * step % len(words)] for step in (1, 5, 7)), str(number)])
        for number in numbers
    ]


BIRDS, BREAD = write_texts(BIRD_WORDS, 1), write_texts(BREAD_WORDS, 61)


def is_inside(x, y, corners):
    """Return whether a point is in a polygon: how many sides lie to its right, with fractions."""
    sides = 0
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y1 <= y) != (y2 <= y):
            sides += x < x1 + Fraction((y - y1) * (x2 - x1), y2 - y1)
    return sides % 2 == 1


def find(points, corners):
    """Return which points lie in a polygon."""
    x, y = np.array(points, np.uint16).reshape(-1, 2).T
    return find_inside(x, y, np.array(corners, np.int64)).tolist()


@given(POINTS, CORNERS)
def test_points_are_those_of_exact_fractions(points, corners):
    """Any polygon, also one that crosses itself, has the points that fractions say."""
    assert find(points, corners) == [is_inside(x, y, corners) for x, y in points]


@given(POINTS, CORNERS, st.integers(0, 11))
def test_the_first_corner_and_the_direction_do_not_matter(points, corners, turn):
    """A polygon is the same from any corner and in either direction."""
    turned = corners[turn % len(corners) :] + corners[: turn % len(corners)]
    assert find(points, turned) == find(points, corners)
    assert find(points, corners[::-1]) == find(points, corners)


@given(POINTS, SMALL, SMALL)
def test_two_halves_share_no_point(points, left, right):
    """A cut through a square gives each point to exactly one half."""
    whole = find(points, [(0, 0), (13, 0), (13, 13), (0, 13)])
    lower = find(points, [(0, 0), (13, 0), (13, right), (0, left)])
    upper = find(points, [(0, left), (13, right), (13, 13), (0, 13)])
    assert whole == [True] * len(points)
    assert [a + b for a, b in zip(lower, upper, strict=True)] == [1] * len(points)


def test_the_whole_grid_holds_every_place():
    """The largest polygon has all places, and large numbers don't overflow."""
    x = np.array([0, GRID - 1, 5, GRID - 1], np.uint16)
    y = np.array([0, GRID - 1, GRID - 1, 0], np.uint16)
    corners = np.array([(0, 0), (GRID, 0), (GRID, GRID), (0, GRID)], np.int64)
    assert find_inside(x, y, corners).all()
    assert find_inside(x, y, corners[:3]).tolist() == [True, True, False, True]


def test_texts_of_different_kinds_are_apart():
    """Two kinds of texts lie in two places, and a text's place depends on its words."""
    texts = pa.array(BIRDS + BREAD, pa.large_string())
    plane = learn_word_plane(texts)
    places = plane.place(texts).astype(float)
    nearest = np.argsort(np.abs(places[:, None] - places[None]).sum(axis=2), axis=1)[:, 1:6]
    kinds = np.arange(120) < 60
    assert (kinds[nearest] == kinds[:, None]).mean() > 0.9
    assert (plane.place(pa.array([BIRDS[7]], pa.large_string())) == places[7]).all()


def test_a_plane_is_the_same_twice():
    """The same texts in the same order give the same places."""
    texts = pa.array(BIRDS + BREAD, pa.large_string())
    first, second = (learn_word_plane(texts).place(texts) for _ in range(2))
    assert (first == second).all()


def test_blocks_do_not_matter(monkeypatch):
    """Texts have the same places, however many are placed at once."""
    texts = pa.array(BIRDS + BREAD, pa.large_string())
    plane = learn_word_plane(texts)
    expected = plane.place(texts)
    monkeypatch.setattr("classifiers.lots.planes.AT_ONCE", 7)
    assert np.abs(plane.place(texts).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("vectors", [np.zeros((1, 3)), np.ones((5, 2)), np.eye(3), np.eye(1)])
def test_hardly_any_vectors_have_places(vectors):
    """Equal vectors, a single one and those of zeros have places on the grid."""
    plane = learn_plane(vectors.astype(np.float32))
    places = plane.place(vectors.astype(np.float32))
    assert places.shape == (len(vectors), 2)
    assert places.dtype == np.uint16


def test_no_text_has_no_place():
    """An empty list of texts gives an empty list of places."""
    plane = learn_word_plane(pa.array([""], pa.large_string()))
    assert plane.place(pa.array([], pa.large_string())).shape == (0, 2)
