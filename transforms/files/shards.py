"""Shards, read into Arrow tables with the settled schema; unreadable rows become rejects."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.corpora import EXPANSION_REMEDY
from schemas.errors import InputError
from transforms.coders import register_shard_coder
from transforms.files import storage
from transforms.files.arrow_files import ArrowReader
from transforms.files.compression import open_decompressed
from transforms.files.csv_files import CsvReader, build_table
from transforms.files.footers import FooterMemory
from transforms.files.json_lines import BOM, parse_line
from transforms.files.json_values import join_lines, read_values
from transforms.files.kinds import Kind
from transforms.files.parquet_types import replace_null_values
from transforms.files.planning import ShardPlan, SourcePiece
from transforms.files.shared_schemas import convert_columns, join_tables
from transforms.files.sources import require_unchanged
from transforms.records.column_types import is_text
from transforms.records.json_columns import Projection, project_rows
from transforms.records.repeated_keys import find_repeated_keys

RAW_LIMIT = 64 << 10
"""How many bytes of a reject are kept."""


class Reject(NamedTuple):
    """An unreadable row: its position, the reason, and its first bytes."""

    source: str
    row: int
    offset: int | None
    error: str
    raw: bytes


class Rows(NamedTuple):
    """A piece's rows: a table of good rows, their numbers in the source, and the rejects.

    The table lacks columns that the source lacks. `lines` holds the good rows' original bytes for
    JSON Lines.
    """

    table: pa.Table
    numbers: list[int]
    rejects: list[Reject]
    lines: list[bytes] | None = None


NULL_LISTS = "Expected all lists to be of size="
"""Arrow's message about a null among lists of a fixed size."""

NULL_KEYS = "Map cannot contain NULL valued keys"
"""Arrow's message about a null key, which a dictionary can hide."""

DECODED_ROWS = 256
"""How many Parquet rows are decoded before their size is checked.

Even a few rows may be large, since they can share one long text.
"""


FOOTERS = FooterMemory()


class RowStream(Protocol):
    """A source that is read piece by piece."""

    def take(self, piece: SourcePiece) -> Rows:
        """Return a piece's rows; pieces must be taken in order."""

    def close(self) -> None:
        """Close the source."""


@register_shard_coder
@dataclass
class Shard:
    """A shard's rows: the table of good rows, each row's source, and the rejects.

    A Parquet shard's table has all columns of the corpus. A JSON Lines shard's table has only the
    columns that congener reads, and `lines` holds the original bytes.
    """

    plan: ShardPlan
    table: pa.Table
    sources: list[str]
    numbers: list[int]
    rejects: list[Reject] = field(default_factory=list)
    lines: list[bytes] | None = None

    def positions(self) -> list[int]:
        """Return the position of each good row among all rows, including rejects.

        New rejects don't change the positions of other rows.
        """
        first, before = {}, 0
        for piece in self.plan.pieces:
            first[piece.source] = before - piece.begin.row
            before += piece.rows
        return [
            first[source] + number
            for source, number in zip(self.sources, self.numbers, strict=True)
        ]


