"""Which values can be written as they were read."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from transforms.records.column_types import is_text


def require_valid(table: pa.Table) -> None:
    """Check that a table's values can be written unchanged.

    Text must be UTF-8, which neither Parquet nor Arrow ensures. Some times, dates and decimals of
    Arrow files don't fit Parquet's types. Other odd values are accepted, such as a time of day
    beyond 24 hours.

    Raises: pa.ArrowInvalid: a text isn't UTF-8, or Parquet can't hold a value.
    """
    narrowed = any(_is_narrowed(item.type) for item in table.schema)
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:
        narrowed = True
    if narrowed:
        # Validating a slice also validates the rows around it, so copy the rows.
        for column in table.take(pa.array(range(table.num_rows))).columns:
            for chunk in column.chunks:
                _require_valid_values(chunk)


def _is_narrowed(kind: pa.DataType) -> bool:
    """Return whether Parquet holds fewer values than a type, as for seconds."""
    if isinstance(kind, pa.BaseExtensionType):
        return _is_narrowed(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _is_narrowed(kind.value_type)
    if pa.types.is_timestamp(kind) or pa.types.is_time32(kind):
        return bool(kind.unit == "s")
    fields = (kind.field(index).type for index in range(kind.num_fields))
    return pa.types.is_date64(kind) or any(map(_is_narrowed, fields))


def _require_valid_values(array: Any) -> None:
    """Check the values in an array, at any depth of nesting.

    Raises: pa.ArrowInvalid: a text isn't UTF-8, Parquet can't hold a value, or the array is
        inconsistent.
    """
    kind = array.type
    if pa.types.is_dictionary(kind):
        _require_valid_values(array.dictionary_decode())  # decoding omits unused texts
    elif is_text(kind):
        array.validate(full=True)
    elif pa.types.is_decimal(kind):
        _require_decimals_fit(array)
    elif pa.types.is_date64(kind):
        array.cast(pa.date32())
    elif pa.types.is_timestamp(kind) and kind.unit == "s":
        array.cast(pa.timestamp("ms", kind.tz))
    elif pa.types.is_time32(kind) and kind.unit == "s":
        pc.multiply_checked(array.view(pa.int32()), pa.scalar(1_000, pa.int32()))
    elif isinstance(kind, pa.BaseExtensionType):
        _require_valid_values(array.storage)
    else:
        _require_valid_parts(array)


def _require_valid_parts(array: Any) -> None:
    if pa.types.is_struct(array.type):
        for field in array.flatten():
            _require_valid_values(field)
    elif pa.types.is_map(array.type):
        _require_valid_values(array.keys)
        _require_valid_values(array.items)
    elif pa.types.is_nested(array.type):
        _require_valid_values(array.flatten())


def _require_decimals_fit(array: Any) -> None:
    """Check that each decimal fits the bytes of its type's precision in Parquet.

    Raises: pa.ArrowInvalid: a decimal needs more bytes.
    """
    size = (10**array.type.precision - 1).bit_length() // 8 + 1
    width = array.type.bit_width // 8
    if size == width:
        return
    for data in array.view(pa.binary(width)).to_pylist():
        number = int.from_bytes(data or b"", "little", signed=True)
        if not -(1 << 8 * size - 1) <= number < 1 << 8 * size - 1:
            raise pa.ArrowInvalid(f"a decimal is too large for {array.type}")
