"""The columns of a corpus's format, taken from rows that a run has stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from transforms.records.columns import find_type, get_value, take_column
from transforms.records.json_columns import project_rows, select_columns
from transforms.records.json_kinds import ARROW_TYPES, Kind, classify_value

BY_CERTAINTY: tuple[Kind, ...] = (
    *("text", "message", "messages", "choices", "candidates", "dumps", "segments"),
    *("pairs", "texts", "answers"),
)
"""The kinds of values, starting with the most distinctive kinds."""


def take_corpus_columns(
    rows: pa.Table | list[dict[str, Any]], columns: Mapping[str, str]
) -> pa.Table:
    """Return a table of the columns that the corpus's format reads.

    Raises: ValueError: a row has a value that doesn't fit its column.
    """
    names = dict.fromkeys(columns.values())
    if isinstance(rows, pa.Table):
        present = [name for name in names if find_type(rows.schema, name) is not None]
        return pa.table({name: take_column(rows, name) for name in present})
    kinds = {name: _find_type(get_value(row, name) for row in rows) for name in names}
    known = {name: kind for name, kind in kinds.items() if kind is not None}
    lots = {columns["role"]} & {*known} if "role" in columns else set[str]()
    schema = pa.schema(known.items())
    projection = project_rows(rows, select_columns(schema, {*known} - lots, lots))
    if projection.misfits:
        row, problem = min(projection.misfits.items())
        raise ValueError(f"row {row}: {problem}")
    return projection.table


def _find_type(values: Iterable[Any]) -> pa.DataType | None:
    """Return a column's type, or None for a column of nulls.

    A run types a column by the corpus's most frequent kind. A shard's values all fit this kind, so
    the most distinctive kind among them determines the type.
    """
    known = {classify_value(value): value for value in values if value is not None}
    for kind in BY_CERTAINTY:
        if kind in known:
            return ARROW_TYPES[kind]
    if "other" in known:
        return ARROW_TYPES["messages" if isinstance(known["other"], list) else "message"]
    return ARROW_TYPES["empty"] if known else None
