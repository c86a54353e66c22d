"""Thresholds with a guarantee: chosen from held-out clean text so that, with stated confidence, few clean rows are lost."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import beta

from schemas.cards import Level
from schemas.outputs import SCORE_DECIMALS

STEP = 10.0**-SCORE_DECIMALS


class Threshold(NamedTuple):
    """A threshold and where it came from.

    A row fires when its rounded score is at or above `value`. `exceeding` of the `clean` calibration texts do;
    `bound` is the upper confidence bound on the share of clean rows that will. A `missing` one has no value, and
    `needed` says how many clean texts its level takes.
    """

    value: float | None
    origin: Literal["calibrated", "explicit", "missing"]
    clean: int = 0
    exceeding: int = 0
    bound: float | None = None
    needed: int = 0


def texts_needed(level: Level) -> int:
    """Return the fewest clean texts from which the level can be promised: with none of n exceeding, (1 - rate)^n ≤ 1 - confidence."""
    return math.ceil(math.log(1 - level.confidence) / math.log(1 - level.max_false_positive_rate))


def upper_bound(exceeding: int, total: int, confidence: float) -> float:
    """Return the one-sided Clopper-Pearson bound on a rate, given `exceeding` of `total`."""
    return (
        1.0 if exceeding >= total else float(beta.ppf(confidence, exceeding + 1, total - exceeding))
    )


def allowed(total: int, level: Level) -> int:
    """Return how many of `total` clean texts may exceed a threshold while the bound stays within the level; -1 if none may."""
    count = -1
    while (
        count + 1 < total
        and upper_bound(count + 1, total, level.confidence) <= level.max_false_positive_rate
    ):
        count += 1
    return count


def calibrate(scores: np.ndarray, level: Level) -> Threshold:
    """Choose the lowest threshold that the level allows, from the scores of held-out clean texts.

    With k exceedances allowed, the threshold lies one rounding step above the (k+1)-th largest score. The share of clean
    rows above an order statistic of n exchangeable scores follows Beta(k+1, n-k) at worst (Wilks 1941), so that the
    level holds with the stated confidence over the draw of the calibration texts. A threshold above 1 never fires.
    """
    scores = np.sort(np.round(scores[~np.isnan(scores)].astype(np.float64), SCORE_DECIMALS))[::-1]
    count, needed = allowed(len(scores), level), texts_needed(level)
    if count < 0:
        return Threshold(None, "missing", clean=len(scores), needed=needed)
    value = round(float(scores[count]) + STEP, SCORE_DECIMALS)
    exceeding = int((scores >= value).sum())
    return Threshold(
        value,
        "calibrated",
        len(scores),
        exceeding,
        upper_bound(count, len(scores), level.confidence),
        needed,
    )


def auroc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """Return the chance that a positive outscores a negative, ties counting half."""
    order = np.sort(negatives)
    below, upto = (
        np.searchsorted(order, positives, "left"),
        np.searchsorted(order, positives, "right"),
    )
    return float((below + upto).mean() / 2 / len(negatives))


def recall_at(positives: np.ndarray, negatives: np.ndarray, rate: float) -> float:
    """Return the share of positives above the score that at most `rate` of the negatives exceed."""
    cut = np.sort(negatives)[::-1][int(rate * len(negatives))]
    return float((positives > cut).mean())
