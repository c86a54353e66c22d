"""Conversations taken apart: every turn and channel of a shard's rows, with its place in the row it came from."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from schemas.digests import content_digests_by_row
from transforms.records.formats import Layout, is_text, is_turns

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
ROLES |= {
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "developer": "system",
}
"""Names of roles in other formats, and what they mean in `messages`."""

KNOWN_ROLES = tuple(sorted(set(ROLES.values())))

PAIRS = (("role", "content"), ("from", "value"))
"""The fields of a message that name who speaks and hold what is said."""

ANSWERING = ("messages", "conversations", "completion", "output", "chosen", "rejected", "text")
"""The formats' columns in which a record's answer stands; of a pair the chosen side first."""

CHANNELS = ("answer", "thinking", "tool")

THINKING_FIELDS = ("reasoning_content", "reasoning", "thinking")
THINKING = re.compile(r"<(think|thinking)>(.*?)(?:</\1>|\Z)", re.DOTALL)
OPENED = re.compile(r"<think(?:ing)?>")
CLOSED = re.compile(r"</think(?:ing)?>")
THINKING_SIGNS = (b"<think", b"</think")


def unknown_roles(roles: Iterable[str]) -> list[str]:
    """Return the roles that are none of congener's own: a corpus may use them, but not under a name that means another."""
    return sorted(set(roles) - set(KNOWN_ROLES))


class Place(NamedTuple):
    """Where a kind of field stands in a row: its column and, inside a message of a list, the rest of the path."""

    column: str
    inside: str | None = None

    def path(self, message: int) -> str:
        """Return the path in the row, for the message of that number."""
        return self.column if self.inside is None else f"{self.column}[{message}].{self.inside}"


@dataclass(frozen=True, eq=False)
class Segments:
    """Parallel columns, one entry a segment, in row order.

    `rows` index the shard's table. `starts` are the characters of the field before the segment, so that `starts + offset`
    is a place in the field as the trainer sees it. Roles, channels and fields are numbers (int) into `role_names`,
    `CHANNELS` and `places`; `roles`, `channels`, `paths` and `texts` spell them out.
    """

    rows: np.ndarray
    messages: np.ndarray
    role_codes: np.ndarray
    channel_codes: np.ndarray
    place_codes: np.ndarray
    starts: np.ndarray
    text: pa.LargeStringArray
    role_names: tuple[str, ...]
    places: tuple[Place, ...]
    answering: tuple[str, ...] = ()
    """The columns that answer, in order; the others of the format ask."""

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def roles(self) -> list[str]:
        """Return every segment's role."""
        return [self.role_names[code] for code in self.role_codes.tolist()]

    @cached_property
    def channels(self) -> list[str]:
        """Return every segment's channel."""
        return [CHANNELS[code] for code in self.channel_codes.tolist()]

    @cached_property
    def paths(self) -> list[str]:
        """Return every segment's field in its row."""
        return [self.path(segment) for segment in range(len(self))]

    @cached_property
    def texts(self) -> list[str]:
        """Return every segment's text."""
        found: list[str] = self.text.to_pylist()
        return found

    def path(self, segment: int) -> str:
        """Return the field that a segment stands in."""
        place: Place = self.places[self.place_codes[segment]]
        return place.path(int(self.messages[segment]))

    def of_row(self, row: int) -> range:
        """Return the segments of one row."""
        begin, end = np.searchsorted(self.rows, [row, row + 1]).tolist()
        return range(begin, end)

    def of_rows(self, rows: Sequence[int]) -> Segments:
        """Return the segments of some rows (ascending), these numbered anew from 0."""
        chosen = np.flatnonzero(np.isin(self.rows, rows))
        return replace(self.at(chosen), rows=np.searchsorted(rows, self.rows[chosen]))

    def at(self, places: np.ndarray) -> Segments:
        """Return the segments at these places, in this order."""
        return Segments(
            self.rows[places],
            self.messages[places],
            self.role_codes[places],
            self.channel_codes[places],
            self.place_codes[places],
            self.starts[places],
            _taken(self.text, places),
            self.role_names,
            self.places,
            self.answering,
        )

    def in_scope(self, roles: Iterable[str], channels: Iterable[str]) -> np.ndarray:
        """Return the segments with these roles and channels, by number."""
        wanted_roles, wanted_channels = set(roles), set(channels)
        role_fits = np.array([name in wanted_roles for name in self.role_names], bool)
        channel_fits = np.array([name in wanted_channels for name in CHANNELS], bool)
        return np.flatnonzero(role_fits[self.role_codes] & channel_fits[self.channel_codes])


class _Field(NamedTuple):
    """One field of the rows' conversations before it is looked into: parallel columns, a null text where it has none."""

    rows: np.ndarray
    messages: np.ndarray
    role_codes: np.ndarray
    channel_codes: np.ndarray
    place_codes: np.ndarray
    text: pa.Array


