"""Columns by name or by path."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.columns import (
    find_column,
    find_type,
    get_below,
    get_value,
    is_list,
    is_path,
    list_heads,
    list_nested,
    split_steps,
    take_column,
    take_item,
)

ROW = {
    "response": {"body": {"choices": [{"text": "a"}, {"text": "b"}], "model": "m"}},
    "a.b": "own",
    "a": {"b": "nested", "c": "below"},
    "list": [["x"], ["y", "z"]],
}


def test_column_names_may_hold_dots_and_brackets():
    """The longest column name at a path's start wins."""
    assert find_column("my.chat[0].content", ["my", "my.chat", "my.chats"]) == "my.chat"
    assert find_column("chat[0][1].content", ["chat", "chat[0]"]) == "chat[0]"
    assert find_column("output", ["out", "output"]) == "output"
    assert find_column("chosen.value", ["chosen"]) == "chosen"
    assert find_column("output", ["out"]) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("response.body.model", "m"),
        ("response.body.choices[1].text", "b"),
        ("response.body.choices[2].text", None),
        ("response.absent", None),
        ("response[0]", None),
        ("a.b", "own"),
        ("a.c", "below"),
        ("list[1][0]", "y"),
        ("list[0][1]", None),
        ("list.x", None),
        ("absent", None),
        ("absent.below", None),
        ("a..b", None),
        ("", None),
    ],
)
def test_a_path_leads_to_a_value(name, value):
    """A path leads to a value, unless a column has the path as its name."""
    table = pa.Table.from_pylist([ROW])
    assert get_value(ROW, name) == value
    kind = find_type(table.schema, name)
    if kind is not None:
        assert take_column(table, name).to_pylist() == [value]
        assert take_column(table, name).type == kind
    else:
        assert value is None


def test_heads_are_the_first_names_of_paths():
    """Each path is listed with its first column."""
    assert list_heads(["a.b", "c[0].d", "e"]) == {"a.b", "a", "c[0].d", "c", "e"}


def test_what_is_below_a_value_is_found():
    """Keys lead into objects, and indices into lists."""
    assert get_below({"a": [1, {"b": 2}]}, ("a", 1, "b")) == 2
    assert get_below("text", (0,)) is None
    assert get_below({"a": None}, ("a", "b")) is None
    assert get_below([0], ()) == [0]


def test_paths_are_recognised_and_split():
    """A name with a dot or a bracket is a path, and a malformed path has no steps."""
    assert is_path("a.b")
    assert is_path("a[0]")
    assert not is_path("a_b")
    assert split_steps(".body[3].x y") == ("body", 3, "x y")
    assert split_steps("") == ()
    assert split_steps("..x") is None
    assert split_steps("[x]") is None


ITEMS = st.none() | st.fixed_dictionaries({"x": st.none() | st.text("ab", max_size=2)})
ROWS = st.lists(
    st.fixed_dictionaries(
        {"c": st.none() | st.fixed_dictionaries({"l": st.none() | st.lists(ITEMS)})}
    ),
    max_size=6,
)
SCHEMA = pa.schema([("c", pa.struct([("l", pa.list_(pa.struct([("x", pa.string())])))]))])


@given(ROWS, st.integers(0, 3), st.integers(0, 4), st.booleans())
def test_columns_of_tables_have_the_values_of_rows(rows, index, begin, chunked):
    """A path gives the same values from an Arrow table as from rows."""
    table = pa.Table.from_pylist(rows, SCHEMA)
    if chunked:
        table = pa.concat_tables([table.slice(0, 2), table.slice(2)])
    table, rows = table.slice(begin), rows[begin:]
    for name in ("c.l", f"c.l[{index}]", f"c.l[{index}].x"):
        assert take_column(table, name).to_pylist() == [get_value(row, name) for row in rows]


def test_an_item_of_each_list_is_taken():
    """An index beyond a list, or into null, gives null."""
    lists = pa.array([["a", "b"], None, [], ["c"]])
    assert take_item(lists, 0).to_pylist() == ["a", None, None, "c"]
    assert take_item(lists.slice(1), 1).to_pylist() == [None, None, None]


def test_lists_of_both_lengths_are_lists():
    """Large lists are lists, but structs aren't."""
    assert is_list(pa.list_(pa.string()))
    assert is_list(pa.large_list(pa.string()))
    assert not is_list(pa.struct([]))


def test_the_keys_of_objects_are_listed_with_their_paths():
    """A column of objects has a path for each key, and other columns have none."""
    schema = pa.schema(
        [("meta", pa.struct([("uid", pa.string()), ("n", pa.int64())])), ("id", "i8")]
    )
    assert list(list_nested(schema, "meta.oops")) == ["meta.uid", "meta.n"]
    assert list(list_nested(schema, "id")) == list(list_nested(schema, "oops")) == []
