"""Near misses: the rows whose scores are just below a trait's threshold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from schemas.receipts import NearMisses
from schemas.scores import NEAR_MISS, SCORE_DECIMALS, fires, score_column
from transforms.rules import Rule


def find_near_misses(
    scores: Mapping[str, np.ndarray], rules: Iterable[Rule]
) -> dict[str, NearMisses]:
    """Return each trait's near misses in some rows' score columns.

    Exceptions for lots are ignored.
    """
    return {
        rule.trait: measure_near_misses(
            scores[score_column(rule.trait, rule.signal)], rule.threshold.value
        )
        for rule in rules
        if rule.threshold.value is not None
    }


def measure_near_misses(scores: np.ndarray, threshold: float) -> NearMisses:
    """Count the scores just below a threshold, and find the highest one.

    NaN and scores of 0 don't count.
    """
    below = scores[(scores > 0) & ~fires(scores, threshold)]  # a comparison with NaN is false
    if not len(below):
        return NearMisses()
    lowest = round(threshold - NEAR_MISS, SCORE_DECIMALS)
    best = round(float(below.max()), SCORE_DECIMALS)
    return NearMisses(rows=int(fires(below, lowest).sum()), best=best)