class _Codes(dict[Any, int]):
    """Numbers for names, in order of appearance."""

    def __missing__(self, name: Any) -> int:
        self[name] = len(self)
        return self[name]


@dataclass(frozen=True)
class _Names:
    roles: _Codes
    places: _Codes


def segments_of(table: pa.Table, layout: Layout) -> Segments:
    """Take the conversations of every row apart."""
    names = _Names(_Codes(), _Codes())
    columns = [
        list(_fields(table.column(actual), name, actual, names))
        for name, actual in _ordered(layout)
    ]
    ranks = [rank for rank, fields in enumerate(columns) for _ in fields]
    fields = [field for column in columns for field in column]
    rows, messages, roles, channels, places = (
        np.concatenate([np.asarray(field[at], np.int64) for field in fields])
        if fields
        else np.empty(0, np.int64)
        for at in range(5)
    )
    text = (
        pa.concat_arrays([field.text for field in fields])
        if fields
        else pa.array([], pa.large_string())
    )
    column = (
        np.repeat(np.array(ranks, np.int64), [len(field.rows) for field in fields])
        if fields
        else rows
    )
    spoken = (
        pc.invert(pc.or_(pc.equal(pc.binary_length(text), 0), pc.utf8_is_space(text)))
        .fill_null(False)
        .to_numpy(zero_copy_only=False)
    )
    order = np.lexsort((messages, column, rows))  # stable: a message's fields stay in their order
    order = order[spoken[order]]
    starts = np.zeros(len(rows), np.int64)
    answering = tuple(layout.columns[name] for name in ANSWERING if name in layout.columns)
    whole = Segments(
        rows,
        messages,
        roles,
        channels,
        places,
        starts,
        text,
        tuple(names.roles),
        tuple(names.places),
        answering,
    )
    return _reasoning_apart(whole.at(order))


def _taken(text: pa.Array, order: np.ndarray) -> pa.Array:
    """Take texts, without copying them where all are wanted as they stand."""
    return text if np.array_equal(order, np.arange(len(text))) else text.take(pa.array(order))


def _ordered(layout: Layout) -> Iterator[tuple[str, str]]:
    order = (
        "instruction",
        "input",
        "prompt",
        "messages",
        "conversations",
        "completion",
        "output",
        "chosen",
        "rejected",
        "text",
    )
    return ((name, layout.columns[name]) for name in order if name in layout.columns)


def _fields(column: pa.ChunkedArray, name: str, actual: str, names: _Names) -> Iterator[_Field]:
    """Return a column's fields: the column itself, or those of its messages."""
    array = _whole(column)
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        yield from _message_fields(array, actual, names)
        return
    role = names.roles["user" if name in ("instruction", "input", "prompt") else "assistant"]
    rows = np.arange(len(array))
    yield _plain_field(
        rows,
        np.zeros(len(rows), np.int64),
        np.full(len(rows), role),
        "answer",
        names.places[Place(actual)],
        array,
    )


def _whole(column: pa.ChunkedArray) -> Any:
    array = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):
        return pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    return array


def _plain_field(
    rows: np.ndarray,
    messages: np.ndarray,
    roles: np.ndarray,
    channel: str,
    place: int,
    text: pa.Array,
) -> _Field:
    codes = np.full(len(rows), CHANNELS.index(channel))
    return _Field(
        rows, messages, roles, codes, np.full(len(rows), place), text.cast(pa.large_string())
    )


def _message_fields(column: Any, name: str, names: _Names) -> Iterator[_Field]:
    """Read a list of messages column by column: Arrow's flat arrays, not one dictionary a message."""
    flat = column.flatten()
    inside = [item.name for item in flat.type]
    counts = column.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = np.repeat(np.arange(len(counts)), counts)
    messages = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    roles, contents = _spoken(flat, [pair for pair in PAIRS if is_turns(column.type, *pair)], names)
    for item in THINKING_FIELDS:  # before the answer, where a <think> block stands as well
        if item in inside and is_text(_field(flat, item).type):
            yield _plain_field(
                rows,
                messages,
                roles,
                "thinking",
                names.places[Place(name, item)],
                _field(flat, item),
            )
    for content_name, content in contents.items():
        if is_text(content.type):
            yield _plain_field(
                rows, messages, roles, "answer", names.places[Place(name, content_name)], content
            )
        else:
            yield _typed_parts(
                rows, messages, roles, Place(name, content_name), content.to_pylist(), names
            )
    if "tool_calls" in inside:
        calls = [_json(call) if call else None for call in _field(flat, "tool_calls").to_pylist()]
        yield _plain_field(
            rows,
            messages,
            roles,
            "tool",
            names.places[Place(name, "tool_calls")],
            pa.array(calls, pa.large_string()),
        )


