"""JSON messages of any shape."""

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.json_messages import (
    MAX_CALL_DEPTH,
    MESSAGE,
    MESSAGES,
    PLAIN_FIELDS,
    STRUCTURED,
    build_messages,
    convert_plain_messages,
    find_deep_call,
)

TURN = {"role": "user", "content": "U"}


def read_messages(*messages):
    """Return a row's messages without nulls, with structured texts parsed."""
    (found,) = build_messages([list(messages)]).to_pylist()
    read = [
        {name: value for name, value in message.items() if value is not None} for message in found
    ]
    for message in read:
        if STRUCTURED in message:
            message[STRUCTURED] = orjson.loads(message[STRUCTURED])
    return read


def nested(levels, kind=dict):
    """Return a value with this many levels of objects or lists."""
    value = "x"
    for _ in range(levels):
        value = {"a": value} if kind is dict else [value]
    return value


def test_messages_have_their_texts():
    """Texts are read, and most other values become null."""
    texts = dict.fromkeys(
        ("role", "content", "reasoning_content", "reasoning", "thinking", "tool_calls"), "T"
    )
    assert read_messages(texts) == [texts]
    assert read_messages({**texts, "name": "n", "weight": 1}) == [texts]
    assert read_messages(dict.fromkeys(texts, 5)) == [{"tool_calls": "5"}]
    assert read_messages({**texts, "thinking": True}, texts) == [
        {name: "T" for name in texts if name != "thinking"},
        texts,
    ]


def test_a_field_named_like_the_column_of_structured_texts_is_not_read():
    """A message's own `structured` field isn't read."""
    message = {**TURN, STRUCTURED: '[["content","","answer","hidden"]]'}
    assert read_messages(message) == [TURN]
    assert convert_plain_messages([[message]]).to_pylist()[0][0][STRUCTURED] is None


@pytest.mark.parametrize("name", ["content", "value"])
@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ([{"type": "text", "text": "A"}], [("[0].text", "A")]),
        ({"type": "text", "text": "A", "n": 1}, [(".text", "A")]),
        (["a", None, 3, ["b"], "\ud800"], [("[0]", "a"), ("[3][0]", "b"), ("[4]", "\ufffd")]),
        ([{"type": "image", "data": "x" * 99}], []),
        ([{"type": 1, "text": None, "refusal": "R"}], [("[0].refusal", "R")]),
        ([], []),
        ({}, []),
        ([nested(900)], []),
        (nested(900, list), []),
    ],
)
def test_contents_that_are_structured_have_their_texts(name, content, parts):
    """Texts of typed parts have their field, path and channel."""
    (message,) = read_messages({"role": "user", name: content})
    expected = [[name, below, "answer", text] for below, text in parts]
    assert message == {"role": "user"} | ({STRUCTURED: expected} if parts else {})


def test_other_fields_are_in_the_order_of_reading():
    """Thoughts come before content, and calls after it."""
    message = {
        "function_call": {"name": "f", "arguments": None},
        "refusal": "No.",
        "audio": {"id": "a", "data": "UklGRg==", "transcript": "Heard."},
        "content": "C",
        "reasoning_details": [{"type": "reasoning.text", "text": "T"}],
        "thought": "I",
        "role": "model",
    }
    assert read_messages(message) == [
        {
            "role": "model",
            "content": "C",
            STRUCTURED: [
                ["thought", "", "thinking", "I"],
                ["reasoning_details", "[0].text", "thinking", "T"],
                ["refusal", "", "answer", "No."],
                ["audio", ".transcript", "answer", "Heard."],
                ["function_call", "", "tool", '{"name":"f"}'],
            ],
        }
    ]


