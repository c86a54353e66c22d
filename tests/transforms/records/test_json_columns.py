"""JSON columns: kinds, misfits and values."""

import json
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.json_values import JSON
from transforms.records import json_columns
from transforms.records.json_columns import (
    IS_LOT,
    MOST_COLUMNS,
    ColumnKinds,
    has_values,
    project_rows,
    select_columns,
)
from transforms.records.json_kinds import ARROW_TYPES, classify_value
from transforms.records.json_messages import MAX_CALL_DEPTH, MESSAGES, PLAIN_FIELDS

TURN = {"role": "user", "content": "U"}


def count(*rows):
    """Return the column kinds of rows."""
    kinds = ColumnKinds()
    for row in rows:
        kinds.observe(row)
    return kinds


def settle_values(*values):
    """Return a field's settled type."""
    return count(*({"field": value} for value in values)).settle_schema().field("field").type


def project(rows, lots=(), **types):
    """Project rows onto lot columns and typed columns."""
    schema = pa.schema(list((types or {"messages": MESSAGES}).items()))
    return project_rows(rows, select_columns(schema, schema.names, lots))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a"], pa.string()),
        ([1, 2.5], pa.float64()),
        ([True], pa.bool_()),
        ([None], pa.null()),
        ([[]], pa.null()),
        ([None, [], [None]], pa.null()),
        ([None, [], 3], pa.float64()),
        ([[], [], [TURN]], MESSAGES),
        ([[1]], pa.struct([])),
        ([{}], pa.struct([])),
    ],
)
def test_kinds_become_arrow_types(values, kind):
    """Each kind has an Arrow type, and nulls and empty lists decide nothing."""
    assert settle_values(*values) == kind


def test_the_majority_wins():
    """The most frequent kind wins, and on a tie the first."""
    assert settle_values("a", 1, 1) == pa.float64()
    assert settle_values(1, "a", "b") == pa.string()
    assert settle_values("a", 1) == pa.string()
    assert settle_values(1, "a") == pa.float64()
    assert settle_values("a", 1, 2.5) == pa.float64(), "integers and floats count together"
    assert settle_values(True, 1, 1) == pa.float64(), "true isn't a number"
    assert settle_values("a", [TURN], [TURN], [], []) == MESSAGES


def test_columns_are_in_order_of_first_appearance():
    """Columns are in order of appearance."""
    kinds = count({"b": 1, "": 2}, {"c.d[0]": 3, "": 4})
    assert kinds.settle_schema().names == ["b", "", "c.d[0]"]


def test_keys_with_a_surrogate_are_no_columns():
    """A key with a surrogate isn't in the schema, and is shown with U+FFFD."""
    kinds = count({"a\ud800": 1, "b": 2})
    assert kinds.settle_schema().names == ["b"]
    assert kinds.list_filled() == ["a\ufffd", "b"]


def test_columns_with_a_value_are_filled():
    """A column is filled if some row has a value, even an empty list."""
    kinds = count({"a": None, "b": []}, {"a": None, "c": 0}, {"d": ""})
    assert kinds.list_filled() == ["b", "c", "d"]


ROWS = st.lists(st.dictionaries(st.sampled_from("pqr"), JSON, max_size=3), max_size=6)


@given(ROWS, st.integers(0, 6))
def test_merge_equals_the_whole(rows, cut):
    """The schema doesn't depend on how rows are split between files."""
    merged = count(*rows[:cut])
    merged.merge(count(*rows[cut:]))
    assert merged == count(*rows)
    assert merged.settle_schema() == count(*rows).settle_schema()


@given(st.lists(JSON, min_size=1, max_size=6))
def test_something_always_fits(values):
    """Some value has the settled kind, or the kind is null."""
    kinds = {ARROW_TYPES[classify_value(value)] for value in values}
    assert settle_values(*values) in kinds | {pa.null()}
    assert settle_values(*values) != pa.null() or kinds == {pa.null()}


def test_columns_of_every_row_are_counted_among_very_many_keys(monkeypatch):
    """The rarest keys are dropped, but columns of every row are kept."""
    monkeypatch.setattr(json_columns, "MOST_COLUMNS", 10)
    kinds = count(
        *({**{f"k{row}-{key}": 1 for key in range(30)}, "messages": [TURN]} for row in range(50))
    )
    assert kinds.counts["messages"] == Counter({"messages": 50})
    assert len(kinds.counts) <= 10 + 31
    same = count(*({**{f"k{key}": 1 for key in range(30)}, "text": "a"} for _ in range(5)))
    assert same.counts["text"] == Counter({"text": 5})
    other = count(*({f"other{row}": 1, "messages": [TURN]} for row in range(200)))
    kinds.merge(other)
    assert kinds.counts["messages"] == Counter({"messages": 250})
    assert len(kinds.counts) <= 20


