"""Rows of a shard: Parquet and JSON Lines into Arrow tables of the settled schema, odd rows into rejects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from schemas.corpora import EXPANSION_REMEDY
from schemas.errors import InputError
from transforms.coders import coded
from transforms.files import storage
from transforms.files.footers import open_parquet
from transforms.files.json_shapes import described, misfit
from transforms.files.sources import BOM, MAX_LINE_BYTES, Piece, ShardPlan, lines, open_lines
from transforms.records.formats import is_text

RAW_LIMIT = 64 << 10
"""Bytes of a rejected row that are kept."""


class Reject(NamedTuple):
    """A row that couldn't be read: where it stands, its first bytes, and why."""

    source: str
    row: int
    offset: int | None
    error: str
    raw: bytes


class Rows(NamedTuple):
    """Rows that were read, the row number of each in its source, and those that couldn't be."""

    table: pa.Table
    numbers: list[int]
    rejects: list[Reject]


BATCH_ROWS = 256
"""Rows of Parquet that are decoded before their size is looked at: a dictionary may name one long text in every row."""


class RowStream(Protocol):
    """A source read from one place on."""

    def take(self, piece: Piece) -> Rows:
        """Read the next piece."""

    def close(self) -> None:
        """Close the source."""


@coded
@dataclass
class Shard:
    """A shard as read: the table of its good rows, where each came from, and its rejects."""

    plan: ShardPlan
    table: pa.Table
    sources: list[str]
    numbers: list[int]
    rejects: list[Reject] = field(default_factory=list)

    def places(self) -> list[int]:
        """Return each good row's place among all of the shard's, rejects counted: it stays when another row becomes a reject."""
        first, before = {}, 0
        for piece in self.plan.pieces:
            first[piece.source] = before - piece.begin.row
            before += piece.rows
        return [
            first[source] + number
            for source, number in zip(self.sources, self.numbers, strict=True)
        ]


class ParquetRows:
    """Rows of a Parquet file from a row group on, decoded page by page so that a large row group needn't fit."""

    def __init__(self, piece: Piece, schema: pa.Schema) -> None:
        self._stream = storage.open_raw(piece.uri)
        self._file = open_parquet(self._stream)
        self._schema = schema
        groups = range(piece.begin.group, self._file.metadata.num_row_groups)
        self._batches: Iterator[pa.RecordBatch] = self._file.iter_batches(
            batch_size=BATCH_ROWS, row_groups=list(groups)
        )
        self._held: pa.RecordBatch | None = None
        self._at = self._first_row(piece.begin.group)

    def _first_row(self, group: int) -> int:
        return sum(self._file.metadata.row_group(place).num_rows for place in range(group))

    def take(self, piece: Piece) -> Rows:
        """Read the rows of `piece`, passing over those before it.

        Raises: InputError: They unfold to more bytes than the piece may.
        """
        while self._at < piece.begin.row:
            self._batch(piece.begin.row)
        batches, left = [], piece.unfolded
        while self._at < piece.end.row:
            batches.append(self._batch(piece.end.row))
            left -= sum(map(written_out, batches[-1].columns))
            if left < 0:
                raise InputError(
                    f"rows {piece.begin.row} to {piece.end.row} expand to more than the {piece.unfolded:,} bytes that shards.expansion allows",
                    where=piece.uri,
                    remedy=EXPANSION_REMEDY,
                )
        # in one chunk each: where batches begin depends on what was read before, and must not show in the output's bytes
        table = pa.Table.from_batches(batches, self._file.schema_arrow).combine_chunks()
        if (
            table.schema != self._schema
        ):  # Arrow can't cast a null field of a struct in a list, even to itself
            table = table.cast(self._schema)
        return Rows(table, list(range(piece.begin.row, piece.end.row)), [])

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._stream.close()

    def _batch(self, end: int) -> pa.RecordBatch:
        """Return the next rows, as far as they were decoded together, but none from row `end` on."""
        batch = self._held or next(self._batches)
        taken = batch.slice(0, end - self._at)
        self._held = batch.slice(len(taken)) if len(batch) > len(taken) else None
        self._at += len(taken)
        return taken


