"""Conformal p-values, and thresholds that bound the share of clean rows among all findings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from schemas.scores import SCORE_DECIMALS

STEPS = 10**SCORE_DECIMALS
"""The number of rounding steps of a score from 0 to 1."""


class CountedScores(NamedTuple):
    """How many rows and how many held-out clean texts have each score of one trait.

    Both are arrays of int64 [STEPS + 1], indexed by the score in rounding steps.
    """

    rows: np.ndarray
    clean: np.ndarray


class Selection(NamedTuple):
    """The findings that Benjamini and Hochberg's procedure selects.

    `thresholds` maps each trait to its lowest selected score, or to None if none is selected.
    `findings` counts a trait's selected rows, and `tests` all scored rows of all traits. `cutoff`
    is the largest selected p-value, or None without any.
    """

    thresholds: dict[str, float | None]
    findings: dict[str, int]
    tests: int
    cutoff: float | None


def count_scores(scores: np.ndarray) -> np.ndarray:
    """Return how many scores there are at each rounding step; NaN scores are ignored."""
    known = scores[~np.isnan(scores)].astype(np.float64)
    counts: np.ndarray = np.bincount(np.rint(known * STEPS).astype(np.int64), minlength=STEPS + 1)
    return counts


def compute_p_values(scores: np.ndarray, clean: np.ndarray) -> np.ndarray:
    """Return the conformal p-value of each score: (1 + clean scores at or above it) / (n + 1).

    The p-value of a clean row is uniform or larger, if the row is exchangeable with the n clean
    texts (Vovk, Gammerman, Shafer 2005). NaN clean scores are ignored.
    """
    known = np.sort(clean[~np.isnan(clean)])
    reached = len(known) - np.searchsorted(known, scores, "left")
    p_values: np.ndarray = (1 + reached) / (len(known) + 1)
    return p_values


def find_cutoff(p_values: np.ndarray, counts: np.ndarray, share: float) -> float | None:
    """Return the largest p-value that Benjamini and Hochberg's procedure selects, or None.

    `counts` says how many tests have each p-value. Of m tests, all with p ≤ share · R / m are
    selected, where R is their number (Benjamini, Hochberg 1995). Conformal p-values against the
    same clean texts depend on each other positively, so the expected share of clean rows among the
    selected ones is at most `share` (Bates, Candès, Lei, Romano, Sesia 2023).
    """
    order = np.argsort(p_values, kind="stable")
    ordered, selected = p_values[order], np.cumsum(counts[order])
    total = selected[-1] if len(selected) else 0
    passing = np.flatnonzero((ordered * total <= share * selected) & (counts[order] > 0))
    return float(ordered[passing[-1]]) if len(passing) else None


def select_findings(
    traits: Mapping[str, CountedScores], share: float, lowest: float = 0
) -> Selection:
    """Choose thresholds so that at most `share` of all findings are expected on clean rows.

    The tests of all traits are pooled. Rows outside a trait's scope aren't tests. The share is an
    expectation over the draw of clean texts and rows, and of all traits together. Scores below
    `lowest` get a p-value of 1, which keeps the promise and is never selected.
    """
    p_values = {name: _compute_by_step(item.clean, lowest) for name, item in traits.items()}
    pooled = [np.concatenate(parts) for parts in _pool(traits, p_values)] if traits else []
    cutoff = find_cutoff(pooled[0], pooled[1], share) if traits else None
    thresholds: dict[str, float | None] = {}
    findings: dict[str, int] = {}
    for name, item in traits.items():
        steps = np.flatnonzero(p_values[name] <= (-1 if cutoff is None else cutoff))
        findings[name] = int(item.rows[steps].sum())
        first = round(int(steps[0]) / STEPS, SCORE_DECIMALS) if len(steps) else None
        thresholds[name] = first if findings[name] else None
    tests = sum(int(item.rows.sum()) for item in traits.values())
    return Selection(thresholds, findings, tests, cutoff)


def _compute_by_step(clean: np.ndarray, lowest: float) -> np.ndarray:
    """Return the p-value of each score; it falls as the score rises."""
    reached = np.cumsum(clean[::-1])[::-1]
    p_values: np.ndarray = (1 + reached) / (clean.sum() + 1)
    p_values[: round(lowest * STEPS)] = 1
    return p_values


def _pool(
    traits: Mapping[str, CountedScores], p_values: Mapping[str, np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    return list(p_values.values()), [item.rows for item in traits.values()]
