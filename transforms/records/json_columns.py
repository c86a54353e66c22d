"""Columns of JSON records: what the format reads, taken from objects of any shape.

Rows of JSON Lines keep their own bytes. Only the columns that the format reads, and those that name
a lot, become Arrow columns. No other field has a type, so none can make a row a reject.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from transforms.records.json_messages import (
    MAX_CALL_DEPTH,
    MESSAGES,
    build_messages,
    convert_plain_messages,
    find_deep_call,
)
from transforms.records.json_texts import SURROGATE, build_texts, replace_surrogates

Kind = Literal["null", "empty", "text", "messages", "bool", "number", "other"]

UNDECIDED: frozenset[Kind] = frozenset(("null", "empty"))
"""The kinds of nulls and of empty lists, which fit a column of any kind or of any list."""

ARROW_TYPES: dict[Kind, pa.DataType] = {
    "null": pa.null(),
    "empty": pa.null(),
    "text": pa.string(),
    "messages": MESSAGES,
    "bool": pa.bool_(),
    "number": pa.float64(),
    "other": pa.struct([]),
}
"""The type that represents each kind of column when the format is detected."""

TYPE_NAMES = {MESSAGES: "a list of messages", ARROW_TYPES["other"]: "an object or a list"}
"""Names for the types whose own are long or unclear, for messages."""

IS_LOT = {b"lot": b"true"}
"""The metadata of a column that only names a lot: its values of any kind are formatted."""

MOST_COLUMNS = 10_000
"""Keys of a corpus whose counts are kept; a corpus with more has data in its keys.

The rarest are dropped when there are twice as many.
"""

JSON_NAMES = {bool: "a bool", int: "a number", float: "a number", str: "text", list: "a list"}


class Projection(NamedTuple):
    """Rows as read: a table of the columns that are needed, and the rows that don't fit it.

    `misfits` has the reason for each such row, by its index in the objects. The table doesn't have
    these rows.
    """

    table: pa.Table
    misfits: dict[int, str]


@dataclass
class ColumnKinds:
    """Counts of the kinds of value in the top-level fields of JSON objects."""

    counts: dict[str, Counter[Kind]] = field(default_factory=dict)

    def observe(self, value: Mapping[str, Any]) -> None:
        """Count the fields of an object."""
        for name, below in value.items():
            counts = self.counts.get(name)
            if counts is None:
                counts = self.counts[name] = Counter()
            counts[classify_value(below)] += 1
        self._drop_rare(value)

    def merge(self, other: ColumnKinds) -> None:
        """Add the counts of another file."""
        for name, counts in other.counts.items():
            self.counts.setdefault(name, Counter()).update(counts)
        self._drop_rare(())

    def _drop_rare(self, current: Container[str]) -> None:
        """Drop the least frequent columns if there are too many, but none of the current row's.

        A column that every row has is never dropped, wherever it is in the row.
        """
        if len(self.counts) <= 2 * MOST_COLUMNS:
            return
        ranked = sorted(self.counts, key=lambda name: -self.counts[name].total())
        frequent = set(ranked[:MOST_COLUMNS])
        self.counts = {
            name: counts
            for name, counts in self.counts.items()
            if name in frequent or name in current
        }

    def list_filled(self) -> list[str]:
        """Return the columns that aren't null in every row."""
        filled = (name for name, counts in self.counts.items() if set(counts) - {"null"})
        return [replace_surrogates(name) for name in filled]

    def settle_schema(self) -> pa.Schema:
        """Return a column for each key, with the type that represents its most frequent kind.

        A key with a lone surrogate, which can't name a column, is left out.
        """
        return pa.schema(
            [
                (name, ARROW_TYPES[_choose_kind(counts)])
                for name, counts in self.counts.items()
                if not SURROGATE.search(name)
            ]
        )


def _choose_kind(counts: Counter[Kind]) -> Kind:
    """Return the most frequent kind that decides a column; on a tie the one that occurs first."""
    known = Counter({kind: count for kind, count in counts.items() if kind not in UNDECIDED})
    return known.most_common(1)[0][0] if known else "null"


