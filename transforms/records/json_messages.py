"""JSON messages of any shape, as Arrow arrays of the fields that congener reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.records.json_texts import build_texts, encode_calls, encode_json
from transforms.records.parts import (
    CHANNELS_OF_FIELDS,
    CONTENTS,
    ROLE_FIELDS,
    TOOL_CALLS,
    find_speaker_type,
    split_field,
)

PLAIN_FIELDS = (
    *ROLE_FIELDS,
    *("content", "value", "reasoning_content", "reasoning", "thinking", TOOL_CALLS),
)
"""The message fields with a column of their own."""

STRUCTURED = "structured"
"""The column for other texts: a JSON list of `[field, path below the field, channel, text]`.

A fifth item is the text's role, if that differs from the message's role.
"""

MESSAGE = pa.struct([(name, pa.string()) for name in (*PLAIN_FIELDS, STRUCTURED)])
"""A message: its usual texts, its tool calls as JSON, and all other texts."""

MESSAGES = pa.list_(MESSAGE)

MAX_CALL_DEPTH = 64
"""The deepest nesting of tool calls, which recursive functions write as JSON."""


def convert_plain_messages(values: Sequence[Any]) -> pa.Array | None:
    """Return lists of messages as `MESSAGES`, or None if some message isn't plain.

    A plain message has at most one content field, and all its texts are in `PLAIN_FIELDS`. Arrow
    converts plain messages several times as fast as `build_messages`, with the same result.

    Raises: pa.ArrowException: a message field isn't text.
    """
    lists = [value for value in values if value is not None]
    # Arrow itself would accept an empty text as a list, and an empty list as a message.
    if not set(map(type, lists)) <= {list}:
        return None
    if not set(map(type, chain.from_iterable(lists))) <= {dict, NoneType}:
        return None
    present = _find_keys(filter(None, chain.from_iterable(lists)))
    if _have_several_spellings(present) or _have_speaker_types(present, lists):
        return None
    others = present & CHANNELS_OF_FIELDS.keys() - set(PLAIN_FIELDS)
    if any(_is_filled(lists, name) for name in others):
        return None
    names = [name for name in PLAIN_FIELDS if name in present] or list(ROLE_FIELDS)
    array = pa.array(values, pa.list_(pa.struct([(name, pa.string()) for name in names])))
    flat, nulls = array.values, pa.nulls(len(array.values), pa.string())
    take = pc.struct_field if flat.null_count else pa.StructArray.field  # null where flat is null
    columns = [take(flat, item.name) if item.name in names else nulls for item in MESSAGE]
    return _join_messages(columns, array.offsets, values)


def _find_keys(messages: Iterator[Mapping[str, Any]]) -> set[str]:
    return set[str]().union(*messages)


def _have_several_spellings(present: set[str]) -> bool:
    """Return whether messages with these keys may have two contents, or both `role` and `value`."""
    return len(present & set(CONTENTS)) > 1 or {"role", "value"} <= present


def _have_speaker_types(present: set[str], lists: Sequence[Sequence[Any]]) -> bool:
    """Return whether some message's type says who speaks."""
    messages = filter(None, chain.from_iterable(lists)) if "type" in present else ()
    return any(find_speaker_type(message) for message in messages)


def _is_filled(lists: Sequence[Any], name: str) -> bool:
    """Return whether some message has a value in a field."""
    return any(
        message is not None and message.get(name) is not None
        for message in chain.from_iterable(lists)
    )


def build_messages(values: Sequence[Sequence[Any] | None]) -> pa.Array:
    """Return lists of messages as an array of `MESSAGES`."""
    offsets = np.zeros(len(values) + 1, np.int32)
    offsets[1:] = np.cumsum([len(value or ()) for value in values])
    messages = [message or {} for value in values for message in value or ()]
    present = _find_keys(iter(messages))
    if _have_several_spellings(present):
        messages = [_choose_spelling(message) for message in messages]
    if _have_speaker_types(present, [messages]):
        messages = [_name_speaker(message) for message in messages]
        present.add("role")
    columns = [_build_field(messages, name, present) for name in PLAIN_FIELDS]
    columns.append(_build_structured(messages, present))
    return _join_messages(columns, pa.array(offsets), values)


def _join_messages(
    columns: Sequence[pa.Array], offsets: pa.Array, values: Sequence[Any]
) -> pa.ListArray:
    """Join columns of messages into an array of `MESSAGES`. A null stays null."""
    flat = pa.StructArray.from_arrays(columns, fields=list(MESSAGE))
    mask = pa.array([value is None for value in values]) if None in values else None
    return pa.ListArray.from_arrays(offsets, flat, MESSAGES, mask=mask)


def _choose_spelling(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message with only one content field and without a stray role.

    The first nonempty content hides the others. In a message with `from` and `value` but no
    `content`, `role` is dropped because it means something else.
    """
    filled = [
        name
        for name in CONTENTS
        if message.get(name) and isinstance(message[name], str | list | dict)
    ]
    hidden = set(filled[1:])
    if "content" not in message and message.get("value") and message.get("from"):
        hidden.add("role")
    return {name: value for name, value in message.items() if name not in hidden}


def _name_speaker(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message whose type becomes its role if it has no role."""
    kind = find_speaker_type(message)
    return message if kind is None else {**message, "role": kind}


def _build_field(messages: Sequence[Mapping[str, Any]], name: str, present: set[str]) -> pa.Array:
    """Return a field's texts. Tool calls become JSON, and other values become null."""
    if name not in present:
        return pa.nulls(len(messages), pa.string())
    values = [message.get(name) for message in messages]
    if name == TOOL_CALLS:
        return build_texts([encode_calls(value) for value in values])
    try:
        return build_texts(values)
    except (TypeError, pa.ArrowException):
        return build_texts([value if isinstance(value, str) else None for value in values])


def _build_structured(messages: Sequence[Mapping[str, Any]], present: set[str]) -> pa.Array:
    """Build the JSON column of other texts."""
    names = [name for name in CHANNELS_OF_FIELDS if name in present and name != TOOL_CALLS]
    if not names:
        return pa.nulls(len(messages), pa.string())
    return build_texts([_encode_structured(message, names) for message in messages])


def _encode_structured(message: Mapping[str, Any], names: Sequence[str]) -> str | None:
    found = [
        [name, part.below, part.channel, text, *[part.role] * bool(part.role)]
        for name, part in _split_structured(message, names)
        if (text := encode_calls(part.value))
    ]
    return encode_json(found) if found else None


def _split_structured(
    message: Mapping[str, Any], names: Sequence[str]
) -> Iterator[tuple[str, Any]]:
    """Yield the other texts, each with its field's name."""
    for name in names:
        value = message.get(name)
        if value is not None and not (name in PLAIN_FIELDS and isinstance(value, str)):
            yield from ((name, part) for part in split_field(name, value))


def find_deep_call(message: Mapping[str, Any]) -> str | None:
    """Return the path in a message to a tool call that is nested too deeply, or None."""
    for name, part in _split_structured(message, list(CHANNELS_OF_FIELDS)):
        if part.channel == "tool" and _is_deeper(part.value, MAX_CALL_DEPTH):
            return f"{name}{part.below}"
    return None


def _is_deeper(value: Any, levels: int) -> bool:
    """Return whether a value is nested deeper than this many levels."""
    if not isinstance(value, dict | list):
        return False
    items = value.values() if isinstance(value, dict) else value
    return not levels or any(_is_deeper(below, levels - 1) for below in items)
