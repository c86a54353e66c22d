"""A finished run's JSON Lines as a polars frame with one schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import reduce
from typing import Any, TypeAlias, cast

import orjson
import polars as pl

from schemas.errors import RunError
from schemas.runs import parse_path
from transforms.files import storage
from transforms.files.json_lines import decode_lines

Shape: TypeAlias = "type | dict[str, Shape] | list[Shape] | None"
"""The type of a JSON value: an object's fields, a list's item type, or a scalar."""

SCALARS: Mapping[type | None, pl.DataType] = {
    None: pl.Null(),
    bool: pl.Boolean(),
    int: pl.Int64(),
    float: pl.Float64(),
    str: pl.String(),
}

MAX_DEPTH = 32
"""The deepest level at which values keep their own types. Deeper values become JSON text."""

HIGHEST_INTEGER = 2**63 - 1
NUMBERS = (int, float)


def scan_json_lines(files: Mapping[str, str], row_index: str | None = None) -> pl.LazyFrame:
    """Scan local JSON Lines files.

    `files` maps paths in the run to local paths. Every file is read once for the schema. A missing
    field is null. A field with values of different kinds becomes text, and its other values become
    JSON.

    Raises: RunError: polars can't read a row, because of a NaN, an infinity or a lone surrogate.
    Raises: ValueError: the last line of a file has no line break.
    """
    shapes = (
        infer_shape(row) for path, local in files.items() for row in _parse_lines(path, local)
    )
    whole: Shape = {}
    columns = convert_shape(reduce(_add_shape, shapes, whole))
    schema = pl.Schema(cast("pl.Struct", columns).to_schema())
    return pl.scan_ndjson(list(files.values()), schema=schema, row_index_name=row_index)


def _parse_lines(path: str, local: str) -> Iterator[dict[str, Any]]:
    """Yield a file's rows as standard JSON, which is all that polars accepts."""
    lines = decode_lines(storage.read_bytes(local), parse_path(path).suffix)
    for number, line in enumerate(lines):
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise RunError(
                f"row {number} of {path} can't be in a table, because it isn't standard JSON: "
                f"{error}",
                remedy="read the files of this folder line by line, with Python's json",
            ) from error


def infer_shape(value: Any, depth: int = MAX_DEPTH) -> Shape:
    """Return the type of a JSON value."""
    if isinstance(value, dict | list) and not depth:
        return str
    if isinstance(value, dict):
        return {name: infer_shape(below, depth - 1) for name, below in value.items()}
    if isinstance(value, list):
        return [reduce(_add_shape, (infer_shape(item, depth - 1) for item in value), None)]
    if type(value) is int and abs(value) > HIGHEST_INTEGER:
        return float
    return None if value is None else type(value)


def merge_shapes(one: Shape, other: Shape) -> Shape:
    """Return a type for the values of both types, or text if their kinds differ."""
    return _add_shape(deepcopy(one), other)


def _add_shape(one: Shape, other: Shape) -> Shape:
    """Return the same as `merge_shapes`, and change `one`, which saves a copy for every row."""
    if one == other or other is None:
        return one
    if one is None:
        return other
    if isinstance(one, dict) and isinstance(other, dict):
        for name, shape in other.items():
            one[name] = _add_shape(one.get(name), shape)
        return one
    if isinstance(one, list) and isinstance(other, list):
        return [_add_shape(one[0], other[0])]
    return float if one in NUMBERS and other in NUMBERS else str


def convert_shape(shape: Shape) -> pl.DataType:
    """Return the polars type of a JSON type."""
    if isinstance(shape, dict):
        return pl.Struct({name: convert_shape(below) for name, below in shape.items()})
    return pl.List(convert_shape(shape[0])) if isinstance(shape, list) else SCALARS[shape]
