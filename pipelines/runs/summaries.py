"""Summarise a finished run: each trait's score counts."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from pipelines.runs.finished import scan_folder
from schemas.manifests import Manifest, SettledThreshold
from schemas.scores import SCORE_DECIMALS, score_column

BINS = 40
"""The number of bins in a histogram of scores."""

STEPS: int = 10**SCORE_DECIMALS
"""The number of steps from 0 to 1. Whole steps can be compared exactly."""


class ScoreCounts(NamedTuple):
    """For each bin, the numbers of a trait's scores below and above its threshold."""

    below: list[int]
    above: list[int]
    unscored: int


def count_scores(run: str, manifest: Manifest) -> list[ScoreCounts]:
    """Count every trait's scores in the order of the thresholds, loading parts at a time."""
    if not manifest.conservation.rows_in:
        return [ScoreCounts([0] * BINS, [0] * BINS, 0) for _ in manifest.thresholds]
    scores = scan_folder(run, manifest, "scores")
    queries = [_build_bin_query(scores, rule) for rule in manifest.thresholds]
    return [_sum_bins(frame) for frame in pl.collect_all(queries, engine="streaming")]


def _build_bin_query(scores: pl.LazyFrame, rule: SettledThreshold) -> pl.LazyFrame:
    step = (pl.col(score_column(rule.trait, rule.signal)) * STEPS).round().cast(pl.Int32)
    binned = scores.select(
        bin=(step // (STEPS // BINS)).clip(upper_bound=BINS - 1),
        above=step >= round(rule.threshold * STEPS),
    )
    counted = binned.group_by("bin", "above").agg(pl.len().alias("rows"))
    return counted.select("bin", "above", "rows")


def _sum_bins(frame: pl.DataFrame) -> ScoreCounts:
    counts = ScoreCounts([0] * BINS, [0] * BINS, 0)
    for index, above, rows in frame.iter_rows():
        if index is None:
            counts = counts._replace(unscored=counts.unscored + rows)
        else:
            (counts.above if above else counts.below)[index] += rows
    return counts
