"""Thresholds that keep to a stated false positive rate, calibrated on held-out clean text."""

from __future__ import annotations

import math
import sys
from typing import Any, Literal, NamedTuple

import numpy as np

from schemas.cards import Level
from schemas.scores import LIKELY, SCORE_DECIMALS, SCORE_STEP, fires
from schemas.shares import count_within

CONFIDENCE = 0.95
"""The confidence of a report's intervals."""


class Threshold(NamedTuple):
    """A threshold and its origin.

    A trait fires on a row whose rounded score is at or above `value`. `value` is None if `origin`
    is `missing`. Of the `clean` calibration texts, `exceeding` reach the threshold. `bound` is the
    upper confidence bound on the false positive rate. `needed` is the number of clean texts that
    the level requires.
    """

    value: float | None
    origin: Literal["calibrated", "explicit", "missing"]
    clean: int = 0
    exceeding: int = 0
    bound: float | None = None
    needed: int = 0


def count_texts_needed(level: Level) -> int:
    """Return the smallest number of clean texts that can support a level.

    That is the smallest n with (1 - rate)^n ≤ 1 - confidence. Then no text may exceed the
    threshold.
    """
    # 1 - rate would lose a tiny rate's digits
    texts = math.log1p(-level.confidence) / math.log1p(-level.max_false_positive_rate)
    return max(1, math.ceil(min(texts, sys.float_info.max)))


def compute_upper_bound(exceeding: int, total: int, confidence: float) -> float:
    """Return the one-sided Clopper-Pearson upper bound on a rate of `exceeding` in `total`."""
    if exceeding >= total:
        return 1.0
    return float(_invert_beta(exceeding + 1, total - exceeding, confidence))


def split_confidence(confidence: float, bounds: int) -> float:
    """Return the confidence of each of several bounds that shall hold together (Bonferroni)."""
    return 1 - (1 - confidence) / max(bounds, 1)


def _invert_beta(first: Any, second: Any, share: float) -> Any:
    """Return a quantile of beta distributions. Workers import this module but need none."""
    # scipy.stats has the same function but takes seconds to load
    from scipy.special import betaincinv  # noqa: PLC0415 - it takes a tenth of a second to load

    return betaincinv(first, second, share)


def compute_intervals(
    counts: np.ndarray, totals: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the lower and upper bounds of each share's Clopper-Pearson interval.

    Each side leaves out half of 1 - `confidence`. Every total must be at least 1.
    """
    tail = (1 + confidence) / 2
    with np.errstate(invalid="ignore"):
        low = 1 - _invert_beta(totals - counts + 1, counts, tail)
        high = _invert_beta(counts + 1, totals - counts, tail)
    return np.where(counts == 0, 0.0, low), np.where(counts == totals, 1.0, high)


def count_allowed(total: int, level: Level) -> int:
    """Return how many of `total` clean texts may exceed the level's threshold.

    The result is -1 with too few texts for any threshold.
    """
    count = -1
    while (
        count + 1 < total
        and compute_upper_bound(count + 1, total, level.confidence) <= level.max_false_positive_rate
    ):
        count += 1
    return count


def calibrate(scores: np.ndarray, level: Level, lowest: float = LIKELY) -> Threshold:
    """Choose the lowest threshold within the level, given scores of held-out clean text.

    NaN scores are ignored. If k texts may exceed the threshold, it is one rounding step above the
    (k+1)-th largest score, but at least `lowest`. With a threshold above 1, the trait never fires.
    The bound is for k texts, or for those that reach `lowest` if that is the threshold
    (docs/statistics.md).

    The level holds with the stated confidence over the draw of the calibration texts. For n
    exchangeable scores, the share of clean rows above an order statistic follows Beta(k+1, n-k) at
    worst (Wilks 1941).
    """
    scores = np.sort(np.round(scores[~np.isnan(scores)].astype(np.float64), SCORE_DECIMALS))[::-1]
    count, needed = count_allowed(len(scores), level), count_texts_needed(level)
    if count < 0:
        return Threshold(None, "missing", clean=len(scores), needed=needed)
    value = max(lowest, round(float(scores[count]) + SCORE_STEP, SCORE_DECIMALS))
    exceeding = int((scores >= value).sum())
    return Threshold(
        value,
        "calibrated",
        len(scores),
        exceeding,
        # the lowest threshold isn't chosen by the scores, so its own count may be used
        compute_upper_bound(exceeding if value == lowest else count, len(scores), level.confidence),
        needed,
    )


class FoundShare(NamedTuple):
    """How many of a card's positives reach a threshold when they are held out.

    `low` and `high` are the two-sided 95 % Clopper-Pearson interval of the share. `median` is the
    positives' median score.
    """

    positives: int
    found: int
    low: float
    high: float
    median: float

    @property
    def is_in_noise(self) -> bool:
        """Return whether at most half of the positives reach the threshold."""
        return 2 * self.found <= self.positives


def measure_found(scores: np.ndarray, threshold: float) -> FoundShare | None:
    """Measure the share of positives at or above the threshold, or return None without scores.

    NaN scores are ignored.
    """
    known = scores[~np.isnan(scores)]
    if not len(known):
        return None
    found = int(fires(known, threshold).sum())
    median = round(float(np.median(known.astype(np.float64))), SCORE_DECIMALS)
    return FoundShare(len(known), found, *bound_share(found, len(known)), median)


def bound_share(found: int, total: int) -> tuple[float, float]:
    """Return the two-sided 95 % Clopper-Pearson interval of one share."""
    low, high = compute_intervals(np.array([found]), np.array([total]), CONFIDENCE)
    return float(low[0]), float(high[0])


def compute_auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the probability that a random positive scores above a random negative.

    A tie counts as half.
    """
    order = np.sort(negatives)
    below, up_to = (
        np.searchsorted(order, positives, "left"),
        np.searchsorted(order, positives, "right"),
    )
    return float((below + up_to).mean() / 2 / len(negatives))


def compute_recall(positives: np.ndarray, negatives: np.ndarray, rate: float) -> float:
    """Return the share of positives above the cut-off for a false positive rate.

    The cut-off is the lowest negative score that at most `rate` of the negatives exceed.
    """
    cut_off = np.sort(negatives)[::-1][count_within(len(negatives), rate)]
    return float((positives > cut_off).mean())
