"""JSON values that aren't on lines of their own: an array's elements, and concatenated objects.

The boundaries are found block by block in linear time, without parsing the values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from schemas.errors import InputError
from transforms.files.json_lines import BLOCK_BYTES, MAX_LINE_BYTES, read_lines

SPACE = b" \t\r\n"
BLANK = re.compile(rb"(?:[ \t\r\n\x0b\x0c]|\xef\xbb\xbf)*\Z")
INK = re.compile(rb"[^ \t\r\n]")

QUOTE, OPEN, CLOSE, COMMA = 1, 2, 3, 4
SIGNS = np.zeros(256, np.uint8)
SIGNS[list(b'"{[}],')] = (QUOTE, OPEN, OPEN, CLOSE, CLOSE, COMMA)
"""The role of each byte in the structure of JSON."""

STEPS = np.array([0, 0, 1, -1, 0], np.int64)
"""The change of depth at each structural character."""

ARRAY, OBJECTS = 1, 0
"""The depth outside any value: 1 in an array, 0 among concatenated objects."""

CUT_REMEDY = "check that the file is complete: `jq empty FILE` names the place of a mistake"


class TextPosition(NamedTuple):
    """A position in a decompressed file: the byte from 0, and the line from 1."""

    byte: int
    line: int

    def move(self, block: bytes) -> TextPosition:
        """Return the position after a block that begins here."""
        return TextPosition(self.byte + len(block), self.line + block.count(b"\n"))

    def __str__(self) -> str:
        return f"byte {self.byte:,}, line {self.line:,}"


class Scanner:
    """Tracks the depth of nesting through the blocks of a file, ignoring strings."""

    def __init__(self, within: int) -> None:
        self._within = self._depth = within
        self._in_string = self._escaped = False
        self.last: int | None = None
        """The index, in the last block, of the bracket that closes the array or is unmatched."""

    def find_ends(self, block: bytes) -> list[int]:
        """Return the end index of each value in a block, before any comma or array bracket.

        A concatenated value without brackets ends at the next object's start.
        """
        signs, offsets = self._find_signs(block)
        steps = STEPS[signs]
        depths = self._depth + np.cumsum(steps)
        self._depth = int(depths[-1]) if len(depths) else self._depth
        if self._within == OBJECTS:
            closes, opens = (steps < 0) & (depths == 0), (steps > 0) & (depths == 1)
            ends, last = (offsets + closes)[closes | opens], offsets[depths < 0]
        else:
            last = offsets[depths == 0]
            ends = offsets[((signs == COMMA) & (depths == 1)) | (depths == 0)]
        if len(last):
            self.last = int(last[0])
            ends = ends[ends <= self.last]
        found: list[int] = ends.tolist()
        return found

    def is_outside(self) -> bool:
        """Return whether the last block ended outside any value."""
        return self._depth == self._within and not self._in_string

    def _find_signs(self, block: bytes) -> tuple[Any, Any]:
        """Return the structural characters outside strings, and their indices."""
        plain = b"_" + block[1:] if self._escaped else block
        if b"\\" in plain:  # a backslash that isn't in a pair escapes the next byte
            plain = plain.replace(b"\\\\", b"__").replace(b'\\"', b"__")
        self._escaped = plain.endswith(b"\\")
        signs = SIGNS[np.frombuffer(plain, np.uint8)]
        offsets = np.flatnonzero(signs)
        signs = signs[offsets]
        inside = (np.cumsum(signs == QUOTE) + self._in_string) % 2
        self._in_string = bool(inside[-1]) if len(inside) else self._in_string
        outside = (inside == 0) & (signs != QUOTE)
        return signs[outside], offsets[outside]


class _Value:
    """The value being read: its first bytes and its start."""

    def __init__(self, begin: TextPosition) -> None:
        self.begin = begin
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Add a part. At most `MAX_LINE_BYTES` + 1 bytes of the value are kept."""
        if not self._parts:
            part = part.lstrip(SPACE)
        part = part[: MAX_LINE_BYTES + 1 - self._size]
        self._size += len(part)
        if part:
            self._parts.append(part)

    def take(self) -> bytes:
        """Return the value without surrounding white space, and begin the next value."""
        value = b"".join(self._parts).rstrip(SPACE)
        self._parts, self._size = [], 0
        return value

    def is_empty(self) -> bool:
        return not self._parts