def _spoken(
    flat: pa.StructArray, pairs: Sequence[tuple[str, str]], names: _Names
) -> tuple[np.ndarray, dict[str, Any]]:
    """Return the messages' roles and contents by field; where there are two forms, each of both is taken from the first that fills it."""
    roles = [_field(flat, role) for role, _ in pairs]
    contents = {content: _field(flat, content) for _, content in pairs}
    if len(pairs) > 1:
        roles = [
            pc.coalesce(
                *(pc.if_else(_filled(role), role, None).cast(pa.large_string()) for role in roles)
            )
        ]
        (_, first), (name, second) = contents.items()
        contents[name] = pc.if_else(_filled(first), pa.scalar(None, second.type), second)
    return _role_codes(roles[0], names.roles), contents


def _filled(values: Any) -> pa.BooleanArray:
    """Say which values aren't null and no empty text."""
    return (
        pc.and_(pc.is_valid(values), pc.fill_null(pc.not_equal(values, ""), False))
        if is_text(values.type)
        else pc.is_valid(values)
    )


def _field(flat: pa.StructArray, name: str) -> Any:
    return flat.field(name) if not flat.null_count else pc.struct_field(flat, name)


def _role_codes(roles: pa.Array, codes: _Codes) -> np.ndarray:
    """Number the roles by what they mean in `messages`; one that is no text is empty."""
    if not is_text(roles.type):
        return np.full(len(roles), codes[""])
    coded = roles.cast(pa.large_string()).dictionary_encode(null_encoding="encode")
    known = [
        ROLES.get(role, role)
        for role in ((name or "").lower() for name in coded.dictionary.to_pylist())
    ]
    return (
        np.array([codes[role] for role in known], np.int64)[
            coded.indices.to_numpy(zero_copy_only=False)
        ]
        if known
        else np.empty(0, np.int64)
    )


def _typed_parts(
    rows: np.ndarray,
    messages: np.ndarray,
    roles: np.ndarray,
    place: Place,
    contents: Sequence[Any],
    names: _Names,
) -> _Field:
    """Read contents that are lists of typed parts, one after the other."""
    found = [(at, *part) for at, content in enumerate(contents) for part in _parts(content)]
    ats = np.array([at for at, *_ in found], np.int64)
    places = [names.places[Place(place.column, f"{place.inside}{path}")] for _, path, _, _ in found]
    channels = np.array([CHANNELS.index(channel) for *_, channel in found], np.int64)
    text = pa.array([text for _, _, text, _ in found], pa.large_string())
    return _Field(rows[ats], messages[ats], roles[ats], channels, np.array(places, np.int64), text)


