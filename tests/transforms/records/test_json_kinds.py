"""Kinds of JSON values, and their columns."""

import math

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.json_kinds import (
    ARROW_TYPES,
    BUILDERS,
    KINDS,
    TYPE_NAMES,
    build_column,
    classify_value,
    convert_plain,
    describe_misfit,
    describe_value,
    explain_misfit,
)
from transforms.records.json_messages import MAX_CALL_DEPTH, MESSAGES

TURN = {"role": "user", "content": "U"}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "null"),
        ("", "text"),
        (True, "bool"),
        (0, "number"),
        (1.5, "number"),
        (math.nan, "number"),
        ({}, "other"),
        ({"role": "user"}, "message"),
        ({"from": "gpt", "value": "A"}, "message"),
        ({"parts": [{"text": "A"}]}, "message"),
        ({"parts": 3}, "other"),
        ([], "empty"),
        ([None, None], "empty"),
        (["text"], "texts"),
        ([None, "text"], "texts"),
        ([["Q", "A"]], "pairs"),
        ([[None, "A"]], "pairs"),
        ([[1, 2]], "other"),
        ([{"message": TURN}], "choices"),
        ([{"content": {"parts": [], "role": "model"}}], "candidates"),
        ([{"answer": "A", "model": "m"}], "answers"),
        ([{"model": "m"}], "other"),
        ([3], "other"),
        ([[]], "other"),
        ([{}], "other"),
        ([{"content": "U"}], "answers"),
        ([TURN], "messages"),
        ([{"from": "human"}], "messages"),
        ([None, {"role": None}, "text"], "messages"),
        (["text", TURN], "texts"),
        ([{"type": "human", "content": "U"}], "messages"),
        ([{"type": "text", "content": "U"}], "answers"),
        ([{"type": "human", "data": {"content": "U"}}], "dumps"),
        ([{"type": "file", "data": {"content": "U"}}], "other"),
        ([{"type": "constructor", "id": ["HumanMessage"], "kwargs": {}}], "constructors"),
        ([{"user": "Q"}, {"assistant": "A"}], "exchanges"),
        ([{"user": "Q"}, {"n": 1}], "other"),
        ([{"label": True, "text": "A"}], "segments"),
        ([{"label": 1, "text": "A"}], "answers"),
        ([[TURN], [TURN]], "lists"),
    ],
)
def test_values_have_a_kind(value, kind):
    """A list's first item that isn't null decides the list's kind."""
    assert classify_value(value) == kind


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "a bool"),
        (3, "a number"),
        (2.5, "a number"),
        ("", "text"),
        ([], "a list"),
        ({}, "an object"),
    ],
)
def test_values_are_described_in_words(value, words):
    """A description names a value's kind."""
    assert describe_value(value) == words


def test_long_types_have_names():
    """The types of messages and other nested values have short names."""
    assert TYPE_NAMES[MESSAGES] == "a list of messages"
    assert TYPE_NAMES[ARROW_TYPES["other"]] == "an object or a list"


NEVER_READ = {"null", "empty", "bool", "number", "other", "constructors", "lists"}


def test_every_kind_has_a_type_of_its_own():
    """No two kinds share a type, except nulls and empty lists."""
    assert len(set(ARROW_TYPES.values())) == len(ARROW_TYPES) - 1
    assert set(KINDS) == set(ARROW_TYPES.values())
    assert set(BUILDERS) == set(ARROW_TYPES) - NEVER_READ


def read(kind, *values):
    """Return values of a column without null fields."""
    column = build_column(values, ARROW_TYPES[kind])
    assert column.type == ARROW_TYPES[kind]
    column.validate(full=True)
    return drop_nulls(column.to_pylist())


def drop_nulls(value):
    """Return a value without its null fields."""
    if isinstance(value, dict):
        return {name: drop_nulls(below) for name, below in value.items() if below is not None}
    return [drop_nulls(below) for below in value] if isinstance(value, list) else value


