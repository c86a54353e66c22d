"""The geometry of the page's pictures: bars of probability, and the tree of a family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from classifiers.lineage.trees import Join, order_leaves

LEFT, RIGHT, TOP, ROW = 8.0, 400.0, 14.0, 20.0
"""The tree's margins, and the distance of two leaves, in the drawing's units."""


class Leaf(NamedTuple):
    """A model's name and its height. `is_model` marks those whose parent is looked for."""

    name: str
    y: float
    is_model: bool


class TreeDrawing(NamedTuple):
    """The leaves from top to bottom, the path of all branches, and the drawing's height."""

    leaves: list[Leaf]
    path: str
    height: float


def draw_tree(names: Sequence[str], joins: Sequence[Join], models: int) -> TreeDrawing:
    """Lay out a tree with its leaves at the right. The first `models` leaves are marked."""
    order = order_leaves(list(joins), len(names))
    heights = {leaf: TOP + ROW * place for place, leaf in enumerate(order)}
    leaves = [Leaf(names[leaf], heights[leaf], leaf < models) for leaf in order]
    farthest = max((join.distance for join in joins), default=0.0) or 1.0
    ends = dict.fromkeys(heights, RIGHT)
    steps = []
    for number, join in enumerate(joins, len(names)):
        ends[number] = RIGHT - 12 - (RIGHT - 12 - LEFT) * join.distance / farthest
        above, below = heights[join.left], heights[join.right]
        steps.append(
            f"M{ends[join.left]:.1f} {above:.1f}H{ends[number]:.1f}V{below:.1f}"
            f"H{ends[join.right]:.1f}"
        )
        heights[number] = (above + below) / 2
    return TreeDrawing(leaves, "".join(steps), TOP + ROW * len(names))
