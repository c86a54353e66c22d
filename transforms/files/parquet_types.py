"""The types of Arrow columns that Parquet lacks, and the types in their place."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from schemas.errors import InputError
from transforms.files.footers import check_fields
from transforms.files.nested_types import allow_nulls, list_parts, map_fields, rebuild

PLAIN = {
    pa.string_view(): pa.string(),
    pa.binary_view(): pa.binary(),
}
"""The plain type in place of each view."""

CODED = (pa.string(), pa.large_string(), pa.binary(), pa.large_binary())
"""The types whose dictionaries Parquet keeps."""

INDEX_BITS = 32
"""The narrowest index of a dictionary. Joined dictionaries may be too long for a narrower one."""


def choose_types(schema: pa.Schema) -> pa.Schema:
    """Return a schema of types that Parquet keeps and that its readers know.

    It has no views, no dictionaries of anything but text and bytes, and no narrow indices.
    """
    return pa.schema([_choose_field(item) for item in schema], schema.metadata)


def _choose_field(item: pa.Field) -> pa.Field:
    return item.with_type(_choose_type(item.type))


def _choose_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _choose_dictionary(kind)
    if isinstance(kind, pa.JsonType):
        return pa.json_(_choose_type(kind.storage_type))
    if isinstance(kind, pa.OpaqueType):
        return pa.opaque(_choose_type(kind.storage_type), kind.type_name, kind.vendor_name)
    if pa.types.is_list_view(kind):
        return pa.list_(_choose_field(kind.value_field))
    if pa.types.is_large_list_view(kind):
        return pa.large_list(_choose_field(kind.value_field))
    return map_fields(kind, _choose_field) if pa.types.is_nested(kind) else PLAIN.get(kind, kind)


def _choose_dictionary(kind: pa.DataType) -> pa.DataType:
    values, index = _choose_type(kind.value_type), kind.index_type
    if values not in CODED:
        return values
    index = pa.int32() if index.bit_width < INDEX_BITS else index
    return pa.dictionary(index, values, kind.ordered)


def replace_null_values(table: pa.Table) -> pa.Table:
    """Return a table whose dictionaries, at any depth, hold no nulls, which Parquet can't write.

    Raises: pa.ArrowInvalid: a map has a null key.
    """
    for index, item in enumerate(table.schema):
        chunks = table.column(index).chunks if _has_dictionary(item.type) else []
        if any(map(_holds_null_values, chunks)):
            column = pa.chunked_array(map(_replace_null_values, chunks), item.type)
            table = table.set_column(index, item, column)
    return table


def _has_dictionary(kind: pa.DataType) -> bool:
    if isinstance(kind, pa.BaseExtensionType):
        return _has_dictionary(kind.storage_type)
    fields = (kind.field(index).type for index in range(kind.num_fields))
    return pa.types.is_dictionary(kind) or any(map(_has_dictionary, fields))


def _holds_null_values(array: Any) -> bool:
    if not _has_dictionary(array.type):
        return False
    if isinstance(array, pa.ExtensionArray):
        return _holds_null_values(array.storage)
    if pa.types.is_dictionary(array.type):
        return bool(array.dictionary.null_count)
    return any(_holds_null_values(values) for _, values in list_parts(array))


def _replace_null_values(array: Any, _: pa.DataType | None = None) -> Any:
    if not _holds_null_values(array):
        return array
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return pa.ExtensionArray.from_storage(kind, _replace_null_values(array.storage))
    if not pa.types.is_dictionary(kind):
        return rebuild(array, kind, _replace_null_values)
    known = array.dictionary.is_valid()
    places = pc.subtract(pc.cumulative_sum(known.cast(pa.int64())), 1)
    places = pc.if_else(known, places, None).cast(kind.index_type)
    values = array.dictionary.drop_null()
    return pa.DictionaryArray.from_arrays(places.take(array.indices), values, ordered=kind.ordered)


def holds_null_lists(array: Any) -> bool:
    """Return whether an array holds, at any depth, null lists of a fixed size, or empty ones.

    Arrow can't read such lists from Parquet.
    """
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType):
        return holds_null_lists(array.storage)
    if pa.types.is_dictionary(kind):
        return pa.types.is_nested(kind.value_type) and holds_null_lists(array.dictionary_decode())
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
    return map_fields(kind, _loosen_field) if pa.types.is_nested(kind) else kind


def _loosen_field(item: pa.Field) -> pa.Field:
    return item.with_type(loosen_lists(item.type))


def holds_forbidden_nulls(item: pa.Field, array: Any) -> bool:
    """Return whether a field that mustn't be null is null, at any depth; Parquet can't write it."""
    if isinstance(array, pa.ExtensionArray):
        return holds_forbidden_nulls(item.with_type(item.type.storage_type), array.storage)
    if array.null_count and not item.nullable:
        return True
    if pa.types.is_dictionary(array.type):
        values = array.dictionary
        return holds_forbidden_nulls(pa.field("", values.type, item.nullable), values)
    return pa.types.is_nested(array.type) and any(
        holds_forbidden_nulls(*part) for part in list_parts(array)
    )


def allows_all_nulls(item: pa.Field) -> bool:
    """Return whether a field and the fields inside it may all be null."""
    return bool(item.nullable and allow_nulls(item.type).equals(item.type))


def check_types(schema: pa.Schema, uri: str) -> None:
    """Check that Parquet can hold the rows of an Arrow file.

    Raises: InputError: a column has a type that Parquet lacks, or two columns have the same name.
    """
    check_fields(schema, uri)
    for item in schema:
        nulls = pa.nulls(1, allow_nulls(item.type))  # an empty table hides some mistakes
        try:
            pq.write_table(pa.table({item.name: nulls}), io.BytesIO())
        except (pa.ArrowException, OSError) as error:
            raise InputError(
                f"column {item.name!r} is {item.type}, which Parquet can't hold: {error}",
                where=uri,
                remedy="convert or drop the column",
            ) from error
