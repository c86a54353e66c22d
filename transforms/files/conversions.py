"""Conversions between JSON Lines and Parquet, for runs that change the corpus's format."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import numpy as np
import orjson
import pyarrow as pa

from schemas.errors import InputError
from transforms.files.json_lines import parse_line
from transforms.files.planning import ShardPlan
from transforms.files.shards import read_task
from transforms.records.json_texts import SURROGATE, encode_bytes, replace_surrogates
from transforms.records.plain_values import list_rows

Shape = Literal["null", "text", "bool", "integer", "long", "number", "messages", "json"]
"""The shape of a JSON value, or `json` if Parquet has no matching type."""

EXACT = range(-(2**53), 2**53 + 1)
"""The integers that float64 represents exactly."""

INT64 = range(-(2**63), 2**63)

MOST_COLUMNS = 10_000
"""The largest number of Parquet columns. If objects have more keys, the keys are data rather than
names.
"""

SCALAR_TYPES: Mapping[Shape, pa.DataType] = {
    "null": pa.null(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "integer": pa.int64(),
    "long": pa.int64(),
    "number": pa.float64(),
    "json": pa.string(),
}

JSON_TEXT = {b"congener": b"json"}
"""The metadata of a text column whose values are JSON."""


@dataclass
class FieldShapes:
    """The shapes of fields in JSON objects, and of the fields in their messages."""

    shapes: dict[str, Counter[Shape]] = field(default_factory=dict)
    messages: dict[str, FieldShapes] = field(default_factory=dict)

    def observe(self, value: Mapping[str, Any]) -> None:
        """Count the shapes of an object's fields."""
        for name, below in value.items():
            shape = find_shape(below)
            self.shapes.setdefault(name, Counter())[shape] += 1
            if shape == "messages":
                found = self.messages.setdefault(name, FieldShapes())
                for message in below:
                    found.observe(message)

    def settle_schema(self) -> pa.Schema:
        """Return a Parquet schema for the observed objects.

        Raises: InputError: there are too many names, or a name isn't valid for a column.
        """
        self.require_few_names()
        return pa.schema(self.settle_fields())

    def require_few_names(self) -> None:
        """Check that Parquet can have a column for each name.

        Raises: InputError: there are too many names.
        """
        if (count := self.count_names()) > MOST_COLUMNS:
            raise InputError(
                f"the rows have {count:,} keys or more, and a Parquet file has a column for each: "
                f"at most {MOST_COLUMNS:,}",
                remedy="leave --output-format out, or move the keys into one field",
            )

    def count_names(self) -> int:
        """Count the field names, including those in messages."""
        return len(self.shapes) + sum(item.count_names() for item in self.messages.values())

    def settle_fields(self) -> list[pa.Field]:
        """Return an Arrow field for each name, in order of appearance.

        A field with values of different shapes becomes a text column of JSON.
        """
        return [self._settle_field(name) for name in self.shapes]

    def _settle_field(self, name: str) -> pa.Field:
        if SURROGATE.search(name):
            raise InputError(
                f"the key {name!a} isn't valid Unicode, so it can't name a Parquet column",
                remedy="rename the key, or leave --output-format out",
            )
        shape = join_shapes(self.shapes[name])
        if shape == "messages":
            struct = pa.struct(self.messages[name].settle_fields())
            return pa.field(name, pa.list_(struct))
        return pa.field(name, SCALAR_TYPES[shape], metadata=JSON_TEXT if shape == "json" else None)


def settle_columns(tasks: Iterable[Sequence[ShardPlan]], schema: pa.Schema) -> pa.Schema:
    """Read all JSON Lines rows, and return their Parquet schema.

    Raises: InputError: a file can't be read, or its keys can't be the columns of a Parquet file.
    """
    shapes = FieldShapes()
    for task in tasks:
        for shard in read_task(task, schema):
            for line in shard.lines or ():
                shapes.observe(parse_line(line)[0])
            shapes.require_few_names()  # before the names fill the memory
    return shapes.settle_schema()


