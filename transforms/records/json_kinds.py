"""Kinds of JSON values, and Arrow arrays of the fields that congener reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import chain
from typing import Any, Literal

import pyarrow as pa

from transforms.records.json_messages import (
    MAX_CALL_DEPTH,
    MESSAGE,
    MESSAGES,
    build_messages,
    convert_plain_messages,
    find_deep_call,
)
from transforms.records.json_texts import build_texts
from transforms.records.parts import (
    CONTENTS,
    EXCHANGE_FIELDS,
    ROLE_FIELDS,
    find_speaker_type,
)

Kind = Literal[
    "null",
    "empty",
    "text",
    "bool",
    "number",
    "other",
    "messages",
    "message",
    "choices",
    "candidates",
    "dumps",
    "constructors",
    "segments",
    "lists",
    "answers",
    "exchanges",
    "texts",
    "pairs",
]
"""The kind of a JSON value.

A choice is an object with a `message`. A candidate is an object whose `content` is a message. A
dump is LangChain's object with a speaker type and the message in `data`. A segment is an object
with content and a bool `label`. An answer is an object with content and no role. An exchange is an
object with a question and its answer. `constructors` are LangChain's messages as serialised calls.
`lists` are lists of lists of messages.
"""

ANSWER = pa.struct([item for item in MESSAGE if item.name not in ROLE_FIELDS])

SEGMENT = pa.struct([("label", pa.bool_()), *ANSWER])

EXCHANGE = pa.struct([(name, pa.string()) for name in EXCHANGE_FIELDS])

ARROW_TYPES: dict[Kind, pa.DataType] = {
    "null": pa.null(),
    "empty": pa.null(),
    "text": pa.string(),
    "bool": pa.bool_(),
    "number": pa.float64(),
    "other": pa.struct([]),
    "messages": MESSAGES,
    "message": MESSAGE,
    "choices": pa.list_(pa.struct([("message", MESSAGE)])),
    "candidates": pa.list_(pa.struct([("content", MESSAGE)])),
    "dumps": pa.list_(pa.struct([("data", MESSAGE)])),
    "constructors": pa.list_(pa.struct([("kwargs", pa.struct([]))])),
    "segments": pa.list_(SEGMENT),
    "lists": pa.list_(MESSAGES),
    "answers": pa.list_(ANSWER),
    "exchanges": pa.list_(EXCHANGE),
    "texts": pa.list_(pa.string()),
    "pairs": pa.list_(pa.list_(pa.string())),
}
"""The Arrow type of each kind, for detecting the format."""

KINDS = {kind: name for name, kind in ARROW_TYPES.items() if name != "empty"}

WRAPPER_OF_KIND: dict[Kind, str] = {
    "choices": "message",
    "candidates": "content",
    "dumps": "data",
}

TYPE_NAMES = {
    ARROW_TYPES["messages"]: "a list of messages",
    ARROW_TYPES["message"]: "a message",
    ARROW_TYPES["choices"]: "a list of choices, each with a message",
    ARROW_TYPES["candidates"]: "a list of candidates, each with a content",
    ARROW_TYPES["dumps"]: "a list of objects, each with a type and its message in `data`",
    ARROW_TYPES["constructors"]: "a list of messages that LangChain serialised as constructors",
    ARROW_TYPES["segments"]: "a list of texts, each with a label that says if it is trained on",
    ARROW_TYPES["lists"]: "a list of lists of messages",
    ARROW_TYPES["answers"]: "a list of objects with an answer each",
    ARROW_TYPES["exchanges"]: "a list of objects with a question and its answer each",
    ARROW_TYPES["texts"]: "a list of texts",
    ARROW_TYPES["pairs"]: "a list of lists of texts",
    ARROW_TYPES["other"]: "an object or a list",
}
"""Names for types in error messages."""

JSON_NAMES = {bool: "a bool", int: "a number", float: "a number", str: "text", list: "a list"}


def classify_value(value: Any) -> Kind:
    """Return a value's kind. A list's first item decides the kind."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return "text"
    if isinstance(value, list):
        return _classify_list(value)
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "message" if _is_message(value) else "other"


def _is_message(value: Any) -> bool:
    """Return whether a value is an object with a role or a list of content parts."""
    if not isinstance(value, dict):
        return False
    if any(name in value for name in ROLE_FIELDS) or isinstance(value.get("parts"), list):
        return True
    return "content" in value and find_speaker_type(value) is not None