def test_ten_thousand_keys_are_all_counted():
    """Very many columns are kept if every row has them."""
    row = {f"k{key}": key for key in range(MOST_COLUMNS + 500)}
    assert len(count(row, row).settle_schema()) == len(row)


def test_paths_are_counted_as_columns():
    """Values at a path are counted, unless a column has the path as its name."""
    kinds = ColumnKinds(paths=["a.b", "a.c[1].d", "e.f"])
    for row in (
        {"a": {"b": "x", "c": [{}, {"d": [TURN]}]}},
        {"a": {"b": 3, "c": []}, "a.b": "own", "e": "no object"},
        {"a": None, "e": [1]},
    ):
        kinds.observe(row)
    assert kinds.counts["a.b"] == Counter({"text": 2})
    assert kinds.counts["a.c[1].d"] == Counter({"messages": 1})
    assert "e.f" not in kinds.counts
    assert kinds.settle_schema().field("a.c[1].d").type == MESSAGES


def test_a_path_is_projected_like_a_column():
    """Values at a path become a column, and misfits are reported."""
    rows = [{"a": {"b": "x"}}, {"a": {"b": 3}}, {"a": 1}, {"a.b": "own", "a": {"b": "y"}}]
    found = project(rows, **{"a.b": pa.string()})
    assert found.table.column("a.b").to_pylist() == ["x", None, "own"]
    assert found.misfits == {1: "field 'a.b': a number where the corpus has text"}


def test_the_columns_of_format_and_lots_are_selected():
    """Format columns keep their types, and lot columns become text."""
    schema = pa.schema([("id", pa.float64()), ("text", pa.string()), ("model", pa.bool_())])
    selected = select_columns(schema, ["text", "text"], ["model", "text", "model"])
    assert selected == pa.schema([("text", pa.string()), ("model", pa.string())])
    assert [item.metadata for item in selected] == [None, IS_LOT]


def test_a_projection_has_the_columns_of_the_schema():
    """Fields outside the schema are left out, and missing fields are null."""
    found = project([{"b": "x", "c": 1}, {"a": "y"}], a=pa.string(), b=pa.string())
    assert found.misfits == {}
    assert found.table.to_pylist() == [{"a": None, "b": "x"}, {"a": "y", "b": None}]


def test_a_projection_without_columns_has_its_rows():
    """Without columns, a table still has its rows."""
    found = project_rows([{"a": 1}, {}], pa.schema([]))
    assert (found.table.num_rows, found.table.num_columns, found.misfits) == (2, 0, {})
    assert project([]).table.schema == pa.schema([("messages", MESSAGES)])


def test_a_column_without_a_value_in_the_corpus_is_null():
    """A column without values is null."""
    found = project([{"input": None}, {"input": []}, {}], input=pa.null())
    assert found.misfits == {}
    assert found.table.column("input").to_pylist() == [None] * 3


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"messages": "hi"}, "field 'messages': text where the corpus has a list of messages"),
        ({"messages": ""}, "field 'messages': text where the corpus has a list of messages"),
        ({"messages": {}}, "field 'messages': an object where the corpus has a list of messages"),
        ({"messages": 0}, "field 'messages': a number where the corpus has a list of messages"),
        (
            {"messages": [TURN, "hi"]},
            "field 'messages[1]': text where the corpus has an object",
        ),
        (
            {"messages": [None, []]},
            "field 'messages[1]': a list where the corpus has an object",
        ),
        ({"text": 7}, "field 'text': a number where the corpus has text"),
        ({"text": True}, "field 'text': a bool where the corpus has text"),
        ({"text": []}, "field 'text': a list where the corpus has text"),
        ({"text": {"a": "b"}}, "field 'text': an object where the corpus has text"),
        ({"text": 7, "messages": 8}, "field 'messages': a number where the corpus has a list"),
    ],
)
def test_a_misfit_names_its_field(row, problem):
    """A row with a value of the wrong kind is left out with the reason."""
    good = [{"text": "a", "messages": [TURN]}, {"text": "b", "messages": []}]
    found = project([good[0], row, good[1]], messages=MESSAGES, text=pa.string())
    assert list(found.misfits) == [1]
    assert found.misfits[1].startswith(problem)
    assert found.table.column("text").to_pylist() == ["a", "b"]
    assert [len(value) for value in found.table.column("messages").to_pylist()] == [1, 0]


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"messages": None},
        {"messages": []},
        {"messages": [None]},
        {"messages": [{}]},
        {"messages": [{"role": None, "content": None}, None]},
        {"messages": [{"role": 1, "content": 2, "tool_calls": 3}]},
        {"messages": [{"content": {"deep": [[[]]]}}]},
        {"meta": 1, "id": [{}]},
    ],
)
def test_nulls_absent_fields_and_fields_that_are_not_read_fit(row):
    """Nulls, absent fields and unread fields fit."""
    found = project([row, {"messages": [TURN]}])
    assert found.misfits == {}
    assert found.table.num_rows == 2
    found.table.validate(full=True)


