"""Counts over generations: whether a habit's rate rises or falls, by how much, and by chance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from classifiers.lots.confirmation import compare_strata

MOST_EXACT = 100
"""Up to how many texts with a habit the test of a trend is exact. Beyond, it is the normal one."""

WINDOW = 12
"""Over how many generations, the newest ones, a trend is tested."""

REACH = 1.96
"""How many spreads a slope's interval reaches on each side: 95 %."""

FEWEST_GENERATIONS = 3
"""With fewer generations there is no trend, only a difference."""


class Slope(NamedTuple):
    """By how much a rate changes with each generation, with a 95 % interval."""

    value: float
    low: float
    high: float


def compute_trend(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return one-sided p-values that rates rise over generations.

    `counts` are texts with each habit [habits, generations], and `totals` all texts [generations].
    The test is Cochran's and Armitage's with equal steps (Armitage, Biometrics 11, 1955), and
    conditions on the number of texts with the habit. For falling rates, turn the generations round.
    """
    steps = np.arange(len(totals))
    held = counts.sum(1)
    reached = counts @ steps
    p = _approximate_trend(reached, held, totals, steps)
    few = np.flatnonzero(held <= MOST_EXACT)
    if len(few):
        tails = _sum_tails(totals, int(held[few].max()))
        p[few] = tails[held[few], reached[few]]
    return p


def _approximate_trend(
    reached: np.ndarray, held: np.ndarray, totals: np.ndarray, steps: np.ndarray
) -> np.ndarray:
    from scipy.special import ndtr  # noqa: PLC0415 - it takes a tenth of a second to load

    whole = max(int(totals.sum()), 2)
    mean = float(totals @ steps) / whole
    spread = float(totals @ (steps - mean) ** 2) / (whole - 1)
    variance = held * (whole - held) / whole * spread
    reach = (reached - 0.5 - held * mean) / np.sqrt(np.maximum(variance, 1e-12))
    return np.asarray(np.where(variance > 0, ndtr(-reach), 1.0))


def _sum_tails(totals: np.ndarray, most: int) -> np.ndarray:
    """Return the chance of each sum of steps or a larger one, [texts with the habit, sums].

    The texts with a habit are a random draw from all texts (the multivariate hypergeometric
    distribution), computed as independent binomial draws given their sum.
    """
    from scipy.special import gammaln  # noqa: PLC0415 - it takes a tenth of a second to load

    share = max(most, 1) / (2 * max(int(totals.sum()), 1))
    chances = np.zeros((most + 1, most * (len(totals) - 1) + 2))
    chances[0, 0] = 1.0
    for step, total in enumerate(totals.tolist()):
        number = np.arange(min(most, total) + 1)
        logs = gammaln(total + 1) - gammaln(number + 1) - gammaln(total - number + 1)
        weights = np.exp(logs + number * np.log(share) + (total - number) * np.log1p(-share))
        chances = _draw(chances, weights, step)
    tails = np.cumsum(chances[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(np.minimum(tails / np.maximum(tails[:, :1], 1e-300), 1.0))


def _draw(chances: np.ndarray, weights: np.ndarray, step: int) -> np.ndarray:
    """Return the chances after one generation's draw. Each text adds `step` to the sum."""
    drawn = np.zeros_like(chances)
    rows, sums = chances.shape
    for number, weight in enumerate(weights.tolist()):
        moved = number * step
        if weight and moved < sums:
            drawn[number:, moved:] += weight * chances[: rows - number, : sums - moved]
    return drawn


def compute_difference(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Return one-sided p-values that the last generation has a higher rate than all before it."""
    newest = counts[:, -1:], counts[:, :-1].sum(1, keepdims=True)
    return compare_strata(*newest, totals[-1:], totals[:-1].sum(keepdims=True))


def measure_slopes(counts: np.ndarray, totals: np.ndarray) -> list[Slope]:
    """Return by how much each rate changes with a generation: the weighted least squares line.

    The interval takes each generation's rate as a binomial one, with half a text added to both
    sides so that a rate of 0 has a spread.
    """
    steps = np.arange(len(totals))
    weights = totals / max(int(totals.sum()), 1)
    centred = steps - weights @ steps
    scale = max(float(weights @ centred**2), 1e-12)
    rates = counts / np.maximum(totals, 1)
    smooth = (counts + 0.5) / (totals + 1)
    values = rates @ (weights * centred) / scale
    variance = (smooth * (1 - smooth) / np.maximum(totals, 1)) @ (weights * centred) ** 2 / scale**2
    reach = REACH * np.sqrt(variance)
    bounds = zip(values.tolist(), reach.tolist(), strict=True)
    return [Slope(value, value - width, value + width) for value, width in bounds]


def fill_unknown(
    counts: np.ndarray, known: np.ndarray, most: int, largest: np.ndarray
) -> np.ndarray:
    """Return counts in which unknown ones, which are between 0 and `most`, have either value.

    `known` has the shape of `counts`, [habits, generations]. `largest` says in which generations
    an unknown count is `most`, bool [generations].
    """
    return np.where(known, counts, np.where(largest, most, 0)[None])


def find_hardest(generations: int, *, rising: bool, trend: bool) -> np.ndarray:
    """Return in which generations an unknown count must be large for a change to be hard to show.

    A trend is hardest to show with large counts before the middle, and a difference of the last
    generation with large counts in all others; for a fall it is the reverse.
    """
    steps = np.arange(generations)
    early = steps < (generations - 1) / 2 if trend else steps < generations - 1
    return early if rising else ~early
