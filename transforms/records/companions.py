"""Companions: the fields that a trainer reads besides the scored texts.

Companions are columns such as `system`, `images` or `label`, message fields such as `tool_call_id`
or `weight`, and content parts that aren't text. Rows with different companions aren't duplicates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import pyarrow as pa
import re2

from schemas.digests import digest_bytes
from schemas.outputs import CLEAN_EXTRA
from transforms.records.column_types import WRAPPERS
from transforms.records.columns import find_type, get_value, is_list, list_heads, take_column
from transforms.records.flags import WEIGHTS, read_weight
from transforms.records.json_columns import has_values
from transforms.records.json_texts import encode_bytes, encode_json
from transforms.records.parts import CONTENTS, ROLE_FIELDS, TOOL_CALLS, find_speaker_type
from transforms.records.plain_values import list_rows

PROMPT_COLUMNS = frozenset(
    (
        *("prompt", "prompts", "instruction", "instructions", "input", "inputs", "query"),
        *("question", "problem", "context", "contexts", "passage", "document", "documents"),
        *("history", "messages", "conversation", "conversations", "choices", "options"),
    )
)
"""Columns that hold a prompt or part of a prompt, unless the format reads them."""

ROW_WEIGHTS = frozenset(("weight", "loss_weight", "sample_weight", "train", "trainable"))
"""Columns that weight a whole row in the loss or leave it out; a weight of 1 is no companion."""

TARGETS = frozenset(
    (
        *("ground_truth", "reference_answer", "solution", "solutions", "answer", "answers"),
        *("target", "targets", "reward_model", "verification_info"),
    )
)
"""Columns that a reward is computed from, unless the format reads them."""

COLUMNS = frozenset(
    (
        *PROMPT_COLUMNS,
        *ROW_WEIGHTS,
        *TARGETS,
        *("system", "system_prompt", "system_message", "developer", "label", "labels", "kto_tag"),
        *("tools", "functions", "available_tools", "tool_schemas", "chat_template_kwargs"),
        *("preference", "margin", "enable_thinking", "response_format", "objects", "file_name"),
        *("file_names", "reasoning_effort", "loss_mask", "completion_mask", "assistant_masks"),
    )
)
"""Columns that trainers read besides the format's text."""

MESSAGE_FIELDS = frozenset(
    (
        *("name", "tool_call_id", "tool_name", "function_call", "recipient", "tools", "functions"),
        *("weight", "train", "training", "trainable", "loss", "loss_weight", "loss_mask", "mask"),
        *("refusal", "prefix", "prefill", "end_turn", "documents", "train_detail"),
        *("arguments", "actions", "is_error", "channel", "content_type", "additional_kwargs"),
    )
)
"""Message fields that trainers read besides the text."""

MEDIA = (
    "(?:images?|pictures?|photos?|img|screenshots?|videos?|frames|audios?|speech|sounds?"
    "|wavs?|pdfs?|pixel_values)(?:[_-].*)?"
)
"""Names of media columns and fields, such as `image_url`."""

TOOLS = '[^"]*(?:tool|function)[^"]*'
"""Names of columns and fields about tools, such as `tool_choice`."""

CALLS = f'{TOOLS}|[^"]*(?:call_?id|invocation)[^"]*'
"""Names of message fields about tool calls, such as `toolCallId`."""

ESCAPED_KEY = r'\\u[0-9A-Fa-f]{4}(?:[^"\\]|\\.)*"\s*:'
"""A pattern for a key in JSON with an escaped letter, as in `"\\u0074ools"`, which is `tools`."""

SCORED_CALLS = frozenset((TOOL_CALLS, "tool_plan"))
"""The tool fields that are scored as text."""

UNREAD_PART_FIELDS = frozenset(
    ("text", "thinking", "cache_control", "signature", "citations", "annotations", "logprobs")
)
"""The part fields that hold text or that no trainer reads."""

TEXT_PARTS = frozenset(("text", "input_text", "output_text", "thinking", "reasoning"))
"""The types of parts that hold only text."""

LONGEST_VALUE = 200
"""The longest text in a companion, in characters. Longer texts become their SHA-256."""

MOST_LEVELS = 32
"""The deepest nesting in a companion. Deeper values are hashed."""

