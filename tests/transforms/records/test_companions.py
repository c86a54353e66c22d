"""Companions: what a trainer reads besides the texts."""

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.companions import (
    Companions,
    encode_whole_row,
    find_in_lines,
    find_in_records,
    find_in_table,
    is_companion,
    list_other_parts,
)

CHAT = {"messages": "messages"}
TURNS = [{"role": "user", "content": "a"}]


def find_both(rows, columns=CHAT):
    """Return the rows' encoded companions from JSON Lines and from Parquet."""
    lines = find_in_lines([orjson.dumps(row) for row in rows], orjson.loads, columns)
    table = find_in_table(pa.Table.from_pylist(rows), columns)
    return [{row: item.encode() for row, item in found.items()} for found in (lines, table)]


@pytest.mark.parametrize(
    "more",
    [
        {"system": "Be brief."},
        {"images": ["a.png"]},
        {"image": {"path": "a.png", "width": 3}},
        {"image_url": "a.png"},
        {"Audio": "a.wav"},
        {"label": False},
        {"history": [["a", "b"]]},
        {"tools": [{"name": "look"}]},
        {"prompt": "p"},
        {"Ground_Truth": "7"},
        {"reward_model": {"style": "rule", "ground_truth": "7"}},
        {"weight": 0.5},
        {"train": False},
        {"completion_mask": [0, 1]},
        {"messages": [{"role": "tool", "content": "a", "tool_call_id": "1"}]},
        {"messages": [{"role": "user", "content": "a", "name": "Ann"}]},
        {"messages": [{"role": "user", "content": "a", "images": ["a.png"]}]},
        {"messages": [{"role": "user", "content": "a", "weight": 0}]},
        {"messages": [{"role": "user", "content": "a", "train": False}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "url": "a.png"}]}]},
        {"messages": [{"role": "user", "content": {"type": "image", "url": "a.png"}}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_use", "input": {"a": 1}}]}]},
    ],
    ids=str,
)
def test_a_companion_is_found(more):
    """The same companions are found in JSON Lines and in Parquet."""
    lines, table = find_both([{"messages": TURNS, **more}])
    assert list(lines) == [0]
    assert lines == table


