"""Merging schemas without loss, and converting tables to the merged schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc


class TypeConflictError(Exception):
    """Two types that can't be merged without loss, and the path of their field."""

    def __init__(self, one: pa.DataType, other: pa.DataType, path: tuple[str, ...] = ()) -> None:
        super().__init__(f"{'.'.join(path)}: {one} against {other}")
        self.one, self.other, self.path = one, other, path


def merge_schemas(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    """Return a schema for both schemas' rows, with the order and metadata of the first schema.

    A column that only one schema has becomes nullable.

    Raises: TypeConflictError: no type can hold a column's values.
    """
    return pa.schema(_merge_fields(list(one), list(other)), one.metadata)


def _merge_fields(one: Sequence[pa.Field], other: Sequence[pa.Field]) -> list[pa.Field]:
    theirs = {item.name: item for item in other}
    mine = {item.name for item in one}
    return [
        _merge_field(item, theirs[item.name]) if item.name in theirs else item.with_nullable(True)
        for item in one
    ] + [item.with_nullable(True) for item in other if item.name not in mine]


def _merge_field(one: pa.Field, other: pa.Field) -> pa.Field:
    try:
        kind = merge_types(one.type, other.type)
    except TypeConflictError as error:
        raise TypeConflictError(error.one, error.other, (one.name, *error.path)) from None
    return pa.field(one.name, kind, one.nullable or other.nullable, one.metadata)


def merge_types(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the narrowest type that can hold the values of both types exactly.

    Raises: TypeConflictError: there is no such type.
    """
    if one.equals(other, check_metadata=True) or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    one, other = _take_value_type(one), _take_value_type(other)
    if one.equals(other) and not pa.types.is_nested(one):
        return one
    for merge in MERGES:
        if (merged := merge(one, other)) is not None:
            return merged
    raise TypeConflictError(one, other)


def _take_value_type(kind: pa.DataType) -> pa.DataType:
    """Return the value type of a dictionary or extension type, or any other type unchanged.

    Two different dictionary or extension types (such as UUIDs) can't be merged directly.
    """
    if isinstance(kind, pa.BaseExtensionType):
        return kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _merge_structs(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    if not (pa.types.is_struct(one) and pa.types.is_struct(other)):
        return None
    return pa.struct(_merge_fields(list(one), list(other)))


def _is_list(kind: pa.DataType) -> bool:
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(check(kind) for check in checks)


def _merge_lists(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Merge lists; if their items have different names, the first name is kept."""
    if not (_is_list(one) and _is_list(other)):
        return None
    item = _merge_field(one.value_field, other.value_field.with_name(one.value_field.name))
    sizes = {getattr(kind, "list_size", None) for kind in (one, other)}
    if len(sizes) == 1 and None not in sizes:
        return pa.list_(item, sizes.pop())
    first = other if pa.types.is_fixed_size_list(one) else one
    return pa.large_list(item) if pa.types.is_large_list(first) else pa.list_(item)


def _merge_maps(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Merge maps, keeping the first map's field names."""
    if not (pa.types.is_map(one) and pa.types.is_map(other)):
        return None
    key = _merge_field(one.key_field, other.key_field.with_name(one.key_field.name))
    item = _merge_field(one.item_field, other.item_field.with_name(one.item_field.name))
    return pa.map_(key.with_nullable(False), item)


def _merge_texts(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Merge text types or binary types, keeping the first type's offset width, as loaders do."""
    for plain, large, view in (
        (pa.string(), pa.large_string(), pa.string_view()),
        (pa.binary(), pa.large_binary(), pa.binary_view()),
    ):
        kinds = {_take_plain_bytes(one), _take_plain_bytes(other)}
        if kinds <= {plain, large, view}:
            first = other if pa.types.is_fixed_size_binary(one) else one
            return large if first == large else plain
    return None


def _take_plain_bytes(kind: pa.DataType) -> pa.DataType:
    return pa.binary() if pa.types.is_fixed_size_binary(kind) else kind


_DECIMALS = (
    (pa.decimal32, 9, 32),
    (pa.decimal64, 18, 64),
    (pa.decimal128, 38, 128),
    (pa.decimal256, 76, 256),
)
"""Decimal types, each with its largest number of digits and its width in bits."""

_SIGNED = {8: pa.int8(), 16: pa.int16(), 32: pa.int32(), 64: pa.int64()}
_UNSIGNED = {8: pa.uint8(), 16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}


def _merge_numbers(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Merge integers, floats or decimals of different widths."""
    if pa.types.is_floating(one) and pa.types.is_floating(other):
        return max(one, other, key=lambda kind: kind.bit_width)
    if pa.types.is_decimal(one) and pa.types.is_decimal(other):
        return _merge_decimals(one, other)
    if not (pa.types.is_integer(one) and pa.types.is_integer(other)):
        return None
    width = max(one.bit_width, other.bit_width)
    signs = {pa.types.is_signed_integer(kind) for kind in (one, other)}
    if len(signs) == 1:
        return (_SIGNED if signs.pop() else _UNSIGNED)[width]
    unsigned = one if pa.types.is_unsigned_integer(one) else other
    return _SIGNED.get(max(width, 2 * unsigned.bit_width))


def _merge_decimals(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Merge decimals, keeping enough digits before and after the point for both types."""
    scale = max(one.scale, other.scale)
    precision = max(one.precision - one.scale, other.precision - other.scale) + scale
    width = max(one.bit_width, other.bit_width)
    fitting = (make for make, digits, bits in _DECIMALS if precision <= digits and width <= bits)
    make = next(fitting, None)
    return make and make(precision, scale)


NAMES_OF_UTC = frozenset(
    ("UTC", "Etc/UTC", "+00:00", "-00:00", "Z", "Zulu", "Etc/Zulu", "GMT", "Etc/GMT", "UCT")
)

_UNITS = ("s", "ms", "us", "ns")


def _merge_times(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Merge time types to the finer of their units; distant times may not fit that unit."""
    make = _choose_time(one, other)
    return make(max(one.unit, other.unit, key=_UNITS.index)) if make else None


def _choose_time(one: pa.DataType, other: pa.DataType) -> Callable[[str], pa.DataType] | None:
    """Return a function that builds a time type of the shared kind, or None if the kinds differ."""
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and _share_zone(one, other):
        return lambda unit: pa.timestamp(unit, one.tz)
    if pa.types.is_duration(one) and pa.types.is_duration(other):
        return lambda unit: pa.duration(unit)  # noqa: PLW0108 - pa has no types
    if pa.types.is_time(one) and pa.types.is_time(other):
        return lambda unit: pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    return None


def _share_zone(one: pa.DataType, other: pa.DataType) -> bool:
    """Return whether two timestamps have the same time zone; UTC has several names."""
    return one.tz == other.tz or {one.tz, other.tz} <= NAMES_OF_UTC


MERGES = (
    *(_merge_structs, _merge_lists, _merge_maps),
    *(_merge_texts, _merge_numbers, _merge_times),
)
"""Functions that merge two types of a certain kind; each returns None for other kinds."""


def has_types(own: pa.Schema, shared: pa.Schema) -> bool:
    """Return whether a schema has the shared schema's columns and types, in the same order."""
    return own.names == shared.names and all(
        mine.nullable == item.nullable and mine.type.equals(item.type, check_metadata=True)
        for mine, item in zip(own, shared, strict=True)
    )


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Convert a table to a schema into which its own schema was merged; no value changes.

    Raises: pa.ArrowInvalid: a time doesn't fit a finer unit.
    """
    own = set(table.column_names)
    columns = [
        pa.chunked_array(
            [_conform(chunk, item.type) for chunk in table.column(item.name).chunks], item.type
        )
        if item.name in own
        else pa.chunked_array([pa.nulls(table.num_rows, item.type)])
        for item in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def _conform(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type.equals(kind, check_metadata=True):
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), kind)
    array = array.storage if isinstance(array, pa.ExtensionArray) else array
    if pa.types.is_dictionary(array.type):
        return _conform_dictionary(array, kind)
    if pa.types.is_struct(kind):
        return _conform_struct(array, kind)
    if _is_list(kind):
        return _conform_list(array, kind)
    return array.cast(kind)


def _conform_dictionary(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_dictionary(kind):
        return _conform(array.dictionary_decode(), kind)
    values = _conform(array.dictionary, kind.value_type)
    return pa.DictionaryArray.from_arrays(array.indices, values, ordered=kind.ordered)


def _conform_struct(array: pa.Array, kind: pa.DataType) -> pa.Array:
    # the fields of null structs may hold anything; flattening makes them null
    own = dict(zip((item.name for item in array.type), array.flatten(), strict=True))
    children = [
        _conform(own[item.name], item.type) if item.name in own else pa.nulls(len(array), item.type)
        for item in kind
    ]
    return pa.StructArray.from_arrays(children, fields=list(kind), mask=array.is_null())


def _conform_list(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_fixed_size_list(kind):
        values = _conform(array.values.slice(array.offset * kind.list_size), kind.value_type)
        values = values.slice(0, len(array) * kind.list_size)
        return pa.FixedSizeListArray.from_arrays(values, type=kind, mask=array.is_null())
    # flattening leaves out the values of null lists
    lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
    zero = pa.array([0], pa.int64())
    ends = pc.cumulative_sum(lengths)
    large = pa.types.is_large_list(kind)
    offsets = pa.concat_arrays([zero, ends]).cast(pa.int64() if large else pa.int32())
    make = pa.LargeListArray if large else pa.ListArray
    values = _conform(array.flatten(), kind.value_type)
    return make.from_arrays(offsets, values, type=kind, mask=array.is_null())


class Difference(NamedTuple):
    """A field that differs between a file and the shared schema: its path and both forms."""

    path: str
    own: str
    shared: str


def list_differences(own: pa.Schema, shared: pa.Schema) -> Iterator[Difference]:
    """Yield each difference between a file's schema and the shared one."""
    names = dict.fromkeys(own.names)
    if [name for name in shared.names if name in names] != list(names):
        yield Difference("", "columns in another order", "")
    yield from _compare_fields(list(own), list(shared), "")


def _compare_fields(
    own: Sequence[pa.Field], shared: Sequence[pa.Field], prefix: str
) -> Iterator[Difference]:
    mine = {item.name: item for item in own}
    for item in shared:
        path = f"{prefix}{item.name}"
        if item.name not in mine:
            yield Difference(path, "absent", _describe_field(item))
        else:
            yield from _compare_field(mine[item.name], item, path)


def _compare_field(own: pa.Field, shared: pa.Field, path: str) -> Iterator[Difference]:
    mine, theirs = own.type, shared.type
    if pa.types.is_struct(mine) and pa.types.is_struct(theirs):
        present = dict.fromkeys(item.name for item in mine)
        if [item.name for item in theirs if item.name in present] != list(present):
            yield Difference(path, "fields in another order", "")
        yield from _compare_fields(list(mine), list(theirs), f"{path}.")
    elif _is_list(mine) and _is_list(theirs):
        if mine.value_field.name != theirs.value_field.name:
            names = [f"items named {kind.value_field.name!r}" for kind in (mine, theirs)]
            yield Difference(path, *names)
        if mine.id != theirs.id:
            yield Difference(path, _name_list(mine), _name_list(theirs))
        yield from _compare_field(mine.value_field, theirs.value_field, f"{path}[]")
    elif _describe_field(own) != _describe_field(shared):
        yield Difference(path, _describe_field(own), _describe_field(shared))
    if own.nullable != shared.nullable and pa.types.is_nested(theirs):
        yield Difference(path, "not null" if shared.nullable else "nullable", "nullable")


def _name_list(kind: pa.DataType) -> str:
    return str(kind).partition("<")[0]


def _describe_field(item: pa.Field) -> str:
    return f"{item.type}{'' if item.nullable else ' not null'}"