def _classify_list(items: Sequence[Any]) -> Kind:
    """Return a list's kind from its first item that isn't null."""
    first = _find_first(items)
    if first is None:
        return "empty"
    if isinstance(first, dict):
        typed = isinstance(first.get("type"), str)  # API output may also have items without a role
        is_turns = _is_message(first) or (typed and any(map(_is_message, items)))
        return "messages" if is_turns else _classify_answer(first, items)
    if isinstance(first, list):
        inner = _find_first(first)
        if isinstance(inner, str):
            return "pairs"
        # Lists may be nested thousands deep, so only a list of objects is examined.
        is_turns = isinstance(inner, dict) and _classify_list(first) == "messages"
        return "lists" if is_turns else "other"
    return "texts" if isinstance(first, str) else "other"


def _find_first(items: Sequence[Any]) -> Any:
    return next((item for item in items if item is not None), None)


def _classify_answer(item: dict[str, Any], items: Sequence[Any]) -> Kind:
    """Return the kind of a list whose first item is an object without a role.

    The two halves of an exchange may be in different items.
    """
    for kind, wrapper in WRAPPER_OF_KIND.items():
        if _is_message(item.get(wrapper)):
            return kind
    if isinstance(item.get("data"), dict) and find_speaker_type(item):
        return "dumps"
    if item.get("type") == "constructor" and isinstance(item.get("kwargs"), dict):
        return "constructors"
    objects = items if _list_speakers(item) else ()
    if {"user", "assistant"} <= {name for below in objects for name in _list_speakers(below)}:
        return "exchanges"
    if isinstance(item.get("label"), bool) and isinstance(item.get("text"), str):
        return "segments"
    return "answers" if any(isinstance(item.get(name), str) for name in CONTENTS) else "other"


def _list_speakers(item: Any) -> list[str]:
    fields = item.items() if isinstance(item, dict) else ()
    return [
        EXCHANGE_FIELDS[key]
        for key, text in fields
        if key in EXCHANGE_FIELDS and isinstance(text, str)
    ]


def convert_plain(values: Sequence[Any], kind: pa.DataType) -> pa.Array | None:
    """Return scalars or plain messages as a column, or None for other values.

    Arrow converts them several times as fast as `build_column`, with the same result.
    """
    if pa.types.is_nested(kind) and kind != MESSAGES:
        return None
    try:
        return convert_plain_messages(values) if kind == MESSAGES else pa.array(values, kind)
    except (TypeError, UnicodeEncodeError, pa.ArrowException):
        return None


def explain_misfit(name: str, value: Any, kind: pa.DataType) -> str | None:
    """Return why a value doesn't fit a column's type, or None."""
    if pa.types.is_string(kind):
        return None if isinstance(value, str) else describe_misfit(name, value, kind)
    if pa.types.is_struct(kind):
        return _explain_item(name, value, "message", kind)
    if not isinstance(value, list):
        return describe_misfit(name, value, kind)
    reasons = (
        _explain_item(f"{name}[{index}]", item, KINDS[kind], kind)
        for index, item in enumerate(value)
        if item is not None
    )
    return next((reason for reason in reasons if reason), None)


def _explain_item(path: str, item: Any, kind: Kind, column: pa.DataType) -> str | None:
    """Return why a list item or a single message doesn't fit a column, or None."""
    if kind == "texts":
        return None if isinstance(item, str) else _describe_item(path, item, "text")
    if kind == "pairs":
        texts = isinstance(item, list) and all(isinstance(text, str | None) for text in item)
        return None if texts else _describe_item(path, item, "a list of texts")
    if not isinstance(item, dict):
        return (
            _describe_item(path, item, "an object")
            if kind != "message"
            else describe_misfit(path, item, column)
        )
    wrapper = WRAPPER_OF_KIND.get(kind)
    message = item.get(wrapper) if wrapper else item
    if isinstance(message, dict) and (below := find_deep_call(message)):
        inside = f"{wrapper}.{below}" if wrapper else below
        return f"field {f'{path}.{inside}'!r}: more than {MAX_CALL_DEPTH} nested objects and lists"
    return None


def describe_misfit(name: str, value: Any, kind: pa.DataType) -> str:
    """Return why a value of the wrong kind doesn't fit its column."""
    expected = "text" if pa.types.is_string(kind) else TYPE_NAMES.get(kind, str(kind))
    return _describe_item(name, value, expected)


def _describe_item(path: str, value: Any, expected: str) -> str:
    return f"field {path!r}: {describe_value(value)} where the corpus has {expected}"


def describe_value(value: Any) -> str:
    """Return a JSON value's kind in words."""
    return "null" if value is None else JSON_NAMES.get(type(value), "an object")


