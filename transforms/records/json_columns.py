"""Columns of JSON records: what the format reads, taken from objects of any shape.

Rows of JSON Lines keep their own bytes. Only the columns that the format reads, and those that name
a lot, become Arrow columns. No other field has a type, so none can make a row a reject.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import NoneType
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

MESSAGE_TEXTS = (
    "role",
    "content",
    "from",
    "value",
    "reasoning_content",
    "reasoning",
    "thinking",
)
"""The fields of a message that hold text."""

PARTS_SUFFIX = "_parts"
CONTENTS = ("content", "value")
"""The fields of a message that hold either text or typed parts.

Parts are a column of their own, as JSON: `content_parts` and `value_parts`.
"""

PART_TEXTS = ("type", "text", "thinking")
"""The fields of a typed part that are read."""

TOOL_CALLS = "tool_calls"

MESSAGE = pa.struct(
    [
        *((name, pa.string()) for name in MESSAGE_TEXTS),
        *((f"{name}{PARTS_SUFFIX}", pa.string()) for name in CONTENTS),
        (TOOL_CALLS, pa.string()),
    ]
)
"""A message as read: its texts, and its typed parts and tool calls as JSON."""

MESSAGES = pa.list_(MESSAGE)

PLAIN_MESSAGES = pa.list_(pa.struct([(name, pa.string()) for name in (*MESSAGE_TEXTS, TOOL_CALLS)]))
"""Messages without typed parts, and without tool calls that aren't text."""

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

MAX_CALL_DEPTH = 64
"""Nested objects and lists in tool calls, which are written as JSON by recursive functions."""

SURROGATE = re.compile("[\ud800-\udfff]")

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
            return _convert_plain_messages(values)
        return pa.array(values, kind)
    except (TypeError, UnicodeEncodeError, pa.ArrowException):
        return None


def _convert_plain_messages(values: Sequence[Any]) -> pa.Array | None:
    """Return lists of plain messages as a column, or None if some have both spellings.

    Raises: pa.ArrowException: a field of a message isn't text.
    """
    lists = [value for value in values if value is not None]
    # Arrow itself would accept an empty text as a list, and an empty list as a message
    if not set(map(type, lists)) <= {list}:
        return None
    if not set(map(type, chain.from_iterable(lists))) <= {dict, NoneType}:
        return None
    array = pa.array(values, PLAIN_MESSAGES)
    flat = array.values
    known = {item.name: flat.field(item.name) for item in flat.type}
    if has_values(known["value"]) and (has_values(known["role"]) or has_values(known["content"])):
        return None
    nulls = pa.nulls(len(flat), pa.string())
    columns = [known.get(item.name, nulls) for item in MESSAGE]
    return _join_messages(columns, array.offsets, values)


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
        if TOOL_CALLS in message and _is_deeper(message[TOOL_CALLS], MAX_CALL_DEPTH):
            field_path = f"{name}[{index}].{TOOL_CALLS}"
            return f"field {field_path!r}: more than {MAX_CALL_DEPTH} nested objects and lists"
    return None


def _describe_misfit(field_path: str, value: Any, expected: str) -> str:
    return f"field {field_path!r}: {describe_value(value)} where the corpus has {expected}"


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether a value nests more than this many objects and lists."""
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return not levels or any(_is_deeper(below, levels - 1) for below in items)


def describe_value(value: Any) -> str:
    """Return the kind of a JSON value in words."""
    return "null" if value is None else JSON_NAMES.get(type(value), "an object")


def _build_column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if kind == MESSAGES:
        return _build_messages(values)
    if pa.types.is_string(kind):
        return build_texts([_format_scalar(value) for value in values])
    return pa.nulls(len(values), kind)


def _format_scalar(value: Any) -> str | None:
    """Return a value as text; an object or a list, which can't name a lot, is null."""
    if value is None or isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else str(value)


