"""Bounds for a mean that hold at every moment, so that a reader may look and stop at any time."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

LARGEST_BET = 0.5
"""The largest share of the wealth that a bet may lose."""

GRID = np.unique(
    np.concatenate(
        [
            np.linspace(0, 1, 1_001),
            np.geomspace(1e-6, 0.1, 500),
            1 - np.geomspace(1e-6, 0.1, 500),
        ]
    )
)
"""The means that are tested. They are dense near 0 and 1, where audits need exact bounds."""

PART = 128
"""How many means are tested at a time, which bounds the memory."""

Sides = Literal["both", "upper", "lower"]

WEIGHTS: dict[Sides, tuple[float, float]] = {
    "both": (0.5, 0.5),
    "upper": (0.0, 1.0),
    "lower": (1.0, 0.0),
}
"""The shares of the wealth that are bet on a higher and on a lower mean."""


class MeanBounds(NamedTuple):
    """The bounds after each value, as arrays [values]. They never become wider."""

    low: np.ndarray
    high: np.ndarray


def bound_mean(values: np.ndarray, confidence: float, sides: Sides = "both") -> MeanBounds:
    """Bound the mean of values in [0, 1] after each value.

    With the stated confidence, the mean is within all of the bounds at once. The values may come
    one by one, as long as each has the same expectation given those before it. A mean is excluded
    once a gambler who bets against it has 1 / (1 - confidence) times the initial wealth (hedged
    capital with predictable plug-in bets: Waudby-Smith, Ramdas 2024). Ends are rounded outwards to
    the next tested mean. One-sided bounds use the whole error on their side.

    Raises: ValueError: a value isn't in [0, 1].
    """
    values = np.asarray(values, np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("the values must be from 0 to 1")
    size = len(GRID)
    first, last = np.full(len(values), size), np.full(len(values), -1)
    for begin in range(0, size, PART):
        means = GRID[begin : begin + PART]
        wealth = compute_log_wealth(values[None, :], means[:, None], confidence, sides)
        alive = np.maximum.accumulate(wealth, axis=1) < -np.log1p(-confidence)
        places = np.arange(begin, begin + len(means))[:, None]
        first = np.minimum(first, np.where(alive, places, size).min(axis=0))
        last = np.maximum(last, np.where(alive, places, -1).max(axis=0))
    empty = last < 0  # every mean is excluded; the last bounds before that stay
    first[empty], last[empty] = 0, size - 1
    low = np.maximum.accumulate(np.maximum(first - 1, 0))
    high = np.minimum.accumulate(np.minimum(last + 1, size - 1))
    return MeanBounds(GRID[low], GRID[high])


def compute_log_wealth(
    values: np.ndarray, mean: np.ndarray | float, confidence: float, sides: Sides = "both"
) -> np.ndarray:
    """Return the logarithm of the gambler's wealth after each value, if `mean` is tested.

    `values` has shape [..., n], and `mean` broadcasts with it. If `mean` is the true mean, the
    wealth is a nonnegative martingale that starts at 1, so it ever reaches 1 / (1 - confidence)
    with probability at most 1 - confidence (Ville 1939).
    """
    upward, downward = WEIGHTS[sides]
    bets = choose_bets(values, confidence, sides)
    mean = np.asarray(mean, np.float64)
    with np.errstate(divide="ignore"):
        most_up = np.where(mean > 0, LARGEST_BET / mean, np.inf)
        most_down = np.where(mean < 1, LARGEST_BET / (1 - mean), np.inf)
        parts = [
            np.log(weight)
            + np.cumsum(np.log1p(sign * np.minimum(bets, most) * (values - mean)), -1)
            for weight, sign, most in ((upward, 1, most_up), (downward, -1, most_down))
            if weight
        ]
    wealth: np.ndarray = np.maximum(*parts) if len(parts) > 1 else parts[0]
    return wealth


def choose_bets(values: np.ndarray, confidence: float, sides: Sides = "both") -> np.ndarray:
    """Return the bet before each value, from the values before it: the predictable plug-in.

    It is sqrt(2 log(k / (1 - confidence)) / (v t log(1 + t))) for the t-th value, where v is a
    running variance with a prior of 1/4, and k the number of sides.
    """
    counts = np.arange(1, values.shape[-1] + 1)
    means = (0.5 + np.cumsum(values, -1)) / (counts + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2, -1)) / (counts + 1)
    start = np.full((*values.shape[:-1], 1), 0.25)
    before = np.concatenate([start, variances[..., :-1]], -1)
    tests = 2 if sides == "both" else 1
    bets: np.ndarray = np.sqrt(
        2 * np.log(tests / (1 - confidence)) / (before * counts * np.log1p(counts))
    )
    return bets