def read_values(stream: Any, kind: str, uri: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the byte offset and the bytes of each value in a JSON file of any kind.

    `start` is the stream's offset: 0 or a value's offset.

    Raises: InputError: an array or an object isn't closed, or a closing bracket is unmatched.
    """
    if kind == "jsonl":
        return read_lines(stream, start)
    return (read_elements if kind == "array" else read_objects)(stream, uri, start)


def read_elements(stream: Any, uri: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the byte offset and the bytes of each element of an array.

    `start` is the stream's offset: 0 or an element's offset. An element beyond `MAX_LINE_BYTES` is
    cut one byte after the limit.

    Raises: InputError: the file ends inside the array, or goes on after it.
    """
    before = b""
    while start == 0 and b"[" not in before and (block := stream.read(BLOCK_BYTES)):
        before += block
    head, bracket, rest = before.partition(b"[") if before else (b"", b"", b"")
    yield from _read_values(stream, rest, uri, ARRAY, TextPosition(start, 1).move(head + bracket))


def read_objects(stream: Any, uri: str, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Yield the byte offset and the bytes of each object in a file of concatenated objects.

    `start` is the stream's offset: 0 or an object's offset. White space and byte order marks
    between objects are skipped. Other text between objects is yielded as a row.

    Raises: InputError: the file ends inside an object, or has an unmatched closing bracket.
    """
    yield from _read_values(stream, b"", uri, OBJECTS, TextPosition(start, 1))


def _read_values(
    stream: Any, rest: bytes, uri: str, within: int, at: TextPosition
) -> Iterator[tuple[int, bytes]]:
    """Yield the values in `rest`, which is at position `at`, and then in the stream."""
    scanner, value = Scanner(within), _Value(at)
    blocks = chain((rest,) if rest else (), iter(lambda: stream.read(BLOCK_BYTES), b""))
    for block in blocks:
        after = 0
        for end in scanner.find_ends(block):
            offset = at.byte + _skip_space(block, after) if value.is_empty() else value.begin.byte
            value.add(block[after:end])
            if not _is_blank(taken := value.take()):
                yield offset, taken
            after = end + within
        if scanner.last is not None:
            _require_end(block[scanner.last :], blocks, uri, within, at.move(block[: scanner.last]))
            return
        if value.is_empty():
            value.begin = at.move(block[: _skip_space(block, after)])
        value.add(block[after:])
        at = at.move(block)
    begin, taken = value.begin, value.take()
    if within == ARRAY or (taken and not scanner.is_outside()):
        inside = "its array, at the value" if within == ARRAY else "the object"
        raise InputError(
            f"ends inside {inside} that begins at {begin}", where=uri, remedy=CUT_REMEDY
        )
    if not _is_blank(taken):
        yield begin.byte, taken


def _is_blank(value: bytes) -> bool:
    """Return whether a value is only white space and byte order marks."""
    return BLANK.match(value) is not None


def _skip_space(block: bytes, index: int) -> int:
    """Return the index of the first byte from `index` that isn't white space."""
    found = INK.search(block, index)
    return found.start() if found else len(block)


def _require_end(
    block: bytes, blocks: Iterator[bytes], uri: str, within: int, at: TextPosition
) -> None:
    """Check that the bracket at the start of `block` closes the array and ends the file.

    Raises: InputError: the bracket is unmatched, or more text follows.
    """
    if within == OBJECTS or not block.startswith(b"]"):
        sign = block[:1].decode()
        raise InputError(
            f"has a bracket {sign!r} that closes nothing at {at}", where=uri, remedy=CUT_REMEDY
        )
    at, block = at.move(b"]"), block[1:]
    while not block.strip(SPACE):
        at = at.move(block)
        if not (block := next(blocks, b"")):
            return
    more = block.lstrip(SPACE)
    at = at.move(block[: len(block) - len(more)])
    if more.startswith(b"["):
        raise refuse_lists(uri)
    raise InputError(f"goes on after its array, at {at}", where=uri, remedy=CUT_REMEDY)


def refuse_lists(uri: str, name: str = "conversations", each: str = "") -> InputError:
    """Return the error for a file whose rows are bare lists of turns.

    `name` is the column for the lists, and `each` is the jq prefix for one list.
    """
    return InputError(
        "has lists of turns as its rows, but a row must be an object",
        where=uri,
        remedy=f"give each list a name: jq -c '{each}{{{name}: .}}' FILE > FILE.jsonl",
    )


def join_lines(value: bytes) -> bytes:
    """Return a value on one line."""
    return value.translate(None, b"\r\n")