def build_texts(texts: Sequence[str | None]) -> pa.Array:
    """Return texts as an array; a lone surrogate, which JSON may hold, becomes U+FFFD."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([text and replace_surrogates(text) for text in texts], pa.string())


def replace_surrogates(text: str) -> str:
    """Return a text of the same length with U+FFFD for each lone surrogate."""
    return SURROGATE.sub("\ufffd", text)


def _build_messages(values: Sequence[Sequence[Any] | None]) -> pa.Array:
    """Return lists of messages as an array of `MESSAGES`."""
    offsets = np.zeros(len(values) + 1, np.int32)
    offsets[1:] = np.cumsum([len(value or ()) for value in values])
    messages = [message or {} for value in values for message in value or ()]
    present = set[str]().union(*messages)
    if "value" in present and not present.isdisjoint(("role", "content")):
        messages = [_choose_spelling(message) for message in messages]
    columns = [_build_message_texts(messages, name, present) for name in MESSAGE_TEXTS]
    columns += [_build_parts(messages, name, present) for name in CONTENTS]
    columns.append(_build_calls(messages, present))
    return _join_messages(columns, pa.array(offsets), values)


def _join_messages(
    columns: Sequence[pa.Array], offsets: pa.Array, values: Sequence[Any]
) -> pa.ListArray:
    """Return the columns of messages as an array of `MESSAGES`, null where a value is null."""
    flat = pa.StructArray.from_arrays(columns, fields=list(MESSAGE))
    mask = pa.array([value is None for value in values]) if None in values else None
    return pa.ListArray.from_arrays(offsets, flat, MESSAGES, mask=mask)


def _choose_spelling(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message that has one content, and no stray role.

    A content that isn't empty hides `value`. A role without a content doesn't hide `from`.
    """
    if message.get("content") and isinstance(message["content"], str | list | dict):
        return {name: value for name, value in message.items() if name != "value"}
    if "content" not in message and message.get("value") and message.get("from"):
        return {name: value for name, value in message.items() if name != "role"}
    return message


def _build_message_texts(
    messages: Sequence[Mapping[str, Any]], name: str, present: Container[str]
) -> pa.Array:
    """Return the texts of a field; a value that isn't text is null."""
    if name not in present:
        return pa.nulls(len(messages), pa.string())
    values = [message.get(name) for message in messages]
    try:
        return build_texts(values)
    except (TypeError, pa.ArrowException):
        return build_texts([value if isinstance(value, str) else None for value in values])


def _build_parts(
    messages: Sequence[Mapping[str, Any]], name: str, present: Container[str]
) -> pa.Array:
    """Return the contents that aren't text, as JSON of the texts in their parts."""
    if name not in present:
        return pa.nulls(len(messages), pa.string())
    values = [message.get(name) for message in messages]
    return build_texts(
        [
            encode_json(_reduce_parts(value)) if isinstance(value, dict | list) else None
            for value in values
        ]
    )


def _reduce_parts(content: Any) -> Any:
    """Return a content with only the texts of its parts that are read."""
    if isinstance(content, list):
        return [_reduce_part(part) for part in content]
    return _reduce_part(content)


def _reduce_part(part: Any) -> str | dict[str, str] | None:
    if isinstance(part, dict):
        return {name: part[name] for name in PART_TEXTS if isinstance(part.get(name), str)}
    return part if isinstance(part, str) else None


def _build_calls(messages: Sequence[Mapping[str, Any]], present: Container[str]) -> pa.Array:
    """Return tool calls as JSON."""
    if TOOL_CALLS not in present:
        return pa.nulls(len(messages), pa.string())
    return build_texts([encode_calls(message.get(TOOL_CALLS)) for message in messages])


def encode_calls(calls: Any) -> str | None:
    """Return tool calls as JSON with sorted keys and without nulls, or None if there are none.

    Calls that are text already are returned unchanged. Arrow may add a null field, or turn an
    integer into a float, only because of another row. A row's text mustn't depend on its
    neighbours.
    """
    if isinstance(calls, str):
        return calls
    return encode_json(_drop_nulls(calls)) if calls else None


def _drop_nulls(value: Any) -> Any:
    """Return a value without null fields, its whole floats as integers."""
    if isinstance(value, dict):
        return {name: _drop_nulls(below) for name, below in value.items() if below is not None}
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return [_drop_nulls(below) for below in value] if isinstance(value, list) else value


def encode_json(value: Any) -> str:
    """Return a value as JSON with sorted keys, each lone surrogate in it as U+FFFD."""
    try:
        return _dump_sorted(value)
    except TypeError:  # a lone surrogate
        text = json.dumps(value, ensure_ascii=False, default=str)
        return _dump_sorted(json.loads(replace_surrogates(text)))


def _dump_sorted(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str).decode()