def test_columns_of_each_kind_are_built():
    """A column of any kind holds only the fields that are read, and null stays null."""
    turn = {"role": "assistant", "content": "A"}
    assert read("message", turn, None) == [turn, None]
    assert read("messages", [turn, None], None) == [[turn, {}], None]
    assert read("choices", [{"index": 0, "message": turn}, None], None, []) == [
        [{"message": turn}, {"message": {}}],
        None,
        [],
    ]
    (gemini,) = read("candidates", [{"content": {"role": "model", "parts": [{"text": "A"}]}}])
    assert gemini[0]["content"]["structured"] == '[["parts","[0].text","answer","A"]]'
    (answers,) = read("answers", [{"answer": "A", "model": "m", "reasoning": "R"}])
    assert answers == [{"reasoning": "R", "structured": '[["answer","","answer","A"]]'}]
    dumps = [{"type": "ai", "data": {"content": "A"}}, {"type": "ai"}, None]
    assert read("dumps", dumps, None) == [
        [{"data": {"role": "ai", "content": "A"}}, {"data": {}}, {"data": {}}],
        None,
    ]
    assert read("segments", [{"label": False, "text": "U"}, {"label": 3}, None], None) == [
        [{"label": False, "structured": '[["text","","answer","U"]]'}, {}, {}],
        None,
    ]
    exchange = {"system": "S", "input": "Q", "output": "A", "n": 1, "human": {}}
    assert read("exchanges", [exchange, None], None) == [
        [{"system": "S", "input": "Q", "output": "A"}, {}],
        None,
    ]
    assert read("texts", ["a", None, "\ud800"], None, []) == [["a", None, "\ufffd"], None, []]
    assert read("pairs", [["Q", "A"], ["R"]], [], None) == [[["Q", "A"], ["R"]], [], None]
    assert read("text", "a", None, 3) == ["a", None, "3"]
    assert read("bool", True, None) == [None, None]


@pytest.mark.parametrize(
    ("kind", "value", "problem"),
    [
        ("text", 7, "field 'f': a number where the corpus has text"),
        ("messages", "hi", "field 'f': text where the corpus has a list of messages"),
        ("messages", [TURN, 3], "field 'f[1]': a number where the corpus has an object"),
        ("message", [TURN], "field 'f': a list where the corpus has a message"),
        ("choices", {}, "field 'f': an object where the corpus has a list of choices"),
        ("choices", ["a"], "field 'f[0]': text where the corpus has an object"),
        ("answers", ["a"], "field 'f[0]': text where the corpus has an object"),
        ("exchanges", ["a"], "field 'f[0]': text where the corpus has an object"),
        ("texts", "a", "field 'f': text where the corpus has a list of texts"),
        ("texts", ["a", {}], "field 'f[1]': an object where the corpus has text"),
        ("pairs", ["a"], "field 'f[0]': text where the corpus has a list of texts"),
        ("pairs", [["a", 3]], "field 'f[0]': a list where the corpus has a list of texts"),
    ],
)
def test_misfits_are_explained(kind, value, problem):
    """A misfit's reason names the field, its kind and the expected kind."""
    assert str(explain_misfit("f", value, ARROW_TYPES[kind])).startswith(problem)


def test_deep_calls_are_misfits_of_every_kind_with_messages():
    """A call that is too deep is a misfit at any place."""
    call = "x"
    for _ in range(MAX_CALL_DEPTH + 1):
        call = [call]
    message = {"role": "assistant", "tool_calls": call}
    values = {
        "messages": ("f[0].tool_calls", [message]),
        "message": ("f.tool_calls", message),
        "choices": ("f[0].message.tool_calls", [{"message": message}]),
    }
    for kind, (path, value) in values.items():
        reason = explain_misfit("f", value, ARROW_TYPES[kind])
        assert reason == f"field '{path}': more than {MAX_CALL_DEPTH} nested objects and lists"


VALUES = st.recursive(
    st.none() | st.integers() | st.text("ab\ud800", max_size=2),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "message", "answer", "parts"]), below, max_size=3
        )
    ),
    max_leaves=8,
)


@given(VALUES)
def test_every_value_fits_the_column_of_its_kind_or_is_explained(value):
    """Any value fits its kind's column or is explained."""
    kind = classify_value(value)
    if kind in BUILDERS and explain_misfit("f", value, ARROW_TYPES[kind]) is None:
        assert len(read(kind, value)) == 1


def test_only_texts_and_plain_messages_are_converted_quickly():
    """Only texts and plain messages are converted quickly."""
    assert convert_plain(["a", None], pa.string()).to_pylist() == ["a", None]
    assert convert_plain([[TURN]], MESSAGES).type == MESSAGES
    assert convert_plain([["a"]], ARROW_TYPES["texts"]) is None
    assert convert_plain([3], pa.string()) is None


def test_a_misfit_names_the_columns_kind():
    """A misfit's reason names both kinds."""
    found = describe_misfit("f", 3, ARROW_TYPES["answers"])
    assert found == "field 'f': a number where the corpus has a list of objects with an answer each"
