"""Conversions between JSON Lines and Parquet."""

import datetime as dt
import json
import math
from decimal import Decimal

import orjson
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files.conversions import (
    FieldShapes,
    convert_lines,
    encode_rows,
    find_shape,
    join_shapes,
    settle_columns,
)
from transforms.files.planning import plan_shards
from transforms.files.sources import survey

CHAT = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}]


def convert(*rows):
    """Convert rows to a table."""
    shapes = FieldShapes()
    for row in rows:
        shapes.observe(row)
    return convert_lines(rows, shapes.settle_schema())


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (None, "null"),
        (True, "bool"),
        (2**53, "integer"),
        (2**53 + 1, "long"),
        (2**63, "json"),
        (0.5, "number"),
        ("x", "text"),
        (CHAT, "messages"),
        ([], "json"),
        ([{"a": 1}], "json"),
        ({}, "json"),
    ],
)
def test_values_have_a_shape(value, shape):
    """Scalars and messages keep their types, and other values become JSON."""
    assert find_shape(value) == shape


@pytest.mark.parametrize(
    ("shapes", "joined"),
    [
        ([], "null"),
        (["null"], "null"),
        (["text", "null"], "text"),
        (["integer", "number"], "number"),
        (["integer", "long"], "long"),
        (["long", "number"], "json"),
        (["text", "bool"], "json"),
        (["messages", "text"], "json"),
    ],
)
def test_shapes_join_only_without_loss(shapes, joined):
    """Integers and floats join without loss, and other mixtures become JSON."""
    assert join_shapes(shapes) == joined


def test_columns_have_the_types_of_their_values():
    """Text, numbers and messages become typed columns."""
    table = convert({"messages": CHAT, "id": 7, "score": 1}, {"id": 8, "score": 0.5})
    assert table.schema.field("messages").type == pa.list_(
        pa.struct([("role", pa.string()), ("content", pa.string())])
    )
    assert table.schema.field("id").type == pa.int64()
    assert table.column("score").to_pylist() == [1.0, 0.5]
    assert table.column("messages").to_pylist() == [CHAT, None]


def test_mixed_values_become_json():
    """A field with values of different shapes becomes JSON text."""
    parts = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
    table = convert({"messages": CHAT, "meta": {"b": 1, "a": [True]}}, {"messages": parts})
    assert table.column("meta").to_pylist() == ['{"b": 1, "a": [true]}', None]
    content = table.schema.field("messages").type.value_type.field("content")
    assert (content.type, content.metadata) == (pa.string(), {b"congener": b"json"})
    first, second = table.column("messages").to_pylist()
    assert json.loads(first[0]["content"]) == "Why?"
    assert json.loads(second[0]["content"]) == parts[0]["content"]


def test_lone_surrogates_are_replaced():
    """A lone surrogate becomes U+FFFD."""
    table = convert({"text": "a\ud800", "more": ["\udfff"]})
    assert table.to_pylist() == [{"text": "a\ufffd", "more": '["\ufffd"]'}]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({str(number): 1 for number in range(10_001)}, "10,001 keys"),
        ({"\ud800": 1}, "isn't valid Unicode"),
    ],
)
def test_keys_that_cannot_be_columns_are_an_error(row, problem):
    """The error for too many keys or non-Unicode keys has a remedy."""
    with pytest.raises(InputError, match=problem) as caught:
        convert(row)
    assert "--output-format" in caught.value.remedy


def test_columns_are_settled_over_all_files(tmp_path):
    """A later file's key becomes a column too."""
    (tmp_path / "a.jsonl").write_text('{"text": "One.", "n": 1}\nbroken\n')
    (tmp_path / "b.jsonl").write_text('{"text": "Two.", "n": 0.5, "more": null}\n')
    sources = survey((str(tmp_path),), ShardLimits()).sources
    schema = settle_columns(plan_shards(sources, ShardLimits()), pa.schema([("text", pa.string())]))
    assert schema == pa.schema([("text", pa.string()), ("n", pa.float64()), ("more", pa.null())])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)
MESSAGES = st.lists(
    st.dictionaries(st.sampled_from(("content", "name", "tool_calls")), VALUES).map(
        lambda message: {"role": "user", **message}
    ),
    min_size=1,
    max_size=2,
)


def restore(value, item):
    """Return the JSON value of a converted value."""
    if value is None:
        return None
    if item.metadata:
        return json.loads(value)
    if pa.types.is_list(item.type):
        fields = list(item.type.value_type)
        return [{each.name: restore(one[each.name], each) for each in fields} for one in value]
    return value


def drop_nulls(value):
    """Return a row without null keys, since Parquet can't distinguish null from absent."""
    if isinstance(value, dict):
        return {name: below for name, below in value.items() if below is not None}
    return value


@settings(max_examples=60, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), VALUES | MESSAGES, min_size=1), max_size=5))
def test_every_value_can_be_restored(rows):
    """A row's Parquet form holds all of its values."""
    table = convert(*rows)
    for row, found in zip(rows, table.to_pylist(), strict=True):
        restored = {item.name: restore(found[item.name], item) for item in table.schema}
        for name, value in drop_nulls(row).items():
            expected, actual = value, restored[name]
            if find_shape(value) == "messages" and not table.schema.field(name).metadata:
                expected, actual = map(drop_nulls, value), map(drop_nulls, restored[name])
                assert list(expected) == list(actual)
            else:
                assert expected == actual


def test_rows_of_parquet_become_objects():
    """Every column type becomes JSON, at any depth."""
    when = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    table = pa.table(
        {
            "text": pa.array(["Ä"]),
            "at": pa.array([when], pa.timestamp("ns", "UTC")),
            "day": pa.array([when.date()]),
            "price": pa.array([Decimal("1.50")]),
            "took": pa.array([1_500], pa.duration("ms")),
            "image": pa.array([{"bytes": b"\x00\xff", "made": when}]),
            "kind": pa.array(["x"]).dictionary_encode(),
            "tags": pa.array([[when.date()]]),
        }
    )
    (line,) = encode_rows(table)
    assert orjson.loads(line) == {
        "text": "Ä",
        "at": "2026-01-02 03:04:05Z",
        "day": "2026-01-02",
        "price": "1.50",
        "took": 1_500,
        "image": {"bytes": "AP8=", "made": "2026-01-02 03:04:05Z"},
        "kind": "x",
        "tags": ["2026-01-02"],
    }
    assert line.startswith('{"text":"Ä"'.encode())


def test_odd_floats_are_written_as_python_writes_them():
    """NaN and infinities are kept and read back."""
    (line,) = encode_rows(pa.table({"a": [[math.nan, math.inf]], "b": ["Ä"]}))
    assert line == '{"a": [NaN, Infinity], "b": "Ä"}'.encode()


def test_far_dates_are_written():
    """A distant date is written with more digits."""
    table = pa.table({"at": pa.array([400_000_000_000_000], pa.timestamp("s")), "n": [1]})
    assert encode_rows(table) == [b'{"at":"12677465-05-27 15:06:40","n":1}']
