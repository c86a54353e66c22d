"""Labels of rows that have another place in a run, such as one of an earlier run's clean rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, TypeAlias

import polars as pl

Place: TypeAlias = tuple[str, int]
"""A row's file, and its number in the file."""


class NamedRow(NamedTuple):
    """A row as a label names it: its place, and the digest of the text that was read."""

    source: str
    row: int
    record_id: str


def find_places(rows: pl.LazyFrame, named: Collection[NamedRow]) -> dict[NamedRow, list[Place]]:
    """Return where a run has the texts of named rows; a text that it doesn't have is left out.

    A row with its text in its own place is only there. Otherwise all rows with the text are listed,
    in the run's order. `rows` has the columns `source`, `row` and `record_id`.
    """
    own = rows.select(
        pl.col("source").cast(pl.String),
        pl.col("row").cast(pl.Int64),
        pl.col("record_id").cast(pl.String),
    )
    wanted = sorted({item.record_id for item in named})
    if not wanted:
        return {}
    places: dict[str, list[Place]] = {}
    for source, row, record_id in (
        own.filter(pl.col("record_id").is_in(wanted)).collect().iter_rows()
    ):
        places.setdefault(record_id, []).append((source, row))
    return {
        item: _choose(item, places[item.record_id]) for item in named if item.record_id in places
    }


def _choose(item: NamedRow, places: list[Place]) -> list[Place]:
    own = (item.source, item.row)
    return [own] if own in places else places
