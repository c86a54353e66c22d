"""The columns of a format, taken from stored rows of either kind."""

import pyarrow as pa
import pytest

from transforms.records.stored_columns import take_corpus_columns

ROWS = [
    {"id": 1, "messages": [{"role": "user", "content": "U"}], "note": {"a": 1}},
    {"id": 2, "messages": [], "note": None},
]
COLUMNS = {"messages": "messages"}


def test_only_the_columns_of_the_format_are_taken():
    """Other columns aren't read, from a table as from JSON objects."""
    for rows in (ROWS, pa.Table.from_pylist(ROWS)):
        found = take_corpus_columns(rows, COLUMNS)
        assert found.column_names == ["messages"]
        assert found.num_rows == 2


def test_a_nested_column_gets_its_path_as_its_name():
    """A path of keys leads to a column inside another one."""
    rows = [{"a": {"b": "text"}}, {"a": {"b": None}}]
    for given in (rows, pa.Table.from_pylist(rows)):
        found = take_corpus_columns(given, {"text": "a.b"})
        assert found.to_pydict() == {"a.b": ["text", None]}


def test_missing_columns_are_left_out():
    """A column that no row has isn't made up."""
    assert take_corpus_columns(pa.table({"x": [1]}), COLUMNS).column_names == []
    assert take_corpus_columns([{"x": 1}], COLUMNS).column_names == []


def test_a_row_that_doesnt_fit_is_an_error():
    """Messages and a number can't be one column."""
    with pytest.raises(ValueError, match="row 1"):
        take_corpus_columns([*ROWS[:1], {"messages": 5}], COLUMNS)