class TableRows:
    """The rows of a Parquet or Arrow file from a given row, in batches of limited size."""

    def __init__(
        self, batches: Iterator[pa.RecordBatch], own: pa.Schema, wanted: pa.Schema, row: int
    ) -> None:
        self._batches, self._own, self._wanted, self._row = batches, own, wanted, row
        self._held: pa.RecordBatch | None = None

    def take(self, piece: SourcePiece) -> Rows:
        """Return the rows of `piece`, after skipping earlier rows.

        Raises: InputError: the rows are larger than the piece allows.
        """
        while self._row < piece.begin.row:
            self._decode(piece.begin.row)
        batches, left = [], piece.max_bytes
        while self._row < piece.end.row:
            batches.append(self._decode(piece.end.row))
            left -= sum(map(measure_expanded, batches[-1].columns))
            if left < 0:
                raise InputError(
                    f"rows {piece.begin.row} to {piece.end.row} expand to more than the "
                    f"{piece.max_bytes:,} bytes that shards.expansion allows",
                    where=piece.uri,
                    remedy=EXPANSION_REMEDY,
                )
        table = convert_columns(pa.Table.from_batches(batches, self._own), self._wanted)
        # One chunk per column: the output's bytes mustn't depend on the batches, which depend on
        # earlier reads.
        table = replace_null_values(table).combine_chunks()
        return Rows(table, list(range(piece.begin.row, piece.end.row)), [])

    def _decode(self, end: int) -> pa.RecordBatch:
        """Return the next batch of decoded rows, at most up to row `end`."""
        batch = self._held or next(self._batches)
        taken = batch.slice(0, end - self._row)
        self._held = batch.slice(len(taken)) if len(batch) > len(taken) else None
        self._row += len(taken)
        return taken


class ParquetRows(TableRows):
    """The rows of a Parquet file from a given row group, decoded in batches."""

    def __init__(self, piece: SourcePiece, schema: pa.Schema) -> None:
        self._stream = storage.open_raw(piece.uri)
        try:
            self._file, footer = FOOTERS.open(self._stream, piece.uri, piece.fingerprint)
        except BaseException:
            self._stream.close()
            raise
        begin = piece.begin.group
        batches = self._iterate_batches(begin, footer.metadata.num_row_groups)
        super().__init__(batches, self._file.schema_arrow, schema, footer.begins[begin])

    def _iterate_batches(self, begin: int, end: int) -> Iterator[pa.RecordBatch]:
        """Yield the batches of row groups, doubling the number of prepared groups.

        Preparing all remaining groups for each shard would take quadratic time.
        """
        count = 1
        while begin < end:
            groups = list(range(begin, min(begin + count, end)))
            yield from self._file.iter_batches(batch_size=DECODED_ROWS, row_groups=groups)
            begin, count = begin + count, 2 * count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._stream.close()


class ArrowRows(TableRows):
    """The rows of an Arrow file or stream, from its beginning."""

    def __init__(self, piece: SourcePiece, schema: pa.Schema) -> None:
        self._stream = open_decompressed(piece.uri, piece.compression, piece.max_bytes)
        try:
            reader = ArrowReader(self._stream, piece.uri)
        except BaseException:
            self._stream.close()
            raise
        batches = (batch for batch in reader.read_batches() if len(batch))
        super().__init__(batches, reader.own_schema, schema, 0)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class CsvRows:
    """The rows of a CSV or TSV file, from its beginning."""

    def __init__(self, piece: SourcePiece, schema: pa.Schema) -> None:
        self._stream = open_decompressed(piece.uri, piece.compression, piece.max_bytes)
        reader = CsvReader(self._stream, piece.uri)
        self._rows = reader.read_rows()
        self._own, self._wanted = reader.schema, schema
        self._row = 0

    def take(self, piece: SourcePiece) -> Rows:
        """Return the rows of `piece`, after skipping earlier rows."""
        for _ in range(self._row, piece.begin.row):
            next(self._rows)
        rows = [(row, next(self._rows)) for row in range(piece.begin.row, piece.end.row)]
        self._row = piece.end.row
        good = [(row, line) for row, line in rows if line.error is None]
        rejects = [
            Reject(piece.source, row, None, line.error, line.encode()[:RAW_LIMIT])
            for row, line in rows
            if line.error is not None
        ]
        table = convert_columns(build_table([line for _, line in good], self._own), self._wanted)
        return Rows(table, [row for row, _ in good], rejects)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class _Line(NamedTuple):
    """A line: its row, byte offset, bytes and object, and the reason of a reject."""

    row: int
    offset: int
    data: bytes
    value: dict[str, Any]
    error: str | None


