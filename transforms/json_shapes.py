"""The Arrow schema of JSON Lines: inferred over every row, settled by a written rule, and checked row by row.

The rule, for each field at each depth: integers and floats together are float64; otherwise the kind of value that most
rows have wins (the first seen, when equal), and rows of another kind are rejects. Nulls fit everything. A field that is
null everywhere is stored as null; an object that is empty everywhere is stored as a struct with one null field `_empty`,
because Parquet has no empty struct.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

KINDS: dict[type, str] = {bool: "bool", int: "int", float: "float", str: "string", list: "list", dict: "struct"}
INT64 = range(-(2**63), 2**63)


@dataclass
class Shape:
    """What was seen at one place of the rows: how often each kind, and what lies below."""

    counts: dict[str, int] = field(default_factory=dict)
    fields: dict[str, Shape] = field(default_factory=dict)
    item: Shape | None = None

    def see(self, value: Any) -> None:
        """Take one value into account."""
        if value is None:
            return
        kind = KINDS[type(value)]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == "struct":
            for key, below in value.items():
                self.fields.setdefault(key, Shape()).see(below)
        elif kind == "list":
            self.item = self.item or Shape()
            for below in value:
                self.item.see(below)

    def merge(self, other: Shape) -> None:
        """Take another file's observations into account."""
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
        for key, below in other.fields.items():
            self.fields.setdefault(key, Shape()).merge(below)
        if other.item:
            self.item = self.item or Shape()
            self.item.merge(other.item)

    def settle(self) -> pa.DataType:
        """Return the Arrow type that the rule gives."""
        counts = dict(self.counts)
        if "int" in counts and "float" in counts:
            counts["float"] += counts.pop("int")
        if not counts:
            return pa.null()
        kind = max(counts, key=lambda name: counts[name])
        if kind == "list":
            return pa.list_(self.item.settle() if self.item else pa.null())
        if kind == "struct":
            return pa.struct([(key, below.settle()) for key, below in self.fields.items()] or [("_empty", pa.null())])
        return {"bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "string": pa.string()}[kind]


def settled_schema(shape: Shape) -> pa.Schema:
    """Return the corpus's schema: one column for every key of the rows, in the order of first appearance."""
    return pa.schema([(key, below.settle()) for key, below in shape.fields.items()])


def misfit(value: Any, kind: pa.DataType, path: str = "") -> str | None:
    """Say which field of a row doesn't fit the settled type, and how; None when all do."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return _struct_misfit(value, kind, path)
    if pa.types.is_list(kind):
        return _list_misfit(value, kind, path)
    if _scalar_fits(value, kind):
        return None
    return f"field {path!r}: {_described(value)} where the corpus has {kind}"


def _struct_misfit(value: Any, kind: pa.StructType, path: str) -> str | None:
    if not isinstance(value, Mapping):
        return f"field {path!r}: {_described(value)} where the corpus has an object"
    types = {item.name: item.type for item in kind}
    for key, below in value.items():
        if key not in types:
            return f"field {path + '.' + key if path else key!r}: not in the corpus's settled schema"
        if found := misfit(below, types[key], f"{path}.{key}" if path else key):
            return found
    return None


def _list_misfit(value: Any, kind: pa.ListType, path: str) -> str | None:
    if not isinstance(value, list):
        return f"field {path!r}: {_described(value)} where the corpus has a list"
    for place, below in enumerate(value):
        if found := misfit(below, kind.value_type, f"{path}[{place}]"):
            return found
    return None


def _scalar_fits(value: Any, kind: pa.DataType) -> bool:
    if pa.types.is_string(kind):
        return isinstance(value, str)
    if pa.types.is_boolean(kind):
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if pa.types.is_floating(kind):
        return isinstance(value, float) or (isinstance(value, int) and abs(value) <= 2**53)
    return pa.types.is_integer(kind) and isinstance(value, int) and value in INT64


def _described(value: Any) -> str:
    return {"struct": "an object", "list": "a list"}.get(KINDS[type(value)], f"a {KINDS[type(value)]}")