@pytest.mark.parametrize(
    ("message", "read"),
    [
        (
            {"role": "r", "content": "C", "from": "f", "value": "V"},
            {"role": "r", "content": "C", "from": "f"},
        ),
        (
            {"role": "r", "content": ["C"], "from": "f", "value": "V"},
            {"role": "r", "structured": [["content", "[0]", "answer", "C"]], "from": "f"},
        ),
        (
            {"content": "", "from": "f", "value": ["V"]},
            {"content": "", "from": "f", "structured": [["value", "[0]", "answer", "V"]]},
        ),
        (
            {"content": [], "role": "r", "parts": [{"text": "P"}], "text": "T"},
            {"role": "r", "structured": [["parts", "[0].text", "answer", "P"]]},
        ),
        ({"role": "r", "value": "V"}, {"role": "r", "value": "V"}),
        ({"role": "r", "from": "f", "value": "V"}, {"from": "f", "value": "V"}),
        ({"role": "r", "from": "f", "value": None}, {"role": "r", "from": "f"}),
        ({"content": 7, "from": "f", "value": "V"}, {"from": "f", "value": "V"}),
    ],
)
def test_one_spelling_of_a_message_is_read(message, read):
    """The first content hides the others, and a stray role doesn't hide `from`."""
    assert read_messages(message) == [read]
    assert read_messages(message, {"role": "x", "content": [1], "value": "y"})[0] == read


@pytest.mark.parametrize(
    "message",
    [
        {"role": "r", "content": "C", "value": "V"},
        {"role": "r", "from": "f", "value": "V"},
        {"role": "r", "content": "C", "refusal": "R"},
        {"role": "r", "content": "C", "function_call": {"name": "f"}},
        {"role": "r", "parts": [{"text": "P"}]},
        {"role": "r", "text": "T"},
    ],
)
def test_messages_with_other_fields_are_not_plain(message):
    """Messages with unusual fields aren't plain."""
    assert convert_plain_messages([[TURN], [message]]) is None


def test_null_fields_do_not_make_a_message_unusual():
    """Null fields don't make a message unusual."""
    message = {**TURN, "refusal": None, "audio": None, "function_call": None, "tool_calls": None}
    assert convert_plain_messages([[message]]).to_pylist()[0][0]["content"] == "U"


PLAIN = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        [name for name in PLAIN_FIELDS if name != "value"] + ["refusal", "x"],
        st.none() | st.sampled_from(["", "a"]),
    ),
)


@given(st.lists(st.none() | st.lists(st.none() | PLAIN, max_size=3), max_size=4))
def test_plain_messages_are_converted_as_others_are(values):
    """Both conversions of plain messages give the same array."""
    quick = convert_plain_messages(values)
    if quick is not None:
        assert quick.to_pylist() == build_messages(values).to_pylist()
        assert quick.type == MESSAGES
    else:
        assert any("refusal" in (turn or {}) for turns in values for turn in turns or ())


@pytest.mark.parametrize("value", ["", {}, [[]], ["text"], 3])
def test_other_values_are_no_plain_messages(value):
    """A value that isn't a list of objects isn't plain."""
    assert convert_plain_messages([[TURN], value]) is None


def test_an_array_of_messages_is_that_of_its_type():
    """Empty and null lists give arrays of the messages' type."""
    assert build_messages([]).type == MESSAGES
    assert build_messages([None, [], [{}]]).to_pylist() == [
        None,
        [],
        [{item.name: None for item in MESSAGE}],
    ]
    assert isinstance(build_messages([None]), pa.ListArray)


@pytest.mark.parametrize("kind", [dict, list])
@pytest.mark.parametrize(
    ("build", "path"),
    [
        (lambda call: {"tool_calls": call}, "tool_calls"),
        (lambda call: {"function_call": {"arguments": call}}, "function_call"),
        (lambda call: {"content": ["a", {"type": "tool_use", "input": call}]}, "content[1]"),
        (lambda call: {"parts": [{"functionCall": call}]}, "parts[0].functionCall"),
    ],
)
def test_deep_calls_are_found(build, path, kind):
    """A call that is nested too deeply is reported by its path."""
    assert find_deep_call(build(nested(MAX_CALL_DEPTH + 1, kind))) == path
    assert find_deep_call(build(nested(MAX_CALL_DEPTH - 1, kind))) is None
    assert find_deep_call({"content": nested(900, kind), "metadata": nested(900, kind)}) is None
