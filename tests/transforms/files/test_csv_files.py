"""CSV and TSV: headers, values and bad rows."""

import io

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from transforms.files import csv_files
from transforms.files.csv_files import CsvReader, build_table


def read(data: bytes, uri: str = "x.csv"):
    """Return the column names and the rows."""
    reader = CsvReader(io.BytesIO(data), uri)
    return reader.schema.names, list(reader.read_rows())


@pytest.mark.parametrize(
    ("uri", "data"),
    [
        ("x.csv", b"a,b\n1,2\n"),
        ("x.csv", b"a;b\r\n1;2"),
        ("x.csv", b"a|b\n1|2\n"),
        ("x.tsv", b"a\tb\n1\t2\n"),
        ("x.csv.gz", b"a\tb\n1\t2\n"),
        ("x.csv", b'\xef\xbb\xbf"a",b\n1,2\n'),
        ("x.csv", b"sep=;\r\na;b\r\n1;2\r\n"),
        ("x.csv", b'"sep=,"\na,b\n1,2\n'),
    ],
)
def test_the_header_says_what_separates_values(uri, data):
    """`,`, `;`, `|` or a tab separates values, and a byte order mark or `sep=` line is skipped."""
    names, rows = read(data, uri)
    assert names == ["a", "b"]
    assert [(row.values, row.error) for row in rows] == [(["1", "2"], None)]


@given(
    st.lists(st.lists(st.text(st.sampled_from('a",;\n\r é')), min_size=2, max_size=2), max_size=5)
)
def test_values_come_back_as_they_were(rows):
    """A quoted value may hold quotes, separators and line breaks."""
    text = "a,b\n" + "".join(
        ",".join('"' + value.replace('"', '""') + '"' for value in row) + "\n" for row in rows
    )
    _, found = read(text.encode())
    assert [row.values for row in found] == rows
    assert "a,b\n" + "".join(row.text for row in found) == text
    table = build_table(found, pa.schema([("a", pa.string()), ("b", pa.string())]))
    assert [list(row.values()) for row in table.to_pylist()] == rows


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"1", "line 3: has 1 values for 2 columns"),
        (b"1,2,3", "line 3: has 3 values for 2 columns"),
        (b"caf\xe9,2", "line 3: isn't UTF-8"),
        (b'"a"b,2', "line 3: ',' expected after '\"'"),
    ],
)
def test_a_bad_row_is_a_reject_and_the_next_is_read(line, error):
    """A bad row is a reject with its line number and bytes, and other rows are read."""
    _, rows = read(b"a,b\n1,2\n" + line + b"\n3,4\n")
    assert [row.error for row in rows] == [None, error, None]
    assert rows[1].encode() == line + b"\n"
    assert rows[2].values == ["3", "4"]


@pytest.mark.parametrize("data", [b'a,b\n1,2\n"x,3\n4,5\n', b'a,b\n1,2\n"x\n"y,3\n4,5\n'])
def test_quotes_that_join_lines_are_an_error(data):
    """An unclosed quote is an error."""
    with pytest.raises(InputError, match=r"the row on lines 3 to \d aren't balanced") as caught:
        read(data)
    assert caught.value.where == "x.csv"


@pytest.mark.parametrize(
    ("data", "problem"),
    [(b"\n1,2\n", "has no header"), (b"a,a\n", "two fields 'a'"), (b'"a"b\n', "line 1: ")],
)
def test_a_bad_header_is_refused(data, problem):
    """A missing, repeated or unreadable header is an error."""
    with pytest.raises(InputError, match=problem):
        read(data)


def test_a_long_row_is_refused(monkeypatch):
    """An endless row is refused."""
    monkeypatch.setattr(csv_files, "MAX_LINE_BYTES", 40)
    with pytest.raises(InputError, match=r"row longer than 0 MiB, which begins on line 2"):
        read(b'a,b\n"' + b"x\n" * 99)
