"""Fields of conversations: the texts in a corpus's columns, as parallel arrays.

Lists of messages are read column by column from Arrow's flat arrays, without a dictionary for each
message.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from transforms.records.column_types import (
    find_wrapper,
    is_exchanges,
    is_pairs,
    is_segments,
    is_text,
    is_texts,
)
from transforms.records.columns import take_column, take_item
from transforms.records.formats import Layout
from transforms.records.json_columns import has_values
from transforms.records.json_kinds import ANSWER, SEGMENT
from transforms.records.json_messages import MESSAGE, STRUCTURED
from transforms.records.json_texts import encode_calls
from transforms.records.parts import (
    CHANNELS_OF_FIELDS,
    CONTENTS,
    EXCHANGE_FIELDS,
    MEDIA,
    ROLE_FIELDS,
    SPEAKER_OF_LABEL,
    SPEAKER_TYPES,
    Part,
    split_field,
)
from transforms.records.plain_values import list_values
from transforms.records.roles import CHANNELS, KNOWN_ROLES, find_channel, normalise_role

CODES = {name: code for code, name in enumerate(CHANNELS)}

DATA = r"\A\s*[\[{<]"
"""The beginning of a text that is JSON or is enclosed in tags, as tool calls are."""

SPEAKERS = {
    "system": "system",
    **dict.fromkeys(("instruction", "input", "prompt"), "user"),
    **dict.fromkeys(("messages", "conversations", "history"), ""),
}
"""The default role in these columns. In other columns, it is `assistant`."""

READING_ORDER = (
    "system",
    "history",
    "instruction",
    "input",
    "prompt",
    "messages",
    "conversations",
    "thinking",
    "completion",
    "output",
    "chosen",
    "rejected",
    "rejected_response",
    "text",
)
"""The columns of all formats, in reading order."""

TURNS = ("messages", "conversations")
"""The columns that hold a whole conversation."""


SPEAKERS_BY_TYPE = pa.array(sorted(SPEAKER_TYPES))


class FieldPath(NamedTuple):
    """A field's path, with `[*]` in place of a message's index."""

    column: str
    below: str = ""

    def format_path(self, message: int) -> str:
        """Return the path with a message's index, such as `messages[2].content`."""
        return self.column + self.below.replace("[*]", f"[{message}]", 1)


class FieldValues(NamedTuple):
    """One field's texts as parallel arrays, with a null where there is no text.

    All arrays but `text` (large_string) are int64. Roles and fields are codes from `Codes`, and
    channels are indices into `CHANNELS`.
    """

    rows: np.ndarray
    messages: np.ndarray
    role_codes: np.ndarray
    channel_codes: np.ndarray
    field_codes: np.ndarray
    text: pa.Array


class CodeTable(dict[Any, int]):
    """Codes for names, numbered from 0 in order of appearance."""

    def __missing__(self, name: Any) -> int:
        self[name] = len(self)
        return self[name]


class Codes(NamedTuple):
    """The codes of a table's roles and field paths."""

    roles: CodeTable
    fields: CodeTable


class _Turns(NamedTuple):
    """A column's flattened messages: their rows, their indices in the row, and role codes.

    `channel_codes` are the channels that the roles imply, and `below` is the path from the column
    to a message.
    """

    column: str
    below: str
    rows: np.ndarray
    messages: np.ndarray
    role_codes: np.ndarray
    channel_codes: np.ndarray


def read_fields(table: pa.Table, layout: Layout, codes: Codes) -> list[list[FieldValues]]:
    """Return each column's fields, in reading order.

    Roles and field paths are numbered in `codes`.
    """
    columns = [
        list(_read_column(take_column(table, layout.columns[name]), name, layout, codes))
        for name in READING_ORDER
        if name in layout.columns
    ]
    if "role" not in layout.columns:
        return columns
    speakers = _read_speakers(take_column(table, layout.columns["role"]), codes.roles)
    return [[_assign_speakers(field, *speakers) for field in column] for column in columns]


