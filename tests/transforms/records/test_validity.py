"""Values that can't be written unchanged."""

from __future__ import annotations

import pyarrow as pa
import pytest

from transforms.records.validity import require_valid

TEXT = pa.array([b"a", b"\xff", None]).view(pa.string())
DAY = 86_400_000


def build_decimal(number):
    """Return a five-digit decimal of any size."""
    data = number.to_bytes(16, "little", signed=True)
    return pa.Array.from_buffers(pa.decimal128(5, 2), 1, [None, pa.py_buffer(data)])


def view(numbers, kind):
    """Return a temporal array of numbers."""
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    return pa.array(numbers, width).view(kind)


BAD = {
    "text": TEXT,
    "view": TEXT.cast(pa.binary()).cast(pa.binary_view()).view(pa.string_view()),
    "coded": pa.DictionaryArray.from_arrays([0, 1], TEXT.slice(0, 2)),
    "struct": pa.StructArray.from_arrays([TEXT], ["a"]),
    "list": pa.ListArray.from_arrays([0, 1, 2, 3], TEXT),
    "map": pa.MapArray.from_arrays([0, 1, 2], ["k", "l"], TEXT.slice(0, 2)),
    "part of a day": view([1, None], pa.date64()),
    "a day too far": view([DAY << 31], pa.date64()),
    "a second too far": view([1 << 62], pa.timestamp("s", "UTC")),
    "a clock too far": view([1 << 30], pa.time32("s")),
    "nested": pa.StructArray.from_arrays([view([1 << 62], pa.timestamp("s"))], ["a"]),
    "large decimal": build_decimal(1 << 100),
    "small decimal": build_decimal(-(1 << 23) - 1),
}

GOOD = {
    "text": pa.array(["a", None]),
    "days": view([0, DAY, -DAY, None], pa.date64()),
    "seconds": view([1 << 50, None], pa.timestamp("s")),
    "clock in seconds": view([-1, 100_000], pa.time32("s")),
    "clock": view([-1, 1 << 62], pa.time64("ns")),
    "far": view([1 << 62], pa.timestamp("us")),
    "decimal of three bytes": build_decimal((1 << 23) - 1),
    "decimal": pa.array([None, 1], pa.decimal256(76, 2)),
}


@pytest.mark.parametrize("name", BAD)
def test_values_that_parquet_cannot_hold_are_refused(name):
    """Invalid text and values that would change are refused."""
    table = pa.table({"good": list(range(len(BAD[name]))), "x": BAD[name]})
    with pytest.raises(pa.ArrowException):
        require_valid(table)


@pytest.mark.parametrize("name", GOOD)
def test_odd_values_that_parquet_holds_are_accepted(name):
    """Odd values that Parquet holds are accepted."""
    require_valid(pa.table({"x": GOOD[name]}))


def test_the_rows_around_a_slice_do_not_count():
    """Only a slice's own rows count."""
    table = pa.table({"a": TEXT, "b": view([0, 1, 2], pa.date64())})
    require_valid(table.slice(0, 1))
    with pytest.raises(pa.ArrowException):
        require_valid(table.slice(1, 1))
