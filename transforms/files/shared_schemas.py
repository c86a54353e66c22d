"""Merging schemas without loss, and converting tables to the merged schema."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from transforms.files.nested_types import allow_nulls, rebuild


class TypeConflictError(Exception):
    """Two types that can't be merged without loss, and their field's path."""

    def __init__(self, one: pa.DataType, other: pa.DataType, path: tuple[str, ...] = ()) -> None:
        super().__init__(f"{'.'.join(path)}: {one} against {other}")
        self.one, self.other, self.path = one, other, path


class SchemaUnion:
    """A schema that can hold all added schemas' rows.

    Columns are in the order of their first appearance, and the metadata is from the first schema. A
    column that some schema lacks becomes nullable, at all depths. Adding a schema takes time in
    proportion to its columns.
    """

    def __init__(self) -> None:
        self._fields: dict[str, pa.Field] = {}
        self._counts = Counter[str]()
        self._added = 0
        self._metadata: dict[bytes, bytes] | None = None
        self.leaves = 0
        """The number of columns at all depths."""

    def add(self, schema: pa.Schema) -> None:
        """Add a schema.

        Raises: TypeConflictError: no type can hold a column's values.
        """
        self._metadata = self._metadata if self._added else schema.metadata
        self._added += 1
        for item in schema:
            known = self._fields.get(item.name)
            merged = item if known is None else _merge_field(known, item)
            if merged is not known:
                self._fields[item.name] = merged
                self.leaves += count_leaves(merged.type)
                self.leaves -= 0 if known is None else count_leaves(known.type)
        self._counts.update(schema.names)

    def settle(self) -> pa.Schema:
        """Return the schema."""
        return pa.schema(
            [
                item if self._counts[name] == self._added else _allow_nulls(item)
                for name, item in self._fields.items()
            ],
            self._metadata,
        )


def _allow_nulls(item: pa.Field) -> pa.Field:
    return item.with_type(allow_nulls(item.type)).with_nullable(True)


def count_leaves(kind: pa.DataType) -> int:
    """Count the Parquet columns of a type."""
    if not pa.types.is_nested(kind):
        return 1
    return sum(count_leaves(kind.field(index).type) for index in range(kind.num_fields))


def merge_schemas(one: pa.Schema, other: pa.Schema) -> pa.Schema:
    """Return a schema for both schemas' rows.

    The first schema determines the order and the metadata.

    Raises: TypeConflictError: no type can hold a column's values.
    """
    union = SchemaUnion()
    union.add(one)
    union.add(other)
    return union.settle()


def _merge_fields(one: Sequence[pa.Field], other: Sequence[pa.Field]) -> list[pa.Field]:
    return list(merge_schemas(pa.schema(one), pa.schema(other)))


def _merge_field(one: pa.Field, other: pa.Field) -> pa.Field:
    if one.nullable == other.nullable and one.type.equals(other.type, check_metadata=True):
        return one
    try:
        kind = one.type
        if not kind.equals(other.type, check_metadata=True):
            kind = allow_nulls(merge_types(kind, other.type))
    except TypeConflictError as error:
        raise TypeConflictError(error.one, error.other, (one.name, *error.path)) from None
    return pa.field(one.name, kind, one.nullable or other.nullable, one.metadata)


def merge_types(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return the narrowest type that holds both types' values exactly.

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
    """Return a dictionary's or extension type's value type, or any other type unchanged.

    Two different dictionary or extension types can't be merged directly.
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
    """Merge lists. The first list's item name is kept."""
    if not (_is_list(one) and _is_list(other)):
        return None
    item = _merge_field(one.value_field, other.value_field.with_name(one.value_field.name))
    sizes = {getattr(kind, "list_size", None) for kind in (one, other)}
    if len(sizes) == 1 and None not in sizes:
        return pa.list_(item, sizes.pop())
    first = other if pa.types.is_fixed_size_list(one) else one
    return pa.large_list(item) if pa.types.is_large_list(first) else pa.list_(item)


