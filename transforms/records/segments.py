"""Segments: every turn and channel of a shard's conversations, with its row and field."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.digests import digest_bytes, digest_content_by_row, name_speaker
from schemas.scores import SIDES, Side
from transforms.records.companions import Companions, encode_whole_row, find_in_table
from transforms.records.fields import Codes, CodeTable, FieldPath, FieldValues, read_fields
from transforms.records.formats import Layout
from transforms.records.plain_values import list_rows
from transforms.records.reasoning import (
    THINKING_SIGNS,
    ChannelSpan,
    find_texts_with,
    split_reasoning,
)
from transforms.records.roles import CHANNELS
from transforms.records.transcripts import Turn, cut_transcript

ANSWER_COLUMNS = (
    "messages",
    "conversations",
    "completion",
    "output",
    "chosen",
    "rejected",
    "rejected_response",
    "text",
)
"""The formats' answer columns, starting with a pair's chosen side."""

LONGEST_ROLE = 200
"""The longest role in a content digest, in characters. Longer ones are replaced by a SHA-256."""

COMPANIONS = "companions"
"""The role of companions in the content digest. No real segment has this role."""


@dataclass(frozen=True, eq=False)
class Segments:
    """The segments of a table's rows as parallel arrays, in row order.

    `rows` are indices into the table, and `messages` are indices into the row's messages or
    transcript turns. `starts` are the segments' offsets in their fields, in characters of the
    trainer's text. Roles, channels and fields are codes (int64) into `role_names`, `CHANNELS` and
    `fields`. The properties `roles`, `channels`, `field_paths` and `texts` give the decoded values.
    """

    rows: np.ndarray
    messages: np.ndarray
    role_codes: np.ndarray
    channel_codes: np.ndarray
    field_codes: np.ndarray
    starts: np.ndarray
    text: pa.LargeStringArray
    role_names: tuple[str, ...]
    fields: tuple[FieldPath, ...]
    answer_columns: tuple[str, ...] = ()
    """The corpus's answer columns, in order. Other columns hold prompts."""
    other_sides: tuple[Side, ...] = ()
    """The sides of the corpus's texts, apart from `trained`."""
    sides: np.ndarray | None = None
    """Each segment's side as an index into `SIDES` (int8), or None if all are trained."""

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
    def field_paths(self) -> list[str]:
        """Return every segment's field path."""
        return [self.get_field_path(segment) for segment in range(len(self))]

    @cached_property
    def texts(self) -> list[str]:
        """Return every segment's text."""
        texts: list[str] = self.text.to_pylist()
        return texts

    def get_field_path(self, segment: int) -> str:
        """Return a segment's field path, such as `messages[2].content`."""
        field: FieldPath = self.fields[self.field_codes[segment]]
        return field.format_path(int(self.messages[segment]))

    def find_in_row(self, row: int) -> range:
        """Return the indices of a row's segments."""
        begin, end = np.searchsorted(self.rows, [row, row + 1]).tolist()
        return range(begin, end)

    def find_in_scope(self, roles: Iterable[str], channels: Iterable[str]) -> np.ndarray:
        """Return the ascending indices of the segments with these roles and channels."""
        wanted_roles, wanted_channels = set(roles), set(channels)
        role_fits = np.array([name in wanted_roles for name in self.role_names], bool)
        channel_fits = np.array([name in wanted_channels for name in CHANNELS], bool)
        return np.flatnonzero(role_fits[self.role_codes] & channel_fits[self.channel_codes])

    def select_rows(self, rows: Sequence[int]) -> Segments:
        """Return the segments of the given ascending rows, renumbered from 0."""
        indices = np.flatnonzero(np.isin(self.rows, rows))
        return replace(self.take(indices), rows=np.searchsorted(rows, self.rows[indices]))

    def take(self, indices: np.ndarray) -> Segments:
        """Return the segments at these indices, in this order."""
        return replace(
            self,
            rows=self.rows[indices],
            messages=self.messages[indices],
            role_codes=self.role_codes[indices],
            channel_codes=self.channel_codes[indices],
            field_codes=self.field_codes[indices],
            starts=self.starts[indices],
            text=_take_texts(self.text, indices),
            sides=None if self.sides is None else self.sides[indices],
        )

    def select_side(self, side: Side) -> Segments:
        """Return the segments of one side."""
        return self.take(self.find_side(side))

    def find_side(self, side: Side) -> np.ndarray:
        """Return the ascending indices of the segments of one side."""
        if self.sides is None:
            return np.arange(len(self) if side == "trained" else 0)
        return np.flatnonzero(self.sides == SIDES.index(side))


