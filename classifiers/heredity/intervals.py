"""Intervals for rates of students, with seeds as outer and scenarios as inner clusters."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit  # scipy.stats has the same but takes seconds to load

from classifiers.guarantees.calibration import CONFIDENCE
from classifiers.guarantees.stratified import Interval
from classifiers.heredity.outcomes import OutcomeTable
from schemas.errors import TrialError

DRAWS = 4_000
"""The number of bootstrap draws. Standard errors then vary by about 1 % between seeds."""

LEAST_DEVIATION = 1.5
"""The standard error of an arm in which every outcome is 0, or 1, times its outcomes.

Twice that is 3 divided by the outcomes, the usual bound on a rate of which no case was seen.
"""


@dataclass(frozen=True)
class Means:
    """The mean of each arm, and the covariance of these means.

    `by_seed` is the part of the covariance that comes from seeds, and `by_scenario` the part that
    other scenarios would add.
    """

    arms: tuple[str, ...]
    values: np.ndarray
    by_seed: np.ndarray
    by_scenario: np.ndarray
    seeds: int
    scenarios: int

    def weigh(self, weights: Mapping[str, float]) -> np.ndarray:
        """Return the weights as an array in the order of the arms.

        Raises: TrialError: there is no such arm.
        """
        found = np.zeros(len(self.arms))
        for arm, weight in weights.items():
            if arm not in self.arms:
                raise TrialError(
                    f"there are no outcomes of {arm!r}",
                    remedy=f"train and evaluate it; there are {', '.join(self.arms)}",
                )
            found[self.arms.index(arm)] += weight
        return found


class Spread(NamedTuple):
    """A weighted sum of means, its standard error, and the degrees of freedom of the latter."""

    value: float
    error: float
    freedom: float


def estimate_means(table: OutcomeTable, *, draws: int = DRAWS, seed: int = 0) -> Means:
    """Estimate the mean of each arm, with the covariance that a bootstrap finds.

    Each draw resamples seeds, and within them scenarios, the same ones for all arms, because all
    students answer the same questions and share their first weights by seed (a pigeonhole
    bootstrap: Owen, Annals of Applied Statistics 1, 2007). Such a draw counts three times what is
    peculiar to a seed in a scenario. So the draws are split into an effect of the seeds, an effect
    of the scenarios and the rest, whose variances are corrected for small numbers and added once.
    The result is deterministic.

    Raises: TrialError: there are fewer than two seeds.
    """
    values = table.values
    _, seeds, scenarios = values.shape
    if seeds < 2:
        raise TrialError(
            "one seed has no interval", remedy="train at least two students an arm, better five"
        )
    random = np.random.default_rng(seed)
    own = random.multinomial(seeds, np.full(seeds, 1 / seeds), draws) / seeds
    inner = random.multinomial(scenarios, np.full(scenarios, 1 / scenarios), draws) / scenarios
    means = values.mean((1, 2))
    by_seed = own @ values.mean(2).T - means
    by_scenario = inner @ values.mean(1).T - means
    both = np.einsum("ds,asq,dq->da", own, values, inner, optimize=True) - means
    outer = _vary(by_seed) * seeds / (seeds - 1)
    if scenarios == 1:
        return Means(table.arms, means, outer + _floor(values), 0 * outer, seeds, scenarios)
    more = scenarios / (scenarios - 1)
    rest = _vary(both - by_seed - by_scenario) * more * seeds / (seeds - 1)
    added = _clip(_vary(by_scenario) * more - rest)
    return Means(table.arms, means, outer + _floor(values), added, seeds, scenarios)


def measure_contrast(means: Means, weights: Mapping[str, float]) -> Interval:
    """Return a weighted sum of means with its interval, from Student's t."""
    value, error, freedom = spread_contrast(means, means.weigh(weights))
    reach = error * float(stdtrit(freedom, (1 + CONFIDENCE) / 2))
    return Interval(value, value - reach, value + reach)


def compute_p(means: Means, weights: Mapping[str, float], bound: float = 0.0) -> float:
    """Return the p-value of a weighted sum being `bound` or more."""
    value, error, freedom = spread_contrast(means, means.weigh(weights))
    if error == 0:
        return float(value >= bound)
    return float(stdtr(freedom, (value - bound) / error))


def measure_ratio(
    means: Means, numerator: Mapping[str, float], denominator: Mapping[str, float]
) -> Interval:
    """Return the ratio of two weighted sums, with the interval of Fieller's theorem.

    If the denominator may be 0, the ratio may be anything: then the interval is unbounded.
    """
    above, below = means.weigh(numerator), means.weigh(denominator)
    x, y = float(above @ means.values), float(below @ means.values)
    if y == 0:
        return Interval(None, -math.inf, math.inf)
    freedom = spread_contrast(means, above - x / y * below).freedom
    scale = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) ** 2
    covariance = means.by_seed + means.by_scenario
    a = y * y - scale * float(below @ covariance @ below)
    b = x * y - scale * float(above @ covariance @ below)
    c = x * x - scale * float(above @ covariance @ above)
    if a <= 0:
        return Interval(x / y, -math.inf, math.inf)
    reach = math.sqrt(max(0.0, b * b - a * c))
    return Interval(x / y, (b - reach) / a, (b + reach) / a)


def spread_contrast(means: Means, weights: np.ndarray) -> Spread:
    """Return a weighted sum with its standard error and degrees of freedom (Satterthwaite)."""
    outer = float(weights @ means.by_seed @ weights)
    inner = float(weights @ means.by_scenario @ weights)
    total = outer + inner
    ends = outer**2 / (means.seeds - 1) + inner**2 / max(1, means.scenarios - 1)
    freedom = total**2 / ends if ends > 0 else means.seeds - 1.0
    return Spread(float(weights @ means.values), math.sqrt(max(0.0, total)), freedom)


def _vary(draws: np.ndarray) -> np.ndarray:
    """Return the covariance of draws [draws, arms] of which the mean is known to be 0."""
    product: np.ndarray = draws.T @ draws / len(draws)
    return product


def _clip(covariance: np.ndarray) -> np.ndarray:
    """Return the nearest covariance without negative variances."""
    sizes, axes = np.linalg.eigh(covariance)
    clipped: np.ndarray = (axes * np.maximum(sizes, 0)) @ axes.T
    return clipped


def _floor(values: np.ndarray) -> np.ndarray:
    """Return a variance for arms in which every outcome is 0, or every outcome is 1."""
    cells = values[0].size
    flat = (values == 0).all((1, 2)) | (values == 1).all((1, 2))
    return np.diag(np.where(flat, (LEAST_DEVIATION / cells) ** 2, 0.0))
