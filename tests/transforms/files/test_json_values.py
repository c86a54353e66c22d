"""JSON values that aren't one per line, and damaged files."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import InputError
from transforms.files import json_values
from transforms.files.json_values import (
    join_lines,
    read_elements,
    read_objects,
    read_values,
)

TEXTS = st.text(st.sampled_from('ab"\\[]{},:\n é'), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(TEXTS, below, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3)
INDENTS = st.sampled_from([None, 0, 2, "\t"])
MARKS = st.sampled_from(["", "\ufeff "])
GAPS = st.sampled_from(["", "\n", " \n"])


@pytest.fixture
def small_blocks(monkeypatch):
    """Return a function that sets the block size."""
    return lambda size: monkeypatch.setattr(json_values, "BLOCK_BYTES", size)


def read(reader, data: bytes, start: int = 0) -> list[tuple[int, bytes]]:
    """Return all values from an offset."""
    stream = io.BytesIO(data)
    stream.seek(start)
    return list(reader(stream, "x.json", start))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 20])
def test_elements_are_found_in_any_blocks(small_blocks, size):
    """Every element is found with its bytes, wherever blocks end."""
    small_blocks(size)

    @given(rows=st.lists(VALUES, max_size=5), indent=INDENTS, before=MARKS)
    def check(rows, indent, before):
        data = f"{before}{json.dumps(rows, indent=indent, ensure_ascii=False)}\n".encode()
        found = read(read_elements, data)
        assert [json.loads(value) for _, value in found] == rows
        assert all(data[at : at + len(value)] == value for at, value in found)
        for index, (at, _) in enumerate(found):
            assert read(read_elements, data, at) == found[index:]

    check()


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
def test_objects_are_found_in_any_blocks(small_blocks, size):
    """Consecutive objects are found, with or without white space."""
    small_blocks(size)

    @given(rows=st.lists(OBJECTS, max_size=5), indent=INDENTS, gap=GAPS)
    def check(rows, indent, gap):
        data = gap.join(json.dumps(row, indent=indent) for row in rows).encode()
        found = read(read_objects, data)
        assert [json.loads(value) for _, value in found] == rows
        assert all(data[at : at + len(value)] == value for at, value in found)

    check()


@given(row=VALUES, indent=INDENTS)
def test_joined_lines_hold_the_same_value(row, indent):
    """Joining lines removes only line breaks between tokens."""
    text = json.dumps(row, indent=indent).replace("\n", "\r\n").encode()
    joined = join_lines(text)
    assert json.loads(joined) == row
    assert joined == bytes(byte for byte in text if byte not in b"\r\n")


@pytest.mark.parametrize("size", [1, 4, 1 << 20])
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (
            b'[{"a": 1},\n {"b": ',
            "ends inside its array, at the value that begins at byte 12, line 2",
        ),
        (b'[{"a": 1}\n', "ends inside its array"),
        (b'[{"a": "x}, {"b": 2}]', "ends inside its array, at the value that begins at byte 1,"),
        (b'[{"a": 1}] {', r"goes on after its array, at byte 11, line 1"),
        (b'[{"a": 1}]\n[{"a": 2}]', "has lists of turns as its rows"),
        (b'[{"a": 1}}', r"has a bracket '}' that closes nothing at byte 9, line 1"),
    ],
)
def test_an_array_that_is_not_closed_once_is_refused(small_blocks, size, data, problem):
    """The error for a damaged array says what is wrong and where."""
    small_blocks(size)
    with pytest.raises(InputError, match=problem) as caught:
        read(read_elements, data)
    assert caught.value.where == "x.json"


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"a": 1}\n{\n"b": "x', r"ends inside the object that begins at byte 9, line 2"),
        (b'{"a": 1}}\n{"b": 1}', r"has a bracket '}' that closes nothing at byte 8, line 1"),
    ],
)
def test_objects_that_are_not_closed_once_are_refused(small_blocks, size, data, problem):
    """The error for a damaged object gives its place."""
    small_blocks(size)
    with pytest.raises(InputError, match=problem):
        read(read_objects, data)


def test_a_damaged_element_does_not_hide_the_next(small_blocks):
    """An element that isn't JSON becomes a reject, and others are read."""
    small_blocks(4)
    found = read(read_elements, b'[{"a": [1}], {"b" 2}, , {"c": 3},]')
    assert [value for _, value in found] == [b'{"a": [1}]', b'{"b" 2}', b'{"c": 3}']


@pytest.mark.parametrize("size", [1, 3, 1 << 20])
@pytest.mark.parametrize("bare", [b'"a {b} \\" ["', b"null", b"-1.5", b"some text", b","])
def test_a_bare_value_does_not_hide_the_next_object(small_blocks, size, bare):
    """A bare value is a row of its own, anywhere among objects."""
    small_blocks(size)
    row = b'{"a": {"b": [1]}}'
    data = b"\r\n".join((bare, row, row + bare + row, b" " + bare))
    found = read(read_objects, data)
    assert [value for _, value in found] == [bare, row, row, bare, row, bare]
    assert all(data[at : at + len(value)] == value for at, value in found)
    assert all(read(read_objects, data, at) == found[index:] for index, (at, _) in enumerate(found))


@pytest.mark.parametrize("size", [1, 1 << 20])
def test_blanks_and_byte_order_marks_between_objects_are_ignored(small_blocks, size):
    """Byte order marks between objects are ignored."""
    small_blocks(size)
    found = read(read_objects, b'\xef\xbb\xbf{"a":\n1}\x0b\n\xef\xbb\xbf{"b":\n2}\n\xef\xbb\xbf')
    assert [value for _, value in found] == [b'{"a":\n1}', b'{"b":\n2}']


def test_a_long_element_is_cut(monkeypatch, small_blocks):
    """An overlong element is cut past the limit, and the next is read."""
    small_blocks(16)
    monkeypatch.setattr(json_values, "MAX_LINE_BYTES", 20)
    long = json.dumps({"a": "x" * 99}).encode()
    assert [value for _, value in read(read_elements, b"[" + long + b",1]")] == [long[:21], b"1"]


@pytest.mark.parametrize(
    ("kind", "data"), [("array", b"[1, 2]"), ("jsonl", b"1\n2"), ("objects", b"")]
)
def test_the_kind_chooses_the_reader(kind, data):
    """Each kind of file has its reader."""
    found = [value for _, value in read_values(io.BytesIO(data), kind, "x")]
    assert found == ([b"1", b"2"] if data else [])
