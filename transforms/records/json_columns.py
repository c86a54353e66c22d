"""Columns of JSON records: the values that the format reads, from objects of any shape.

JSON Lines rows keep their original bytes. Only the columns that congener reads, and the lot
columns, become Arrow columns. Other fields have no type, so their values never make a row a reject.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import pyarrow as pa

from transforms.records.columns import HEAD, get_below, get_value, is_path, split_steps
from transforms.records.json_kinds import (
    ARROW_TYPES,
    Kind,
    build_column,
    classify_value,
    convert_plain,
    explain_misfit,
)
from transforms.records.json_texts import SURROGATE, replace_surrogates

UNDECIDED: frozenset[Kind] = frozenset(("null", "empty"))
"""Kinds that say nothing about a column's type: null and an empty list."""

IS_LOT = {b"lot": b"true"}
"""The metadata of a lot column, whose values all become text."""

MOST_COLUMNS = 10_000
"""How many keys are counted. If there are more, the keys are data rather than names.

At twice this number, the rarest keys are dropped.
"""

HAS_UNTRAINED = b"untrained"
"""The schema metadata of a corpus with untrained messages."""


class Projection(NamedTuple):
    """Rows as they are read: a table of the needed columns, and the rows that don't fit.

    `misfits` maps an object's index to the reason. The table omits these rows.
    """

    table: pa.Table
    misfits: dict[int, str]


@dataclass
class ColumnKinds:
    """How often each kind of value occurs in each top-level field.

    `paths` lead to nested values, which are also counted.
    """

    counts: dict[str, Counter[Kind]] = field(default_factory=dict)
    paths: Sequence[str] = ()
    untrained: bool = False
    """Whether some object has an untrained message."""

    @cached_property
    def _paths_by_head(self) -> dict[str, list[tuple[str, tuple[str | int, ...]]]]:
        """Return the paths and their steps, keyed by first column."""
        heads: dict[str, list[tuple[str, tuple[str | int, ...]]]] = {}
        for path in self.paths:
            head = HEAD.split(path, maxsplit=1)[0]
            heads.setdefault(head, []).append((path, split_steps(path[len(head) :]) or ()))
        return heads

    def observe(self, value: Mapping[str, Any]) -> None:
        """Count the kinds of an object's fields."""
        heads = self._paths_by_head
        for name, below in value.items():
            counts = self.counts.get(name)
            if counts is None:
                counts = self.counts[name] = Counter()
            counts[classify_value(below)] += 1
            if name in heads and isinstance(below, dict | list):
                self._observe_below(value, below, heads[name])
        self._drop_rare(value)

    def _observe_below(
        self,
        row: Mapping[str, Any],
        value: Any,
        paths: Iterable[tuple[str, tuple[str | int, ...]]],
    ) -> None:
        """Count the kinds of the values at the given paths inside a row's value."""
        for path, steps in paths:
            below = get_below(value, steps)
            if below is not None and path not in row:
                self.counts.setdefault(path, Counter())[classify_value(below)] += 1

    def merge(self, other: ColumnKinds) -> None:
        """Add the counts of another file."""
        for name, counts in other.counts.items():
            self.counts.setdefault(name, Counter()).update(counts)
        self.untrained = self.untrained or other.untrained
        self._drop_rare(())

    def _drop_rare(self, current: Container[str]) -> None:
        """Drop the rarest columns beyond the limit, except those in `current`.

        A column that every row has is never dropped.
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
        """Return the columns with a value in some row."""
        filled = (name for name, counts in self.counts.items() if set(counts) - {"null"})
        return [replace_surrogates(name) for name in filled]

    def settle_schema(self) -> pa.Schema:
        """Return a schema with a column for each key, typed by the key's most frequent kind.

        A key with a lone surrogate is omitted, because Arrow can't hold it.
        """
        return pa.schema(
            [
                (name, ARROW_TYPES[_choose_kind(counts)])
                for name, counts in self.counts.items()
                if not SURROGATE.search(name)
            ],
            {HAS_UNTRAINED: b"true"} if self.untrained else None,
        )


def _choose_kind(counts: Counter[Kind]) -> Kind:
    """Return the most frequent kind, or the first one on a tie."""
    known = Counter({kind: count for kind, count in counts.items() if kind not in UNDECIDED})
    return known.most_common(1)[0][0] if known else "null"


def select_columns(schema: pa.Schema, columns: Iterable[str], lots: Iterable[str]) -> pa.Schema:
    """Return the schema for reading: the format's columns, and the lot columns as text."""
    read = dict.fromkeys(columns)
    named = [name for name in dict.fromkeys(lots) if name not in read]
    return pa.schema(
        [pa.field(name, schema.field(name).type) for name in read]
        + [pa.field(name, pa.string(), metadata=IS_LOT) for name in named]
    )


def project_rows(objects: Sequence[Mapping[str, Any]], schema: pa.Schema) -> Projection:
    """Take a schema's columns from objects."""
    if not len(schema):
        return Projection(pa.table({"": pa.nulls(len(objects))}).select([]), {})
    columns = [(item, _take_values(objects, item.name)) for item in schema]
    plain = {item.name: convert_plain(values, item.type) for item, values in columns}
    misfits: dict[int, str] = {}
    for item, values in columns:
        for index, reason in _find_misfits(values, item) if plain[item.name] is None else ():
            misfits.setdefault(index, reason)
    good = [index for index in range(len(objects)) if index not in misfits]
    arrays = [
        build_column([values[index] for index in good], item.type)
        if misfits or plain[item.name] is None
        else plain[item.name]
        for item, values in columns
    ]
    return Projection(pa.table(arrays, schema=schema), misfits)


def _take_values(objects: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    """Return a column's values. The column is a key or a path."""
    if is_path(name):
        return [get_value(value, name) for value in objects]
    return [value.get(name) for value in objects]


def has_values(array: pa.Array) -> bool:
    """Return whether some value isn't null."""
    return bool(array.null_count < len(array))


def _find_misfits(values: Sequence[Any], item: pa.Field) -> Iterator[tuple[int, str]]:
    """Yield the index and the reason of each value that doesn't fit a column.

    Any value fits a lot column or an empty column.
    """
    if item.metadata == IS_LOT or pa.types.is_null(item.type):
        return
    for index, value in enumerate(values):
        if value is not None and (reason := explain_misfit(item.name, value, item.type)):
            yield index, reason
