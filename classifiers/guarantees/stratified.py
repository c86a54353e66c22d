"""Precision, recall and rate from a sample that is stratified by score, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from classifiers.guarantees.calibration import CONFIDENCE, bound_share

DRAWS = 20_000
"""The number of draws for the quantiles of the confidence distributions."""

TAIL = (1 - CONFIDENCE) / 2

POWER = 0.8
"""The chance with which a number of rows tells two rates apart."""

TINY = 1e-9
"""A stand-in for a count of 0, which the beta distribution doesn't allow."""


class Stratum(NamedTuple):
    """The rows with scores in one range: how many were read, and how many show the trait."""

    rows: int
    read: int
    right: int


class Interval(NamedTuple):
    """An estimate and its interval.

    The estimate is None if the sample doesn't determine it.
    """

    estimate: float | None
    low: float
    high: float


class Accuracy(NamedTuple):
    """The precision and recall of a threshold."""

    precision: Interval
    recall: Interval


def measure_accuracy(strata: Sequence[Stratum], found: int) -> Accuracy:
    """Estimate precision and recall of a threshold that finds the first `found` strata.

    The strata are in descending order of scores. The estimates weight each stratum by its rows
    (Cochran, Sampling Techniques, 1977, chapter 5), and join one without read rows with its nearest
    neighbour on the same side of the threshold (see `_estimate_right`). The intervals combine the
    Clopper-Pearson confidence distributions of the strata (melding: Fay, Proschan, Brittain,
    Biometrics 71, 2015). A stratum contributes its lower distribution where rows with the trait
    would raise the measure, and its upper distribution elsewhere; of a stratum without read rows,
    none or all show the trait. The read rows of a stratum must be a random sample. The result is
    deterministic.
    """
    low, high = _draw_totals(strata)
    rows = sum(stratum.rows for stratum in strata[:found])
    inside, outside = _estimate_right(strata, found)
    everything = None if inside is None or outside is None else inside + outside
    precision = (
        Interval(
            None if inside is None else inside / rows,
            *_bound(low[:found].sum(0) / rows, high[:found].sum(0) / rows),
        )
        if rows
        else Interval(None, 0.0, 1.0)
    )
    recall = Interval(
        inside / everything if everything and inside is not None else None,
        *_bound(
            _divide(low[:found].sum(0), high[found:].sum(0)),
            _divide(high[:found].sum(0), low[found:].sum(0)),
        ),
    )
    return Accuracy(precision, recall)


def measure_rate(strata: Sequence[Stratum], found: int = 0) -> Interval:
    """Estimate the share of rows with the trait, with an interval as in `measure_accuracy`.

    A threshold finds the first `found` strata. The estimate is the sum of both sides' estimates. If
    no found row was read, found rows count like those below; if no row of the lowest stratum was
    read, it is None. The interval is a single point if all rows were read. The result is
    deterministic.
    """
    rows = sum(stratum.rows for stratum in strata)
    if not rows:
        return Interval(None, 0.0, 1.0)
    low, high = _draw_totals(strata)
    right = _estimate_all(strata, found)
    estimate = None if right is None else right / rows
    return Interval(estimate, *_bound(low.sum(0) / rows, high.sum(0) / rows))


def compare_rates(
    first: Sequence[Stratum], second: Sequence[Stratum], tests: int = 1, found: int = 0
) -> Interval:
    """Estimate by how much the rate of one group of rows exceeds that of another, disjoint group.

    Estimates and interval are as in `measure_rate`. With Bonferroni's adjustment, intervals of
    `tests` pairs hold together. The result is deterministic.
    """
    sizes = [sum(stratum.rows for stratum in strata) for strata in (first, second)]
    if not all(sizes):
        return Interval(None, -1.0, 1.0)
    ends = [_draw_totals(strata, seed) for seed, strata in enumerate((first, second))]
    (low, high), (other_low, other_high) = (
        (low.sum(0) / size, high.sum(0) / size)
        for (low, high), size in zip(ends, sizes, strict=True)
    )
    right = [_estimate_all(strata, found) for strata in (first, second)]
    known = [count / size for count, size in zip(right, sizes, strict=True) if count is not None]
    return Interval(
        known[0] - known[1] if len(known) == len(right) else None,
        float(np.quantile(low - other_high, TAIL / tests)),
        float(np.quantile(high - other_low, 1 - TAIL / tests)),
    )