class JsonRows:
    """The rows of a JSON file from a given byte offset."""

    def __init__(self, piece: SourcePiece, schema: pa.Schema) -> None:
        self._stream = open_decompressed(piece.uri, piece.compression, piece.max_bytes)
        start = piece.begin.byte if piece.compression == "none" else 0
        if start:
            self._stream.seek(start)
        self._lines = read_values(self._stream, piece.kind, piece.uri, start)
        self._row = piece.begin.row if piece.compression == "none" else 0
        self._schema = schema

    def take(self, piece: SourcePiece) -> Rows:
        """Return the rows of `piece`, after skipping earlier rows."""
        while self._row < piece.begin.row:
            next(self._lines)
            self._row += 1
        lines = [self._parse_next(row) for row in range(piece.begin.row, piece.end.row)]
        self._row = piece.end.row
        objects = [line for line in lines if line.error is None]
        table, misfits = self._project(objects)
        reasons = {line.row: line.error for line in lines if line.error is not None}
        reasons |= {objects[index].row: reason for index, reason in misfits.items()}
        good = [line for line in objects if line.row not in reasons]
        rejects = [
            Reject(piece.source, line.row, line.offset, reasons[line.row], line.data[:RAW_LIMIT])
            for line in lines
            if line.row in reasons
        ]
        own = [line.data.removeprefix(BOM) for line in good]
        if piece.kind != "jsonl":
            own = [join_lines(data) for data in own]
        return Rows(table, [line.row for line in good], rejects, own)

    def _project(self, lines: Sequence[_Line]) -> Projection:
        """Return the columns to read. A row that repeats a key in these columns is a misfit."""
        values = [line.value for line in lines]
        repeated = find_repeated_keys([line.data for line in lines], values, self._schema)
        if not repeated:
            return project_rows(values, self._schema)
        kept = [index for index in range(len(values)) if index not in repeated]
        table, found = project_rows([values[index] for index in kept], self._schema)
        misfits = {kept[index]: reason for index, reason in found.items()}
        return Projection(table, repeated | misfits)

    def _parse_next(self, row: int) -> _Line:
        offset, data = next(self._lines)
        return _Line(row, offset, data, *parse_line(data))

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class UnparsedRows(JsonRows):
    """The rows of a JSON file as they are written, good or bad, without parsing them.

    The table has as many rows, and only nulls.
    """

    def take(self, piece: SourcePiece) -> Rows:
        """Return the rows of `piece`, after skipping earlier rows."""
        while self._row < piece.begin.row:
            next(self._lines)
            self._row += 1
        lines = [next(self._lines)[1].removeprefix(BOM) for _ in range(piece.rows)]
        self._row = piece.end.row
        if piece.kind != "jsonl":
            lines = [join_lines(data) for data in lines]
        first = self._schema.field(0)
        table = pa.table({first.name: pa.nulls(len(lines), first.type)})
        return Rows(table, list(range(piece.begin.row, piece.end.row)), [], lines)


