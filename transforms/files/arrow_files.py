"""Arrow files and streams, such as those `Dataset.save_to_disk` writes, read batch by batch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from schemas.errors import InputError
from transforms.files.nested_types import map_fields
from transforms.files.parquet_types import choose_types

FILE_MARK = b"ARROW1"
FILE_HEAD_BYTES = 8
"""The number of bytes before a file's batches. The rest of a file has a stream's layout."""

CONTINUATION = b"\xff\xff\xff\xff"
"""The mark before each message's length. A stream's first message is its schema."""

BYTES = {
    pa.string(): pa.binary(),
    pa.large_string(): pa.large_binary(),
    pa.string_view(): pa.binary_view(),
}
"""The bytes type with the same layout as each text type."""

PARQUETS_KEY = b"ARROW:schema"

CUT_REMEDY = "write it again: load the data set, and save it to another folder"


class _Watched(io.RawIOBase):
    """A stream that remembers the last bytes read, and whether a read went past the end."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.last = b""
        self.is_exhausted = False

    def read(self, size: int = -1) -> bytes:
        block: bytes = self._stream.read(size)
        self.last = (self.last + block[-FILE_HEAD_BYTES:])[-FILE_HEAD_BYTES:]
        self.is_exhausted = self.is_exhausted or (size > 0 and not block)
        return block

    def readable(self) -> bool:
        return True


class ArrowReader:
    """Reads the batches of an Arrow file or stream in order.

    Polars writes files whose schema is only in the footer. Such a file is read from its end, and
    other files from the beginning, like streams.

    Raises: InputError: the file must be read from its end, but is compressed.
    """

    def __init__(self, stream: Any, uri: str) -> None:
        self._uri = uri
        self._stream = _Watched(stream)
        head = self._stream.read(FILE_HEAD_BYTES)
        self._is_file = head.startswith(FILE_MARK)
        head = self._stream.read(len(CONTINUATION)) if self._is_file else head
        self._is_from_end = self._is_file and head != CONTINUATION
        if self._is_from_end:
            self._reader = _open_from_end(stream, uri)
        else:
            rest = _Prefixed(head, self._stream)
            self._reader = pa.ipc.open_stream(pa.PythonFile(rest, mode="r"))
        self.own_schema = self._reader.schema
        self.schema = _leave_out_parquets_key(choose_types(self.own_schema))

    def read_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the batches, checking the structure of each.

        Batches may hold invalid UTF-8 and values out of range. The rows with such values are
        rejected later.

        Raises:
            InputError: the file ends before its end mark, or goes on after it.
            pa.ArrowException: a batch is damaged.
        """
        reader = self._reader
        for batch in (
            map(reader.get_batch, range(reader.num_record_batches)) if self._is_from_end else reader
        ):
            _require_sound(batch)
            yield batch
        if not self._is_from_end:
            self._require_end()

    def _require_end(self) -> None:
        """Check that the batches are complete and end with an end mark."""
        problem = "ends without Arrow's end mark" if self._stream.is_exhausted else None
        if not problem and self._is_file:
            while self._stream.read(1 << 20):
                pass
            if not self._stream.last.endswith(FILE_MARK):
                problem = "ends without Arrow's end mark"
        elif not problem and self._stream.read(1):
            problem = "goes on after Arrow's end mark"
        if problem:
            raise InputError(
                f"{problem}, so rows may be missing", where=self._uri, remedy=CUT_REMEDY
            )


def _require_sound(batch: pa.RecordBatch) -> None:
    """Check that no value of a batch reaches beyond its buffers.

    Raises: pa.ArrowInvalid: the batch is damaged.
    """
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid:
        for column in batch.columns:
            values = column.storage if isinstance(column, pa.ExtensionArray) else column
            values.view(take_bytes_type(values.type)).validate(full=True)


def take_bytes_type(kind: pa.DataType) -> pa.DataType:
    """Return a type that has the same layout, and for which any bytes are valid."""
    if isinstance(kind, pa.BaseExtensionType):
        return take_bytes_type(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return pa.dictionary(kind.index_type, take_bytes_type(kind.value_type), kind.ordered)
    if pa.types.is_nested(kind):
        return map_fields(kind, _take_bytes_field)
    if pa.types.is_temporal(kind) and kind.bit_width in (32, 64):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.binary(kind.bit_width // 8) if pa.types.is_decimal(kind) else BYTES.get(kind, kind)


def _take_bytes_field(item: pa.Field) -> pa.Field:
    return item.with_type(take_bytes_type(item.type))


def _open_from_end(stream: Any, uri: str) -> Any:
    """Return a reader for a file whose schema is in the footer.

    Raises: InputError: the stream can't be read from its end.
    """
    if not stream.seekable():
        raise InputError(
            "is a compressed Arrow file whose schema is at its end, where it can't be read",
            where=uri,
            remedy="decompress it; Arrow files can be compressed inside",
        )
    return pa.ipc.open_file(pa.PythonFile(stream, mode="r"))


class _Prefixed(io.RawIOBase):
    """A stream that begins with some extra bytes."""

    def __init__(self, head: bytes, stream: Any) -> None:
        self._head, self._stream = head, stream

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return bytes(self._stream.read(size))
        head, self._head = self._head[:size], self._head[size:]
        return head if len(head) == size else head + bytes(self._stream.read(size - len(head)))

    def readable(self) -> bool:
        return True


def _leave_out_parquets_key(schema: pa.Schema) -> pa.Schema:
    """Return a schema without the metadata entry under which Arrow keeps a schema in Parquet.

    The entry may be left over from a Parquet file, and then an output file can't be read.
    """
    metadata = dict(schema.metadata or {})
    return schema if metadata.pop(PARQUETS_KEY, None) is None else schema.with_metadata(metadata)
