"""Parquet files opened with care: what a footer claims is checked before anything is read, or room made, because of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files.json_shapes import MAX_DEPTH, MAX_FIELDS

DAMAGED = "check that the file is whole, or write it anew"


def open_parquet(stream: Any) -> pq.ParquetFile:
    """Open a Parquet file that is read group by group; pages that carry a checksum are checked against it."""
    return pq.ParquetFile(stream, pre_buffer=False, page_checksum_verification=True)


def check_footer(file: pq.ParquetFile, uri: str, size: int, limits: ShardLimits) -> None:
    """Check what a footer says against itself, and against what a file of this size may hold.

    Raises: InputError: It contradicts itself, or there are too many columns, rows or bytes, too much nesting, or one name twice.
    """
    footer = file.metadata
    groups = [footer.row_group(place) for place in range(footer.num_row_groups)]
    rows, sizes = [group.num_rows for group in groups], [group.total_byte_size for group in groups]
    if sum(rows) != footer.num_rows or min([*rows, *sizes], default=0) < 0:
        raise InputError(
            f"footer is damaged: it says {footer.num_rows} rows, its row groups hold {sum(rows)}",
            where=uri,
            remedy=DAMAGED,
        )
    if footer.num_columns > MAX_FIELDS:
        raise InputError(
            f"has {footer.num_columns:,} columns, more than {MAX_FIELDS:,}",
            where=uri,
            remedy="write data as rows, or as one list",
        )
    if max(sum(sizes), footer.num_rows) > limits.compute_max_bytes(
        size
    ):  # no row takes less than a byte once it is read
        raise limits.build_expansion_error(uri, size)
    _check_fields(file.schema_arrow, uri)


def _check_fields(fields: Iterable[pa.Field], uri: str, depth: int = 1) -> None:
    names = Counter(item.name for item in fields)
    if twice := next((name for name, count in names.items() if count > 1), None):
        raise InputError(
            f"has two fields {twice!r} side by side", where=uri, remedy="rename or drop one of them"
        )
    if depth > MAX_DEPTH:
        raise InputError(
            f"nests more than {MAX_DEPTH} structs and lists inside one another",
            where=uri,
            remedy="flatten the column",
        )
    for item in fields:
        if pa.types.is_nested(item.type):
            _check_fields(
                [item.type.field(place) for place in range(item.type.num_fields)], uri, depth + 1
            )


def without_views(schema: pa.Schema) -> pa.Schema:
    """Return a schema with plain text in place of views, which Arrow can't filter; in the file itself there is no difference."""
    fields = [item.with_type(_without_views(item.type)) for item in schema]
    return pa.schema(fields, schema.metadata)


def _without_views(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return pa.string() if pa.types.is_string_view(kind) else pa.binary()
    if pa.types.is_struct(kind):
        return pa.struct([item.with_type(_without_views(item.type)) for item in kind])
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        make = pa.list_ if pa.types.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_without_views(kind.value_type)))
    return kind
