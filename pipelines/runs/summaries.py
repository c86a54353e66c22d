"""Summarise a finished run: score counts by trait, and removed rows by teacher and by lot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl

from classifiers.guarantees.calibration import compute_upper_bound
from pipelines.runs.finished import scan_folder
from pipelines.runs.queries import scan_ledger
from schemas.manifests import Manifest, SettledThreshold
from schemas.policies import REMOVED
from schemas.scores import SCORE_DECIMALS, score_column

BINS = 40
"""The number of bins in a histogram of scores."""

STEPS: int = 10**SCORE_DECIMALS
"""The number of steps from 0 to 1. Scores counted in whole steps can be compared exactly."""

CONFIDENCE = 0.95
"""The confidence level of the intervals."""


class ScoreCounts(NamedTuple):
    """How many of a trait's scores in each bin are below its threshold, and how many aren't."""

    below: list[int]
    above: list[int]
    unscored: int


class GroupShare(NamedTuple):
    """A group's rows and removed rows, with a Clopper-Pearson interval for the removed share.

    `names` holds the group's value in each field of the grouping, or `UNKNOWN` if it has none.
    """

    names: tuple[str, ...]
    rows: int
    removed: int
    share: float
    low: float
    high: float


class GroupShares(NamedTuple):
    """The groups that lost the most rows, and the number of groups left out."""

    fields: tuple[str, ...]
    shown: list[GroupShare]
    omitted: int


def count_scores(run: str, manifest: Manifest) -> list[ScoreCounts]:
    """Count every trait's scores, in the order of the thresholds, loading only a part at a time."""
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


def share_by_group(run: str, manifest: Manifest, fields: Sequence[str], most: int) -> GroupShares:
    """Group rows by some ledger columns, and return the `most` groups that lost the most rows.

    Rejects are in no group, because they couldn't be read.
    """
    removed = pl.col("decision").is_in(REMOVED).sum()
    grouped = (
        scan_ledger(run, manifest)
        .filter(pl.col("decision") != "reject")
        .group_by(fields)
        .agg(pl.len().alias("rows"), removed.alias("removed"))
        .with_columns(share=pl.col("removed") / pl.col("rows"))
        .collect(engine="streaming")
    )
    order = ["removed", "share", *fields]
    descending = [True, True, *(False for _ in fields)]
    top = grouped.sort(order, descending=descending).head(most)
    shown = [
        compute_share(tuple(names), rows, lost)
        for *names, rows, lost in top.select(*fields, "rows", "removed").iter_rows()
    ]
    return GroupShares(tuple(fields), shown, grouped.height - len(shown))


def compute_share(names: tuple[str, ...], rows: int, removed: int) -> GroupShare:
    """Return a group's share of removed rows, with a two-sided confidence interval."""
    tail = (1 + CONFIDENCE) / 2
    low = 1 - compute_upper_bound(rows - removed, rows, tail)
    return GroupShare(
        names, rows, removed, removed / rows, low, compute_upper_bound(removed, rows, tail)
    )
