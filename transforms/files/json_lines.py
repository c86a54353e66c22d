"""JSON Lines: reading, parsing and writing lines."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from schemas.outputs import CLEAN_EXTRA
from schemas.runs import JSON_LINES
from schemas.scores import SCORE_DECIMALS
from transforms.files.compression import Compression
from transforms.records.flags import has_untrained_message
from transforms.records.json_columns import ColumnKinds
from transforms.records.json_kinds import describe_value

BOM = b"\xef\xbb\xbf"

MAX_LINE_BYTES = 64 << 20
"""The longest accepted row, in bytes without an earlier run's note. Longer rows become rejects."""

MAX_NOTED_BYTES = 4 * MAX_LINE_BYTES
"""The longest line that is read, in bytes. A note with many masks may be longer than its row."""

NOTE_SIGN = orjson.dumps(CLEAN_EXTRA.name)
"""The name of a note's field as JSON."""

BLOCK_BYTES = 1 << 20

NOT_JSON = "not JSON"
"""The start of the reject reason for a line that no parser accepts."""
TOO_LONG = f"the line is longer than {MAX_LINE_BYTES >> 20} MiB"

GZIP_LEVEL = 6

SUFFIX_OF_COMPRESSION: dict[Compression, str] = dict(
    zip(("none", "gzip", "zstd"), JSON_LINES, strict=True)
)
"""The suffix of an output file for each compression."""

COMPRESSION_OF_SUFFIX = {suffix: name for name, suffix in SUFFIX_OF_COMPRESSION.items()}

MAX_PYTHON_DEPTH = 500
"""The deepest nesting of a line for Python's parser.

Python's parser fails at about twice this depth, or earlier if the call stack is deep.
"""

TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?|[\[{\]}]')
"""A string or a bracket in JSON."""

DEPTH_CHANGES = {b"{": 1, b"[": 1, b"}": -1, b"]": -1}

LONGEST_INTEGER = len(str(-(2**63)))
"""The length of the longest 64-bit integer, in characters."""


def read_lines(stream: Any, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the byte offset and the content of each line that isn't blank.

    The stream is at `start`. A line beyond `MAX_NOTED_BYTES` is cut one byte after the limit.
    """
    offset, held, size = start, list[bytes](), 0
    while block := stream.read(BLOCK_BYTES):
        first, *others = block.split(b"\n")
        if size <= MAX_NOTED_BYTES:
            held.append(first)
        size += len(first)
        if not others:
            continue
        yield from _join_line(offset, held)
        offset += size + 1
        for line in others[:-1]:
            if line.strip():
                yield offset, line
            offset += len(line) + 1
        held, size = others[-1:], len(others[-1])
    yield from _join_line(offset, held)


def _join_line(offset: int, parts: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
    """Yield a line that was read in several parts, unless it is blank."""
    line = b"".join(parts)[: MAX_NOTED_BYTES + 1]
    if line.strip() or len(line) > MAX_NOTED_BYTES:
        yield offset, line


def observe_line(kinds: ColumnKinds, line: bytes) -> str | None:
    """Count the kinds of values in a line's fields; return the reject reason, or None."""
    value, error = parse_line(line)
    if error is None:
        kinds.observe(value)
        kinds.untrained = kinds.untrained or has_untrained_message(line, value)
    return error


def parse_line(line: bytes, most: float | None = None) -> tuple[dict[str, Any], str | None]:
    """Return the object on a line, and the reason if the line is a reject.

    A line of more than `most` bytes, by default `MAX_LINE_BYTES`, is a reject, unless only an
    earlier run's note makes it that long.

    Python's parser reads what orjson refuses: NaN, infinities, lone surrogates and large integers.
    Integers beyond 64 bits become floats.
    """
    is_long = len(line) > (MAX_LINE_BYTES if most is None else most)
    if is_long and not _may_have_note(line):
        return {}, TOO_LONG
    data = line.removeprefix(BOM)
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        if _is_too_deep(data):
            return {}, "objects and lists are nested too deeply to be parsed"
        try:
            value = json.loads(data.decode(), parse_int=_parse_integer)
        except ValueError:
            return {}, f"{NOT_JSON}: {error}"
    if not isinstance(value, dict):
        return {}, f"not a JSON object but {describe_value(value)}"
    return ({}, TOO_LONG) if is_long and CLEAN_EXTRA.name not in value else (value, None)


def _may_have_note(line: bytes) -> bool:
    """Return whether a long line may consist of an accepted row and a note at its end."""
    return len(line) <= MAX_NOTED_BYTES and -1 < line.rfind(NOTE_SIGN) <= MAX_LINE_BYTES


def _is_too_deep(data: bytes) -> bool:
    """Return whether a line is nested too deeply for Python's parser."""
    if data.count(b"{") + data.count(b"[") <= MAX_PYTHON_DEPTH:
        return False
    depth = 0
    for token in TOKEN.finditer(data):
        depth += DEPTH_CHANGES.get(token.group(), 0)
        if depth > MAX_PYTHON_DEPTH:
            return True
    return False


def _parse_integer(digits: str) -> int | float:
    """Return an integer, or a float beyond 64 bits, as orjson does."""
    if len(digits) > LONGEST_INTEGER:  # Python limits how many digits it converts
        return float(digits)
    value = int(digits)
    return value if -(2**63) <= value < 2**64 else float(value)


def append_field(line: bytes, name: str, value: Any) -> bytes:
    """Return an object's line with one more field at its end.

    Floats in the field are scores and are rounded.
    """
    end = len(line.rstrip()) - 1  # the index of the closing brace
    inside = line[:end].rstrip()
    comma = b"" if inside.endswith(b"{") else b","
    field = orjson.dumps(name) + b":" + orjson.dumps(_round_floats(value))
    return inside + comma + field + line[len(inside) :]


def _round_floats(value: Any) -> Any:
    """Round all floats in a value, as scores are rounded."""
    if isinstance(value, dict):
        return {name: _round_floats(below) for name, below in value.items()}
    if isinstance(value, list):
        return [_round_floats(below) for below in value]
    return round(float(value), SCORE_DECIMALS) if isinstance(value, float | np.floating) else value


class JsonLines(NamedTuple):
    """JSON Lines rows as their original bytes, without the line break."""

    lines: list[bytes]
    compression: Compression

    @property
    def num_rows(self) -> int:
        """Return the number of rows."""
        return len(self.lines)

    @property
    def suffix(self) -> str:
        """Return the suffix of a file with these rows."""
        return SUFFIX_OF_COMPRESSION[self.compression]

    def encode(self) -> bytes:
        """Return the file's bytes; equal rows give equal bytes."""
        data = b"".join(line + b"\n" for line in self.lines)
        if self.compression == "gzip":
            return gzip.compress(data, GZIP_LEVEL, mtime=0)
        if self.compression == "zstd":
            return bytes(pa.compress(data, codec="zstd", asbytes=True))
        return data


def decode_lines(data: bytes, suffix: str) -> list[bytes]:
    """Return the lines of an output file, decompressed according to `suffix`.

    Raises: ValueError: the last line has no line break.
    """
    compression = COMPRESSION_OF_SUFFIX[suffix]
    if compression != "none":
        with pa.CompressedInputStream(pa.BufferReader(data), compression) as stream:
            data = bytes(stream.read())
    *lines, rest = data.split(b"\n")
    if rest:
        raise ValueError("the last line has no line break")
    return lines
