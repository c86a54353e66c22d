"""Conversations taken apart: every turn and channel of a shard's rows, with its place in the row it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import pyarrow as pa

from schemas.digests import content_digests_by_row
from transforms.formats import Layout

ROLES = {
    "human": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "bot": "assistant",
}
ROLES |= {"function": "tool", "observation": "tool", "function_response": "tool", "developer": "system"}
"""Names of roles in other formats, and what they mean in `messages`."""

THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking")
THINKING = re.compile(r"<(think|thinking)>(.*?)(?:</\1>|\Z)|\A((?:(?!<think).)*?)</think(?:ing)?>", re.DOTALL)
"""A reasoning block; one that never closes reaches to the end, one that never opens begins at the start."""


@dataclass
class Segments:
    """Parallel lists, one entry a segment, in row order.

    `rows` index the shard's table; `paths` name the field in the row; `starts` are the characters of that field before
    the segment, so that `starts + offset` is a place in the field as the trainer sees it.
    """

    rows: list[int] = field(default_factory=list)
    roles: list[str] = field(default_factory=list)
    channels: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, row: int, role: str, path: str, text: str | None, channel: str = "answer") -> None:
        """Append a field's text, its reasoning blocks apart."""
        if not text:
            return
        if channel != "answer" or "think" not in text or "<" not in text:
            self._append(row, role, channel, path, 0, text)
            return
        at = 0
        for block in THINKING.finditer(text):
            inner = 2 if block.group(2) is not None else 3
            self._append(row, role, "answer", path, at, text[at : block.start()])
            self._append(row, role, "thinking", path, block.start(inner), block.group(inner))
            at = block.end()
        self._append(row, role, "answer", path, at, text[at:])

    def _append(self, row: int, role: str, channel: str, path: str, start: int, text: str) -> None:
        if not text or text.isspace():
            return
        self.rows.append(row)
        self.roles.append(role)
        self.channels.append(channel)
        self.paths.append(path)
        self.starts.append(start)
        self.texts.append(text)

    def of_rows(self, rows: Sequence[int]) -> Segments:
        """Return the segments of some rows, these numbered anew from 0."""
        number = {row: at for at, row in enumerate(rows)}
        places = [place for place, row in enumerate(self.rows) if row in number]
        return Segments(
            [number[self.rows[place]] for place in places],
            [self.roles[place] for place in places],
            [self.channels[place] for place in places],
            [self.paths[place] for place in places],
            [self.starts[place] for place in places],
            [self.texts[place] for place in places],
        )

    def in_scope(self, roles: Iterable[str], channels: Iterable[str]) -> list[int]:
        """Return the places of the segments with these roles and channels."""
        wanted_roles, wanted_channels = set(roles), set(channels)
        return [
            place
            for place, (role, channel) in enumerate(zip(self.roles, self.channels, strict=True))
            if role in wanted_roles and channel in wanted_channels
        ]


def segments_of(table: pa.Table, layout: Layout) -> Segments:
    """Take the conversations of every row apart."""
    segments = Segments()
    columns = [_turns(table, name, actual) for name, actual in _ordered(layout)]
    for row, parts in enumerate(zip(*columns, strict=True)):
        for turns in parts:
            for role, path, text, channel in turns:
                if channel == "answer" and text and ("think" not in text or "<" not in text):
                    if not text.isspace():  # the common case, spared a call
                        segments.rows.append(row)
                        segments.roles.append(role)
                        segments.channels.append(channel)
                        segments.paths.append(path)
                        segments.starts.append(0)
                        segments.texts.append(text)
                else:
                    segments.add(row, role, path, text, channel)
    return segments


Turn = tuple[str, str, str | None, str]
"""Role, path, text and channel of one field."""


def _ordered(layout: Layout) -> Iterator[tuple[str, str]]:
    order = ("instruction", "input", "prompt", "messages", "conversations", "completion", "output", "chosen", "rejected", "text")
    return ((name, layout.columns[name]) for name in order if name in layout.columns)


def _turns(table: pa.Table, name: str, actual: str) -> list[list[Turn]]:
    column = table.column(actual).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        return _chat_turns(column, actual)
    role = "user" if name in ("instruction", "input", "prompt") else "assistant"
    return [[(role, actual, text, "answer")] for text in column.to_pylist()]


