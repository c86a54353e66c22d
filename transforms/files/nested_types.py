"""Nested Arrow types and arrays, taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

LISTS = (
    (pa.types.is_list, pa.list_, pa.ListArray),
    (pa.types.is_large_list, pa.large_list, pa.LargeListArray),
    (pa.types.is_list_view, pa.list_view, pa.ListViewArray),
    (pa.types.is_large_list_view, pa.large_list_view, pa.LargeListViewArray),
)
"""The types of lists of any size: a check, and constructors of a type and of an array."""

Convert = Callable[[Any, pa.DataType], Any]
"""A function that converts an array to a type."""


def map_fields(kind: pa.DataType, change: Callable[[pa.Field], pa.Field]) -> pa.DataType:
    """Return a nested type with changed fields. A union stays unchanged."""
    if pa.types.is_union(kind):
        return kind
    fields = [change(kind.field(index)) for index in range(kind.num_fields)]
    if pa.types.is_struct(kind):
        return pa.struct(fields)
    if pa.types.is_map(kind):
        key, item = fields[0].type
        return pa.map_(key.with_nullable(False), item, keys_sorted=kind.keys_sorted)
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(fields[0], kind.list_size)
    make = next((make for is_kind, make, _ in LISTS if is_kind(kind)), None)
    return make(fields[0]) if make else kind


def allow_nulls(kind: pa.DataType) -> pa.DataType:
    """Return a type whose fields may all be null, except the keys of maps."""
    if not pa.types.is_nested(kind):
        return kind
    return map_fields(kind, lambda item: item.with_type(allow_nulls(item.type)).with_nullable(True))


def list_parts(array: Any) -> list[tuple[pa.Field, Any]]:
    """Return the fields of a nested array, each with its values as they are stored.

    The values of null or hidden lists are among them.
    """
    kind = array.type
    if pa.types.is_struct(kind):
        return [(item, array.field(index)) for index, item in enumerate(kind)]
    if pa.types.is_map(kind):
        return [(kind.key_field, array.keys), (kind.item_field, array.items)]
    return [(kind.value_field, array.values)]


def rebuild(array: Any, kind: pa.DataType, convert: Convert) -> Any:
    """Convert a nested array to a nested type, its parts with `convert`.

    A struct gets nulls for fields that it lacks.

    Raises: pa.ArrowInvalid: a map has a null key.
    """
    if pa.types.is_struct(kind):
        return _rebuild_struct(array, kind, convert)
    if pa.types.is_map(kind):
        return _rebuild_map(array, kind, convert)
    return _rebuild_list(array, kind, convert)


def _rebuild_struct(array: Any, kind: pa.DataType, convert: Convert) -> Any:
    # The fields of null structs may hold anything. Flattening makes them null, which a field that
    # mustn't be null can't be.
    own = dict(zip((item.name for item in array.type), array.flatten(), strict=True))
    own |= {item.name: array.field(item.name) for item in kind if not item.nullable}
    children = [
        convert(own[item.name], item.type) if item.name in own else pa.nulls(len(array), item.type)
        for item in kind
    ]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())


def _rebuild_map(array: Any, kind: pa.DataType, convert: Convert) -> Any:
    own = array.type
    entry = pa.struct([own.key_field.with_name("key"), own.item_field.with_name("value")])
    lists = array.cast(pa.list_(entry))
    entries, offsets = lists.flatten(), _find_offsets(lists, pa.int32())
    begins = pc.if_else(array.is_valid(), offsets.slice(0, len(array)), None)
    offsets = pa.concat_arrays([begins, offsets.slice(len(array))])
    keys = convert(entries.field(0), kind.key_type)
    items = convert(entries.field(1), kind.item_type)
    return pa.MapArray.from_arrays(offsets, keys, items, type=kind)


def _rebuild_list(array: Any, kind: pa.DataType, convert: Convert) -> Any:
    if pa.types.is_fixed_size_list(kind):
        values = convert(array.values.slice(array.offset * kind.list_size), kind.value_type)
        values = values.slice(0, len(array) * kind.list_size)
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=array.is_null())
    is_large = pa.types.is_large_list(kind) or pa.types.is_large_list_view(kind)
    offsets = _find_offsets(array, pa.int64() if is_large else pa.int32())
    values, mask = convert(array.flatten(), kind.value_type), array.is_null()
    make = next(make for is_kind, _, make in LISTS if is_kind(kind))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return make.from_arrays(offsets, values, type=kind, mask=mask)
    begins = offsets.slice(0, len(array))
    sizes = pc.subtract(offsets.slice(1), begins)
    return make.from_arrays(begins, sizes, values, type=kind, mask=mask)


def _find_offsets(array: Any, kind: pa.DataType) -> Any:
    """Return the offsets of lists among their flattened values, which null lists don't have."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
    ends = pc.cumulative_sum(lengths)
    return pa.concat_arrays([pa.array([0], pa.int64()), ends]).cast(kind)