def build_column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Build an array from values that fit its type."""
    build = BUILDERS.get(KINDS[kind])
    return build(values) if build else pa.nulls(len(values), kind)


def _build_wrapped(values: Sequence[Any], kind: Kind) -> pa.Array:
    """Build lists of choices or candidates."""
    wrapper = WRAPPER_OF_KIND[kind]
    unwrapped = [value and [_unwrap(item, wrapper) for item in value] for value in values]
    field = pa.field(wrapper, MESSAGE)
    return _rewrap(build_messages(unwrapped), [field], ARROW_TYPES[kind])


def _unwrap(item: Any, wrapper: str) -> Any:
    """Return the message in an object. A speaker type beside the message becomes its role."""
    message = item and item.get(wrapper)
    if not isinstance(message, dict):
        return None
    kind = find_speaker_type(item)
    return message if kind is None else {"role": kind, **message}


def _build_segments(values: Sequence[Any]) -> pa.ListArray:
    lists = build_messages(values)
    flat = lists.values
    labels = pa.array([_get_label(item) for item in _chain(values)], pa.bool_())
    columns = [labels, *(flat.field(item.name) for item in ANSWER)]
    structs = pa.StructArray.from_arrays(columns, fields=list(SEGMENT))
    return pa.ListArray.from_arrays(
        lists.offsets, structs, ARROW_TYPES["segments"], mask=lists.is_null()
    )


def _get_label(item: Any) -> bool | None:
    label = item and item.get("label")
    return label if isinstance(label, bool) else None


def _build_single(values: Sequence[Any]) -> pa.Array:
    """Build single messages. A null stays null."""
    flat = build_messages([[value] for value in values]).flatten()
    columns = [flat.field(item.name) for item in MESSAGE]
    mask = pa.array([value is None for value in values], pa.bool_())
    return pa.StructArray.from_arrays(columns, fields=list(MESSAGE), mask=mask)


def _rewrap(lists: pa.ListArray, fields: Sequence[pa.Field], kind: pa.DataType) -> pa.ListArray:
    """Return lists of messages as lists of structs, with messages in the `MESSAGE` field."""
    flat = lists.values
    columns = [flat if item.type == MESSAGE else flat.field(item.name) for item in fields]
    structs = pa.StructArray.from_arrays(columns, fields=list(fields))
    return pa.ListArray.from_arrays(lists.offsets, structs, kind, mask=lists.is_null())


def _chain(values: Iterable[Any]) -> Iterable[Any]:
    return chain.from_iterable(value or () for value in values)


def _build_lists(values: Sequence[Any], flat: pa.Array) -> pa.ListArray:
    """Build lists from their items in `flat`. A null stays null."""
    offsets = [0]
    for value in values:
        offsets.append(offsets[-1] + len(value or ()))
    mask = pa.array([value is None for value in values], pa.bool_())
    return pa.ListArray.from_arrays(
        pa.array(offsets, pa.int32()), flat, pa.list_(flat.type), mask=mask
    )


def _format_scalar(value: Any) -> str | None:
    """Return a value as text, or None for an object or a list."""
    if value is None or isinstance(value, dict | list):
        return None
    return value if isinstance(value, str) else str(value)


def _build_texts(values: Sequence[Any]) -> pa.Array:
    return build_texts([_format_scalar(value) for value in values])


def _build_exchanges(values: Sequence[Any]) -> pa.ListArray:
    items = list(_chain(values))
    columns = [build_texts([_get_text(item, name) for item in items]) for name in EXCHANGE_FIELDS]
    return _build_lists(values, pa.StructArray.from_arrays(columns, fields=list(EXCHANGE)))


def _get_text(item: Any, name: str) -> str | None:
    value = item and item.get(name)
    return value if isinstance(value, str) else None


def _build_lists_of_texts(values: Sequence[Any]) -> pa.Array:
    return _build_lists(values, build_texts(list(_chain(values))))


BUILDERS: dict[Kind, Callable[[Sequence[Any]], pa.Array]] = {
    "text": _build_texts,
    "messages": build_messages,
    "message": _build_single,
    "choices": partial(_build_wrapped, kind="choices"),
    "candidates": partial(_build_wrapped, kind="candidates"),
    "dumps": partial(_build_wrapped, kind="dumps"),
    "segments": _build_segments,
    "answers": lambda values: _rewrap(build_messages(values), list(ANSWER), ARROW_TYPES["answers"]),
    "exchanges": _build_exchanges,
    "texts": _build_lists_of_texts,
    "pairs": lambda values: _build_lists(values, _build_lists_of_texts(list(_chain(values)))),
}
"""The function that builds a column of each kind. Other kinds become nulls."""
