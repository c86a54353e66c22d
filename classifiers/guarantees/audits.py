"""How many rows of each stratum an audit reads."""

from __future__ import annotations

import numpy as np

FLOOR = 30
"""The fewest rows of a stratum that are read, because misses hide where the scores are low."""


def allocate_rows(
    rows: np.ndarray, expected: np.ndarray, budget: int, floor: int = FLOOR
) -> np.ndarray:
    """Spread an audit over strata: Neyman's allocation, with a floor in every stratum.

    `rows` holds the strata's sizes, and `expected` guesses of the share of rows with the trait.
    Each stratum gets `floor` rows, or all that it has. The rest of `budget` is spread in proportion
    to the size times the standard deviation sqrt(p (1 - p)) (Neyman 1934); what a stratum can't
    take goes to the others. The sum is the budget, unless the floors need more or there are fewer
    rows.
    """
    rows = np.asarray(rows, np.int64)
    given: np.ndarray = np.minimum(rows, floor)
    spread = np.sqrt(np.clip(expected, 1e-3, 1 - 1e-3) * (1 - np.clip(expected, 1e-3, 1 - 1e-3)))
    left = min(budget, int(rows.sum())) - int(given.sum())
    while left > 0:
        weights = np.where(given < rows, rows * spread, 0.0)
        wanted = left * weights / weights.sum()
        added = np.minimum(np.floor(wanted).astype(np.int64), rows - given)
        if not added.any():  # less than one row each: the largest remainders come first
            order = np.argsort(-wanted, kind="stable")[:left]
            added[order] = np.minimum(1, (rows - given)[order])
        given = given + added
        left -= int(added.sum())
    return given
