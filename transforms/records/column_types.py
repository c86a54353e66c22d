"""Column types: which Arrow types hold text, messages, answers or pairs of turns."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from transforms.records.columns import is_list
from transforms.records.parts import CONTENTS, EXCHANGE_FIELDS, ROLE_FIELDS

WRAPPERS = ("message", "content", "data")
"""The fields that hold the message in an API's choice or in LangChain's form of a message."""

TURNS = "a list of {role, content} or {from, value}"


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type holds text, including dictionary-encoded text."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(check(kind) for check in checks)


def _may_hold_text(kind: pa.DataType) -> bool:
    """Return whether a type is text, or the null type of an empty field."""
    return is_text(kind) or pa.types.is_null(kind)


def _has_role(kind: pa.DataType) -> bool:
    if any(_may_hold_text(item.type) for item in kind if item.name in ROLE_FIELDS):
        return True
    return _has_field(kind, "type", is_text) and kind.get_field_index("content") >= 0


def _has_field(kind: pa.DataType, name: str, check: Callable[[pa.DataType], bool]) -> bool:
    """Return whether a struct has exactly one field of this name, and the type passes a check."""
    index = kind.get_field_index(name)
    return index >= 0 and check(kind.field(index).type)


def _has_content(kind: pa.DataType) -> bool:
    return any(
        _may_hold_text(item.type) or pa.types.is_nested(item.type)
        for item in kind
        if item.name in CONTENTS
    )


def is_message(kind: pa.DataType) -> bool:
    """Return whether a type is a struct with a content field and a text role."""
    return bool(pa.types.is_struct(kind)) and _has_role(kind) and _has_content(kind)


def is_turns(kind: pa.DataType) -> bool:
    """Return whether a type is a list of messages."""
    return is_list(kind) and is_message(kind.value_type)


def find_wrapper(kind: pa.DataType) -> str | None:
    """Return the field that holds the messages in a list of choices, or None."""
    if not is_list(kind) or not pa.types.is_struct(kind.value_type) or is_turns(kind):
        return None
    types = {item.name: item.type for item in kind.value_type}
    found = next((name for name in WRAPPERS if name in types and is_message(types[name])), None)
    return found or ("data" if _is_dump(kind.value_type) else None)


def _is_dump(kind: pa.DataType) -> bool:
    """Return whether a type is LangChain's form of a message: a type, and the rest in `data`."""
    if not _has_field(kind, "type", is_text) or not _has_field(kind, "data", pa.types.is_struct):
        return False
    return _has_content(kind.field("data").type)


def is_segments(kind: pa.DataType) -> bool:
    """Return whether a type is a list of texts with training labels."""
    return is_answers(kind) and _has_field(kind.value_type, "label", pa.types.is_boolean)


def is_answers(kind: pa.DataType) -> bool:
    """Return whether a type is a list of structs with an answer and no role."""
    if not is_list(kind) or not pa.types.is_struct(kind.value_type):
        return False
    return _has_content(kind.value_type) and not _has_role(kind.value_type)


def is_texts(kind: pa.DataType) -> bool:
    """Return whether a type is a list of texts."""
    return is_list(kind) and is_text(kind.value_type)


def is_pairs(kind: pa.DataType) -> bool:
    """Return whether a type is a list of text pairs: question and answer."""
    return is_list(kind) and is_texts(kind.value_type)


def is_exchanges(kind: pa.DataType) -> bool:
    """Return whether a type is a list of structs with a question and an answer."""
    if not is_list(kind) or not pa.types.is_struct(kind.value_type) or _has_role(kind.value_type):
        return False
    named = {EXCHANGE_FIELDS.get(item.name) for item in kind.value_type if is_text(item.type)}
    return {"user", "assistant"} <= named


def _is_history(kind: pa.DataType) -> bool:
    return is_pairs(kind) or is_turns(kind) or is_exchanges(kind)


def _is_conversation(kind: pa.DataType) -> bool:
    several = is_turns(kind) or is_exchanges(kind)
    return several or is_message(kind) or find_wrapper(kind) is not None


def _is_whole(kind: pa.DataType) -> bool:
    return _is_conversation(kind) or is_segments(kind)


def _is_prompt(kind: pa.DataType) -> bool:
    return is_text(kind) or is_turns(kind) or is_message(kind) or is_texts(kind)


def _is_side(kind: pa.DataType) -> bool:
    """Return whether a type may be one side of a pair, with one or more answers."""
    return _is_prompt(kind) or is_answers(kind) or _is_conversation(kind)


def _is_answer(kind: pa.DataType) -> bool:
    several = is_texts(kind) or is_answers(kind)
    return is_text(kind) or several or _is_conversation(kind)


def _is_instruction(kind: pa.DataType) -> bool:
    """Return whether a type may be a system prompt: text, a content struct, or a list of either."""
    several = is_texts(kind) or (is_answers(kind) and find_wrapper(kind) is None)
    return is_text(kind) or several or (bool(pa.types.is_struct(kind)) and _has_content(kind))


COLUMN_CHECKS: dict[str, tuple[Callable[[pa.DataType], bool], str]] = {
    **dict.fromkeys(("messages", "conversations"), (_is_whole, TURNS)),
    "prompt": (_is_prompt, f"text, a message, or {TURNS}"),
    **dict.fromkeys(
        ("chosen", "rejected", "rejected_response"),
        (_is_side, f"text, a message, a list of answers, or {TURNS}"),
    ),
    **dict.fromkeys(("completion", "output"), (_is_answer, f"text, a list of answers, or {TURNS}")),
    "history": (_is_history, f"a list of pairs of texts, or {TURNS}"),
    "system": (_is_instruction, "text, a message, or a list of texts"),
}
"""For each format column that isn't always text, a check and a description of its type."""


NAMES_OF_LISTS: dict[str, tuple[str, ...]] = {
    "messages": ("messages", "conversation", "dialogue", "dialog", "chat", "data"),
    "conversations": ("conversations",),
    "text": ("text",),
}
"""The usual names of lists of texts for each format column.

The texts are the user's and the assistant's alternately.
"""


def is_plain_list(column: str, kind: pa.DataType) -> bool:
    """Return whether a type is a list of texts that suits a format column."""
    return column in NAMES_OF_LISTS and is_texts(kind)


def fits(column: str, kind: pa.DataType) -> bool:
    """Return whether a type suits a format column."""
    check, _ = COLUMN_CHECKS.get(column, (is_text, ""))
    return check(kind)


def describe_need(column: str) -> str:
    """Describe the type that a format column needs."""
    return COLUMN_CHECKS.get(column, (is_text, "text"))[1]