@pytest.mark.parametrize(
    "more",
    [
        *({"id": "1"}, {"source": "web"}, {"score": 0.5}, {"created_at": "2026"}, {"model": "m"}),
        *({"system": ""}, {"system": " \n"}, {"system": None}, {"images": []}, {"tools": {}}),
        *({"weight": 1.0}, {"sample_weight": "1"}, {"train": True}, {"trainable": "x"}),
        {"text": '"images": ["a.png"], "label": true'},
        {"messages": [{"role": "user", "content": "a", "id": "1", "timestamp": 7}]},
        {"messages": [{"role": "user", "content": "a", "weight": 1}]},
        {"messages": [{"role": "user", "content": "a", "weight": "x", "loss_weight": 1.0}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
        {"messages": [{"role": "user", "content": [{"thinking": "a", "signature": "x"}]}]},
    ],
    ids=str,
)
def test_what_no_trainer_reads_is_no_companion(more):
    """Metadata, empty columns, weights of 1 and text parts aren't companions."""
    assert find_both([{"messages": TURNS, **more}]) == [{}, {}]


def test_columns_that_the_format_reads_are_no_companions():
    """A prompt column is a companion unless the format reads it."""
    rows = [{"prompt": "p", "completion": "c", "question": "q"}]
    columns = {"prompt": "prompt", "completion": "completion"}
    lines, table = find_both(rows, columns)
    assert lines == table == {0: '{"columns":{"question":"q"},"messages":[]}'}
    assert find_both(rows, {"prompt": "question", "completion": "completion"})[0] == {
        0: '{"columns":{"prompt":"p"},"messages":[]}'
    }


IMAGE = {"type": "image", "url": "a.png"}


@pytest.mark.parametrize(
    ("row", "column", "path"),
    [
        ({"chosen": {"role": "assistant", "content": [IMAGE]}}, "chosen", "chosen"),
        ({"input": {"messages": [{"role": "user", "name": "Ann"}]}}, "messages", "input.messages"),
        ({"choices": [{"message": {"role": "assistant", "name": "x"}}]}, "messages", "choices"),
        ({"candidates": [{"content": {"parts": [IMAGE]}}]}, "messages", "candidates"),
    ],
)
def test_messages_of_every_shape_have_companions(row, column, path):
    """Companions are found in messages of every shape."""
    lines, table = find_both([row], {column: path})
    assert list(lines) == [0]
    assert lines == table


def test_only_rows_with_companions_are_listed():
    """Rows without companions aren't listed."""
    rows = [{"messages": TURNS, "label": label} for label in (None, True, None, False)]
    lines, table = find_both(rows)
    assert list(lines) == list(table) == [1, 3]
    assert lines[1] != lines[3]


def test_encoding_ignores_what_arrow_adds():
    """Nulls, whole floats, field order and outer white space don't change the encoding."""
    one = Companions({"image": {"a": 1, "b": None}, "system": " S\n"}, {})
    other = Companions({"system": "S", "image": {"a": 1.0}}, {})
    assert one.encode() == other.encode()
    assert one.encode() != Companions({"system": "S", "image": {"a": 2}}, {}).encode()


def test_messages_and_conversations_are_encoded_alike():
    """`messages` and `conversations` are encoded alike, but a pair's sides aren't."""
    fields = {"weight": 0}
    messages, conversations, chosen = (
        Companions({}, {(name, 1): fields}).encode()
        for name in ("messages", "conversations", "chosen")
    )
    assert messages == conversations != chosen


@pytest.mark.parametrize("long", ["x" * 300, b"\x00" * 10, "\ud800" * 300])
def test_bytes_and_long_texts_are_digested(long):
    """Bytes and long texts become digests."""
    encoded = Companions({"image": long}, {}).encode()
    assert len(encoded) < 120
    assert encoded != Companions({"image": long[:-1] + long[:0] * 2}, {}).encode()


def test_deeply_nested_values_are_digested():
    """The innermost part of a deep value affects the encoding."""
    encoded = []
    for inmost in ("a", "b"):
        value = {"b": inmost, "a": [1, 2.0]}
        for _ in range(2_000):
            value = [value]
        encoded.append(Companions({"tools": value}, {}).encode())
    assert encoded[0] != encoded[1]


def test_whole_rows_count_all_columns_but_our_own():
    """Rows with different columns differ, except for congener's own column."""
    row = {"id": 1, "completion": "c", "other": None}
    assert encode_whole_row(row) == encode_whole_row({"id": 1.0, "completion": "c", "congener": {}})
    assert encode_whole_row(row) != encode_whole_row({**row, "id": 2})


@pytest.mark.parametrize(
    ("columns", "expected"),
    [({"images": ["a"]}, True), ({"question": "q"}, True), ({"system": "s", "label": 1}, False)],
)
def test_some_columns_hold_a_prompt(columns, expected):
    """Media and questions are prompts, but system prompts and labels aren't."""
    assert Companions(columns, {}).has_prompt() is expected


def test_parts_keep_their_index():
    """Parts that aren't text have their index, without their texts."""
    parts = [{"type": "text", "text": "a"}, {"type": "image", "text": "b", "url": None}, "c", None]
    assert list(list_other_parts(parts)) == [(1, {"type": "image"})]
    assert list(list_other_parts({"image": "a.png"})) == [(0, {"image": "a.png"})]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *(("system", True), ("images", True), ("video_path", True), ("IMG_1", True)),
        *(("frames", True), ("wav", True), ("pdf_path", True), ("file_name", True)),
        *(("enable_thinking", True), ("frame_rate", False), ("soundness", False)),
        *(("imagine", False), ("audience", False), ("id", False), ("model", False)),
    ],
)
def test_names_of_companions(name, expected):
    """Companion columns are recognised by whole words, in any case."""
    assert is_companion(name) is expected


VALUES = st.recursive(
    st.sampled_from(["a", "b" * 201, 1, 0, 2.5, True, None]),
    lambda below: st.dictionaries(st.sampled_from(["x", "y"]), below, min_size=1, max_size=2),
    max_leaves=4,
)


@given(VALUES, VALUES)
def test_parquet_of_one_row_has_the_companions_of_json(image, name):
    """A row has the same encoding in both kinds of file."""
    row = {"messages": [{"role": "user", "content": "a", "name": name}], "image": image}
    lines = {row: item.encode() for row, item in find_in_records([(0, row)], CHAT).items()}
    assert find_both([row]) == [lines, lines]


@pytest.mark.parametrize("key", ["t\\u006fols", "\\u0074\\u006f\\u006f\\u006c\\u0073", "tools"])
def test_a_key_with_escaped_letters_is_a_companion(key):
    """A companion is recognised however its key is escaped in the JSON."""
    line = f'{{"text": "a", "{key}" : ["x"]}}'.encode()
    found = find_in_lines([line], orjson.loads, {"text": "text"})
    assert found[0].columns == {"tools": ["x"]}