def find_shape(value: Any) -> Shape:
    """Return the shape of a JSON value. Messages are lists of objects with a role."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "integer" if value in EXACT else "long" if value in INT64 else "json"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "text"
    is_chat = isinstance(value, list) and value and all(map(_is_message, value))
    return "messages" if is_chat else "json"


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and ("role" in value or "from" in value)


def join_shapes(shapes: Iterable[Shape]) -> Shape:
    """Return a column's shape for values of all these shapes."""
    found = set(shapes) - {"null"}
    if not found:
        return "null"
    wider: Shape
    for wider in ("number", "long"):
        if found == {wider, "integer"}:
            return wider
    return found.pop() if len(found) == 1 else "json"


def convert_lines(objects: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return JSON objects as a table with a settled schema.

    A missing key becomes null. A lone surrogate becomes U+FFFD, because Arrow stores text as UTF-8.
    """
    return pa.table(_build_columns(objects, list(schema)), schema=schema)


def _build_columns(
    objects: Sequence[Mapping[str, Any]], fields: Sequence[pa.Field]
) -> list[pa.Array]:
    """Return an array for each field.

    An object may have few of thousands of fields, so the loop is over its own keys.
    """
    found: dict[str, tuple[list[int], list[Any]]] = {item.name: ([], []) for item in fields}
    for row, value in enumerate(objects):
        for name, below in value.items():
            if below is not None and name in found:
                rows, values = found[name]
                rows.append(row)
                values.append(below)
    return [_spread_values(*found[item.name], item, len(objects)) for item in fields]


def _spread_values(
    rows: Sequence[int], values: Sequence[Any], item: pa.Field, size: int
) -> pa.Array:
    """Return an array of `size` with the values at `rows`, and nulls elsewhere."""
    array = _build_array(values, item)
    if len(rows) == size:
        return array
    places = np.zeros(size, np.int32)
    places[rows] = np.arange(len(rows))
    absent = np.ones(size, bool)
    absent[rows] = False
    return array.take(pa.array(places, mask=absent))


def _build_array(values: Sequence[Any], item: pa.Field) -> pa.Array:
    if pa.types.is_list(item.type):
        offsets = np.cumsum([0, *map(len, values)], dtype=np.int32)
        messages = [message for value in values for message in value]
        fields = list(item.type.value_type)
        structs = pa.StructArray.from_arrays(_build_columns(messages, fields), fields=fields)
        return pa.ListArray.from_arrays(pa.array(offsets), structs, item.type)
    if item.metadata and item.metadata.get(b"congener") == b"json":
        values = [_write_json(value) for value in values]
    if pa.types.is_string(item.type):
        values = [replace_surrogates(value) for value in values]
    return pa.array(values, item.type)


def _write_json(value: Any) -> str:
    """Return a value as JSON, without sorting its keys."""
    return json.dumps(value, ensure_ascii=False)


def encode_rows(table: pa.Table) -> list[bytes]:
    """Return a table's rows as JSON objects, each on one line.

    Bytes become base64, and times, dates and decimals become text (see `list_values`).
    """
    return [_encode_object(row) for row in list_rows(table)]


def _encode_object(row: Mapping[str, Any]) -> bytes:
    """Return an object as JSON, with NaN and infinity as Python writes them."""
    if not _has_odd_float(row):
        return orjson.dumps(row, default=_encode_value)
    return json.dumps(row, ensure_ascii=False, default=_encode_value).encode()


def _has_odd_float(value: Any) -> bool:
    if isinstance(value, float):
        return not math.isfinite(value)
    return any(map(_has_odd_float, _list_below(value)))


def _list_below(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value


def _encode_value(value: Any) -> str:
    if isinstance(value, bytes):
        return encode_bytes(value)
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no form in JSON")