FLAGS = re.IGNORECASE | re.ASCII  # a line is searched as bytes, without other letters' cases
IS_MEDIA = re.compile(MEDIA, FLAGS)
IS_ABOUT_TOOLS = re.compile("tool|function", FLAGS)
IS_ABOUT_CALLS = re.compile("tool|function|call_?id|invocation", FLAGS)

NAMES_REMEMBERED = 4096
LONGEST_NAME = 200
"""The longest name of a column or a field that is remembered, in characters.

A longer key is really data, and remembering it would take as much memory as the data.
"""

ROLE_NAMES = frozenset(ROLE_FIELDS)


class Companions(NamedTuple):
    """The companions of a row: columns keyed by name, and message fields keyed by message.

    The key of a message is its column, under the format's name, and its index.
    """

    columns: dict[str, Any]
    messages: dict[tuple[str, int], dict[str, Any]]

    def encode(self) -> str:
        """Return the companions as canonical JSON.

        `messages` and `conversations` count as the same column.
        """
        fields = [
            ["" if column in ("messages", "conversations") else column, index, found]
            for (column, index), found in sorted(self.messages.items())
        ]
        return encode_json(_simplify({"columns": self.columns, "messages": fields}))

    def has_prompt(self) -> bool:
        """Return whether a column holds a prompt or part of a prompt."""
        return any(name in PROMPT_COLUMNS or is_media(name) for name in self.columns)


def _remember_short(check: Callable[[str], bool]) -> Callable[[str], bool]:
    """Return a check of names that remembers its results, but not those of long names."""
    known = lru_cache(NAMES_REMEMBERED)(check)
    return lambda name: known(name) if len(name) <= LONGEST_NAME else check(name)


@_remember_short
def is_media(name: str) -> bool:
    """Return whether a column or field of this name holds images, sound or video."""
    return IS_MEDIA.fullmatch(name) is not None


def find_in_lines(
    lines: Sequence[bytes], parse: Callable[[bytes], Mapping[str, Any]], columns: Mapping[str, str]
) -> dict[int, Companions]:
    """Return the companions of each JSON line that has any, keyed by the line's index.

    `columns` maps the format's columns to the corpus's columns. `parse` is called only on lines
    that may have companions.
    """
    signs = _compile_signs(frozenset(list_heads(columns.values())))
    rows = [(row, parse(line)) for row, line in enumerate(lines) if signs.search(line)]
    return find_in_records(rows, columns)


@cache
def _compile_signs(read: frozenset[str]) -> Any:
    """Return a pattern that matches every JSON line with a companion."""
    own = {name.lower() for name in read} - MESSAGE_FIELDS
    names = sorted((COLUMNS | MESSAGE_FIELDS) - own)
    media = MEDIA.replace(".*", r'[^"]*')
    named = rf'(?i:"(?:{"|".join(names)}|{media}|{CALLS})")\s*:'
    typed = rf'"(?:{"|".join(CONTENTS)})"\s*:\s*[\[{{]'
    return re2.compile(f"{named}|{typed}|{ESCAPED_KEY}".encode())


def find_in_table(table: pa.Table, columns: Mapping[str, str]) -> dict[int, Companions]:
    """Return the companions of each table row that has any, keyed by the row's index."""
    read = list_heads(columns.values())
    messages = [
        name
        for name in columns.values()
        if find_type(table.schema, name) and _may_hold_fields(take_column(table, name))
    ]
    wanted = [
        name
        for name in table.column_names
        if (name in list_heads(messages) if name in read else is_companion(name))
        and has_values(table.column(name))
    ]
    rows = enumerate(list_rows(table.select(wanted))) if wanted else ()
    return find_in_records(rows, columns)


def _may_hold_fields(column: pa.ChunkedArray) -> bool:
    """Return whether a column's messages may have companions."""
    kind = column.type.value_type if is_list(column.type) else column.type
    if not pa.types.is_struct(kind):
        return False
    named = [
        item.name for item in kind if is_message_field(item.name) or pa.types.is_nested(item.type)
    ]
    flat = [chunk.flatten() if is_list(column.type) else chunk for chunk in column.chunks]
    return any(has_values(part.field(name)) for part in flat for name in named)


def find_in_records(
    records: Iterable[tuple[int, Mapping[str, Any]]], columns: Mapping[str, str]
) -> dict[int, Companions]:
    """Return the companions of each record that has any, keyed by row number."""
    found = ((row, describe_companions(record, columns)) for row, record in records)
    return {row: item for row, item in found if item.columns or item.messages}


