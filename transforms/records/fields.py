"""Fields of conversations: the texts in a corpus's columns, as parallel arrays.

Lists of messages are read column by column from Arrow's flat arrays, without a dictionary for each
message.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.records.formats import Layout, is_text, is_turns
from transforms.records.json_columns import MESSAGES, PARTS_SUFFIX, encode_calls, has_values
from transforms.records.roles import CHANNELS, find_channel, normalise_role

PAIRS = (("role", "content"), ("from", "value"))
"""The two spellings of a message's fields: its role, then its content."""

THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking")

CODES = {name: code for code, name in enumerate(CHANNELS)}

DATA = r"\A\s*[\[{<]"
"""The beginning of a text that is JSON or in tags, as the text of a call is."""

ASKING_COLUMNS = ("instruction", "input", "prompt")
"""The columns of formats that hold the user's text."""

READING_ORDER = (
    *ASKING_COLUMNS,
    "messages",
    "conversations",
    "completion",
    "output",
    "chosen",
    "rejected",
    "text",
)
"""The columns of all formats, in the order in which a conversation is read."""


class FieldPath(NamedTuple):
    """The path of a field, the same for every row: a column and, for lists, a path in a message."""

    column: str
    inside: str | None = None

    def format_path(self, message: int) -> str:
        """Return the path in a row, such as `messages[2].content`, for the message's index."""
        return self.column if self.inside is None else f"{self.column}[{message}].{self.inside}"


class FieldValues(NamedTuple):
    """The texts of one field as parallel arrays, with a null where a row or message has no text.

    All but `text` (large_string) are int64. Roles and fields are codes of `Codes`, channels are
    indices into `CHANNELS`.
    """

    rows: np.ndarray
    messages: np.ndarray
    role_codes: np.ndarray
    channel_codes: np.ndarray
    field_codes: np.ndarray
    text: pa.Array


class CodeTable(dict[Any, int]):
    """Codes for names: each new name gets the next number."""

    def __missing__(self, name: Any) -> int:
        self[name] = len(self)
        return self[name]


class Codes(NamedTuple):
    """The codes of a table's roles and field paths."""

    roles: CodeTable
    fields: CodeTable


class _Turns(NamedTuple):
    """The messages of a column, flattened: their rows, indices in the row's list and role codes.

    `channel_codes` are those of the messages' contents.
    """

    column: str
    rows: np.ndarray
    messages: np.ndarray
    role_codes: np.ndarray
    channel_codes: np.ndarray


def read_fields(table: pa.Table, layout: Layout, codes: Codes) -> list[list[FieldValues]]:
    """Return the fields of each column that the layout names, in reading order.

    Roles and field paths are numbered in `codes`, in order of appearance.
    """
    return [
        list(_read_column(table.column(layout.columns[name]), name, layout.columns[name], codes))
        for name in READING_ORDER
        if name in layout.columns
    ]


def _read_column(
    column: pa.ChunkedArray, name: str, actual: str, codes: Codes
) -> Iterator[FieldValues]:
    """Yield a column's fields: the column itself, or the fields of its messages."""
    array = _combine_chunks(column)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        yield from _read_messages(array, actual, codes)
        return
    role = codes.roles["user" if name in ASKING_COLUMNS else "assistant"]
    rows = np.arange(len(array))
    zeros = np.zeros(len(rows), np.int64)
    turns = _Turns(actual, rows, zeros, np.full(len(rows), role), zeros)
    yield _build_field(turns, "answer", codes.fields[FieldPath(actual)], array)


def _combine_chunks(column: pa.ChunkedArray) -> Any:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array


def _build_field(turns: _Turns, channel: str, field_code: int, text: pa.Array) -> FieldValues:
    size, text = len(turns.rows), text.cast(pa.large_string())
    return FieldValues(
        turns.rows,
        turns.messages,
        turns.role_codes,
        _find_channels(turns.channel_codes, np.full(size, CODES[channel]), text),
        np.full(size, field_code),
        text,
    )


def _find_channels(of_roles: np.ndarray, channels: np.ndarray, texts: pa.Array) -> np.ndarray:
    """Return the channel codes of texts: an answer has the channel that its turn's role names.

    In a turn that calls a tool, text that isn't written like data is what the assistant says.
    """
    channels = np.where(channels == CODES["answer"], of_roles, channels)
    calls = (channels == CODES["tool"]) & (of_roles == CODES["tool"])
    if calls.any():
        is_data = pc.fill_null(pc.match_substring_regex(texts, DATA), False)
        channels[calls & ~is_data.to_numpy(zero_copy_only=False)] = CODES["answer"]
    return channels


