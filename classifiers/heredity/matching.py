"""Rows drawn at random that have as many tokens as other rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

QUANTILES = 10
"""The number of groups by length within which rows are drawn, so that lengths stay alike."""

CLOSE = 0.001
"""The difference in tokens, as a share of their sum, below which nothing more is exchanged."""


class RowExchange(NamedTuple):
    """A row that leaves, and the row that takes its place."""

    leaves: int
    comes: int


def draw_like(pool: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Draw as many rows of a pool as are wanted, with about the same tokens in sum.

    Both arrays hold tokens by row. The pool must be in random order, since its first rows of each
    length are taken. The result holds sorted indices into the pool; it has fewer rows than wanted
    only if the pool has.
    """
    edges = (
        np.unique(np.quantile(wanted, np.arange(1, QUANTILES) / QUANTILES)) if len(wanted) else ()
    )
    bins, needed = np.searchsorted(edges, pool), np.searchsorted(edges, wanted)
    taken = np.zeros(len(pool), bool)
    for number in range(len(edges) + 1):
        taken[np.flatnonzero(bins == number)[: int((needed == number).sum())]] = True
    missing = min(len(wanted), len(pool)) - int(taken.sum())
    taken[np.flatnonzero(~taken)[:missing]] = True
    inside, outside = np.flatnonzero(taken), np.flatnonzero(~taken)
    gap = int(wanted.sum()) - int(pool[inside].sum())
    for leaves, comes in plan_exchanges(pool[inside], pool[outside], gap, len(inside)):
        taken[inside[leaves]], taken[outside[comes]] = False, True
    return np.flatnonzero(taken)


def plan_exchanges(
    inside: np.ndarray, outside: np.ndarray, gap: int, most: int
) -> list[RowExchange]:
    """Plan at most `most` exchanges of rows that add `gap` tokens, or come as close as they can.

    Both arrays hold tokens by row, in random order. Each row is exchanged at most once. A negative
    gap removes tokens.
    """
    exchanges: list[RowExchange] = []
    free = outside.astype(float)
    enough = CLOSE * max(1, int(inside.sum()))
    for leaves, tokens in enumerate(inside.tolist()):
        if abs(gap) <= enough or len(exchanges) >= most or not len(free):
            break
        comes = int(np.argmin(np.abs(free - tokens - gap)))
        step = free[comes] - tokens
        if abs(gap - step) < abs(gap):
            exchanges.append(RowExchange(leaves, comes))
            gap -= int(step)
            free[comes] = np.inf
    return exchanges