def _parts(content: Any) -> Iterator[tuple[str, str, str]]:
    """Yield path, text and channel of a content's parts; images and the like have no text and no segment."""
    parts = (
        [(f"[{place}]", part) for place, part in enumerate(content)]
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
                    yield (
                        f"{path}.{key}",
                        part[key],
                        "thinking" if thinking or key == "thinking" else "answer",
                    )


def _json(calls: Any) -> str:
    return orjson.dumps(_present(calls), option=orjson.OPT_SORT_KEYS, default=str).decode()


def _present(value: Any) -> Any:
    """Leave out null fields, and write whole numbers without a fraction: in Arrow both may be as they are only because of another row."""
    if isinstance(value, dict):
        return {name: _present(below) for name, below in value.items() if below is not None}
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return [_present(below) for below in value] if isinstance(value, list) else value


def _reasoning_apart(segments: Segments) -> Segments:
    """Replace every answer that holds reasoning blocks by its stretches."""
    answers = segments.channel_codes == CHANNELS.index("answer")
    split = {
        at: stretches(segments.text[at].as_py())
        for at in holding(segments.text, THINKING_SIGNS)
        if answers[at]
    }
    if not split:
        return segments
    counts = np.ones(len(segments), np.int64)
    counts[list(split)] = [len(parts) for parts in split.values()]
    origin = np.repeat(np.arange(len(segments)), counts)
    blank = np.zeros(len(segments), bool)
    blank[list(split)] = (
        True  # a text of a thousand stretches isn't repeated a thousand times on the way
    )
    emptied = replace(
        segments,
        text=pc.replace_with_mask(
            segments.text, pa.array(blank), pa.array([""] * len(split), pa.large_string())
        ),
    )
    repeated, changed = emptied.at(origin), blank[origin]
    parts = [part for at in sorted(split) for part in split[at]]
    repeated.channel_codes[changed] = [CHANNELS.index(part.channel) for part in parts]
    repeated.starts[changed] = [part.start for part in parts]
    texts = pa.array([part.text for part in parts], pa.large_string())
    return replace(repeated, text=pc.replace_with_mask(repeated.text, pa.array(changed), texts))


class Stretch(NamedTuple):
    """A part of a field: its channel, its first character's place, and its text."""

    channel: str
    start: int
    text: str


def stretches(text: str) -> list[Stretch]:
    """Tell a text's reasoning blocks from its answer; stretches of white space alone are left out."""
    found, at = [], 0
    for start, end, inside, outside in thinking_blocks(text):
        found.append(Stretch("answer", at, text[at:start]))
        found.append(Stretch("thinking", inside, text[inside:outside]))
        at = end
    found.append(Stretch("answer", at, text[at:]))
    return [part for part in found if part.text and not part.text.isspace()]


def thinking_blocks(text: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield each reasoning block as the characters of the block and those inside its tags.

    One that never closes reaches to the end, one that never opens begins at the start. The latter is looked for by itself,
    since one pattern for both would keep a note for every character of a long text.
    """
    closed, at = CLOSED.search(text), 0
    if closed and not OPENED.search(text, 0, closed.start()):
        at = closed.end()
        yield 0, at, 0, closed.start()
    yield from ((*block.span(), *block.span(2)) for block in THINKING.finditer(text, at))


def holding(text: pa.LargeStringArray, signs: Iterable[bytes]) -> list[int]:
    """Return which texts hold any of these bytes: found in Arrow's one buffer, at the speed of memory."""
    if not len(text):
        return []
    bounds = np.frombuffer(text.buffers()[1], np.int64)[text.offset : text.offset + len(text) + 1]
    data = bytes(memoryview(text.buffers()[2] or b"")[: bounds[-1]])
    found: list[int] = []
    for sign in signs:
        at = data.find(sign, bounds[0])
        while at >= 0:
            place = int(np.searchsorted(bounds, at, "right")) - 1
            if at + len(sign) <= bounds[place + 1]:
                found.append(place)
                at = data.find(sign, bounds[place + 1])
            else:
                at = data.find(sign, at + 1)
    return sorted(set(found))


def content_digests(table: pa.Table, segments: Segments, layout: Layout) -> list[str]:
    """Digest every row's canonical content; for preference pairs the side is part of it.

    Text is stripped of surrounding white space, so that a format's own padding doesn't count.
    """
    sides = (
        {layout.columns.get(side): f"{side}/" for side in ("chosen", "rejected")}
        if layout.format == "preference"
        else {}
    )
    speakers = pa.array(
        [
            f"{sides.get(place.column, '')}{role}\x1f{channel}"
            for place in segments.places
            for role in segments.role_names
            for channel in CHANNELS
        ],
        pa.large_string(),
    )
    codes = (segments.place_codes * len(segments.role_names) + segments.role_codes) * len(
        CHANNELS
    ) + segments.channel_codes
    return content_digests_by_row(
        table.num_rows, segments.rows, speakers.take(pa.array(codes)), segments.text
    )


def prompt_of(segments: Segments, places: Sequence[int]) -> list[dict[str, str]]:
    """Return the messages before the last answer of one row, given its segments' places; without thinking and tool calls.

    Of a pair the first side that answers counts; where it repeats the prompt, that stands there once.
    """
    spoken = [place for place in places if CHANNELS[segments.channel_codes[place]] == "answer"]
    columns = {place: segments.places[segments.place_codes[place]].column for place in spoken}
    answers = {
        place for place in spoken if segments.role_names[segments.role_codes[place]] == "assistant"
    }
    answering = next(
        (name for name in segments.answering if any(columns[place] == name for place in answers)),
        None,
    )
    asked = _as_messages(
        segments, [place for place in spoken if columns[place] not in segments.answering]
    )
    own = [place for place in spoken if columns[place] == answering]
    before = _as_messages(segments, _before_the_answer(own, answers))
    return before if before[: len(asked)] == asked else asked + before


def _before_the_answer(places: Sequence[int], answers: Container[int]) -> Sequence[int]:
    """Return what stands before the last answer and those directly before it."""
    end = len(places)
    while end and places[end - 1] not in answers:
        end -= 1
    while end and places[end - 1] in answers:
        end -= 1
    return places[:end]


def _as_messages(segments: Segments, places: Iterable[int]) -> list[dict[str, str]]:
    """Put the segments of each message together: stretches of one field as they stood, typed parts a line apart."""
    messages: list[dict[str, str]] = []
    before = None
    for place in places:
        field = int(segments.place_codes[place])
        here = (int(segments.messages[place]), segments.places[field].column)
        text, role = segments.text[place].as_py(), segments.role_names[segments.role_codes[place]]
        if before and before[0] == here:
            messages[-1]["content"] += ("" if before[1] == field else "\n") + text
        else:
            messages.append({"role": role, "content": text})
        before = here, field
    return messages