def _read_messages(column: Any, name: str, codes: Codes) -> Iterator[FieldValues]:
    """Yield the fields of a list of messages: reasoning, contents, tool calls."""
    flat = column.flatten()
    present = [item.name for item in flat.type]
    pairs = [pair for pair in PAIRS if is_turns(column.type, *pair)]
    pairs = [pair for pair in pairs if any(map(has_values, map(flat.field, pair)))] or pairs[:1]
    speakers, contents = _read_roles_and_contents(flat, pairs, codes)
    turns = _Turns(name, *_number_messages(column), *speakers)
    for item in THINKING_FIELDS:  # thought precedes the answer, as in a content with <think>
        if item in present and is_text(flat.field(item).type) and has_values(flat.field(item)):
            code = codes.fields[FieldPath(name, item)]
            yield _build_field(turns, "thinking", code, _get_field(flat, item))
    for item, content in contents.items():
        path = FieldPath(name, item)
        if is_text(content.type):
            yield _build_field(turns, "answer", codes.fields[path], content)
        else:
            yield _read_typed_parts(turns, path, content.to_pylist(), codes)
        if column.type == MESSAGES:  # of JSON Lines
            yield _read_typed_parts(turns, path, _decode_parts(flat, item), codes)
    if "tool_calls" in present and has_values(flat.field("tool_calls")):
        code = codes.fields[FieldPath(name, "tool_calls")]
        yield _build_field(turns, "tool", code, _read_calls(_get_field(flat, "tool_calls")))


def _number_messages(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the row of every message of a list column, and its index in the row's list."""
    counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def _read_roles_and_contents(
    flat: pa.StructArray, pairs: Sequence[tuple[str, str]], codes: Codes
) -> tuple[tuple[np.ndarray, np.ndarray], dict[str, Any]]:
    """Return the messages' role codes and the channel codes of roles, and the contents by field.

    Where messages have both spellings, a role and a content are each taken from the first spelling
    that isn't empty.
    """
    roles = [_get_field(flat, role) for role, _ in pairs]
    contents = {content: _get_field(flat, content) for _, content in pairs}
    if len(pairs) > 1:
        filled = (pc.if_else(_is_filled(role), role, None) for role in roles)
        roles = [pc.coalesce(*(role.cast(pa.large_string()) for role in filled))]
        (_, first), (name, second) = contents.items()
        contents[name] = pc.if_else(_is_filled(first), pa.scalar(None, second.type), second)
    return _encode_roles(roles[0], codes.roles), contents


def _is_filled(values: Any) -> pa.BooleanArray:
    """Return which values are neither null nor an empty text."""
    if not is_text(values.type):
        return pc.is_valid(values)
    return pc.and_(pc.is_valid(values), pc.fill_null(pc.not_equal(values, ""), False))


def _get_field(flat: pa.StructArray, name: str) -> Any:
    """Return a field of a struct array, with nulls where the struct is null."""
    return flat.field(name) if not flat.null_count else pc.struct_field(flat, name)


def _encode_roles(roles: pa.Array, codes: CodeTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of the normalised roles, and those of the channels that the roles name.

    A role that isn't text counts as missing.
    """
    if not is_text(roles.type):
        return np.full(len(roles), codes[""]), np.zeros(len(roles), np.int64)
    encoded = roles.cast(pa.large_string()).dictionary_encode(null_encoding="encode")
    names = encoded.dictionary.to_pylist()
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    known = np.array([codes[normalise_role(name)] for name in names], np.int64)
    channels = np.array([CODES[find_channel(name)] for name in names], np.int64)
    return (known[indices], channels[indices]) if names else (known, channels)


def _read_typed_parts(
    turns: _Turns, path: FieldPath, contents: Sequence[Any], codes: Codes
) -> FieldValues:
    """Return the texts of contents that are lists of typed parts, part after part."""
    parts = [
        (index, codes.fields[FieldPath(path.column, f"{path.inside}{below}")], text, channel)
        for index, content in enumerate(contents)
        for below, text, channel in _split_parts(content)
    ]
    indices = np.array([index for index, *_ in parts], np.int64)
    channels = np.array([CODES[channel] for *_, channel in parts], np.int64)
    texts = pa.array([text for _, _, text, _ in parts], pa.large_string())
    return FieldValues(
        turns.rows[indices],
        turns.messages[indices],
        turns.role_codes[indices],
        _find_channels(turns.channel_codes[indices], channels, texts),
        np.array([code for _, code, _, _ in parts], np.int64),
        texts,
    )


def _decode_parts(flat: pa.StructArray, content: str) -> list[Any]:
    """Return the contents that are typed parts, with None for the others."""
    parts = _get_field(flat, f"{content}{PARTS_SUFFIX}")
    texts = parts.to_pylist() if has_values(parts) else ()
    return [text and orjson.loads(text) for text in texts]


def _split_parts(content: Any) -> Iterator[tuple[str, str, str]]:
    """Yield the path below the content, the text and the channel of each part that has a text."""
    parts = (
        [(f"[{index}]", part) for index, part in enumerate(content)]
        if isinstance(content, list)
        else [("", content)]
    )
    for path, part in parts:
        if isinstance(part, str):
            yield path, part, "answer"
        elif isinstance(part, dict):
            thinking = part.get("type") in ("thinking", "reasoning")
            for key in ("thinking", "text"):
                if isinstance(part.get(key), str):
                    channel = "thinking" if thinking or key == "thinking" else "answer"
                    yield f"{path}.{key}", part[key], channel


def _read_calls(calls: Any) -> pa.Array:
    """Return tool calls as JSON; calls that are text already stay as they are."""
    if is_text(calls.type):
        return calls
    return pa.array([encode_calls(item) for item in calls.to_pylist()], pa.large_string())
