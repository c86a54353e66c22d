"""Test whether a teacher's rows have another rate than all others, within the sources of prompts.

A teacher that answered other prompts has other rates even if it has no habit of its own.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from classifiers.guarantees.stratified_differences import compute_stratified_p_values

MOST_SOURCES = 50
"""How many sources of prompts are strata, those with most rows. The others are one together."""

KEYS = ("trait", "side")


def compare_within_sources(
    lines: pl.DataFrame, counted: pl.DataFrame, fired: pl.DataFrame
) -> np.ndarray:
    """Return a p-value for each line's `teacher`, `trait` and `side`, against all other teachers.

    `counted` has the number of `rows`, and `fired` those on which a trait fired, both by `teacher`
    and `prompt_source` and perhaps more fields. The test is exact within sources (see
    `compute_stratified_p_values`); with one source of prompts it is Fisher's. A source that only
    one teacher answered has no influence, and the value is NaN if a teacher has no other source:
    whatever its rate is, its prompts may be the reason.
    """
    places = _number_sources(counted)
    teachers = sorted(counted["teacher"].unique())
    numbers = {name: place for place, name in enumerate(teachers)}
    rows = _spread(counted, "rows", numbers, places)
    own = np.array([numbers[name] for name in lines["teacher"]], np.int64)
    is_shared = (rows > 0) & (rows.sum(0) > rows)
    values = np.where(is_shared.any(1)[own], 1.0, np.nan)
    for key, part in fired.group_by(KEYS):
        chosen = lines.select((pl.col("trait") == key[0]) & (pl.col("side") == key[1])).to_series()
        at = np.flatnonzero(chosen.to_numpy() & ~np.isnan(values))
        hits, owners = _spread(part, "fired", numbers, places), own[at]
        others = hits.sum(0) - hits[owners], rows.sum(0) - rows[owners]
        values[at] = compute_stratified_p_values(hits[owners], rows[owners], *others)
    return values


def _number_sources(counted: pl.DataFrame) -> dict[str, int]:
    """Return the stratum of each source of prompts."""
    sizes = counted.group_by("prompt_source").agg(pl.col("rows").sum())
    ranked = sizes.sort(["rows", "prompt_source"], descending=[True, False])["prompt_source"]
    return {name: min(place, MOST_SOURCES) for place, name in enumerate(ranked)}


def _spread(
    frame: pl.DataFrame, column: str, teachers: dict[str, int], sources: dict[str, int]
) -> np.ndarray:
    """Return the sums of a column, int64 [teachers, sources]."""
    table = np.zeros((len(teachers), max(sources.values(), default=0) + 1), np.int64)
    sums = frame.group_by("teacher", "prompt_source").agg(pl.col(column).sum())
    for teacher, source, value in sums.iter_rows():
        table[teachers[teacher], sources[source]] += value
    return table
