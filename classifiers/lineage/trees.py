"""The tree of a family: models that resemble each other most are joined first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Join(NamedTuple):
    """Two branches that become one at a distance. Branches below the number of leaves are leaves.

    The first join makes the branch whose number is the number of leaves, and so on.
    """

    left: int
    right: int
    distance: float


def build_tree(likeness: np.ndarray) -> list[Join]:
    """Join models by average linkage. `likeness` is symmetric, as float64 [models, models].

    The distance of two models is how much less alike they are than the two that are most alike.
    """
    models = len(likeness)
    distance = np.full((2 * models, 2 * models), np.inf)
    apart = ~np.eye(models, dtype=bool)
    nearest = likeness[apart].max() if models > 1 else 0.0
    distance[:models, :models] = np.where(apart, nearest - likeness, np.inf)
    sizes = dict.fromkeys(range(models), 1)
    joins = []
    for branch in range(models, 2 * models - 1):
        left, right = sorted(map(int, np.unravel_index(distance.argmin(), distance.shape)))
        joins.append(Join(left, right, float(distance[left, right])))
        for other in sizes.keys() - {left, right}:
            whole = sizes[left] * distance[left, other] + sizes[right] * distance[right, other]
            mean = whole / (sizes[left] + sizes[right])
            distance[branch, other] = distance[other, branch] = mean
        for gone in (left, right):
            distance[gone], distance[:, gone] = np.inf, np.inf
        sizes[branch] = sizes.pop(left) + sizes.pop(right)
    return joins


def order_leaves(joins: list[Join], models: int) -> list[int]:
    """Return the leaves from top to bottom, so that no branches cross."""
    leaves = {leaf: [leaf] for leaf in range(models)}
    for number, join in enumerate(joins, models):
        leaves[number] = leaves.pop(join.left) + leaves.pop(join.right)
    return [leaf for found in leaves.values() for leaf in found]
