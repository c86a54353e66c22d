"""The geometry of the tree."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lineage.trees import build_tree
from pipelines.ancestry.drawings import LEFT, RIGHT, ROW, TOP, draw_tree

NUMBER = re.compile(r"-?\d+\.\d+")


def draw(models: int, seed: int = 0):
    """Draw the tree of random models, of which the first is marked."""
    found = np.random.default_rng(seed).normal(size=(models, models))
    names = [f"model {number}" for number in range(models)]
    return draw_tree(names, build_tree(found + found.T), 1)


@given(st.integers(1, 15), st.integers(0, 500))
def test_everything_is_inside_the_drawing(models, seed):
    """Branches end between the margins, and each leaf has a row of its own."""
    tree = draw(models, seed)
    assert sorted(leaf.y for leaf in tree.leaves) == [TOP + ROW * place for place in range(models)]
    assert all(
        0 <= float(number) <= max(RIGHT, tree.height) for number in NUMBER.findall(tree.path)
    )
    assert tree.path.count("M") == models - 1


def test_the_models_in_question_are_marked():
    """The first models are marked, wherever they are drawn."""
    marked = [leaf.name for leaf in draw(6).leaves if leaf.is_model]
    assert marked == ["model 0"]


def test_the_root_is_at_the_left_margin():
    """The last join is the farthest one."""
    assert f"H{LEFT:.1f}" in draw(5).path


@pytest.mark.parametrize("alike", [0.0, 3.0])
def test_models_that_are_equally_alike_can_be_drawn(alike):
    """A tree whose joins are all at distance 0 has no division by zero."""
    tree = draw_tree(["a", "b", "c"], build_tree(np.full((3, 3), alike)), 1)
    assert "nan" not in tree.path
