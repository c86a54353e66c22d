"""Thresholds that keep the share of missed rows below a level, given scores of traited texts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from classifiers.guarantees.calibration import count_allowed
from schemas.cards import Level
from schemas.scores import SCORE_DECIMALS


class MissControl(NamedTuple):
    """A threshold and the misses that it allows.

    Of `positives` traited texts, `missed` score below `value`. `value` is None with too few texts
    for the level.
    """

    value: float | None
    positives: int
    missed: int


def control_expected_misses(scores: np.ndarray, rate: float) -> MissControl:
    """Choose the highest threshold whose expected share of misses is at most `rate`.

    With n traited texts, k of them may score below it, where (k + 1) / (n + 1) ≤ rate (conformal
    risk control with the loss 0 or 1: Angelopoulos, Bates, Fisch, Lei, Schuster 2024). The
    expectation is over the draw of these texts and of one more row like them; NaN is ignored.
    """
    known = _sort(scores)
    allowed = int(np.floor(rate * (len(known) + 1) + 1e-12)) - 1
    return _take(known, allowed)


def control_misses(scores: np.ndarray, level: Level) -> MissControl:
    """Choose the highest threshold that misses at most the level's rate, with its confidence.

    The level's rate is here the share of traited rows that are missed. The threshold is an order
    statistic, as in `calibrate`, which is mirrored.
    """
    known = _sort(scores)
    return _take(known, count_allowed(len(known), level))


def _sort(scores: np.ndarray) -> np.ndarray:
    known = scores[~np.isnan(scores)].astype(np.float64)
    return np.sort(np.round(known, SCORE_DECIMALS))


def _take(ordered: np.ndarray, allowed: int) -> MissControl:
    if not 0 <= allowed < len(ordered):
        return MissControl(None, len(ordered), 0)
    value = round(float(ordered[allowed]), SCORE_DECIMALS)
    return MissControl(value, len(ordered), int((ordered < value).sum()))
