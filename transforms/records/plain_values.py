"""Arrow values in JSON form, for every type and every date.

pyarrow's own conversion fails on nanoseconds without pandas, on years beyond 9999, and on unknown
time zones.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

UNITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
"""The decimal places of a second in each unit of time."""

DAY_SECONDS = 86_400

CYCLE_DAYS, CYCLE_YEARS = 146_097, 400
"""The Gregorian calendar's cycle, in days and in years."""

CYCLE_START = dt.date(2000, 1, 1)
START_DAYS = (CYCLE_START - dt.date(1970, 1, 1)).days


def list_rows(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Return the rows of a table as dictionaries.

    Raises: UnicodeDecodeError: a text isn't UTF-8.
    """
    return _zip_fields(table.schema.names, map(list_values, table.columns), table.num_rows)


def list_values(column: pa.Array | pa.ChunkedArray) -> list[Any]:
    """Return a column's values in JSON form, except that bytes and decimals stay Python objects.

    Dates and times are ISO text, in UTC if they have a time zone. Durations are whole numbers of
    their unit. A map is a list of pairs.

    Raises: UnicodeDecodeError: a text isn't UTF-8.
    """
    if isinstance(column, pa.ChunkedArray):
        return [value for chunk in column.chunks for value in list_values(chunk)]
    if is_plain(column.type):
        values: list[Any] = column.to_pylist()
        return values
    if isinstance(column.type, pa.BaseExtensionType):
        return _list_extension(column)
    if pa.types.is_nested(column.type):
        return _list_nested(column)
    if pa.types.is_dictionary(column.type):
        known = [*list_values(column.dictionary), None]
        return [known[-1 if index is None else index] for index in column.indices.to_pylist()]
    describe = _find_format(column.type)
    numbers = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64()).to_pylist()
    return [None if number is None else describe(number) for number in numbers]


def is_plain(kind: pa.DataType) -> bool:
    """Return whether Arrow itself converts a type as `list_values` promises."""
    if isinstance(kind, pa.BaseExtensionType):
        return False
    if pa.types.is_temporal(kind) or pa.types.is_map(kind):
        return False
    if pa.types.is_dictionary(kind):
        return is_plain(kind.value_type)
    return all(is_plain(kind.field(index).type) for index in range(kind.num_fields))


def _list_extension(column: pa.ExtensionArray) -> list[Any]:
    if isinstance(column.type, pa.Bool8Type):
        return list(column.to_pylist())
    values = list_values(column.storage)
    if isinstance(column.type, pa.UuidType):
        return [None if value is None else str(UUID(bytes=value)) for value in values]
    return values


def _list_nested(column: Any) -> list[Any]:
    kind = column.type
    if pa.types.is_struct(kind):
        fields = map(list_values, column.flatten())
        rows = _zip_fields([item.name for item in kind], fields, len(column))
        return _hide_nulls(rows, column)
    if pa.types.is_map(kind):
        entry = pa.struct([kind.key_field.with_name("key"), kind.item_field.with_name("value")])
        entries = list_values(column.cast(pa.list_(entry)))
        return [row and [[item["key"], item["value"]] for item in row] for row in entries]
    flat = list_values(column.flatten())
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_pylist()
    bounds = pairwise(accumulate(lengths, initial=0))
    return _hide_nulls([flat[begin:end] for begin, end in bounds], column)


def _zip_fields(names: Sequence[str], columns: Iterable[Any], size: int) -> list[dict[str, Any]]:
    rows = zip(*columns, strict=True) if names else [()] * size
    return [dict(zip(names, row, strict=True)) for row in rows]


def _hide_nulls(values: list[Any], column: pa.Array) -> list[Any]:
    if not column.null_count:
        return values
    valid = column.is_valid().to_pylist()
    return [value if known else None for value, known in zip(values, valid, strict=True)]


def _find_format(kind: pa.DataType) -> Callable[[int], Any]:
    """Return a function that formats a temporal value's number."""
    if pa.types.is_date32(kind):
        return format_day
    if pa.types.is_date64(kind):
        return lambda number: format_day(number // (DAY_SECONDS * 1000))
    if pa.types.is_duration(kind):
        return lambda number: number
    if pa.types.is_time(kind):
        return lambda number: _format_clock(number, UNITS[kind.unit])
    zone = "" if kind.tz is None else "Z"
    return lambda number: f"{format_time(number, UNITS[kind.unit])}{zone}"


def format_time(number: int, places: int) -> str:
    """Return a time as text. `number` counts units of 10**-`places` seconds since 1970."""
    day, rest = divmod(number, DAY_SECONDS * 10**places)
    return f"{format_day(day)} {_format_clock(rest, places)}"


def format_day(day: int) -> str:
    """Return a day's Gregorian date. `day` counts days since 1970."""
    cycles, left = divmod(day - START_DAYS, CYCLE_DAYS)
    date = CYCLE_START + dt.timedelta(left)
    year = date.year + cycles * CYCLE_YEARS
    return f"{'-' if year < 0 else ''}{abs(year):04}-{date.month:02}-{date.day:02}"


def _format_clock(number: int, places: int) -> str:
    """Return a time of day without needless decimal places."""
    if number < 0:
        return f"-{_format_clock(-number, places)}"
    seconds, fraction = divmod(number, 10**places)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    decimals = f".{fraction:0{places}}".rstrip("0") if fraction else ""
    return f"{hour:02}:{minute:02}:{second:02}{decimals}"
