"""Conversions between JSON Lines and Parquet, for runs that don't write the form of their input."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal

import orjson
import pyarrow as pa

from schemas.errors import InputError
from transforms.files.json_lines import parse_line
from transforms.files.planning import ShardPlan
from transforms.files.shards import read_task
from transforms.records.json_texts import SURROGATE, encode_bytes, replace_surrogates
from transforms.records.plain_values import list_rows

Shape = Literal["null", "text", "bool", "integer", "long", "number", "messages", "json"]
"""The shape of a JSON value, as far as Parquet has a type for it."""

EXACT = range(-(2**53), 2**53 + 1)
"""The largest integer up to which float64 holds every integer exactly."""

INT64 = range(-(2**63), 2**63)

MOST_COLUMNS = 10_000
"""The most columns of a Parquet file; a corpus with more keys has data in its keys."""

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
"""The metadata of a column of texts whose values are JSON, since their kinds differ."""


@dataclass
class FieldShapes:
    """The shapes of the fields of JSON objects, and of the messages in them."""

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
        """Return the schema of a Parquet file for objects like those that were observed.

        Raises: InputError: there are too many names, or one can't name a column.
        """
        if len(self.shapes) > MOST_COLUMNS:
            raise InputError(
                f"the rows have {len(self.shapes):,} keys, and a Parquet file has a column for "
                f"each: at most {MOST_COLUMNS:,}",
                remedy="leave --output-format out, or move the keys into one field",
            )
        return pa.schema(self.settle_fields())

    def settle_fields(self) -> list[pa.Field]:
        """Return an Arrow field for each name, in order of appearance.

        A field whose values differ in shape is text that holds JSON.
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
    """Read all rows of JSON Lines, and return the schema of their Parquet files.

    Raises: InputError: a file can't be read, or its keys can't be the columns of a Parquet file.
    """
    shapes = FieldShapes()
    for task in tasks:
        for shard in read_task(task, schema):
            for line in shard.lines or ():
                shapes.observe(parse_line(line)[0])
    return shapes.settle_schema()


def find_shape(value: Any) -> Shape:
    """Return the shape of a JSON value; messages are a list of objects with a role."""
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
    """Return the shape that a column needs for values of all these shapes."""
    found = set(shapes) - {"null"}
    if not found:
        return "null"
    wider: Shape
    for wider in ("number", "long"):
        if found == {wider, "integer"}:
            return wider
    return found.pop() if len(found) == 1 else "json"


def convert_lines(objects: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return JSON objects as a table of a schema that `FieldShapes` has settled.

    A missing key is null. A lone surrogate becomes U+FFFD, because Arrow's texts are UTF-8.
    """
    columns = [
        pa.array([_convert_value(item.get(each.name), each) for item in objects], each.type)
        for each in schema
    ]
    return pa.table(columns, schema=schema)


def _convert_value(value: Any, item: pa.Field) -> Any:
    if value is None:
        return None
    if item.metadata and item.metadata.get(b"congener") == b"json":
        return replace_surrogates(_write_json(value))
    if pa.types.is_list(item.type):
        return [_convert_message(message, list(item.type.value_type)) for message in value]
    return replace_surrogates(value) if isinstance(value, str) else value


def _convert_message(message: Mapping[str, Any], fields: Iterable[pa.Field]) -> dict[str, Any]:
    return {item.name: _convert_value(message.get(item.name), item) for item in fields}


def _write_json(value: Any) -> str:
    """Return a value as JSON, in the order of its keys."""
    return json.dumps(value, ensure_ascii=False)


def encode_rows(table: pa.Table) -> list[bytes]:
    """Return a table's rows as JSON objects, one a line.

    Bytes are written in base64, and times, dates and decimals as text (see `list_values`).
    """
    return [_encode_object(row) for row in list_rows(table)]


def _encode_object(row: Mapping[str, Any]) -> bytes:
    """Return an object as JSON; NaN and infinity, which JSON lacks, are written as Python does."""
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