def _merge_maps(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Merge maps. The first map's field names are kept."""
    if not (pa.types.is_map(one) and pa.types.is_map(other)):
        return None
    key = _merge_field(one.key_field, other.key_field.with_name(one.key_field.name))
    item = _merge_field(one.item_field, other.item_field.with_name(one.item_field.name))
    return pa.map_(key.with_nullable(False), item)


def _merge_texts(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Merge text types or binary types. The first type's offset width is kept, as loaders do."""
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
    """Merge decimals with enough digits before and after the point."""
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
    """Merge times to the finer unit, which may be too small for distant times."""
    make = _choose_time(one, other)
    return make(max(one.unit, other.unit, key=_UNITS.index)) if make else None


def _choose_time(one: pa.DataType, other: pa.DataType) -> Callable[[str], pa.DataType] | None:
    """Return a constructor of the shared time type, or None for different kinds."""
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other) and _share_zone(one, other):
        return lambda unit: pa.timestamp(unit, one.tz)
    if pa.types.is_duration(one) and pa.types.is_duration(other):
        return lambda unit: pa.duration(unit)  # noqa: PLW0108 - pa has no types
    if pa.types.is_time(one) and pa.types.is_time(other):
        return lambda unit: pa.time32(unit) if unit in ("s", "ms") else pa.time64(unit)
    return None


def _share_zone(one: pa.DataType, other: pa.DataType) -> bool:
    """Return whether two timestamps have the same zone; UTC has several names."""
    return one.tz == other.tz or {one.tz, other.tz} <= NAMES_OF_UTC


MERGES = (
    *(_merge_structs, _merge_lists, _merge_maps),
    *(_merge_texts, _merge_numbers, _merge_times),
)
"""Functions that merge two types of one kind, and return None for other kinds."""


def has_types(own: pa.Schema, shared: pa.Schema) -> bool:
    """Return whether two schemas have the same columns and types in the same order."""
    return (
        len(own) == len(shared)
        and own.names == shared.names
        and all(
            mine.nullable == item.nullable and mine.type.equals(item.type, check_metadata=True)
            for mine, item in zip(own, shared, strict=True)
        )
    )


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Convert a table to a schema that includes its own schema, without changing values.

    Raises: pa.ArrowInvalid: a time doesn't fit a finer unit.
    """
    return join_tables([convert_columns(table, schema)], schema)


def convert_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Convert a table's columns to the types of a merged schema.

    Raises: pa.ArrowInvalid: a time doesn't fit a finer unit.
    """
    if has_types(table.schema, schema):
        return table
    fields = [schema.field(name) for name in table.column_names]
    return pa.Table.from_arrays(
        [
            pa.chunked_array(
                [_conform(chunk, item.type) for chunk in table.column(item.name).chunks], item.type
            )
            for item in fields
        ],
        schema=pa.schema(fields),
    )


def join_tables(tables: Sequence[pa.Table], schema: pa.Schema) -> pa.Table:
    """Join tables that each have some of a schema's columns; missing values are null.

    Shared chunks of nulls keep memory from growing with rows times columns.
    """
    if all(table.schema.equals(schema) for table in tables):
        return pa.concat_tables(tables) if tables else schema.empty_table()
    found: dict[str, list[tuple[int, pa.ChunkedArray]]] = {}
    size = 0
    for table in tables:
        for name, column in zip(table.column_names, table.columns, strict=True):
            found.setdefault(name, []).append((size, column))
        size += table.num_rows
    nulls = _Nulls(size)
    columns = [_join_column(found.get(item.name, ()), item.type, nulls) for item in schema]
    return pa.Table.from_arrays(columns, schema=schema)


class _Nulls:
    """Nulls of every type, with one shared array per type."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._known: dict[pa.DataType, list[pa.Array]] = {}

    def get(self, kind: pa.DataType, size: int) -> pa.Array:
        """Return an array of nulls. Types with different metadata have separate arrays."""
        known = self._known.setdefault(kind, [])
        same = (array for array in known if array.type.equals(kind, check_metadata=True))
        if (array := next(same, None)) is None:
            array = pa.nulls(self.size, kind)
            known.append(array)
        return array.slice(0, size)


def _join_column(
    found: Sequence[tuple[int, pa.ChunkedArray]], kind: pa.DataType, nulls: _Nulls
) -> pa.ChunkedArray:
    chunks: list[pa.Array] = []
    row = 0
    for begin, column in found:
        if begin > row:
            chunks.append(nulls.get(kind, begin - row))
        chunks += column.chunks
        row = begin + len(column)
    if row < nulls.size or not chunks:
        chunks.append(nulls.get(kind, nulls.size - row))
    return pa.chunked_array(chunks, kind)


def _conform(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type.equals(kind, check_metadata=True):
        return array
    if pa.types.is_null(array.type):
        return pa.nulls(len(array), kind)
    array = array.storage if isinstance(array, pa.ExtensionArray) else array
    if pa.types.is_dictionary(array.type):
        return _conform_dictionary(array, kind)
    return rebuild(array, kind, _conform) if pa.types.is_nested(kind) else array.cast(kind)


def _conform_dictionary(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_dictionary(kind):
        return _conform(array.dictionary_decode(), kind)
    indices = array.indices.cast(kind.index_type)
    values = _conform(array.dictionary, kind.value_type)
    return pa.DictionaryArray.from_arrays(indices, values, ordered=kind.ordered)


ABSENT = "absent"
"""The form of a field that a file lacks."""


class Difference(NamedTuple):
    """A field that differs from the shared schema: its path and both forms."""

    path: str
    own: str
    shared: str


class Absence(NamedTuple):
    """A column that some files lack: the first such file's index, and their number."""

    difference: Difference
    first: int
    files: int


def list_differences(own: pa.Schema, shared: pa.Schema) -> Iterator[Difference]:
    """Yield each difference between a file's columns and the shared schema."""
    places = [shared.get_field_index(name) for name in own.names]
    if places != sorted(places):
        yield Difference("", "columns in a different order", "")
    for place in sorted(places):
        item = shared.field(place)
        yield from _compare_field(own.field(item.name), item, item.name)


def count_absent(files: Sequence[pa.Schema], shared: pa.Schema) -> Iterator[Absence]:
    """Yield the columns that some files lack, in the shared schema's order."""
    counts = Counter[str]()
    first: dict[str, int] = {}
    for index, schema in enumerate(files):
        counts.update(schema.names)
        for name in schema.names:
            if first.get(name, 0) == index:
                first[name] = index + 1
    for item in shared:
        if counts[item.name] < len(files):
            difference = Difference(item.name, ABSENT, _describe_field(item))
            yield Absence(difference, first.get(item.name, 0), len(files) - counts[item.name])


def _compare_fields(
    own: Sequence[pa.Field], shared: Sequence[pa.Field], prefix: str
) -> Iterator[Difference]:
    mine = {item.name: item for item in own}
    for item in shared:
        path = f"{prefix}{item.name}"
        if item.name not in mine:
            yield Difference(path, ABSENT, _describe_field(item))
        else:
            yield from _compare_field(mine[item.name], item, path)


def _compare_field(own: pa.Field, shared: pa.Field, path: str) -> Iterator[Difference]:
    mine, theirs = own.type, shared.type
    if pa.types.is_struct(mine) and pa.types.is_struct(theirs):
        present = dict.fromkeys(item.name for item in mine)
        if [item.name for item in theirs if item.name in present] != list(present):
            yield Difference(path, "fields in a different order", "")
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
