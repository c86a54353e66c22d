"""Arrow files and streams, such as those `Dataset.save_to_disk` writes, read batch by batch."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.errors import InputError
from transforms.files.footers import check_fields, replace_views

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
        self.schema = _leave_out_parquets_key(replace_views(self.own_schema))

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
        return _take_nested_type(kind)
    if pa.types.is_temporal(kind) and kind.bit_width in (32, 64):
        return pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.binary(kind.bit_width // 8) if pa.types.is_decimal(kind) else BYTES.get(kind, kind)


def _take_nested_type(kind: pa.DataType) -> pa.DataType:
    fields = [kind.field(index) for index in range(kind.num_fields)]
    below = [item.with_type(take_bytes_type(item.type)) for item in fields]
    if pa.types.is_struct(kind):
        return pa.struct(below)
    if pa.types.is_map(kind):
        return pa.map_(*below[0].type)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(below[0], kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(below[0])
    return pa.large_list(below[0]) if pa.types.is_large_list(kind) else kind


def replace_null_values(table: pa.Table) -> pa.Table:
    """Return a table whose dictionaries hold no nulls, which Parquet can't write."""
    for index, item in enumerate(table.schema):
        chunks = table.column(index).chunks
        if pa.types.is_dictionary(item.type) and any(each.dictionary.null_count for each in chunks):
            column = pa.chunked_array([_encode_again(each) for each in chunks], item.type)
            table = table.set_column(index, item, column)
    return table


def _encode_again(array: pa.DictionaryArray) -> pa.DictionaryArray:
    kind, found = array.type, array.dictionary_decode().dictionary_encode()
    indices = found.indices.cast(kind.index_type)
    return pa.DictionaryArray.from_arrays(indices, found.dictionary, ordered=kind.ordered)


def holds_null_lists(array: Any) -> bool:
    """Return whether an array holds, at any depth, null lists of a fixed size, or empty ones.

    Arrow can't read such lists from Parquet.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return holds_null_lists(array.storage)
    if pa.types.is_fixed_size_list(kind):
        return bool(array.null_count) or not kind.list_size or holds_null_lists(array.flatten())
    if pa.types.is_struct(kind):
        return any(map(holds_null_lists, array.flatten()))
    if pa.types.is_map(kind):
        return holds_null_lists(array.keys) or holds_null_lists(array.items)
    return pa.types.is_nested(kind) and holds_null_lists(array.flatten())


def loosen_lists(kind: pa.DataType) -> pa.DataType:
    """Return a type with lists of any size in place of lists of a fixed size."""
    if isinstance(kind, pa.BaseExtensionType):
        loose = loosen_lists(kind.storage_type)
        return kind if loose == kind.storage_type else loose
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_loosen_field(kind.value_field))
    if pa.types.is_struct(kind):
        return pa.struct([_loosen_field(item) for item in kind])
    if pa.types.is_map(kind):
        fields = (_loosen_field(kind.key_field), _loosen_field(kind.item_field))
        return pa.map_(*fields, keys_sorted=kind.keys_sorted)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(_loosen_field(kind.value_field))
    return kind


def _loosen_field(item: pa.Field) -> pa.Field:
    return item.with_type(loosen_lists(item.type))


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


def check_arrow_schema(schema: pa.Schema, uri: str) -> None:
    """Check that Parquet can hold the rows of an Arrow file.

    Raises: InputError: a column has a type that Parquet lacks, or two columns have the same name.
    """
    check_fields(schema, uri)
    for item in schema:
        row = pa.table({item.name: pa.nulls(1, item.type)})  # an empty table hides some mistakes
        try:
            pq.write_table(row, io.BytesIO())
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"column {item.name!r} is {item.type}, which Parquet can't hold: {error}",
                where=uri,
                remedy="convert or drop the column",
            ) from error
