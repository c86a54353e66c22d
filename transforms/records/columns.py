"""The columns of a corpus, by name or by path into nested columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

STEP = re.compile(r"\[(\d+)\]|\.([^.\[]+)")
"""A step in a path: a list index or a key."""

HEAD = re.compile(r"[.\[]")
"""The characters that end a path's first name."""

PATH = re.compile(r"(?:\[\d+\]|\.[^.\[]+)+")


def find_column(path: str, columns: Iterable[str]) -> str | None:
    """Return the column at the start of a path, or None.

    Column names may contain dots and brackets, so the longest matching name is returned.
    """
    return max(
        (name for name in columns if path == name or path.startswith((f"{name}[", f"{name}."))),
        key=len,
        default=None,
    )


def is_path(name: str) -> bool:
    """Return whether a name may be a path."""
    return "." in name or "[" in name


def list_heads(names: Iterable[str]) -> set[str]:
    """Return plain names unchanged, and the first column of each path."""
    known = list(names)
    return {*known, *(HEAD.split(name, maxsplit=1)[0] for name in known)}


@lru_cache(256)
def split_steps(path: str) -> tuple[str | int, ...] | None:
    """Return the keys and indices of a path below a column, or None for other text."""
    if path and not PATH.fullmatch(path):
        return None
    return tuple(key or int(index) for index, key in STEP.findall(path))


def get_value(row: Mapping[str, Any], name: str) -> Any:
    """Return a column's value in a row, or None."""
    if name in row or not is_path(name):
        return row.get(name)
    column = find_column(name, row)
    if column is None or (steps := split_steps(name[len(column) :])) is None:
        return None
    return get_below(row[column], steps)


def get_below(value: Any, steps: Iterable[str | int]) -> Any:
    """Return the value at a path inside a JSON value, or None."""
    for step in steps:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and step < len(value) else None
        if value is None:
            break
    return value


def find_type(schema: pa.Schema, name: str) -> pa.DataType | None:
    """Return a column's type, or None."""
    column = find_column(name, schema.names)
    if column is None or (steps := split_steps(name[len(column) :])) is None:
        return None
    kind = schema.field(column).type
    for step in steps:
        if isinstance(step, int) and is_list(kind):
            kind = kind.value_type
        elif isinstance(step, str) and pa.types.is_struct(kind) and kind.get_field_index(step) >= 0:
            kind = kind.field(step).type
        else:
            return None
    return kind


def list_nested(schema: pa.Schema, name: str) -> Iterator[str]:
    """Yield the paths of the keys in the column at the start of a path, if it holds objects."""
    column = find_column(name, schema.names)
    kind = None if column is None else schema.field(column).type
    if kind is not None and pa.types.is_struct(kind):
        yield from (f"{column}.{kind.field(index).name}" for index in range(kind.num_fields))


def take_column(table: pa.Table, name: str) -> pa.ChunkedArray:
    """Return a table's column, which must exist."""
    column = find_column(name, table.column_names) or name
    found = table.column(column)
    steps = split_steps(name[len(column) :])
    return _take_below(found, steps) if steps else found


def _take_below(column: pa.ChunkedArray, steps: Sequence[str | int]) -> pa.ChunkedArray:
    """Follow a path into a column's values. Missing items are null."""
    chunks, kind = column.chunks or [pa.array([], column.type)], column.type
    for step in steps:
        chunks = [
            take_item(chunk, step) if isinstance(step, int) else pc.struct_field(chunk, step)
            for chunk in chunks
        ]
        kind = chunks[0].type
    return pa.chunked_array(chunks, kind)


def take_item(lists: Any, index: int) -> pa.Array:
    """Return each list's item at an index, or null."""
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
    starts = np.cumsum(lengths) - lengths
    return lists.flatten().take(pa.array(starts + index, mask=lengths <= index))


def is_list(kind: pa.DataType) -> bool:
    """Return whether a type is a variable-length list."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