class JsonRows:
    """Rows of a JSON Lines file from a byte offset on."""

    def __init__(self, piece: Piece, schema: pa.Schema) -> None:
        self._stream = open_lines(piece.uri, piece.compression)
        start = piece.begin.byte if piece.compression == "none" else 0
        if start:
            self._stream.seek(start)
        self._start = start
        self._lines = lines(self._stream)
        self._at = piece.begin.row if piece.compression == "none" else 0
        self._schema = schema
        self._kind = pa.struct(list(schema))

    def take(self, piece: Piece) -> Rows:
        """Read the rows of `piece`, passing over those before it."""
        while self._at < piece.begin.row:
            next(self._lines)
            self._at += 1
        good: list[Any] = []
        numbers: list[int] = []
        rejects: list[Reject] = []
        for row in range(piece.begin.row, piece.end.row):
            offset, line = next(self._lines)
            value, error = parse(line, self._kind)
            if error is None:
                good.append(value)
                numbers.append(row)
            else:
                rejects.append(
                    Reject(piece.source, row, self._start + offset, error, line[:RAW_LIMIT])
                )
        self._at = piece.end.row
        return Rows(pa.Table.from_pylist(good, self._schema), numbers, rejects)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


def parse(line: bytes, kind: pa.StructType) -> tuple[Any, str | None]:
    """Parse one line against the settled schema; return the value, and why it is a reject if it is."""
    if len(line) > MAX_LINE_BYTES:
        return None, f"line is longer than {MAX_LINE_BYTES >> 20} MiB"
    try:
        value = orjson.loads(line.removeprefix(BOM))
    except orjson.JSONDecodeError as error:
        return None, f"not JSON: {error}"
    if not isinstance(value, dict):
        return None, f"not a JSON object but {described(value)}"
    return value, misfit(value, kind)


def written_out(array: pa.Array) -> int:
    """Return how many bytes an array's values take once every entry of a dictionary stands where it is named."""
    kind = array.type
    if pa.types.is_struct(kind):
        return sum(written_out(array.field(place)) for place in range(kind.num_fields))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return 8 * len(array) + written_out(array.flatten())
    if pa.types.is_dictionary(kind) and is_text(kind.value_type):
        return (
            pc.sum(
                pc.binary_length(array.dictionary.cast(pa.large_string())).take(array.indices)
            ).as_py()
            or 0
        )
    return int(array.nbytes)


def open_rows(piece: Piece, schema: pa.Schema) -> RowStream:
    """Open the source of `piece` at or before its first row."""
    return ParquetRows(piece, schema) if piece.kind == "parquet" else JsonRows(piece, schema)


def read_task(plans: Sequence[ShardPlan], schema: pa.Schema) -> Iterator[Shard]:
    """Read the shards of one task, in order; each source is opened once, and closed before the next.

    Raises: InputError: A file changed since the survey, or can't be read any more.
    """
    with ExitStack() as opened:
        uri, stream = "", None
        for plan in plans:
            parts: list[tuple[Piece, Rows]] = []
            for piece in plan.pieces:
                try:
                    if stream is None or piece.uri != uri:
                        opened.close()
                        uri, stream = (
                            piece.uri,
                            opened.enter_context(closing(open_rows(piece, schema))),
                        )
                    parts.append((piece, stream.take(piece)))
                except (StopIteration, OSError, UnicodeDecodeError, pa.ArrowException) as error:
                    raise InputError(
                        f"rows {piece.begin.row} to {piece.end.row} can't be read: {error!r}",
                        where=piece.uri,
                        remedy="did the file change during the run?",
                    ) from error
            yield _assembled(plan, parts, schema)


def _assembled(plan: ShardPlan, parts: Sequence[tuple[Piece, Rows]], schema: pa.Schema) -> Shard:
    table = pa.concat_tables([rows.table for _, rows in parts]) if parts else schema.empty_table()
    return Shard(
        plan,
        table.replace_schema_metadata(schema.metadata),
        [piece.source for piece, rows in parts for _ in rows.numbers],
        [number for _, rows in parts for number in rows.numbers],
        [reject for _, rows in parts for reject in rows.rejects],
    )


def row_mask(size: int, rows: Sequence[int]) -> pa.Array:
    """Return a boolean array of `size` that is true at `rows`."""
    mask = np.zeros(size, bool)
    mask[list(rows)] = True
    return pa.array(mask)
