"""JSON Lines: lines with their offsets, and limits on their length and on the size of a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

import orjson
import pyarrow as pa

from schemas.corpora import ShardLimits
from transforms.files import storage
from transforms.files.json_shapes import Shape, describe_value, find_misfit

Compression = Literal["none", "gzip", "zstd"]

BOM = b"\xef\xbb\xbf"

MAX_LINE_BYTES = 64 << 20
"""A longer line is a reject: a record of that size is damaged, and larger than any shard."""

BLOCK_BYTES = 1 << 20


def open_lines(uri: str, compression: Compression) -> Any:
    """Open a JSON Lines file for reading, decompressed.

    Raises: InputError: the file can't be opened.
    """
    stream = storage.open_raw(uri)
    if compression == "none":
        return stream
    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), compression)


class BoundedStream:
    """A decompressed stream that raises an error if it exceeds the limit for its file."""

    def __init__(self, stream: Any, uri: str, size: int, limits: ShardLimits) -> None:
        self._stream, self._uri, self._size, self._limits = stream, uri, size, limits
        self._left = limits.compute_max_bytes(size)

    def read(self, size: int) -> bytes:
        """Return up to `size` more bytes.

        Raises: InputError: the file expands to more bytes than it may.
        """
        block: bytes = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise self._limits.build_expansion_error(self._uri, self._size)
        return block


def read_lines(stream: Any) -> Iterator[tuple[int, bytes]]:
    """Yield the byte offset and the content of each line that isn't blank.

    A line longer than `MAX_LINE_BYTES` is cut one byte after the limit.
    """
    offset, held, skipped = 0, b"", 0
    while True:
        block = stream.read(BLOCK_BYTES)
        parts = (held + block).split(b"\n")
        held = parts.pop() if block else b""
        for part in parts:
            if skipped:
                offset, skipped = offset + skipped + len(part) + 1, 0
                continue
            if part.strip():
                yield offset, part
            offset += len(part) + 1
        if skipped or len(held) > MAX_LINE_BYTES:
            if not skipped:
                yield offset, held[: MAX_LINE_BYTES + 1]
            skipped, held = skipped + len(held), b""
        if not block:
            return


def observe_line(shape: Shape, line: bytes) -> None:
    """Add a line's fields to a shape. Lines that aren't JSON objects are ignored: they are rejects.

    Raises: InputError: the rows have too many different fields.
    """
    if len(line) > MAX_LINE_BYTES:
        return
    try:
        value = orjson.loads(line.removeprefix(BOM))
    except orjson.JSONDecodeError:
        return
    if isinstance(value, dict):
        shape.see(value)


def parse_line(line: bytes, kind: pa.StructType) -> tuple[Any, str | None]:
    """Parse a line against the settled type of a row.

    Returns its value, and the reason if the line is a reject.
    """
    if len(line) > MAX_LINE_BYTES:
        return None, f"line is longer than {MAX_LINE_BYTES >> 20} MiB"
    try:
        value = orjson.loads(line.removeprefix(BOM))
    except orjson.JSONDecodeError as error:
        return None, f"not JSON: {error}"
    if not isinstance(value, dict):
        return None, f"not a JSON object but {describe_value(value)}"
    return value, find_misfit(value, kind)
