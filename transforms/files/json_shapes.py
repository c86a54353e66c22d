"""The Arrow schema of JSON Lines: inferred over every row, settled by a written rule, and checked row by row.

The rule, for each field at each depth: integers and floats together are float64; otherwise the kind of value that most
rows have wins (the first seen, when equal), and rows of another kind are rejects. Nulls fit everything. A field that is
null everywhere is stored as null; an object that is empty everywhere is stored as a struct with one null field `_empty`,
because Parquet has no empty struct. What lies deeper than `MAX_DEPTH`, and numbers beyond 64 bits, aren't taken into account:
rows that have them are rejects.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from schemas.errors import InputError

MAX_DEPTH = 32
"""Objects and lists inside one another; Arrow and its readers stop at about a hundred."""

MAX_FIELDS = 10_000
"""Fields of a corpus, at all depths together; more are keys made of data, and would take a column each."""

KINDS: dict[type, str] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "string",
    list: "list",
    dict: "struct",
}
WORDS = {
    "bool": "a bool",
    "int": "an integer",
    "float": "a float",
    "string": "a string",
    "list": "a list",
    "struct": "an object",
}
INT64 = range(-(2**63), 2**63)
HUGE = 2.0**63
"""From here on the parser turns integers into floats, so that a float may have been any integer."""
LONGEST_PATH = 200


@dataclass
class Shape:
    """What was seen at one place of the rows: how often each kind, and what lies below."""

    counts: dict[str, int] = field(default_factory=dict)
    fields: dict[str, Shape] = field(default_factory=dict)
    item: Shape | None = None
    numbers: Iterator[int] = field(default_factory=itertools.count, repr=False, compare=False)
    """Counts the fields of the whole tree; all its shapes share it."""

    def see(self, value: Any, depth: int = 0) -> None:
        """Take one value into account.

        Raises: InputError: There are more than `MAX_FIELDS` different fields.
        """
        if value is None or unreadable(value, depth):
            return
        kind = KINDS[type(value)]
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if kind == "struct":
            for key, below in value.items():
                (self.fields.get(key) or self._grown(key)).see(below, depth + 1)
        elif kind == "list":
            self.item = self.item or Shape(numbers=self.numbers)
            for below in value:
                self.item.see(below, depth + 1)

    def _grown(self, key: str) -> Shape:
        """Make room for a field that wasn't seen before."""
        if next(self.numbers) >= MAX_FIELDS:
            raise InputError(
                f"the rows have more than {MAX_FIELDS:,} different fields, the last is {key[:80]!r}",
                remedy="keys that differ from row to row are data: write them as a list of {key, value}",
            )
        self.fields[key] = Shape(numbers=self.numbers)
        return self.fields[key]

    def merge(self, other: Shape) -> None:
        """Take another file's observations into account."""
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count
        for key, below in other.fields.items():
            (self.fields.get(key) or self._grown(key)).merge(below)
        if other.item:
            self.item = self.item or Shape(numbers=self.numbers)
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


def settled_schema(shape: Shape) -> pa.Schema:
    """Return the corpus's schema: one column for every key of the rows, in the order of first appearance."""
    return pa.schema([(key, below.settle()) for key, below in shape.fields.items()])


def unreadable(value: Any, depth: int) -> bool:
    """Say whether a value stands too deep, or is a number that the parser may have altered."""
    if isinstance(value, (dict, list)):
        return depth >= MAX_DEPTH
    return isinstance(value, float) and not -HUGE < value < HUGE


def misfit(value: Any, kind: pa.DataType, path: str = "", depth: int = 0) -> str | None:
    """Say which field of a row doesn't fit the settled type, and how; None when all do."""
    if value is None:
        return None
    if unreadable(value, depth):
        what = (
            "a number beyond 64 bits"
            if isinstance(value, float)
            else f"more than {MAX_DEPTH} objects and lists inside one another"
        )
        return f"field {_cut(path)!r}: {what}"
    if pa.types.is_struct(kind):
        return _struct_misfit(value, kind, path, depth)
    if pa.types.is_list(kind):
        return _list_misfit(value, kind, path, depth)
    return (
        None
        if _scalar_fits(value, kind)
        else f"field {_cut(path)!r}: {described(value, kind)} where the corpus has {kind}"
    )


def _struct_misfit(value: Any, kind: pa.StructType, path: str, depth: int) -> str | None:
    if not isinstance(value, Mapping):
        return f"field {_cut(path)!r}: {described(value)} where the corpus has an object"
    types = {item.name: item.type for item in kind}
    for key, below in value.items():
        if key not in types:
            return f"field {_cut(path + '.' + key if path else key)!r}: not in the corpus's settled schema"
        if found := misfit(below, types[key], f"{path}.{key}" if path else key, depth + 1):
            return found
    return None


def _list_misfit(value: Any, kind: pa.ListType, path: str, depth: int) -> str | None:
    if not isinstance(value, list):
        return f"field {_cut(path)!r}: {described(value)} where the corpus has a list"
    for place, below in enumerate(value):
        if found := misfit(below, kind.value_type, f"{path}[{place}]", depth + 1):
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


def described(value: Any, kind: pa.DataType | None = None) -> str:
    """Say what a value is; of an integer where the corpus has numbers, why it doesn't fit them."""
    if (
        type(value) is int
        and kind is not None
        and (pa.types.is_integer(kind) or pa.types.is_floating(kind))
    ):
        return (
            "an integer beyond 64 bits"
            if pa.types.is_integer(kind)
            else "an integer beyond 2^53, which a float can't hold exactly,"
        )
    return "null" if value is None else WORDS[KINDS[type(value)]]


def _cut(path: str) -> str:
    """Keep a message readable whatever a row's keys are."""
    return path if len(path) <= LONGEST_PATH else f"{path[:LONGEST_PATH]}…"
