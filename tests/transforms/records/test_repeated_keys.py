"""Repeated keys, whose values depend on the reader."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.json_columns import ColumnKinds, select_columns
from transforms.records.repeated_keys import READ_KEYS, find_repeated_keys

GOOD = b'{"messages": [{"role": "user", "content": "Q"}], "model": "m"}'


def find(*lines, columns=("messages",), lots=(), paths=()):
    """Find the repeated keys in lines."""
    objects = [orjson.loads(line.removeprefix(b"\xef\xbb\xbf")) for line in lines]
    kinds = ColumnKinds(paths=paths)
    for value in objects:
        kinds.observe(value)
    schema = select_columns(kinds.settle_schema(), columns, lots)
    return find_repeated_keys(lines, objects, schema)


@pytest.mark.parametrize(
    ("line", "path"),
    [
        (b'{"messages": [], "messages": [{"role": "user", "content": "Q"}]}', "messages"),
        (b'{"messages": [{"role": "a", "content": "Q", "content": ""}]}', "messages[0].content"),
        (
            b'{"messages": [{"role": "user", "content": "Q"}, {"role": "a", "role":"b"}]}',
            "messages[1].role",
        ),
        (
            b'{"messages": [{"role": "a", "content": [{"text": "a"}, {"text": "b", "text": ""}]}]}',
            "messages[0].content[1].text",
        ),
        (
            b'{"messages": [{"role": "a", "thinking": "x", "thinking": "y", "content": "A"}]}',
            "messages[0].thinking",
        ),
        (b'\xef\xbb\xbf{"messages": [], "messages": []}', "messages"),
        (b'{"model": "a", "model": "b", "messages": []}', "model"),
        (b'{"model" : "a", "model"\t: "b", "messages" : []}', "model"),
        (b'{"model": "say \\"a\\": b", "model": "b", "messages": []}', "model"),
    ],
)
def test_keys_that_are_read_twice_are_found(line, path):
    """The reason names the repeated key's path."""
    found = find(GOOD, line, GOOD, lots=["model"])
    reason = f"field {path!r} occurs twice, and JSON readers differ on which value counts"
    assert found == {1: reason}


@pytest.mark.parametrize(
    "line",
    [
        b'{"messages": [{"role": "user", "content": "the key \\"content\\": and \\"role\\":"}]}',
        b'{"messages": [{"role": "content", "content": "role"}], "notes": ["messages", "content"]}',
        b'{"messages": [], "id": 1, "id": 2, "meta": {"content": 1, "content": 2}}',
        b'{"messages": [{"role": "user", "content": "Q", "name": "a", "name": "b"}]}',
        b'{"messages": [], "meta": {"messages": [{"content": 1}], "role": {"role": 2}}}',
        b'{"messages": [{"role": "user", "content": [{"text": "a"}, {"text": "text"}]}]}',
    ],
)
def test_other_keys_may_be_repeated(line):
    """Repeated keys that aren't read, and texts that look like keys, cause no reject."""
    assert find(GOOD, line) == {}


def test_columns_named_by_paths_are_looked_at():
    """Repeated keys are found on a path to a column and below it."""
    lines = [
        b'{"data": {"turns": [{"role": "user", "content": "Q"}], "other": 1, "other": 2}}',
        b'{"data": {"turns": [], "turns": []}}',
        b'{"data": {}, "data": {"turns": []}}',
        b'{"data": {"turns": [{"role": "user", "content": "Q", "content": "R"}]}}',
    ]
    found = find(*lines, columns=["data.turns"], paths=["data.turns"])
    assert {index: reason.split("'")[1] for index, reason in found.items()} == {
        1: "data.turns",
        2: "data",
        3: "data.turns[0].content",
    }


def test_columns_of_text_are_looked_at():
    """A row that repeats a text column's key is found."""
    lines = [b'{"prompt": "Q", "completion": "A"}', b'{"prompt": "a", "prompt": "b"}', b"{}"]
    assert list(find(*lines, columns=["prompt", "completion"])) == [1]


KEYS = [*sorted(READ_KEYS)[:6], "content", "x"]
VALUES = st.recursive(
    st.none() | st.integers(0, 9) | st.sampled_from(["content", '"role":', "text"]),
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(KEYS), below, max_size=3)
    ),
    max_leaves=10,
)


@given(st.lists(st.fixed_dictionaries({"messages": VALUES, "x": VALUES}), min_size=1, max_size=4))
def test_rows_without_repeated_keys_are_left_alone(rows):
    """An encoder's row never has repeated keys."""
    lines = [json.dumps(row).encode() for row in rows]
    assert find(*lines) == {}