def _take_texts(text: pa.Array, indices: np.ndarray) -> pa.Array:
    """Return the texts at these indices, without a copy if they are all texts in order."""
    return text if np.array_equal(indices, np.arange(len(text))) else text.take(pa.array(indices))


def extract_segments(table: pa.Table, layout: Layout) -> Segments:
    """Return the segments of a table's conversations, without blank segments."""
    codes = Codes(CodeTable(), CodeTable())
    columns = read_fields(table, layout, codes)
    fields = [field for column in columns for field in column]
    rows, messages, role_codes, channel_codes, field_codes = (
        _concatenate([field[index] for field in fields]) for index in range(5)
    )
    texts = [field.text for field in fields]
    text = pa.concat_arrays(texts) if texts else pa.array([], pa.large_string())
    whole = Segments(
        rows,
        messages,
        role_codes,
        channel_codes,
        field_codes,
        np.zeros(len(rows), np.int64),
        text,
        tuple(codes.roles),
        tuple(codes.fields),
        tuple(layout.columns[name] for name in ANSWER_COLUMNS if name in layout.columns),
    )
    # the sort is stable: fields of one message keep their order
    order = np.lexsort((messages, _number_columns(columns), rows))
    ordered = whole.take(order[~_find_blank(text)[order]])
    return _separate_reasoning(_separate_turns(ordered, layout.transcripts))


def _concatenate(arrays: Sequence[Any]) -> np.ndarray:
    return np.concatenate([np.empty(0, np.int64), *arrays]).astype(np.int64, copy=False)


def _number_columns(columns: Sequence[Sequence[FieldValues]]) -> np.ndarray:
    """Return the column number of every text, in field order."""
    sizes = [sum(len(field.rows) for field in column) for column in columns]
    return np.repeat(np.arange(len(columns)), np.array(sizes, np.int64))


def _find_blank(text: pa.Array) -> np.ndarray:
    """Return a mask of null, empty and white-space texts."""
    blank = pc.or_(pc.equal(pc.binary_length(text), 0), pc.utf8_is_space(text))
    found: np.ndarray = blank.fill_null(True).to_numpy(zero_copy_only=False)
    return found


def _separate_turns(segments: Segments, columns: Collection[str]) -> Segments:
    """Replace every transcript in these columns with its turns."""
    chosen = np.array([field.column in columns for field in segments.fields], bool)
    if not chosen.any():
        return segments
    found = {
        index: turns
        for index in np.flatnonzero(chosen[segments.field_codes]).tolist()
        if (turns := cut_transcript(segments.text[index].as_py())) is not None
    }
    return _assign_roles(segments, found) if found else segments


def _assign_roles(segments: Segments, found: dict[int, list[Turn]]) -> Segments:
    """Replace the segments at these ascending indices with turns of other roles."""
    parts = {index: [turn.part for turn in turns] for index, turns in found.items()}
    replaced, changed = _replace_by_parts(segments, parts)
    codes = CodeTable({name: code for code, name in enumerate(segments.role_names)})
    roles = [turn.role for turns in found.values() for turn in turns]
    replaced.role_codes[changed] = [codes[role] for role in roles]
    replaced.messages[changed] = [index for turns in found.values() for index in range(len(turns))]
    return replace(replaced, role_names=tuple(codes))


def _separate_reasoning(segments: Segments) -> Segments:
    """Split every answer that has reasoning blocks into its parts."""
    answers = segments.channel_codes == CHANNELS.index("answer")
    split = {
        index: split_reasoning(segments.text[index].as_py())
        for index in find_texts_with(segments.text, THINKING_SIGNS)
        if answers[index]
    }
    return _replace_by_parts(segments, split)[0] if split else segments