def measure_expanded(array: pa.Array) -> int:
    """Return an array's size in bytes; a dictionary's values count once per use."""
    kind = array.type
    if pa.types.is_struct(kind):
        return sum(measure_expanded(array.field(index)) for index in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return 8 * len(array) + measure_expanded(array.flatten())
    if pa.types.is_map(kind):
        return measure_expanded(array.keys) + measure_expanded(array.items)
    if pa.types.is_fixed_size_list(kind):
        return measure_expanded(array.flatten())
    if pa.types.is_dictionary(kind) and (lengths := _measure_values(array.dictionary)) is not None:
        return pc.sum(lengths.take(array.indices)).as_py() or 0
    return int(array.nbytes)


def _measure_values(array: pa.Array) -> pa.Array | None:
    """Return the size of each value in bytes, or None if all values have the same size."""
    kind = array.type
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return pc.binary_length(array.cast(pa.large_binary()))
    if is_text(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return pc.binary_length(array)  # without a cast, which would copy the texts for each batch
    if pa.types.is_nested(kind):
        sizes = (measure_expanded(array.slice(index, 1)) for index in range(len(array)))
        return pa.array(sizes, pa.int64())
    return None


def open_rows(piece: SourcePiece, schema: pa.Schema, parsed: bool = True) -> RowStream:
    """Open a piece's source at or before the piece's first row.

    JSON isn't parsed unless `parsed` is set.

    Raises: InputError: the source can't be opened.
    """
    openers: dict[Kind, Callable[[SourcePiece, pa.Schema], RowStream]] = {
        "parquet": ParquetRows,
        "arrow": ArrowRows,
        "csv": CsvRows,
    }
    return openers.get(piece.kind, JsonRows if parsed else UnparsedRows)(piece, schema)


def read_task(
    plans: Sequence[ShardPlan], schema: pa.Schema, parsed: bool = True
) -> Iterator[Shard]:
    """Yield a task's shards in order.

    Only one source is open at a time, and each is opened once. If `parsed` isn't set, JSON Lines
    aren't parsed: they have no rejects, and all of the table's columns are null.

    Raises: InputError: a file can't be read, or has changed since the survey.
    """
    with ExitStack() as opened:
        uri, stream = "", None
        for plan in plans:
            parts: list[tuple[SourcePiece, Rows]] = []
            for piece in plan.pieces:
                try:
                    if stream is None or piece.uri != uri:
                        opened.close()
                        uri, stream = (
                            piece.uri,
                            opened.enter_context(closing(open_rows(piece, schema, parsed))),
                        )
                    parts.append((piece, stream.take(piece)))
                    require_unchanged(piece.uri, piece.fingerprint)
                except (StopIteration, OSError, UnicodeDecodeError, pa.ArrowException) as error:
                    raise _explain_failure(piece, error) from error
            yield _assemble_shard(plan, parts, schema)


def _explain_failure(piece: SourcePiece, error: Exception) -> InputError:
    """Return the error for rows that can't be read."""
    rows = f"rows {piece.begin.row} to {piece.end.row}"
    if NULL_LISTS in str(error):
        code = (
            f"import polars as pl; t = pl.read_parquet({json.dumps(piece.uri)}); "
            "t.with_columns([c.arr.to_list() for c in t if c.dtype == pl.Array])"
            f".write_parquet({json.dumps(piece.uri)})"
        )
        return InputError(
            f"{rows} have a null in a column of lists of a fixed size, which Arrow can't read from "
            "Parquet",
            where=piece.uri,
            remedy=f"write such columns as lists of any size: python -c {shlex.quote(code)}",
        )
    if NULL_KEYS in str(error):
        return InputError(
            f"{rows} have a null key in a column of maps, which Parquet can't hold",
            where=piece.uri,
            remedy="drop the entries without a key, or drop the column",
        )
    return InputError(
        f"{rows} can't be read: {error!r}",
        where=piece.uri,
        remedy="the file may have changed since the survey; run again on a copy that doesn't "
        "change",
    )


def _assemble_shard(
    plan: ShardPlan, parts: Sequence[tuple[SourcePiece, Rows]], schema: pa.Schema
) -> Shard:
    table = join_tables([rows.table for _, rows in parts], schema)
    return Shard(
        plan,
        table.replace_schema_metadata(schema.metadata),
        [piece.source for piece, rows in parts for _ in rows.numbers],
        [number for _, rows in parts for number in rows.numbers],
        [reject for _, rows in parts for reject in rows.rejects],
        _join_lines([rows.lines for _, rows in parts]),
    )


def _join_lines(parts: Sequence[list[bytes] | None]) -> list[bytes] | None:
    if any(lines is None for lines in parts):
        return None
    return [line for lines in parts for line in lines or ()]


def build_row_mask(size: int, rows: Sequence[int]) -> pa.Array:
    """Return a boolean array of `size` that is true at `rows`."""
    mask = np.zeros(size, bool)
    mask[list(rows)] = True
    return pa.array(mask)
