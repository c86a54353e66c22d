"""The Arrow schema of JSON Lines, inferred from every row, and the rows that don't fit it.

The rule holds for each field at each depth. Integers and floats together are float64. Otherwise the
kind of value that most rows have wins, on a tie the one that occurs first, and rows with another
kind are rejects. Nulls fit everything. A field that is always null has type null. An object that is
always empty is a struct with one null field `_empty`, because Parquet has no empty struct. Values
deeper than `MAX_DEPTH`, and numbers beyond 64 bits, don't count: rows that have them are rejects.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas.errors import InputError

MAX_DEPTH = 32
"""Nested objects and lists; Arrow and its readers fail at about a hundred."""

MAX_FIELDS = 10_000
"""Fields of a corpus at all depths together.

A corpus with more has data in its keys, each of which would become a column.
"""

JSON_KINDS: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    list: "list",
    dict: "struct",
}
KIND_NAMES = {
    "bool": "a bool",
    "int": "an integer",
    "float": "a float",
    "string": "a string",
    "list": "a list",
    "struct": "an object",
}
INT64 = range(-(2**63), 2**63)
HUGE = 2.0**63
"""The parser turns larger integers into floats, so a float of this size may be any integer."""

LONGEST_PATH = 200


@dataclass
class Shape:
    """Counts of the kinds of value that a field has, and the shapes of the fields inside it."""

    counts: dict[str, int] = field(default_factory=dict)
    fields: dict[str, Shape] = field(default_factory=dict)
    item: Shape | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count, repr=False, compare=False)
    """A counter of the fields in the whole tree, which all its shapes share."""

    def see(self, value: Any, depth: int = 0) -> None:
        """Count a value.

        Raises: InputError: there are more than `MAX_FIELDS` different fields.
        """
        if value is None or is_unreadable(value, depth):
            return
        kind = JSON_KINDS[type(value)]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == "struct":
            for key, below in value.items():
                (self.fields.get(key) or self._add_field(key)).see(below, depth + 1)
        elif kind == "list":
            self.item = self.item or Shape(numbers=self.numbers)
            for below in value:
                self.item.see(below, depth + 1)

    def _add_field(self, key: str) -> Shape:
        """Add a field that didn't occur before."""
        if next(self.numbers) >= MAX_FIELDS:
            raise InputError(
                f"the rows have more than {MAX_FIELDS:,} different fields, "
                f"the last is {key[:80]!r}",
                remedy="if keys differ from row to row, they are data: "
                "write them as a list of {key, value}",
            )
        self.fields[key] = Shape(numbers=self.numbers)
        return self.fields[key]

    def merge(self, other: Shape) -> None:
        """Add the counts of another file.

        Raises: InputError: there are more than `MAX_FIELDS` different fields.
        """
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
        for key, below in other.fields.items():
            (self.fields.get(key) or self._add_field(key)).merge(below)
        if other.item:
            self.item = self.item or Shape(numbers=self.numbers)
            self.item.merge(other.item)

    def settle(self) -> pa.DataType:
        """Return the Arrow type of the field, by the rule above."""
        counts = dict(self.counts)
        if "int" in counts and "float" in counts:
            counts["float"] += counts.pop("int")
        if not counts:
            return pa.null()
        kind = max(counts, key=lambda name: counts[name])
        if kind == "list":
            return pa.list_(self.item.settle() if self.item else pa.null())
        if kind == "struct":
            return pa.struct(
                [(key, below.settle()) for key, below in self.fields.items()]
                or [("_empty", pa.null())]
            )
        return {
            "bool": pa.bool_(),
            "int": pa.int64(),
            "float": pa.float64(),
            "string": pa.string(),
        }[kind]


def settle_schema(shape: Shape) -> pa.Schema:
    """Return the schema of rows: a column for every key, in order of first appearance."""
    return pa.schema([(key, below.settle()) for key, below in shape.fields.items()])


def is_unreadable(value: Any, depth: int) -> bool:
    """Return whether a value is nested too deeply, or a number that the parser may have altered."""
    if isinstance(value, (dict, list)):
        return depth >= MAX_DEPTH
    return isinstance(value, float) and not -HUGE < value < HUGE


def find_misfit(value: Any, kind: pa.DataType, path: str = "", depth: int = 0) -> str | None:
    """Return the first field that doesn't fit the settled type, with the reason, or None."""
    if value is None:
        return None
    if is_unreadable(value, depth):
        reason = (
            "a number beyond 64 bits"
            if isinstance(value, float)
            else f"more than {MAX_DEPTH} nested objects and lists"
        )
        return f"field {_shorten(path)!r}: {reason}"
    if pa.types.is_struct(kind):
        return _find_struct_misfit(value, kind, path, depth)
    if pa.types.is_list(kind):
        return _find_list_misfit(value, kind, path, depth)
    if _fits_scalar(value, kind):
        return None
    return f"field {_shorten(path)!r}: {describe_value(value, kind)} where the corpus has {kind}"


def _find_struct_misfit(value: Any, kind: pa.StructType, path: str, depth: int) -> str | None:
    if not isinstance(value, Mapping):
        return f"field {_shorten(path)!r}: {describe_value(value)} where the corpus has an object"
    types = {item.name: item.type for item in kind}
    for key, below in value.items():
        field_path = f"{path}.{key}" if path else key
        if key not in types:
            return f"field {_shorten(field_path)!r}: not in the corpus's settled schema"
        if misfit := find_misfit(below, types[key], field_path, depth + 1):
            return misfit
    return None


def _find_list_misfit(value: Any, kind: pa.ListType, path: str, depth: int) -> str | None:
    if not isinstance(value, list):
        return f"field {_shorten(path)!r}: {describe_value(value)} where the corpus has a list"
    for index, below in enumerate(value):
        if misfit := find_misfit(below, kind.value_type, f"{path}[{index}]", depth + 1):
            return misfit
    return None


def _fits_scalar(value: Any, kind: pa.DataType) -> bool:
    if pa.types.is_string(kind):
        return isinstance(value, str)
    if pa.types.is_boolean(kind):
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if pa.types.is_floating(kind):
        return isinstance(value, float) or (isinstance(value, int) and abs(value) <= 2**53)
    return pa.types.is_integer(kind) and isinstance(value, int) and value in INT64


def describe_value(value: Any, kind: pa.DataType | None = None) -> str:
    """Return the kind of a value in words.

    For an integer where the corpus has numbers (`kind`), the words say why it doesn't fit.
    """
    if type(value) is int and kind is not None:
        if pa.types.is_integer(kind):
            return "an integer beyond 64 bits"
        if pa.types.is_floating(kind):
            return "an integer beyond 2^53, which a float can't hold exactly,"
    return "null" if value is None else KIND_NAMES[JSON_KINDS[type(value)]]


def _shorten(path: str) -> str:
    """Return a path that keeps messages readable, whatever the keys of a row are."""
    return path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]}…"