def _read_speakers(names: pa.ChunkedArray, codes: CodeTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of each row's role and of the role's channel.

    A name that isn't a known role counts as the assistant.
    """
    encoded = _combine_chunks(names).cast(pa.large_string()).dictionary_encode()
    known = [name if is_role(name) else None for name in encoded.dictionary.to_pylist()]
    roles = pa.array(known, pa.large_string()).take(encoded.indices)
    return _encode_roles(roles, "assistant", codes)


def is_role(name: str | None) -> bool:
    """Return whether a name is a known role."""
    return normalise_role(name) in KNOWN_ROLES


def _assign_speakers(
    field: FieldValues, role_codes: np.ndarray, channel_codes: np.ndarray
) -> FieldValues:
    """Return a field with the role and channel of each row."""
    channels = _find_channels(channel_codes[field.rows], field.channel_codes, field.text)
    return field._replace(role_codes=role_codes[field.rows], channel_codes=channels)


def _read_column(
    column: pa.ChunkedArray, name: str, layout: Layout, codes: Codes
) -> Iterator[FieldValues]:
    """Yield a column's fields: its texts, or its messages' fields."""
    array, actual = _combine_chunks(column), layout.columns[name]
    kind, speaker = array.type, SPEAKERS.get(name, "assistant")
    if not pa.types.is_nested(kind):
        numbers = np.arange(len(array)), np.zeros(len(array), np.int64)
        yield _read_texts(array, FieldPath(actual), numbers, name, speaker, codes)
    elif pa.types.is_struct(kind):
        numbers = np.arange(len(array)), np.zeros(len(array), np.int64)
        roles = _read_types(array)
        yield from _read_messages(array, FieldPath(actual), numbers, speaker, codes, roles)
    elif is_texts(kind):
        numbers = _number_messages(array)
        path = FieldPath(actual, "[*]")
        texts = _read_texts(array.flatten(), path, numbers, name, speaker, codes)
        yield _alternate_speakers(texts, codes.roles) if name in TURNS else texts
    elif is_pairs(kind):
        yield from _read_pairs(array, actual, codes)
    elif is_exchanges(kind):
        yield from _read_exchanges(array, actual, codes)
    elif wrapper := find_wrapper(kind):
        path, items = FieldPath(actual, f"[*].{wrapper}"), array.flatten()
        flat, roles = _get_field(items, wrapper), _read_types(items)
        yield from _read_messages(flat, path, _number_messages(array), speaker, codes, roles)
    else:
        path, flat = FieldPath(actual, "[*]"), array.flatten()
        roles = _read_labels(flat) if name in TURNS and is_segments(kind) else _read_types(flat)
        yield from _read_messages(flat, path, _number_messages(array), speaker, codes, roles)


def _read_types(flat: Any) -> pa.Array | None:
    """Return the roles that the messages' types imply, or None without types."""
    if flat.type.get_field_index("type") < 0 or not is_text(flat.type.field("type").type):
        return None
    types = pc.replace_substring_regex(_get_field(flat, "type").cast(pa.string()), "Chunk$", "")
    return pc.if_else(pc.is_in(types, SPEAKERS_BY_TYPE), types, pa.scalar(None, pa.string()))


def _read_labels(flat: Any) -> pa.Array:
    """Return the roles that an Axolotl row's labels imply."""
    return pc.if_else(_get_field(flat, "label"), SPEAKER_OF_LABEL[True], SPEAKER_OF_LABEL[False])


def _alternate_speakers(field: FieldValues, codes: CodeTable) -> FieldValues:
    """Return a field whose texts belong to the user and the assistant alternately."""
    speakers = np.array([codes["user"], codes["assistant"]])
    return field._replace(role_codes=speakers[field.messages % 2])


def _read_texts(
    texts: Any,
    path: FieldPath,
    numbers: tuple[np.ndarray, np.ndarray],
    name: str,
    speaker: str,
    codes: Codes,
) -> FieldValues:
    """Return one speaker's texts as a field."""
    zeros = np.zeros(len(texts), np.int64)
    turns = _Turns(*path, *numbers, zeros + codes.roles[speaker], zeros)
    channel = "thinking" if name == "thinking" else "answer"
    return _build_field(turns, channel, codes.fields[path], texts)


def _read_pairs(pairs: Any, actual: str, codes: Codes) -> Iterator[FieldValues]:
    """Yield the user's texts and then the assistant's texts of earlier turns, given as pairs."""
    flat, numbers = pairs.flatten(), _number_messages(pairs)
    for index, speaker in enumerate(("user", "assistant")):
        path = FieldPath(actual, f"[*][{index}]")
        yield _read_texts(take_item(flat, index), path, numbers, "history", speaker, codes)


def _read_exchanges(exchanges: Any, actual: str, codes: Codes) -> Iterator[FieldValues]:
    """Yield the texts of exchanges, field by field."""
    flat, numbers = exchanges.flatten(), _number_messages(exchanges)
    present = {item.name for item in flat.type if is_text(item.type)}
    for name, speaker in EXCHANGE_FIELDS.items():
        if name in present and has_values(flat.field(name)):
            path = FieldPath(actual, f"[*].{name}")
            yield _read_texts(_get_field(flat, name), path, numbers, "", speaker, codes)


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
    """Return the channel codes of texts. An answer takes the channel of its role.

    In a turn that calls a tool, text that doesn't look like data is an answer.
    """
    channels = np.where(channels == CODES["answer"], of_roles, channels)
    calls = (channels == CODES["tool"]) & (of_roles == CODES["tool"])
    if calls.any():
        is_data = pc.fill_null(pc.match_substring_regex(texts, DATA), False)
        channels[calls & ~is_data.to_numpy(zero_copy_only=False)] = CODES["answer"]
    return channels


def _read_messages(
    flat: Any,
    path: FieldPath,
    numbers: tuple[np.ndarray, np.ndarray],
    speaker: str,
    codes: Codes,
    roles: pa.Array | None = None,
) -> Iterator[FieldValues]:
    """Yield the messages' fields: reasoning, contents, tool calls.

    `roles` are the roles of messages without a role of their own.
    """
    present = {item.name: item.type for item in flat.type}
    contents = _read_contents(flat, present)
    own = _read_roles(flat, present, contents)
    roles = own if roles is None else pc.coalesce(own.cast(roles.type), roles)
    turns = _Turns(*path, *numbers, *_encode_roles(roles, speaker, codes.roles))
    structured = _decode_structured(flat)
    for item, channel in CHANNELS_OF_FIELDS.items():
        if item in contents:
            yield from _read_values(turns, item, channel, contents[item], codes)
        elif item in present and item not in CONTENTS and has_values(flat.field(item)):
            yield from _read_values(turns, item, channel, _get_field(flat, item), codes)
        if item in structured:
            yield _read_parts(turns, item, structured[item], codes)


def _read_values(
    turns: _Turns, item: str, channel: str, values: Any, codes: Codes
) -> Iterator[FieldValues]:
    """Yield the texts of one message field."""
    path = FieldPath(turns.column, f"{turns.below}.{item}")
    if is_text(values.type):
        if item != MEDIA:
            yield _build_field(turns, channel, codes.fields[path], values)
    elif channel == "tool":
        calls = [encode_calls(value) for value in list_values(values)]
        yield _build_field(turns, channel, codes.fields[path], pa.array(calls, pa.large_string()))
    elif pa.types.is_nested(values.type):
        found = [
            (index, part)
            for index, value in enumerate(list_values(values))
            for part in split_field(item, value)
        ]
        yield _read_parts(turns, item, found, codes)


def _number_messages(column: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the row, and the index in the row, of each message in a list column."""
    counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def _read_contents(flat: pa.StructArray, present: Mapping[str, pa.DataType]) -> dict[str, Any]:
    """Return contents, keyed by field. A message's first nonempty content hides later contents."""
    contents: dict[str, Any] = {}
    hidden = None
    for name in CONTENTS:
        if name not in present or not has_values(flat.field(name)):
            continue
        if is_text(present[name]) or pa.types.is_nested(present[name]):
            values = _get_field(flat, name)
            filled = _is_filled(values)
            if hidden is not None:
                values = pc.if_else(hidden, pa.scalar(None, values.type), values)
            contents[name] = values
            hidden = filled if hidden is None else pc.or_(hidden, filled)
    return contents


def _read_roles(
    flat: pa.StructArray, present: Mapping[str, pa.DataType], contents: Container[str]
) -> Any:
    """Return each message's role from its first nonempty role field.

    In a message with `value` but no `content`, `from` is the role and `role` means something else.
    """
    names = [
        name
        for name in ROLE_FIELDS
        if name in present and is_text(present[name]) and has_values(flat.field(name))
    ]
    if "value" in contents and "content" not in contents:
        names.sort(key=lambda name: name != "from")
    roles = [_get_field(flat, name) for name in names]
    if len(roles) < 2:
        return roles[0] if roles else pa.nulls(len(flat), pa.string())
    filled = (pc.if_else(_is_filled(role), role, None) for role in roles)
    return pc.coalesce(*(role.cast(pa.large_string()) for role in filled))


def _is_filled(values: Any) -> pa.BooleanArray:
    """Return a mask of the values that aren't null or empty."""
    if pa.types.is_list(values.type) or pa.types.is_large_list(values.type):
        return pc.fill_null(pc.greater(pc.list_value_length(values), 0), False)
    if not is_text(values.type):
        return pc.is_valid(values)
    return pc.and_(pc.is_valid(values), pc.fill_null(pc.not_equal(values, ""), False))


def _get_field(flat: pa.StructArray, name: str) -> Any:
    """Return a field of a struct array, with nulls for null structs."""
    return flat.field(name) if not flat.null_count else pc.struct_field(flat, name)


def _encode_roles(roles: pa.Array, speaker: str, codes: CodeTable) -> tuple[np.ndarray, np.ndarray]:
    """Return the codes of the normalised roles and of their channels.

    A missing role becomes `speaker`, and so does every role in a system prompt.
    """
    if not is_text(roles.type) or speaker == "system":
        return np.full(len(roles), codes[speaker]), np.zeros(len(roles), np.int64)
    encoded = roles.cast(pa.large_string()).dictionary_encode(null_encoding="encode")
    names = encoded.dictionary.to_pylist()
    indices = encoded.indices.to_numpy(zero_copy_only=False)
    known = np.array([codes[normalise_role(name) or speaker] for name in names], np.int64)
    channels = np.array([CODES[find_channel(name)] for name in names], np.int64)
    return (known[indices], channels[indices]) if names else (known, channels)


def _decode_structured(flat: pa.StructArray) -> dict[str, list[tuple[int, Part]]]:
    """Return the parts of JSON Lines messages, keyed by field, with message indices."""
    found: dict[str, list[tuple[int, Part]]] = {}
    if flat.type in (MESSAGE, ANSWER, SEGMENT) and has_values(flat.field(STRUCTURED)):
        for index, text in enumerate(_get_field(flat, STRUCTURED).to_pylist()):
            for name, *part in orjson.loads(text) if text else ():
                found.setdefault(name, []).append((index, Part(*part)))
    return found


def _read_parts(
    turns: _Turns, item: str, parts: Sequence[tuple[int, Part]], codes: Codes
) -> FieldValues:
    indices = np.array([index for index, _ in parts], np.int64)
    below = [f"{turns.below}.{item}{part.below}" for _, part in parts]
    channels = np.array([CODES[part.channel] for _, part in parts], np.int64)
    texts = pa.array([encode_calls(part.value) for _, part in parts], pa.large_string())
    roles = turns.role_codes[indices]
    for position, (_, part) in enumerate(parts):
        if part.role:
            roles[position] = codes.roles[part.role]
    return FieldValues(
        turns.rows[indices],
        turns.messages[indices],
        roles,
        _find_channels(turns.channel_codes[indices], channels, texts),
        np.array([codes.fields[FieldPath(turns.column, path)] for path in below], np.int64),
        texts,
    )
