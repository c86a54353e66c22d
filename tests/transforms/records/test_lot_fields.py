"""Lot fields: names and dates."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import CorpusConfig, LotField
from schemas.digests import digest_bytes
from schemas.lots import UNKNOWN
from transforms.records.formats import Layout, settle_layout
from transforms.records.lot_fields import (
    FEWEST_ROWS,
    LONGEST_NAME,
    find_long_texts,
    find_single_rows,
    format_day,
    format_lot_field,
    name_system_prompt,
    read_lot_column,
)


@pytest.mark.parametrize(
    ("value", "day"),
    [
        ("2024-03-26", "2024-03-26"),
        ("2024-03-26T16:44:53Z", "2024-03-26"),
        ("1711471533", "2024-03-26"),
        ("1711471533.75", "2024-03-26"),
        ("1711471533123", "2024-03-26"),
        ("1711471533123.0", "2024-03-26"),
        ("1711471533123456", "2024-03-26"),
        ("1711471533123456789", "2024-03-26"),
        ("9999999999", "2286-11-20"),
        ("20240326", "20240326"),
        ("2024", "2024"),
        ("17114715ab", "17114715ab"),
        ("March 26th, 2024", "March 26th"),
    ],
)
def test_dates_have_a_day(value, day):
    """An epoch timestamp becomes its UTC day, and other dates are cut."""
    assert format_day(value) == day


FIRST, LAST = datetime(2002, 1, 1), datetime(2200, 1, 1)  # noqa: DTZ001 - naive, for hypothesis
MOMENTS = st.datetimes(FIRST, LAST)


@given(MOMENTS, st.sampled_from([1, 1000]))
def test_epochs_are_the_days_of_their_dates(moment, units):
    """A moment's epoch timestamp gives its day."""
    moment = moment.replace(tzinfo=UTC)
    assert format_day(str(int(moment.timestamp()) * units)) == moment.date().isoformat()


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("date", 1711471533, "2024-03-26"),
        ("date", datetime(2024, 3, 26, 12, tzinfo=UTC), "2024-03-26"),
        ("date", date(2024, 3, 26), "2024-03-26"),
        ("teacher", 1711471533, "1711471533"),
        ("teacher", "", UNKNOWN),
        ("prompt_source", None, UNKNOWN),
        ("system_prompt", " S ", name_system_prompt("S")),
    ],
)
def test_fields_of_lots_are_text(name, value, text):
    """A lot field is text or unknown, and a date is a day."""
    assert format_lot_field(name, value) == text


def test_columns_are_read_by_their_values():
    """Each row's value is read from its column, chunked or not."""
    texts = pa.chunked_array([["1711471533", None], ["2024-03-26"]])
    assert read_lot_column("date", texts) == ["2024-03-26", UNKNOWN, "2024-03-26"]
    assert read_lot_column("date", pa.chunked_array([[1711471533]])) == ["2024-03-26"]


def find(names, **lots):
    """Return the lot fields with nearly unique names."""
    fields = lots or {"prompt_source": LotField(column="source")}
    half = len(names) // 2
    tables = [pa.table({"source": part}) for part in (names[:half], names[half:])]
    return find_single_rows(tables, Layout("text", {}, fields))


def test_a_column_that_names_nearly_every_row_is_found():
    """With enough rows, a column of nearly unique names is detected."""
    urls = [f"https://example.org/{number}" for number in range(100)]
    assert find(urls) == {"prompt_source": (100, 100)}
    assert find([*urls, *urls[:10], None]) == {"prompt_source": (100, 110)}
    assert find([*urls, *urls]) == {}
    assert find(urls[: FEWEST_ROWS - 1]) == {}
    assert find(urls, teacher=LotField(constant="t")) == {}
    assert find(urls, teacher=LotField(column="absent")) == {}


def test_days_are_counted_not_moments():
    """Times on the same day are one date."""
    moments = [str(1711471533 + number) for number in range(100)]
    assert find(moments, date=LotField(column="source")) == {}
    assert find(moments, teacher=LotField(column="source")) == {"teacher": (100, 100)}


def test_a_text_in_a_lot_is_named_by_its_digest():
    """A long text in a lot becomes a digest."""
    text = "Once upon a time, " * 20
    found = format_lot_field("prompt_source", text)
    assert found == f"text:{digest_bytes(text.encode())[:16]}"
    assert format_lot_field("teacher", "n" * LONGEST_NAME) == "n" * LONGEST_NAME
    keyed = format_lot_field("prompt_source", text, b"key")
    assert keyed == f"text:{digest_bytes(text.encode(), b'key')[:16]}" != found
    assert read_lot_column("teacher", pa.chunked_array([[text, None]]), b"key") == [keyed, UNKNOWN]
    assert name_system_prompt("S", b"key") == digest_bytes(b"S", b"key")[:8]


def test_columns_with_texts_are_counted():
    """Long texts are counted by lot field."""
    table = pa.table({"text": ["a", "b"], "source": ["x" * 300, "web"]})
    layout = settle_layout(table.schema, CorpusConfig())
    assert find_long_texts([table, table], layout) == {"prompt_source": 2}