def _replace_by_parts(
    segments: Segments, split: dict[int, list[ChannelSpan]]
) -> tuple[Segments, np.ndarray]:
    """Replace the segments at these ascending indices with their parts, in order.

    The second result is a mask of these parts among the new segments.
    """
    counts = np.ones(len(segments), np.int64)
    counts[list(split)] = [len(parts) for parts in split.values()]
    origin = np.repeat(np.arange(len(segments)), counts)
    emptied = np.zeros(len(segments), bool)
    emptied[list(split)] = True
    # Empty the texts first, so that a text of a thousand parts isn't copied a thousand times.
    repeated = replace(segments, text=_replace_texts(segments.text, emptied, [""] * len(split)))
    repeated, changed = repeated.take(origin), emptied[origin]
    parts = [part for found in split.values() for part in found]
    repeated.channel_codes[changed] = [CHANNELS.index(part.channel) for part in parts]
    repeated.starts[changed] += np.array([part.start for part in parts], np.int64)
    texts = _replace_texts(repeated.text, changed, [part.text for part in parts])
    return replace(repeated, text=texts), changed


def _replace_texts(text: pa.Array, mask: np.ndarray, texts: Sequence[str]) -> pa.Array:
    return pc.replace_with_mask(text, pa.array(mask), pa.array(texts, pa.large_string()))


def digest_rows(
    table: pa.Table,
    segments: Segments,
    layout: Layout,
    companions: Mapping[int, Companions] | None = None,
    read_row: Callable[[int], Mapping[str, Any]] | None = None,
    key: bytes | None = None,
) -> list[str]:
    """Return the digest of every row's canonical content.

    For preference pairs, the side is part of a segment's role. White space around a text is
    stripped, so a format's own padding doesn't count. A row's companions count as one more text. In
    a row without a known prompt, the whole row from `read_row` counts instead. A row without
    segments has an empty text's digest. With a key, digests are HMACs.

    A JSON Lines table lacks columns, so `companions` and `read_row` must be given.
    """
    size = table.num_rows
    if companions is None:
        companions = find_in_table(table, layout.columns)
    read_row = read_row or (lambda row: list_rows(table.slice(row, 1))[0])
    more = {row: item.encode() for row, item in companions.items()}
    if layout.format != "text":
        unknown = _find_rows_without_prompt(size, segments, companions)
        more |= {row: encode_whole_row(read_row(row)) for row in unknown}
    spoken = np.isin(list(more), segments.rows) if more else ()
    found = {row: text for (row, text), counts in zip(more.items(), spoken, strict=True) if counts}
    speakers, texts = list_speakers(segments, layout), segments.text
    if not found:
        return digest_content_by_row(size, segments.rows, speakers, texts, key)
    rows = np.append(segments.rows, list(found))
    order = np.argsort(rows, kind="stable")  # the companions are a row's last text
    speakers = pa.concat_arrays([speakers, pa.array([COMPANIONS] * len(found), speakers.type)])
    texts = pa.concat_arrays([texts, pa.array(found.values(), texts.type)])
    return digest_content_by_row(
        size, rows[order], speakers.take(pa.array(order)), texts.take(pa.array(order)), key
    )


def list_speakers(segments: Segments, layout: Layout) -> pa.LargeStringArray:
    """Return every segment's role and channel, joined by 0x1F.

    Strings are built only for existing combinations. A long role is replaced by its SHA-256,
    because many segments may share it.
    """
    sides = {
        layout.columns.get(column): f"{side}/"
        for column, side in (
            ("chosen", "chosen"),
            ("rejected", "rejected"),
            ("rejected_response", "rejected"),
        )
    }
    roles = [
        role if len(role) <= LONGEST_ROLE else digest_bytes(role.encode())
        for role in segments.role_names
    ]
    speaker_codes = segments.field_codes * len(roles) + segments.role_codes
    present, indices = np.unique(
        speaker_codes * len(CHANNELS) + segments.channel_codes, return_inverse=True
    )
    speakers = []
    for code in present.tolist():
        both, channel = divmod(code, len(CHANNELS))
        field, role = divmod(both, len(roles))
        side = sides.get(segments.fields[field].column, "")
        speakers.append(name_speaker(roles[role], CHANNELS[channel], side))
    return pa.array(speakers, pa.large_string()).take(pa.array(indices))


def _find_rows_without_prompt(
    size: int, segments: Segments, companions: Mapping[int, Companions]
) -> list[int]:
    """Return the rows with segments but without a prompt in segments or companions."""
    asks = np.array([name not in ("assistant", "system") for name in segments.role_names], bool)
    asked, spoken = np.zeros(size, bool), np.zeros(size, bool)
    spoken[segments.rows] = True
    asked[segments.rows[asks[segments.role_codes]]] = True
    rows = np.flatnonzero(spoken & ~asked).tolist()
    return [row for row in rows if not (row in companions and companions[row].has_prompt())]
