"""Features: the columns of JSON Lines rows, as a dataset card declares them for `datasets`.

Without a declaration, `datasets` takes the columns from the first rows of the first file and
refuses a later column, such as the field `congener`. Types are those that it would find itself.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.json as pj

from schemas.outputs import CLEAN_EXTRA
from transforms.records.json_texts import SURROGATE

MOST_COLUMNS = 10_000
"""The largest number of columns that are declared. More keys are data rather than names."""

TIME = re.compile(
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d(?::\d\d(?::\d\d)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?)?", re.ASCII
)
"""The texts that Arrow may read as times."""

TIMES_HELD = 10_000

INT64 = range(-(2**63), 2**63)

MIXED = {"dtype": "json"}
"""The type of a field whose values have different types or different keys."""

SCALARS = {
    frozenset[str](): "null",
    frozenset(["bool"]): "bool",
    frozenset(["integer"]): "int64",
    frozenset(["number"]): "float64",
    frozenset(["integer", "number"]): "float64",
    frozenset(["text"]): "string",
    frozenset(["text", "time"]): "string",
    frozenset(["time"]): "timestamp[s]",
}
"""The types of columns with values of these kinds."""

ARROW_NAMES = {pa.string(): "string", pa.float32(): "float32", pa.int32(): "int32"}

Features = list[dict[str, Any]]
"""The columns of rows, in the form of a dataset card."""


@dataclass
class JsonShape:
    """The kinds of JSON values in one place: of scalars, of objects' fields, of lists' items."""

    kinds: set[str] = field(default_factory=set)
    fields: dict[str, JsonShape] | None = None
    items: JsonShape | None = None
    varied: bool = False
    """Whether the objects have different keys, or no keys."""
    times: list[str] = field(default_factory=list)
    """Texts that look like times and that Arrow hasn't read yet."""

    def observe(self, value: Any) -> None:
        """Add a value."""
        if isinstance(value, dict):
            self._observe_object(value)
        elif isinstance(value, list):
            self.items = self.items or JsonShape()
            for item in value:
                self.items.observe(item)
        elif isinstance(value, str):
            self._observe_text(value)
        elif value is not None:
            self.kinds.add(_name_kind(value))

    def observe_row(self, row: Mapping[str, Any]) -> None:
        """Add a row, whose keys may differ from those of other rows."""
        self.fields = {} if self.fields is None else self.fields
        for name, value in row.items():
            if name not in self.fields:
                self.fields[name] = JsonShape()
            self.fields[name].observe(value)

    def _observe_object(self, value: Mapping[str, Any]) -> None:
        """Add an object, unless other objects in its place have other keys."""
        is_like_others = self.fields is None or value.keys() == self.fields.keys()
        self.varied = self.varied or not value or not is_like_others
        if self.varied:
            self.fields = {}
        else:
            self.observe_row(value)

    def _observe_text(self, value: str) -> None:
        if "text" in self.kinds:
            return
        if not TIME.fullmatch(value):
            self.kinds.add("text")
            return
        self.times.append(value)
        if len(self.times) > TIMES_HELD:
            self.read_times()

    def read_times(self) -> None:
        """Have Arrow read the texts that look like times."""
        if self.times:
            lines = "".join(f'{{"":"{text}"}}\n' for text in self.times).encode()
            kind = pj.read_json(io.BytesIO(lines), pj.ReadOptions(block_size=len(lines))).schema[0]
            self.kinds.add("time" if pa.types.is_timestamp(kind.type) else "text")
            self.times = []

    def settle_type(self) -> dict[str, Any]:
        """Return the type of the values, in the form of a dataset card.

        Raises: ValueError: there is no such type.
        """
        self.read_times()
        if "huge" in self.kinds:
            raise ValueError("an integer has more than 64 bits")
        forms = bool(self.kinds) + (self.fields is not None) + (self.items is not None)
        if forms > 1 or self.varied:
            return MIXED
        if self.fields is not None:
            return {"struct": self.settle_fields()}
        if self.items is not None:
            return {"list": _shorten(self.items.settle_type())}
        known = SCALARS.get(frozenset(self.kinds))
        return {"dtype": known} if known else MIXED

    def settle_fields(self) -> Features:
        """Return the fields of objects with their types.

        Raises: ValueError: a field can't be declared.
        """
        found = self.fields or {}
        if any(SURROGATE.search(name) for name in found):
            raise ValueError("a key isn't valid Unicode")
        return [{"name": name, **below.settle_type()} for name, below in found.items()]


def _name_kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "integer" if value in INT64 else "huge"
    return "number"


def _shorten(kind: dict[str, Any]) -> Any:
    """Return the type of a list's items, which a card writes without the word `dtype`."""
    return kind.get("dtype") or kind.get("struct") or kind


def has_notes(rows: JsonShape) -> bool:
    """Return whether some row has the field `congener`."""
    return CLEAN_EXTRA.name in (rows.fields or {})


def settle_features(rows: JsonShape) -> Features:
    """Return the columns of rows, the field `congener` last.

    Raises: ValueError: the columns can't be declared.
    """
    own = JsonShape(fields=dict(rows.fields or {}))
    own.fields.pop(CLEAN_EXTRA.name, None)  # type: ignore[union-attr]
    if len(own.fields or {}) > MOST_COLUMNS:
        raise ValueError(f"the rows have more than {MOST_COLUMNS:,} keys")
    return [*own.settle_fields(), {"name": CLEAN_EXTRA.name, **describe_type(CLEAN_EXTRA.type)}]


def describe_type(kind: pa.DataType) -> dict[str, Any]:
    """Return an Arrow type in the form of a dataset card."""
    if pa.types.is_struct(kind):
        return {"struct": [{"name": item.name, **describe_type(item.type)} for item in kind]}
    if pa.types.is_list(kind):
        return {"list": _shorten(describe_type(kind.value_type))}
    return {"dtype": ARROW_NAMES[kind]}
