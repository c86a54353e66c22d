"""Arrow values become JSON without pandas."""

import datetime as dt
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.plain_values import (
    format_day,
    format_time,
    is_plain,
    list_rows,
    list_values,
)

EPOCH = 719_162 * 86_400
"""The seconds from the start of year 1 to 1970."""

FIRST = dt.datetime.min  # noqa: DTZ901 - Arrow has times without a zone, too

UNITS = {"s": 0, "ms": 3, "us": 6, "ns": 9}
WITHOUT_PANDAS = """
import sys
class Refusal:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            raise ImportError("no pandas here")
sys.meta_path.insert(0, Refusal())
import pyarrow as pa
from transforms.records.plain_values import list_values
column = pa.array([1_717_171_717_123_456_789, None], pa.timestamp("ns", "Nowhere/City"))
nested = pa.array([[1], None, []], pa.list_(pa.duration("ns")))
print(list_values(column), list_values(nested))
"""


def test_no_package_is_needed_and_no_time_zone():
    """Nanoseconds are read without pandas, even in an unknown time zone."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PANDAS], capture_output=True, text=True, check=True
    )
    assert done.stdout == "['2024-05-31 16:08:37.123456789Z', None] [[1], None, []]\n"


@given(st.datetimes(), st.sampled_from(["us", "ms", "s"]))
def test_times_are_those_of_python(when, unit):
    """Times are written as in Python, without trailing zeros."""
    places = UNITS[unit]
    seconds = (when - FIRST) // dt.timedelta(seconds=1) - EPOCH
    number = seconds * 10**places + when.microsecond // 10 ** (6 - places)
    cut = when.replace(microsecond=when.microsecond // 10 ** (6 - places) * 10 ** (6 - places))
    expected = cut.isoformat(" ")
    assert format_time(number, places) == (expected.rstrip("0") if cut.microsecond else expected)


@given(st.integers(-(2**63), 2**63 - 1))
def test_every_number_is_a_day_of_its_own(day):
    """The calendar repeats every 400 years."""
    text = format_day(day)
    later = format_day(day + 146_097)
    assert later[-6:] == text[-6:]
    assert int(later[:-6]) == int(text[:-6]) + 400


@pytest.mark.parametrize(
    ("number", "kind", "text"),
    [
        (3_000_000, pa.date32(), "10183-09-21"),
        (-(2**31), pa.date32(), "-5877641-06-23"),
        (-719_529, pa.date32(), "-0001-12-31"),
        (86_400_001, pa.date64(), "1970-01-02"),
        (86_399, pa.time32("s"), "23:59:59"),
        (-5, pa.time32("ms"), "-00:00:00.005"),
        (1_500_000_000, pa.time64("ns"), "00:00:01.5"),
        (-1, pa.timestamp("ns"), "1969-12-31 23:59:59.999999999"),
        (2**53, pa.timestamp("s", "Europe/Berlin"), "285428751-11-12 07:36:32Z"),
        (-(2**62), pa.duration("ns"), -(2**62)),
    ],
    ids=str,
)
def test_numbers_of_every_temporal_type(number, kind, text):
    """Dates, times and durations of any size are written."""
    width = pa.int32() if kind.bit_width == 32 else pa.int64()
    column = pa.array([number, None], width).view(kind)
    assert list_values(column) == [text, None]
    assert list_values(column.slice(1)) == [None]
    lists = pa.ListArray.from_arrays([0, 2, 2], column)
    assert list_values(lists) == [[text, None], []]
    codes = pa.DictionaryArray.from_arrays(pa.array([0, None, 1]), column)
    assert list_values(codes) == [text, None, None]
    assert not is_plain(lists.type)


def test_nested_values_keep_their_nulls():
    """Structs, lists and maps keep their nulls."""
    day = pa.array([0, 1], pa.int32()).view(pa.date32())
    struct = pa.StructArray.from_arrays([day], ["day"], mask=pa.array([False, True]))
    assert list_values(struct) == [{"day": "1970-01-01"}, None]
    fixed = pa.FixedSizeListArray.from_arrays(day, 2)
    assert list_values(pa.concat_arrays([fixed, pa.nulls(1, fixed.type), fixed]).slice(1)) == [
        None,
        ["1970-01-01", "1970-01-02"],
    ]
    pairs = pa.array([[("a", 1)], None, [("b", 2), ("b", None)]], pa.map_(pa.string(), pa.int64()))
    assert list_values(pairs) == [[["a", 1]], None, [["b", 2], ["b", None]]]
    assert list_values(pairs.slice(2)) == [[["b", 2], ["b", None]]]
    empty = pa.array([{}, None], pa.struct([]))
    assert list_values(pa.chunked_array([empty, empty])) == [{}, None, {}, None]


def test_extension_types_are_what_they_store():
    """A UUID becomes text, and a value of another extension type becomes its stored value."""
    uuid = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None], pa.binary(16)))
    assert list_values(uuid) == ["30303030-3030-3030-3030-303030303030", None]
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8()))
    assert list_values(flags) == [True, False]
    when = pa.array([1], pa.int64()).view(pa.timestamp("ns"))
    named = pa.ExtensionArray.from_storage(pa.opaque(when.type, "t", "v"), when)
    assert list_values(named) == ["1970-01-01 00:00:00.000000001"]


def test_rows_are_objects():
    """Rows have all columns, with pyarrow's values for other types."""
    table = pa.table({"a": [1.5, None], "b": [b"x", b"\xff"], "c": [Decimal("1.50"), None]})
    assert list_rows(table) == table.to_pylist()
    assert list_rows(table.select([])) == [{}, {}]
    assert list_rows(table.slice(2)) == []
