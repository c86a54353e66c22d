"""Parquet files and their footers, which are checked before any data is read."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from itertools import accumulate
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.corpora import ShardLimits
from schemas.errors import InputError

DAMAGE_REMEDY = "check that the file is complete, or write it again"

MAX_DEPTH = 32
"""The deepest nesting of structs and lists; Arrow fails at about 100 levels."""

MAX_FIELDS = 10_000
"""The largest number of fields in a corpus, at all depths."""


def open_parquet(stream: Any, footer: pq.FileMetaData | None = None) -> pq.ParquetFile:
    """Open a Parquet file for reading by row group, with page checksums.

    A known footer isn't read again.
    """
    return pq.ParquetFile(
        stream, metadata=footer, pre_buffer=False, page_checksum_verification=True
    )


class Footer(NamedTuple):
    """A Parquet file's footer, and the number of rows before each row group."""

    metadata: pq.FileMetaData
    begins: tuple[int, ...]


class FooterMemory(threading.local):
    """Remembers each thread's last footer.

    A footer grows with the number of row groups. Reading it once per shard would take quadratic
    time: a tenth of a second for each of 40,000 shards.
    """

    def __init__(self) -> None:
        self._key = ("", "")
        self._footer: Footer | None = None

    def open(self, stream: Any, uri: str, fingerprint: str) -> tuple[pq.ParquetFile, Footer]:
        """Open a Parquet file. The footer is remembered only for a file with a fingerprint."""
        key = (uri, fingerprint)
        if self._footer is not None and self._key == key and fingerprint:
            return open_parquet(stream, self._footer.metadata), self._footer
        file = open_parquet(stream)
        groups = (file.metadata.row_group(index) for index in range(file.num_row_groups))
        begins = tuple(accumulate((group.num_rows for group in groups), initial=0))
        self._key, self._footer = key, Footer(file.metadata, begins)
        return file, self._footer


def check_footer(file: pq.ParquetFile, uri: str, size: int, limits: ShardLimits) -> None:
    """Check that a footer is consistent, and plausible for a file of `size` bytes.

    Raises: InputError: the footer is inconsistent, has too many columns, rows or bytes, nests
    fields too deeply, or has two fields with the same name.
    """
    footer = file.metadata
    groups = [footer.row_group(index) for index in range(footer.num_row_groups)]
    rows, sizes = [group.num_rows for group in groups], [group.total_byte_size for group in groups]
    if sum(rows) != footer.num_rows or min([*rows, *sizes], default=0) < 0:
        raise InputError(
            f"footer is damaged: it claims {footer.num_rows} rows, but its row groups have "
            f"{sum(rows)}",
            where=uri,
            remedy=DAMAGE_REMEDY,
        )
    if footer.num_columns > MAX_FIELDS:
        raise InputError(
            f"has {footer.num_columns:,} columns, more than {MAX_FIELDS:,}",
            where=uri,
            remedy="if columns are data, write them as rows or as one list",
        )
    # a row takes at least a byte once it is read
    if max(sum(sizes), footer.num_rows) > limits.compute_max_bytes(size):
        raise limits.build_expansion_error(uri, size)
    check_fields(file.schema_arrow, uri)


def check_fields(fields: Iterable[pa.Field], uri: str, depth: int = 1) -> None:
    """Check the names and the nesting depth of fields.

    Raises: InputError: two fields at one level have the same name, or fields are nested too deeply.
    """
    names = Counter(item.name for item in fields)
    if repeated := next((name for name, count in names.items() if count > 1), None):
        raise InputError(
            f"has two fields {repeated!r} at one level",
            where=uri,
            remedy="rename or drop one of them",
        )
    if depth > MAX_DEPTH:
        raise InputError(
            f"nests more than {MAX_DEPTH} structs and lists in a column",
            where=uri,
            remedy="flatten the column",
        )
    for item in fields:
        if pa.types.is_nested(item.type):
            check_fields(
                [item.type.field(index) for index in range(item.type.num_fields)], uri, depth + 1
            )
