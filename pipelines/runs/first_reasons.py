"""The first reason of each row, for tables of many rows: that of the trait that decided."""

from __future__ import annotations

import polars as pl

from pipelines.runs.queries import ActionTable
from schemas.manifests import Manifest
from schemas.scores import SCORE_DECIMALS, split_side


def scan_first_reasons(ledger: pl.LazyFrame, manifest: Manifest, index: str) -> pl.LazyFrame:
    """Scan the trait and the score of each row's first reason, as `sort_findings` orders them.

    `ledger` is one of `scan_ledger` with the row numbers `index`. Rows without a reason are left
    out.
    """
    actions = ActionTable(manifest)
    keys = ["decision", "teacher", *(key.meta.output_name() for key in actions.list_keys())]
    found = (
        ledger.filter(pl.col("reasons").list.len() > 0)
        .select(index, "decision", "teacher", *actions.list_keys(), "reasons")
        .explode("reasons")
        .with_columns(pl.col("reasons").struct.field("trait", "signal", "score", "threshold"))
    )
    kinds = found.select("trait", "signal", *keys).unique().collect(engine="streaming")
    places = [
        actions.rank(line["trait"], split_side(line["signal"])[1], line)
        for line in kinds.iter_rows(named=True)
    ]
    ranked = kinds.with_columns(pl.Series("place", places, pl.Int8)).lazy()
    threshold, score = (_round(name) for name in ("threshold", "score"))
    gap = (threshold - score).round(SCORE_DECIMALS)
    return (
        found.select(index, "trait", "signal", "score", *keys, gap=gap)
        .join(ranked, on=["trait", "signal", *keys], how="left", maintain_order="left")
        .sort(index, "place", "gap", maintain_order=True)
        .unique(index, keep="first", maintain_order=True)
        .select(index, "trait", "score")
    )


def _round(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Float64).round(SCORE_DECIMALS)
