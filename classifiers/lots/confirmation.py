"""Testing candidates on the half of the texts in which they weren't looked for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from classifiers.guarantees.calibration import bound_share
from classifiers.lots.counts import Counts
from classifiers.lots.discovery import compute_log_odds
from classifiers.lots.permutations import adjust_p_values

MOST_EXACT = 400
"""Up to how many texts with a candidate the test is exact. With more, it is the normal limit."""

RANK_REACH = 1.645
"""How many spreads below the log-odds ratio the rank is taken: the lower end at 95 %."""


class Confirmed(NamedTuple):
    """The test of each candidate on the confirming half, as arrays [candidates].

    `p` is one-sided. `q` is adjusted among all candidates. `adjusted_q` compares only texts of
    like length, format and difficulty, and `expected` is the reference's rate in texts like the
    corpus's. `log_odds` has Monroe's prior, `spread` is its standard deviation.
    """

    own: np.ndarray
    other: np.ndarray
    owns: int
    others: int
    p: np.ndarray
    q: np.ndarray
    adjusted_q: np.ndarray
    expected: np.ndarray
    log_odds: np.ndarray
    spread: np.ndarray

    @property
    def rank(self) -> np.ndarray:
        """Return the lower end of the log-odds ratio's interval, by which findings are ordered."""
        return self.log_odds - RANK_REACH * self.spread


def confirm(counts: Counts, strata: int, inflation: np.ndarray | None = None) -> Confirmed:
    """Test whether each candidate is over-represented in the first set's confirming half.

    Texts are compared within strata. The cells of the counts are strata, each divided by format.
    `inflation` is the factor by which a candidate's variance is larger than that of independent
    texts [candidates].

    The test conditions on the number of texts with the candidate in each stratum (Cochran, Mantel,
    Haenszel), exactly for up to `MOST_EXACT` texts.
    """
    other, own = counts.by_cell[:, 0], counts.by_cell[:, 1]
    others, owns = counts.texts_by_cell
    parts = [_join_formats(values, strata) for values in (own, other, owns, others)]
    p = compare_strata(parts[0], parts[1], parts[2], parts[3], inflation)
    adjusted = compare_strata(own, other, owns, others, inflation)
    totals = own.sum(1), other.sum(1), int(owns.sum()), int(others.sum())
    log_odds, spread = compute_log_odds(*totals)
    return Confirmed(
        *totals,
        p,
        adjust_p_values(p),
        adjust_p_values(adjusted),
        expect_rates(other, owns, others),
        log_odds,
        spread,
    )


def _join_formats(values: np.ndarray, strata: int) -> np.ndarray:
    """Sum up over the formats within each stratum. Cells are strata times formats, in order."""
    return np.asarray(values.reshape(*values.shape[:-1], strata, -1).sum(-1))


def expect_rates(other: np.ndarray, owns: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the second set's rates if its texts were spread over cells like the first set's.

    `other` is [candidates, cells]. In a cell without texts of the second set, its overall rate is
    taken.
    """
    overall = other.sum(1, keepdims=True) / max(others.sum(), 1)
    rates = np.where(others > 0, other / np.maximum(others, 1), overall)
    return np.asarray(rates @ owns / max(owns.sum(), 1))


def compare_strata(
    own: np.ndarray,
    other: np.ndarray,
    owns: np.ndarray,
    others: np.ndarray,
    inflation: np.ndarray | None = None,
) -> np.ndarray:
    """Return one-sided p-values that the first set has more texts with each candidate.

    `own` and `other` are [candidates, strata], `owns` and `others` the numbers of texts [strata].
    A stratum with texts of one set alone says nothing.
    """
    useful = (owns > 0) & (others > 0)
    own, other, owns, others = own[:, useful], other[:, useful], owns[useful], others[useful]
    held, total = own + other, owns + others
    reached = own.sum(1)
    mean = (held * (owns / np.maximum(total, 1))).sum(1)
    share = owns * others / np.maximum(total, 1) ** 2
    variance = (held * share * (total - held) / np.maximum(total - 1, 1)).sum(1)
    factor = np.ones(len(own)) if inflation is None else np.maximum(inflation, 1.0)
    p = _approximate(reached, mean, variance * factor)
    exact = np.flatnonzero((held.sum(1) <= MOST_EXACT) & (factor <= 1.0))
    factorials = _sum_logarithms(int(total.max(initial=0)))
    for index in exact.tolist():
        p[index] = _count_exactly(int(reached[index]), held[index], owns, total, factorials)
    return p


def _approximate(reached: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    from scipy.special import ndtr  # noqa: PLC0415 - it takes a tenth of a second to load

    spread = np.sqrt(np.maximum(variance, 1e-12))
    return np.asarray(np.where(variance > 0, ndtr(-(reached - 0.5 - mean) / spread), 1.0))


def _sum_logarithms(most: int) -> np.ndarray:
    """Return the logarithms of the factorials of 0 to `most`."""
    return np.append(0.0, np.cumsum(np.log(np.arange(1, most + 1))))


def _count_exactly(
    reached: int, held: np.ndarray, owns: np.ndarray, total: np.ndarray, factorials: np.ndarray
) -> float:
    """Return the chance of at least `reached` texts: a sum of hypergeometric numbers."""
    chances = np.ones(1)
    for number, own, size in zip(held.tolist(), owns.tolist(), total.tolist(), strict=True):
        if number:
            chances = np.convolve(chances, _spread_chances(number, own, size, factorials))
    return float(min(1.0, chances[reached:].sum()))


def _spread_chances(number: int, own: int, size: int, factorials: np.ndarray) -> np.ndarray:
    """Return the hypergeometric chances of 0 to `number` texts of the first set."""
    values = np.arange(number + 1)
    possible = (values <= own) & (number - values <= size - own)
    fits = values[possible]
    rest = number - fits
    logarithms = (
        (factorials[own] - factorials[fits] - factorials[own - fits])
        + (factorials[size - own] - factorials[rest] - factorials[size - own - rest])
        - (factorials[size] - factorials[number] - factorials[size - number])
    )
    chances = np.zeros(number + 1)
    chances[possible] = np.exp(logarithms)
    return chances


def bound_rate(count: int, total: int) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a rate, from 0 to 1 without texts."""
    return bound_share(count, total) if total else (0.0, 1.0)