def _chat_turns(column: Any, name: str) -> list[list[Turn]]:
    """Read a list of messages column by column: Arrow's flat arrays, not one dictionary a message."""
    flat = column.flatten()
    fields = [item.name for item in flat.type]
    role_name, content_name = ("role", "content") if "role" in fields else ("from", "value")
    roles = [ROLES.get(role, role) for role in map(_lowered, _field(flat, role_name).to_pylist())]
    contents = _field(flat, content_name).to_pylist()
    thinking = [(item, _field(flat, item).to_pylist()) for item in THINKING_FIELDS if item in fields]
    calls = _field(flat, "tool_calls").to_pylist() if "tool_calls" in fields else None
    counts = column.value_lengths().fill_null(0).to_pylist()
    paths = [f"{name}[{place}]." for place in range(max(counts, default=0))]
    plain = [path + content_name for path in paths]
    result, at = [], 0
    for count in counts:
        turns: list[Turn] = []
        for place in range(count):
            content = contents[at]
            for item, values in thinking:  # before the answer, where a <think> block stands as well
                if isinstance(values[at], str):
                    turns.append((roles[at], paths[place] + item, values[at], "thinking"))
            if type(content) is str:
                turns.append((roles[at], plain[place], content, "answer"))
            else:
                turns += _parts(roles[at], plain[place], content)
            if calls and calls[at]:
                turns.append((roles[at], paths[place] + "tool_calls", _json(calls[at]), "tool"))
            at += 1
        result.append(turns)
    return result


def _field(flat: pa.StructArray, name: str) -> Any:
    return flat.field(name) if not flat.null_count else pa.compute.struct_field(flat, name)


def _lowered(role: Any) -> str:
    return role.lower() if isinstance(role, str) else ""


def _parts(role: str, path: str, content: Any) -> list[Turn]:
    if content is None:
        return []
    parts = content if isinstance(content, list) else [content]
    return [turn for place, part in enumerate(parts) for turn in _part(role, f"{path}[{place}]", part)]


def _part(role: str, path: str, part: Any) -> list[Turn]:
    """Read a typed part: its text, or its reasoning; images and the like have no text and no segment."""
    if isinstance(part, str):
        return [(role, path, part, "answer")]
    if not isinstance(part, dict):
        return []
    thinking = part.get("type") in ("thinking", "reasoning")
    return [
        (role, f"{path}.{key}", part[key], "thinking" if thinking or key == "thinking" else "answer")
        for key in ("thinking", "text")
        if isinstance(part.get(key), str)
    ]


def _json(calls: Any) -> str:
    return orjson.dumps(_present(calls), option=orjson.OPT_SORT_KEYS, default=str).decode()


def _present(value: Any) -> Any:
    """Leave out null fields: in Arrow they may stand in a struct only because another row has them."""
    if isinstance(value, dict):
        return {name: _present(below) for name, below in value.items() if below is not None}
    return [_present(below) for below in value] if isinstance(value, list) else value


def content_digests(table: pa.Table, segments: Segments, layout: Layout) -> list[str]:
    """Digest every row's canonical content; for preference pairs the side is part of it.

    Text is stripped of surrounding white space, so that a format's own padding doesn't count.
    """
    roles = segments.roles
    if layout.format == "preference":
        sides = {layout.columns.get(side): f"{side}/" for side in ("chosen", "rejected")}
        roles = [sides.get(path.split("[", 1)[0], "") + role for path, role in zip(segments.paths, roles, strict=True)]
    return content_digests_by_row(table.num_rows, zip(segments.rows, roles, segments.channels, segments.texts, strict=True))


def prompt_of(segments: Segments, places: Iterable[int]) -> list[dict[str, str]]:
    """Return the messages before the last answer of one row, given its segments' places.

    Columns after the first that has an answer don't count: the other side of a pair repeats the prompt.
    """
    turns: list[tuple[str, str]] = []
    answered = None
    for place in places:
        column = segments.paths[place].split("[", 1)[0]
        if answered not in (None, column):
            break
        answered = column if segments.roles[place] == "assistant" else answered
        if segments.channels[place] == "answer":
            turns.append((segments.roles[place], segments.texts[place]))
    while turns and turns[-1][0] == "assistant":
        turns.pop()
    return [{"role": role, "content": text} for role, text in turns]