def nested(levels, kind):
    """Return a value with this many levels of objects or lists."""
    value = "x"
    for _ in range(levels):
        value = {"a": value} if kind == "object" else [value]
    return value


@pytest.mark.parametrize("kind", ["object", "list"])
def test_tool_calls_nested_too_deeply_are_misfits(kind):
    """Calls beyond the deepest nesting are misfits."""
    rows = [
        {"messages": [TURN, {"role": "assistant", "tool_calls": nested(levels, kind)}]}
        for levels in (MAX_CALL_DEPTH, MAX_CALL_DEPTH + 1, 900)
    ]
    found = project(rows)
    problem = f"field 'messages[1].tool_calls': more than {MAX_CALL_DEPTH} nested objects and lists"
    assert found.misfits == {1: problem, 2: problem}
    (messages,) = found.table.column("messages").to_pylist()
    assert json.loads(messages[1]["tool_calls"]) == nested(MAX_CALL_DEPTH, kind)


@pytest.mark.parametrize("name", ["content", "metadata", "thinking"])
@pytest.mark.parametrize("kind", ["object", "list"])
def test_other_fields_may_be_nested_at_any_depth(name, kind):
    """Other fields may be nested at any depth."""
    found = project([{"messages": [{"role": "user", name: nested(900, kind)}]}])
    assert found.misfits == {}
    found.table.validate(full=True)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("m", "m"),
        ("", ""),
        (7, "7"),
        (2.5, "2.5"),
        (True, "True"),
        (None, None),
        ({"name": "m"}, None),
        (["m"], None),
        (nested(900, "list"), None),
    ],
)
def test_lots_are_formatted(value, text):
    """Numbers and booleans name lots, but objects and lists don't."""
    for others in ([], [{"model": 1, "text": "b"}]):
        found = project([{"model": value, "text": "a"}, *others], ["model"], text=pa.string())
        assert found.misfits == {}
        assert found.table.column("model").to_pylist() == [text, *("1" for _ in others)]


def test_a_column_of_format_and_lot_is_the_formats():
    """A column of format and lot must fit the format."""
    found = project([{"text": "a"}, {"text": 1}], ["text"], text=pa.string())
    assert list(found.misfits) == [1]


MESSAGE = st.none() | st.dictionaries(
    st.sampled_from([*PLAIN_FIELDS, "parts", "refusal", "audio", "function_call", "thoughts", "x"]),
    st.sampled_from(["", "a", "\ud800", None, 3, True]) | JSON,
    max_size=5,
)
OBJECTS = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "messages": st.lists(MESSAGE, max_size=3) | JSON,
            "prompt": st.text(max_size=3) | JSON,
            "model": JSON,
            "other": JSON,
        },
    ),
    max_size=5,
)
TYPES = {"messages": MESSAGES, "prompt": pa.string()}


@given(OBJECTS)
def test_a_row_is_read_the_same_whatever_its_neighbours(rows):
    """Rows are read the same together and alone."""
    whole = project(rows, ["model"], **TYPES)
    whole.table.validate(full=True)
    alone = [project([row], ["model"], **TYPES) for row in rows]
    assert whole.misfits == {
        index: found.misfits[0] for index, found in enumerate(alone) if found.misfits
    }
    assert whole.table.to_pylist() == [row for found in alone for row in found.table.to_pylist()]
    assert all(found.table.schema == whole.table.schema for found in alone)


def test_an_array_without_a_value_is_known():
    """An empty or null array has no values."""
    assert has_values(pa.array([None, ""]))
    assert not has_values(pa.array([None], pa.string()))
    assert not has_values(pa.array([], pa.string()))