def classify_value(value: Any) -> Kind:
    """Return the kind of a value: messages are a list of objects with a role."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return _classify_list(value)
    if isinstance(value, bool):
        return "bool"
    return "number" if isinstance(value, int | float) else "other"


def _classify_list(items: Sequence[Any]) -> Kind:
    """Return the kind of a list, which its first item that isn't null decides."""
    first = next((item for item in items if item is not None), None)
    if first is None:
        return "empty"
    is_message = isinstance(first, dict) and ("role" in first or "from" in first)
    return "messages" if is_message else "other"


def select_columns(schema: pa.Schema, columns: Iterable[str], lots: Iterable[str]) -> pa.Schema:
    """Return the schema to read rows with: the format's columns, and those of the lots as text."""
    read = dict.fromkeys(columns)
    named = [name for name in dict.fromkeys(lots) if name not in read]
    return pa.schema(
        [pa.field(name, schema.field(name).type) for name in read]
        + [pa.field(name, pa.string(), metadata=IS_LOT) for name in named]
    )


def project_rows(objects: Sequence[Mapping[str, Any]], schema: pa.Schema) -> Projection:
    """Take the columns of a schema (of `select_columns`) from objects."""
    if not len(schema):
        return Projection(pa.table({"": pa.nulls(len(objects))}).select([]), {})
    columns = [(item, [value.get(item.name) for value in objects]) for item in schema]
    plain = {item.name: _convert_plain(values, item.type) for item, values in columns}
    misfits: dict[int, str] = {}
    for item, values in columns:
        for index, reason in _find_misfits(values, item) if plain[item.name] is None else ():
            misfits.setdefault(index, reason)
    good = [index for index in range(len(objects)) if index not in misfits]
    arrays = [
        _build_column([values[index] for index in good], item.type)
        if misfits or plain[item.name] is None
        else plain[item.name]
        for item, values in columns
    ]
    return Projection(pa.table(arrays, schema=schema), misfits)


def _convert_plain(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """Return values that all are text, or plain messages, as a column, or None for others.

    Arrow converts them several times as fast as `_build_column`, with the same result.
    """
    try:
        if kind == MESSAGES:
            return convert_plain_messages(values)
        return pa.array(values, kind)
    except (TypeError, UnicodeEncodeError, pa.ArrowException):
        return None


def has_values(array: pa.Array) -> bool:
    """Return whether an array has a value that isn't null."""
    return bool(array.null_count < len(array))


def _find_misfits(values: Sequence[Any], item: pa.Field) -> Iterator[tuple[int, str]]:
    """Yield the index of each value that doesn't fit a column, and the reason.

    A value of any kind fits a lot's column, and a column without a value in the whole corpus.
    """
    if item.metadata == IS_LOT or pa.types.is_null(item.type):
        return
    explain = _explain_messages if item.type == MESSAGES else _explain_text
    for index, value in enumerate(values):
        if value is not None and (reason := explain(item.name, value)):
            yield index, reason


def _explain_text(name: str, value: Any) -> str | None:
    """Return why the value of a field isn't text, or None."""
    return None if isinstance(value, str) else _describe_misfit(name, value, "text")


def _explain_messages(name: str, value: Any) -> str | None:
    """Return why the value of a field isn't a list of messages, or None."""
    if not isinstance(value, list):
        return _describe_misfit(name, value, "a list of messages")
    for index, message in enumerate(value):
        if message is None:
            continue
        if not isinstance(message, dict):
            return _describe_misfit(f"{name}[{index}]", message, "an object")
        if below := find_deep_call(message):
            field_path = f"{name}[{index}].{below}"
            return f"field {field_path!r}: more than {MAX_CALL_DEPTH} nested objects and lists"
    return None


def _describe_misfit(field_path: str, value: Any, expected: str) -> str:
    return f"field {field_path!r}: {describe_value(value)} where the corpus has {expected}"


def describe_value(value: Any) -> str:
    """Return the kind of a JSON value in words."""
    return "null" if value is None else JSON_NAMES.get(type(value), "an object")


def _build_column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind == MESSAGES:
        return build_messages(values)
    if pa.types.is_string(kind):
        return build_texts([_format_scalar(value) for value in values])
    return pa.nulls(len(values), kind)


def _format_scalar(value: Any) -> str | None:
    """Return a value as text; an object or a list, which can't name a lot, is null."""
    if value is None or isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else str(value)