def measure_new_rate(strata: Sequence[Stratum], found: int = 0) -> Interval:
    """Estimate the rate on new rows, drawn like the corpus's rows.

    The interval is as in `measure_on_new_rows`, and the estimate that of `measure_rate`.
    """
    known = measure_rate(strata, found)
    rows = sum(stratum.rows for stratum in strata)
    low, high = (draws.sum(0) for draws in _draw_totals(strata))
    return Interval(known.estimate, *_bound_new(low, rows - low, high, rows - high))


def compare_new_rates(
    first: Sequence[Stratum], second: Sequence[Stratum], tests: int = 1, found: int = 0
) -> Interval:
    """Estimate by how much the rate of one group exceeds that of another on new rows.

    Both groups count as samples, as in `measure_on_new_rows`. If all rows were read, the interval
    excludes 0 exactly if Fisher's one-sided test does at half the level (Fay, Proschan, Brittain,
    2015), up to the draws. With Bonferroni's adjustment, intervals of `tests` pairs hold together.
    The result is deterministic.
    """
    known = compare_rates(first, second, tests, found)
    if not all(sum(stratum.rows for stratum in strata) for strata in (first, second)):
        return known
    low, high = _draw_new_rates(first, 0)
    other_low, other_high = _draw_new_rates(second, 1)
    return Interval(
        known.estimate,
        float(np.quantile(low - other_high, TAIL / tests)),
        float(np.quantile(high - other_low, 1 - TAIL / tests)),
    )


