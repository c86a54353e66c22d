"""Bounds for an audit that reads rows one by one: weighted draws without replacement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

BETS = np.array([0.99, 0.8, 0.6, 0.4, 0.2, 0.1, 0.05])
"""The shares of its wealth that a gambler risks on one draw. The best one isn't known beforehand,
so the initial wealth is split among them."""

STAKES = np.array([0.5, 0.125, 0.1, 0.1, 0.075, 0.05, 0.05])
"""How the initial wealth is split. Half is on the bet for an audit that finds nothing, so that the
others cost at most log 2 there."""

HALVINGS = 50
"""How often an interval is halved to find a bound, which leaves 1e-15 of it."""

SENSITIVITY_SHARE = 0.2
"""The part of the risk that the raters' sensitivity may use up. The rest is the bound's."""

TINY = 1e-12


class Draws(NamedTuple):
    """Values from 0 to 1, in the order in which rows were drawn, and how they were drawn.

    The arrays have shape [..., n]. A row's weight is 1 / (rows x the chance with which it was
    drawn just then), and its cap is the largest weight that the draw could have had. `before` is
    the sum of the earlier values divided by the number of rows, and `left` the share of rows that
    weren't drawn before. Draws with replacement have the weight 1, nothing before, everything left,
    and an infinite number of rows.
    """

    values: np.ndarray
    weights: np.ndarray
    caps: np.ndarray
    before: np.ndarray
    left: np.ndarray
    rows: float

    @property
    def estimates(self) -> np.ndarray:
        """Return the unbiased estimate of the mean that each draw gives."""
        estimates: np.ndarray = self.before + self.weights * self.values
        return estimates

    def flip(self) -> Draws:
        """Return the draws of one minus each value."""
        drawn = 1 - self.left
        return self._replace(values=1 - self.values, before=drawn - self.before)


def draw_with_replacement(values: np.ndarray) -> Draws:
    """Describe independent draws of texts from a source without end."""
    values = np.asarray(values, np.float64)
    ones = np.ones(values.shape)
    return Draws(values, ones, ones, np.zeros(values.shape), ones, np.inf)


def draw_evenly(values: np.ndarray, rows: int) -> Draws:
    """Describe a random sample without replacement from `rows` rows, in the order of the draws."""
    values = np.asarray(values, np.float64)
    left = (rows - np.arange(values.shape[-1])) / max(rows, 1)
    return Draws(values, left, left, _sum_before(values, rows), left, rows)


def draw_by_weight(values: np.ndarray, weights: np.ndarray, caps: np.ndarray, rows: int) -> Draws:
    """Describe weighted draws without replacement from `rows` rows."""
    values = np.asarray(values, np.float64)
    left = (rows - np.arange(values.shape[-1])) / max(rows, 1)
    return Draws(values, weights, caps, _sum_before(values, rows), left, rows)


def _sum_before(values: np.ndarray, rows: int) -> np.ndarray:
    sums: np.ndarray = (np.cumsum(values, -1) - values) / max(rows, 1)
    return sums


def compute_audit_wealth(draws: Draws, mean: np.ndarray | float) -> np.ndarray:
    """Return the logarithm of a gambler's wealth after each draw, if `mean` or more is tested.

    `mean` has the shape of the draws without the last axis. The gambler bets that the mean is
    lower. If the true mean is `mean` or higher, the wealth is a nonnegative supermartingale that
    starts at 1, so it ever reaches 1 / risk with probability at most the risk (Ville 1939). The
    bets are those of Waudby-Smith and Ramdas (2024), mixed over fixed shares of the wealth; the
    weights without replacement are those of Shekhar, Xu, Lipton, Liang and Ramdas (2023). The
    wealth never falls as `mean` rises.
    """
    rest = np.asarray(mean, np.float64)[..., None] - draws.before
    room = np.maximum(draws.caps - rest, TINY)
    gain = (rest - draws.weights * draws.values) / room
    parts = [
        np.log(stake) + np.cumsum(np.log(np.maximum(1 + bet * gain, 1 - bet)), -1)
        for bet, stake in zip(BETS, STAKES, strict=True)
    ]
    wealth = np.logaddexp.reduce(np.stack(parts), axis=0)
    # more than if all rows that are left showed it
    impossible = rest - draws.values / draws.rows > draws.left - 1 / draws.rows + TINY
    return np.where(np.logical_or.accumulate(impossible, -1), np.inf, wealth)


def bound_audit(draws: Draws, risk: float, counts: Sequence[int] = ()) -> np.ndarray:
    """Return the upper bound on the mean after each number of draws in `counts`.

    With probability at least 1 - risk, the mean is at most every bound that there ever is, whoever
    looks when. Without counts, there is one bound, after all draws. A bound is never less than the
    share that the values read so far make up alone: an early bound may be too low, as the risk
    allows, and what was read later shows it.
    """
    total = draws.values.shape[-1]
    if total == 0:
        return np.ones(max(len(counts), 1))
    ends = np.array(counts or [total], np.int64)
    low, high = np.zeros(len(ends)), np.ones(len(ends))
    limit = -np.log(risk)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        wealth = np.maximum.accumulate(compute_audit_wealth(draws, middle), -1)
        first = np.concatenate([np.zeros((len(ends), 1)), wealth], -1)
        excluded = first[np.arange(len(ends)), ends] >= limit
        low, high = np.where(excluded, low, middle), np.where(excluded, middle, high)
    read = np.append(0.0, draws.before + draws.values / draws.rows)
    bounds: np.ndarray = np.maximum(high, read[ends])
    return bounds


def bound_audit_below(draws: Draws, risk: float) -> float:
    """Return the lower bound on the mean after all draws, as `bound_audit` does the upper one."""
    return 1 - float(bound_audit(draws.flip(), risk)[0])


class AdjustedBound(NamedTuple):
    """An upper bound on a share, before and after it is adjusted for what raters miss.

    `sensitivity` is the lower bound on the share of rows with the trait that raters find.
    """

    seen: float
    sensitivity: float
    adjusted: float


def adjust_bound(draws: Draws, found: np.ndarray, risk: float) -> AdjustedBound:
    """Bound the share of rows with a trait, from what raters see and how much of it they find.

    `found` says of each seeded text, in the order of reading, whether the raters found the trait.
    Raters who find a share Se of the rows with the trait see at least Se x p of a share p, so p is
    at most the bound on what they see, divided by a lower bound on Se. Both bounds hold at every
    moment, and their risks add up to `risk`.
    """
    seen = float(bound_audit(draws, risk * (1 - SENSITIVITY_SHARE))[0])
    finds = draw_with_replacement(np.asarray(found, np.float64))
    lowest = bound_audit_below(finds, risk * SENSITIVITY_SHARE)
    return AdjustedBound(seen, lowest, min(1.0, seen / lowest) if lowest > 0 else 1.0)


def count_texts_needed(lowest: float, risk: float) -> int:
    """Count the seeded texts that show, if all are found, that raters find more than `lowest`.

    Only the part of `risk` that `adjust_bound` gives to the sensitivity counts.
    """
    count = 1
    while (
        bound_audit_below(draw_with_replacement(np.ones(count)), risk * SENSITIVITY_SHARE) < lowest
    ):
        count += 1
    return count