def describe_companions(record: Mapping[str, Any], columns: Mapping[str, str]) -> Companions:
    """Return the companions of a record."""
    read = list_heads(columns.values())
    own = {
        name: value
        for name, value in record.items()
        if name not in read
        and is_companion(name)
        and not _is_blank(value)
        and not (name.lower() in ROW_WEIGHTS and read_weight(value) in (None, 1))
    }
    fields = {
        (column, index): found
        for column, actual in columns.items()
        for index, message in list_messages(get_value(record, actual))
        if (found := dict(_list_message_fields(message)))
    }
    return Companions(own, fields)


def list_messages(value: Any) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the index and fields of each message in a list, or of a single message.

    An API's choice is replaced with its message.
    """
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        if isinstance(item, dict):
            wrapped = (item[name] for name in WRAPPERS if isinstance(item.get(name), dict))
            typed = "content" in item and find_speaker_type(item)
            inside = item if typed or not ROLE_NAMES.isdisjoint(item) else next(wrapped, item)
            yield index, inside


@_remember_short
def is_companion(name: str) -> bool:
    """Return whether a column with this name is a companion."""
    return name.lower() in COLUMNS or is_media(name) or _contains(IS_ABOUT_TOOLS, name)


@_remember_short
def is_message_field(name: str) -> bool:
    """Return whether trainers read a message field besides the text."""
    if name in MESSAGE_FIELDS or is_media(name):
        return True
    return name not in SCORED_CALLS and _contains(IS_ABOUT_CALLS, name)


def _contains(words: re.Pattern[str], name: str) -> bool:
    return '"' not in name and words.search(name) is not None


def _list_message_fields(message: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in message.items():
        if name in WEIGHTS:
            if (weight := read_weight(value)) not in (None, 1):
                yield name, weight
        elif is_message_field(name) and not _is_blank(value):
            yield name, value
        elif name in CONTENTS and isinstance(value, list | dict):
            parts = list(list_other_parts(value))
            if parts:
                yield name, parts


def list_other_parts(content: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the index and fields of each content part that isn't just text.

    Text fields are left out.
    """
    for index, part in enumerate(content if isinstance(content, list) else [content]):
        if isinstance(part, dict):
            rest = {
                name: value
                for name, value in part.items()
                if not _is_blank(value) and name not in UNREAD_PART_FIELDS
            }
            if rest and not (set(rest) == {"type"} and rest["type"] in TEXT_PARTS):
                yield index, rest


def _is_blank(value: Any) -> bool:
    """Return whether a value is empty: null, white space, or an empty list or object."""
    if isinstance(value, str):
        return not value or value.isspace()
    return value is None or (isinstance(value, list | dict) and not value)


def encode_whole_row(record: Mapping[str, Any]) -> str:
    """Return a record as canonical JSON without the column that congener adds."""
    own = {name: value for name, value in record.items() if name != CLEAN_EXTRA.name}
    return encode_json(_simplify(own))


def _simplify(value: Any, levels: int = MOST_LEVELS) -> Any:
    """Return a value in a form that is the same for every file format.

    Arrow may add null fields or turn integers into floats, so nulls are dropped and whole floats
    become integers. Long texts, and values deeper than `levels`, become their SHA-256.
    """
    if isinstance(value, dict | list | tuple) and not levels:
        return _digest_nested(value)
    if isinstance(value, dict):
        return {
            name: _simplify(below, levels - 1) for name, below in value.items() if below is not None
        }
    if isinstance(value, list | tuple):
        return [_simplify(below, levels - 1) for below in value]
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    if isinstance(value, bytes):
        value = encode_bytes(value)
    if isinstance(value, str):
        value = value.strip()
        return value if len(value) <= LONGEST_VALUE else _digest_text(value)
    return value


def _digest_text(text: str) -> str:
    return digest_bytes(text.encode("utf-8", "surrogatepass"))


def _digest_nested(value: Any) -> str:
    """Return the digest of a value too deep for recursion."""
    parts, waiting = [], [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            parts.append(repr(sorted(item)))
            waiting += [item[name] for name in sorted(item)]
        elif isinstance(item, list | tuple):
            parts.append(f"[{len(item)}]")
            waiting += item
        else:
            parts.append(repr(_simplify(item)))
    return _digest_text("\x1f".join(parts))