def _draw_new_rates(strata: Sequence[Stratum], seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw lower and upper rates of new rows."""
    rows = sum(stratum.rows for stratum in strata)
    low, high = (draws.sum(0) for draws in _draw_totals(strata, seed))
    return _draw_new(low, rows - low, high, rows - high, np.random.default_rng((seed, 1)))


def count_rows_needed(
    groups: Sequence[Sequence[Stratum]], difference: float, tests: int = 1
) -> tuple[float, float]:
    """Estimate by which factors to read more rows, and to have more, to tell two rates apart.

    `groups` are the strata of two groups, and `difference` isn't 0. With both factors, the interval
    of `compare_new_rates` excludes 0 with a chance of about `POWER`. The second one is for a corpus
    that is read as a whole; with one above 1, reading more of this corpus isn't enough, and the
    first is infinite. The variances are those of the weighted estimate (Cochran, chapter 5) and of
    a plain share, with half a row of each kind added to every count.
    """
    from scipy.stats import norm  # noqa: PLC0415 - it takes a second to load

    spread = float(norm.ppf(1 - TAIL / tests) + norm.ppf(POWER))
    allowed = difference**2 / spread**2
    whole = sum(_estimate_variance([_join_strata(strata)]) for strata in groups)
    sampling = sum(map(_estimate_variance, groups))
    return (sampling / (allowed - whole) if whole < allowed else float("inf")), whole / allowed


def _join_strata(strata: Sequence[Stratum]) -> Stratum:
    """Return one stratum with all rows, as if all were read and as many showed the trait."""
    rows = sum(stratum.rows for stratum in strata)
    return Stratum(rows, rows, round(_estimate_all(strata) or 0))


def _estimate_variance(strata: Sequence[Stratum]) -> float:
    """Estimate the variance of a rate's estimate."""
    rows = sum(stratum.rows for stratum in strata)
    parts = []
    for stratum in strata:
        share = (stratum.right + 0.5) / (stratum.read + 1)
        parts.append((stratum.rows / rows) ** 2 * share * (1 - share) / max(stratum.read, 1))
    return sum(parts)


def measure_on_new_rows(strata: Sequence[Stratum], found: int) -> Accuracy:
    """Estimate precision and recall on new rows, drawn like the corpus's rows.

    The corpus itself counts as a sample. With a known number of rows with the trait, the interval
    is the Clopper-Pearson interval of that number. With a partly read corpus, the number is drawn
    as in `measure_accuracy`, and the interval covers both uncertainties. The estimates are the same
    as in `measure_accuracy`. The result is deterministic.
    """
    low, high = _draw_totals(strata)
    inside, outside = slice(None, found), slice(found, None)
    rows = sum(stratum.rows for stratum in strata[inside])
    known = measure_accuracy(strata, found)
    low_inside, high_inside = low[inside].sum(0), high[inside].sum(0)
    return Accuracy(
        Interval(
            known.precision.estimate,
            *_bound_new(low_inside, rows - low_inside, high_inside, rows - high_inside),
        ),
        Interval(
            known.recall.estimate,
            *_bound_new(low_inside, high[outside].sum(0), high_inside, low[outside].sum(0)),
        ),
    )


def _bound_new(
    low: np.ndarray, most_others: np.ndarray, high: np.ndarray, fewest_others: np.ndarray
) -> tuple[float, float]:
    """Return a share's Clopper-Pearson interval. Each end comes from draws of two counts.

    The interval is exact if all draws are equal.
    """
    if all((draws == draws[0]).all() for draws in (low, most_others, high, fewest_others)):
        least, most = low[0] + most_others[0], high[0] + fewest_others[0]
        return (
            bound_share(low[0], least)[0] if least else 0.0,
            bound_share(high[0], most)[1] if most else 1.0,
        )
    generator = np.random.default_rng(1)
    return _bound(*_draw_new(low, most_others, high, fewest_others, generator))


def _draw_new(
    low: np.ndarray,
    most_others: np.ndarray,
    high: np.ndarray,
    fewest_others: np.ndarray,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw lower and upper shares on new rows from draws of two counts."""
    return (
        np.where(low > 0, generator.beta(np.maximum(low, TINY), most_others + 1), 0.0),
        np.where(fewest_others > 0, generator.beta(high + 1, np.maximum(fewest_others, TINY)), 1.0),
    )


def _estimate_all(strata: Sequence[Stratum], found: int = 0) -> float | None:
    """Estimate how many rows show the trait, as the sum of both sides of a threshold."""
    inside, outside = _estimate_right(strata, found)
    if inside is None and outside is not None:
        inside, outside = _estimate_right(strata, 0)
    return None if inside is None or outside is None else inside + outside


def _estimate_right(strata: Sequence[Stratum], found: int) -> tuple[float | None, float | None]:
    """Estimate how many of the rows above a threshold, and of those below, show the trait.

    A stratum without read rows is joined with the nearest one on the same side that has some, and
    of two with the one nearer to the threshold: post-strata that are too small for the sample are
    collapsed (Little, Journal of the American Statistical Association 88, 1993). A side without
    read rows has no estimate. If no row of the lowest stratum was read, the sample is one of
    higher scores, which says nothing of other strata, so nothing is joined.
    """
    used = [place for place, item in enumerate(strata) if item.rows]
    is_whole = bool(used) and strata[used[-1]].read > 0
    above = [place for place in reversed(used) if place < found]
    below = [place for place in used if place >= found]
    return _estimate_side(strata, above, is_whole), _estimate_side(strata, below, is_whole)


def _estimate_side(
    strata: Sequence[Stratum], places: Sequence[int], is_whole: bool
) -> float | None:
    """Estimate how many rows of some strata show the trait, listed from the threshold outwards."""
    read = [place for place in places if strata[place].read]
    if len(read) < len(places) and not (read and is_whole):
        return None
    total = 0.0
    for place in places:
        near = min(read, key=lambda other: abs(other - place))
        total += strata[place].rows * strata[near].right / strata[near].read
    return total


def _draw_totals(strata: Sequence[Stratum], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw lower and upper numbers of rows with the trait, each [strata, draws]."""
    generator = np.random.default_rng(seed)
    low = np.zeros((len(strata), DRAWS))
    high = np.zeros((len(strata), DRAWS))
    for index, (rows, read, right) in enumerate(strata):
        wrong = read - right
        if right:
            low[index] = rows * generator.beta(right, wrong + 1, DRAWS)
        high[index] = rows * generator.beta(right + 1, wrong, DRAWS) if wrong else rows
        for part in (low, high):
            part[index] = np.clip(part[index], right, rows - wrong)
    return low, high


def _divide(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Return `inside` as a share of the sum, or NaN for a sum of 0."""
    total = inside + outside
    shares: np.ndarray = np.full_like(total, np.nan)
    np.divide(inside, total, out=shares, where=total > 0)
    return shares


def _bound(low: np.ndarray, high: np.ndarray) -> tuple[float, float]:
    """Return the interval from the lower tail of `low` to the upper tail of `high`.

    NaN means any value.
    """
    return (
        float(np.quantile(np.nan_to_num(low, nan=0.0), TAIL)),
        float(np.quantile(np.nan_to_num(high, nan=1.0), 1 - TAIL)),
    )
