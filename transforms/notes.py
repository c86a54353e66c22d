"""Notes: the `congener` field of clean rows, from an earlier run or this one."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from schemas.errors import RowError
from schemas.mixes import MIX
from schemas.outputs import CLEAN_EXTRA, SPAN
from schemas.policies import PUBLISHED, SEVERITY
from transforms.files.json_lines import NOTE_SIGN, append_field, parse_line
from transforms.records.mask_bounds import join_spans
from transforms.spans import Span

FIELDS = tuple(item.name for item in CLEAN_EXTRA.type)
OPTIONAL = {"traits"}
"""The fields that a note may lack, because earlier versions didn't write them."""
SPAN_FIELDS = tuple(item.name for item in SPAN)
LARGEST_WEIGHT = float(np.finfo(np.float32).max)
LAST_PLACE = 2**31 - 1
"""The largest weight and the last character that the field's types can hold."""
RANKS = {MIX: 0} | {str(action): rank for rank, action in enumerate(SEVERITY)}
"""The rank of each decision. An added row is a kept one to the run that reads it."""
INK = re.compile(r"[^ \t\r\n]")


def read_note(value: Any) -> dict[str, Any] | None:
    """Return an earlier run's note on a row, or None.

    A table made from JSON Lines holds the note as JSON.

    Raises: RowError: the field isn't a note of a clean row.
    """
    if isinstance(value, str):
        value, _ = (
            parse_line(value.encode("utf-8", "surrogatepass")) if value != "null" else (None, "")
        )
    if value is None:
        return None
    if not _is_note(value):
        raise RowError(
            f"the column {CLEAN_EXTRA.name!r} isn't what a run of congener writes to clean/",
            remedy="rename or drop the column",
        )
    return {
        "decision": value["decision"],
        "weight": float(value.get("weight", 1.0)),
        "masks": value.get("masks") or [],
        "traits": value.get("traits") or [],
    }


def _is_note(value: Any) -> bool:
    """Return whether a value could be written to `clean/` again, with this run's masks."""
    if not isinstance(value, dict) or not set(value) <= set(FIELDS):
        return False
    weight, masks = value.get("weight", 1.0), value.get("masks") or []
    is_weight = isinstance(weight, int | float) and abs(weight) <= LARGEST_WEIGHT
    is_list = isinstance(masks, list) and all(map(_is_span, masks))
    are_traits = _are_texts(value.get("traits") or [])
    return is_weight and is_list and are_traits and value.get("decision") in PUBLISHED


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_span(mask: Any) -> bool:
    if not isinstance(mask, dict) or set(mask) != set(SPAN_FIELDS):
        return False
    path, *ends = (mask[name] for name in SPAN_FIELDS)
    are_places = all(isinstance(end, int) and not isinstance(end, bool) for end in ends)
    return isinstance(path, str) and are_places and bool(0 <= ends[0] <= ends[1] <= LAST_PLACE)


def is_note_type(kind: pa.DataType) -> bool:
    """Return whether a column of this type may hold notes."""
    if pa.types.is_struct(kind):
        names = {item.name for item in kind}
        return set(FIELDS) - OPTIONAL <= names <= set(FIELDS)
    return bool(pa.types.is_null(kind))


def merge_notes(
    earlier: Mapping[str, Any] | None,
    decision: str,
    masks: Sequence[Span],
    traits: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the note of a row that two runs have published.

    The stronger decision counts, both runs' masks apply, and both runs' traits are named.
    """
    own = {
        "decision": decision,
        "weight": 1.0,
        "masks": [mask._asdict() for mask in masks],
        "traits": list(traits),
    }
    if earlier is None:
        return own
    strongest = max(earlier["decision"], decision, key=RANKS.__getitem__)
    spans = [Span(**mask) for mask in earlier["masks"]] + list(masks)
    joined = join_masks(spans) if earlier["masks"] else list(masks)
    return {
        "decision": strongest,
        "weight": earlier["weight"],
        "masks": [mask._asdict() for mask in joined],
        "traits": list(dict.fromkeys([*earlier["traits"], *traits])),
    }


def join_masks(spans: Sequence[Span]) -> list[Span]:
    """Return each field's spans in text order, with overlapping spans joined."""
    found: list[Span] = []
    for path in dict.fromkeys(span.field_path for span in spans):
        own = sorted((span.start, span.end) for span in spans if span.field_path == path)
        found += [Span(path, start, end) for start, end in join_spans(own)]
    return found


def read_line_note(line: bytes) -> dict[str, Any] | None:
    """Return the note on a JSON line, or None.

    Raises: RowError: the field isn't a note of a clean row.
    """
    return read_note(parse_line(line)[0].get(CLEAN_EXTRA.name)) if NOTE_SIGN in line else None


def replace_line_note(line: bytes, note: Mapping[str, Any]) -> bytes:
    """Return a JSON line with a note at its end instead of an earlier note."""
    return append_field(remove_line_note(line), CLEAN_EXTRA.name, note)


def remove_line_note(line: bytes) -> bytes:
    """Return a JSON line without its note, or the line itself if it has none."""
    if NOTE_SIGN in line and CLEAN_EXTRA.name in (value := parse_line(line, math.inf)[0]):
        return _remove_field(line, value)
    return line


def replace_field(line: bytes, name: str, value: Any) -> bytes:
    """Return a JSON line with another value in a field. All other bytes stay as they are.

    If the field occurs twice, its last value is replaced, which is the one that parsers return.
    """
    text = line.decode("utf-8-sig")
    places = [(start, end) for own, start, end in _list_fields(text) if own == name]
    start, end = places[-1]
    begin = text.index(":", json.JSONDecoder().raw_decode(text, _skip_space(text, start))[1]) + 1
    head, tail = text[: _skip_space(text, begin)], text[end:].encode()
    return head.encode() + encode_json_value(value) + tail


def encode_json_value(value: Any) -> bytes:
    """Return a value as JSON in the order of its keys, with escapes for lone surrogates."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return json.dumps(value, separators=(",", ":")).encode()


def _remove_field(line: bytes, value: dict[str, Any]) -> bytes:
    """Return a line without its note.

    The note is cut off at the end, where an earlier run put it. If another program has moved it
    since then, it is cut out. All other bytes stay as they are.
    """
    rest = {name: item for name, item in value.items() if name != CLEAN_EXTRA.name}
    before = line[: line.rfind(NOTE_SIGN)].rstrip().removesuffix(b",").rstrip()
    if parse_line(before + b"}") == (rest, None):
        return before + b"}"
    text = line.decode("utf-8-sig")
    begin = text.index("{") + 1
    head, fields, is_cut = text[:begin], list[str](), False
    for name, start, end in _list_fields(text):
        if name == CLEAN_EXTRA.name:
            is_cut = True
        else:  # a comma before the first field would be left over from the note
            fields.append(text[begin if fields or not is_cut else start : end])
        begin = end
    return "".join([head, *fields, text[begin:]]).encode()


def _list_fields(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield the name of each field of an object in JSON, and where the field begins and ends."""
    # Python limits how many digits of an integer it converts
    decoder, index = json.JSONDecoder(parse_int=float), text.index("{") + 1
    while text[(start := _skip_space(text, index))] != "}":
        name, after = decoder.raw_decode(text, start)
        _, end = decoder.raw_decode(text, _skip_space(text, _skip_space(text, after) + 1))
        yield name, start, end
        index = _skip_space(text, end)
        index += text[index] == ","


def _skip_space(text: str, index: int) -> int:
    found = INK.search(text, index)
    return found.start() if found else len(text)
