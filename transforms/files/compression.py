"""Compressed files: detecting a file's compression, and reading the file within limits.

Every reader uses little memory, detects truncated archives, and raises only OSErrors.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
from collections.abc import Callable
from typing import Any, Literal

import pyarrow as pa
import zstandard

from schemas.corpora import ShardLimits
from transforms.files import storage

Compression = Literal["none", "gzip", "zstd", "bz2", "xz"]

WRITTEN: dict[Compression, Compression] = {"bz2": "zstd", "xz": "zstd"}
"""The output compression for input compressions that few JSON Lines readers support."""

SIGNATURES: dict[Compression, re.Pattern[bytes]] = {
    "gzip": re.compile(rb"\x1f\x8b"),
    # pzstd writes a skippable frame before every frame of data
    "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"),
    "bz2": re.compile(rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)"),
    "xz": re.compile(rb"\xfd7zXZ\x00"),
}
"""Patterns for the first bytes of each compression format."""

SIGNATURE_BYTES = 16

USUAL_WINDOW = 128 << 20
"""The largest window that zstd decoders accept by default; `zstd --long` uses larger windows."""

LARGEST_WINDOW = 1 << 31

READ_BYTES = 64 << 10

FED_BYTES = 512
"""How many bytes the long-window decoder takes at a time. They expand to at most 22 MiB."""

FAILURES = (OSError, EOFError, lzma.LZMAError, zstandard.ZstdError, pa.ArrowException)
"""The exceptions that decoders raise for truncated or damaged data."""


def find_compression(head: bytes) -> Compression:
    """Return a file's compression from its first bytes."""
    found = (name for name, pattern in SIGNATURES.items() if pattern.match(head))
    return next(found, "none")


def open_decompressed(uri: str, compression: Compression, max_bytes: int) -> Any:
    """Open a file for reading its decompressed content.

    Reads may raise an OSError. A zstd window may be as large as `max_bytes`, the limit on the
    decompressed size.

    Raises: InputError: the file can't be opened.
    """
    stream = storage.open_raw(uri)
    if compression == "none":
        return stream
    return io.BufferedReader(_Decompressed(stream, compression, max_bytes), 1 << 20)


class _Decompressed(io.RawIOBase):
    """A decompressed stream that raises an OSError for truncated or damaged data."""

    def __init__(self, stream: Any, compression: Compression, max_bytes: int) -> None:
        self._stream, self._name = stream, compression
        try:
            self._decoder = _open_decoder(stream, compression, max_bytes)
        except BaseException:
            stream.close()
            raise

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._decoder.read(len(buffer))
        except FAILURES as error:
            raise OSError(f"{self._name}: {str(error) or repr(error)}") from error
        buffer[: len(data)] = data
        return len(data)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed and hasattr(self, "_decoder"):
            self._stream.close()
        super().close()


def _open_decoder(stream: Any, compression: Compression, max_bytes: int) -> Any:
    if compression == "bz2":
        return _Streams(stream, bz2.BZ2Decompressor)
    if compression == "xz":
        return _Streams(stream, lzma.LZMADecompressor, padding=b"\0")
    if compression == "zstd" and read_window(stream) > USUAL_WINDOW:
        return _LongWindows(stream, max_bytes)
    return pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), compression)


class _Streams:
    """A reader of concatenated compressed streams.

    Python's own readers ignore trailing bytes that aren't a stream, but this reader fails.
    """

    def __init__(self, stream: Any, create: Callable[[], Any], padding: bytes = b"") -> None:
        self._stream, self._create, self._padding = stream, create, padding
        self._decoder: Any = None
        self._rest = b""

    def read(self, size: int) -> bytes:
        """Return up to `size` more bytes.

        Raises: EOFError: the file ends inside a stream.
        """
        data = b""
        while not data:
            if self._decoder is None or self._decoder.needs_input:
                fed = self._rest or self._stream.read(READ_BYTES)
            else:
                fed = b""
            self._rest = b""
            if self._decoder is None:
                if not fed:
                    return b""
                if not (fed := fed.lstrip(self._padding) if self._padding else fed):
                    continue
                self._decoder = self._create()
            elif self._decoder.needs_input and not fed:
                raise EOFError("the file ends inside a stream: it is truncated")
            data = self._decoder.decompress(fed, size)
            if self._decoder.eof:
                self._rest, self._decoder = self._decoder.unused_data, None
        return data


def read_window(stream: Any) -> int:
    """Return the window size of a zstd file's first data frame, or 0 for a damaged frame.

    The stream returns to its beginning.
    """
    try:
        while (head := stream.read(18))[1:4] == b"\x2a\x4d\x18":
            stream.seek(int.from_bytes(head[4:8], "little") + 8 - len(head), io.SEEK_CUR)
        return int(zstandard.get_frame_parameters(head).window_size)
    except zstandard.ZstdError:
        return 0
    finally:
        stream.seek(0)


class _LongWindows:
    """A reader for zstd files whose windows are larger than usual."""

    def __init__(self, stream: Any, max_bytes: int) -> None:
        self._stream, self._held, self._rest = stream, b"", b""
        window = 1 << max(max_bytes, USUAL_WINDOW).bit_length()
        self._zstd = zstandard.ZstdDecompressor(max_window_size=min(window, LARGEST_WINDOW))
        self._frame: Any = None

    def read(self, size: int) -> bytes:
        """Return up to `size` more bytes.

        Raises: EOFError: the file ends inside a frame.
        """
        while not self._held:
            fed = self._rest or self._stream.read(FED_BYTES)
            self._rest = b""
            if not fed:
                if self._frame is not None:
                    raise EOFError("the file ends inside a frame: it is truncated")
                return b""
            self._frame = self._frame or self._zstd.decompressobj()
            self._held = self._frame.decompress(fed)
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        data, self._held = self._held[:size], self._held[size:]
        return data


class BoundedStream(io.RawIOBase):
    """A decompressed stream that raises an error beyond the file's size limit."""

    def __init__(self, stream: Any, uri: str, size: int, limits: ShardLimits) -> None:
        self._stream, self._uri, self._size, self._limits = stream, uri, size, limits
        self._left = limits.compute_max_bytes(size)

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` more bytes.

        Raises: InputError: the file expands beyond its limit.
        """
        block: bytes = self._stream.read(size)
        self._left -= len(block)
        if self._left < 0:
            raise self._limits.build_expansion_error(self._uri, self._size)
        return block

    def readinto(self, buffer: Any) -> int:
        """Read more bytes into a buffer, and return their number.

        Raises: InputError: the file expands beyond its limit.
        """
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return whether the underlying stream is seekable."""
        return bool(self._stream.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position, and return the new position."""
        return int(self._stream.seek(offset, whence))

    def tell(self) -> int:
        """Return the position."""
        return int(self._stream.tell())
