"""Message parts: texts and calls in structured fields."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.field_paths import get_field_text
from transforms.records.parts import (
    CHANNELS_OF_FIELDS,
    CHANNELS_OF_KEYS,
    CONTENTS,
    MAX_LEVELS,
    RESULT_CONTENTS,
    RESULT_KEYS,
    THINKING_FIELDS,
    Part,
    split_field,
)
from transforms.records.roles import CHANNELS


def split(name, value):
    """Return a field's parts without roles."""
    return [tuple(part[:3]) for part in split_field(name, value)]


def test_fields_are_read_in_the_order_of_thought():
    """Thinking comes first, then content, then calls."""
    names = list(CHANNELS_OF_FIELDS)
    assert names[: len(THINKING_FIELDS)] == list(THINKING_FIELDS)
    assert names[len(THINKING_FIELDS) :][: len(CONTENTS)] == list(CONTENTS)
    assert names[-1] == "tool_calls"
    assert set(CHANNELS_OF_FIELDS.values()) == set(CHANNELS)
    assert set(CHANNELS_OF_KEYS.values()) <= {*CHANNELS, ""}


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("A", [("", "answer", "A")]),
        (["a", None, "b"], [("[0]", "answer", "a"), ("[2]", "answer", "b")]),
        ({"type": "text", "text": "A"}, [(".text", "answer", "A")]),
        ([{"type": "output_text", "text": "A", "annotations": []}], [("[0].text", "answer", "A")]),
        ([{"type": "text", "text": {"value": "A"}}], [("[0].text.value", "answer", "A")]),
        ([{"type": "refusal", "refusal": "No."}], [("[0].refusal", "answer", "No.")]),
        ([{"type": "thinking", "thinking": "T"}], [("[0].thinking", "thinking", "T")]),
        (
            [{"type": "thinking", "thinking": [{"type": "text", "text": "T"}]}],
            [("[0].thinking[0].text", "thinking", "T")],
        ),
        (
            [
                {
                    "type": "reasoning",
                    "summary": [{"type": "summary_text", "text": "S"}],
                    "content": [{"type": "reasoning_text", "text": "T"}],
                }
            ],
            [
                ("[0].content[0].text", "thinking", "T"),
                ("[0].summary[0].text", "thinking", "S"),
            ],
        ),
        (
            [{"reasoningContent": {"reasoningText": {"text": "T", "signature": "s"}}}],
            [("[0].reasoningContent.reasoningText.text", "thinking", "T")],
        ),
        ([{"text": "T", "thought": True}], [("[0].text", "thinking", "T")]),
        ([{"text": "A", "thought": False}], [("[0].text", "answer", "A")]),
        (
            [{"type": "output_audio", "audio": {"data": "UklG", "transcript": "H"}}],
            [("[0].audio.transcript", "answer", "H")],
        ),
        ([{"type": "output_audio", "transcript": "H"}], [("[0].transcript", "answer", "H")]),
        ([{"type": "audio", "audio": "clips/1.wav"}], []),
        ([{"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}], []),
    ],
)
def test_typed_parts_have_texts(content, parts):
    """Typed parts give their texts, and a thinking part is all thinking."""
    assert split("content", content) == parts


@pytest.mark.parametrize(
    ("part", "below"),
    [
        ({"type": "tool_use", "id": "1", "name": "look", "input": {"a": 1}}, ""),
        ({"type": "tool-call", "toolName": "look", "args": {}}, ""),
        ({"functionCall": {"name": "look", "args": {"a": 1}}}, ".functionCall"),
        ({"toolUse": {"toolUseId": "1", "name": "look", "input": {}}}, ".toolUse"),
    ],
)
def test_a_part_may_be_a_call(part, below):
    """A call part is a single part in the tool channel."""
    value = part[below[1:]] if below else part
    expected = [("[0].text", "answer", "First."), (f"[1]{below}", "tool", value)]
    assert split("content", [{"text": "First."}, part]) == expected


@pytest.mark.parametrize(
    ("part", "parts"),
    [
        (
            {"type": "tool_result", "tool_use_id": "1", "content": "R", "is_error": False},
            [("[0].content", "answer", "R", "tool")],
        ),
        (
            {
                "type": "tool_result",
                "content": [{"type": "text", "text": "R"}, {"type": "image", "source": {}}],
            },
            [("[0].content[0].text", "answer", "R", "tool")],
        ),
        (
            {"type": "mcp_tool_result", "content": [{"type": "text", "text": "R"}]},
            [("[0].content[0].text", "answer", "R", "tool")],
        ),
        ({"type": "web_search_tool_result", "content": [{"url": "u"}]}, []),
        (
            {"type": "tool-result", "toolCallId": "1", "output": {"type": "text", "value": "R"}},
            [("[0].output.value", "answer", "R", "tool")],
        ),
        (
            {"type": "tool-result", "toolCallId": "1", "result": {"a": 1}},
            [("[0].result", "tool", {"a": 1}, "tool")],
        ),
        (
            {"type": "function_call_output", "call_id": "1", "output": "R"},
            [("[0].output", "answer", "R", "tool")],
        ),
        (
            {"functionResponse": {"name": "look", "response": {"result": "R"}}},
            [("[0].functionResponse.response", "tool", {"result": "R"}, "tool")],
        ),
        (
            {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "R"}},
            [("[0].codeExecutionResult.output", "answer", "R", "tool")],
        ),
        (
            {"toolResult": {"toolUseId": "1", "content": [{"text": "R"}, {"json": {"a": 1}}]}},
            [
                ("[0].toolResult.content[0].text", "answer", "R", "tool"),
                ("[0].toolResult.content[1].json", "tool", {"a": 1}, "tool"),
            ],
        ),
        ({"type": "tool_result", "content": None, "functionResponse": None}, []),
    ],
)
def test_what_a_tool_returned_is_the_tools(part, parts):
    """A tool's result has the role `tool` in any message."""
    found = [tuple(item) for item in split_field("content", [part, {"text": "Go on."}])]
    assert found == [*parts, ("[1].text", "answer", "Go on.", "")]


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("thoughts", ["I", "J"], [("[0]", "thinking", "I"), ("[1]", "thinking", "J")]),
        ("reasoning", {"content": "T", "effort": "high"}, [(".content", "thinking", "T")]),
        (
            "reasoning_details",
            [
                {"type": "reasoning.summary", "summary": "S"},
                {"type": "reasoning.text", "text": "T"},
                {"type": "reasoning.encrypted", "data": "c2Vj"},
            ],
            [("[0].summary", "thinking", "S"), ("[1].text", "thinking", "T")],
        ),
        (
            "thinking_blocks",
            [{"type": "thinking", "thinking": "T", "signature": "s"}],
            [("[0].thinking", "thinking", "T")],
        ),
        ("refusal", "No.", [("", "answer", "No.")]),
        ("audio", {"transcript": "H", "data": "UklG"}, [(".transcript", "answer", "H")]),
        ("audio", "UklG", []),
        ("audio", None, []),
        ("parts", [{"text": "A"}], [("[0].text", "answer", "A")]),
        ("function_call", {"name": "f"}, [("", "tool", {"name": "f"})]),
    ],
)
def test_other_fields_have_texts(name, value, parts):
    """Reasoning, refusals, transcripts and calls are read in any API."""
    assert split(name, value) == parts


KEYS = [*CHANNELS_OF_KEYS, *RESULT_KEYS, "type", "x"]
RESULTS = st.sampled_from(RESULT_CONTENTS)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), below, max_size=3)
        | st.builds(lambda value: {"type": "tool_result", **value}, st.dictionaries(RESULTS, below))
    ),
    max_leaves=12,
)


@given(st.sampled_from([*CONTENTS, *THINKING_FIELDS]), VALUES)
def test_every_part_is_where_its_path_says(name, value):
    """A part's path leads to its text."""
    for part in split_field(name, value):
        found = get_field_text(
            {"messages": [{name: value}]}, f"messages[0].{name}{part.below}", ["messages"]
        )
        if isinstance(part.value, str):
            assert found == part.value
        else:
            assert part.channel == "tool"


def test_texts_below_many_levels_are_not_looked_for():
    """Texts below many levels aren't searched for."""
    value = "deep"
    for _ in range(900):
        value = [value]
    assert split("content", value) == []
    value = "near"
    for _ in range(MAX_LEVELS):
        value = [value]
    assert [part[2] for part in split("content", value)] == ["near"]


def test_a_part_is_a_text_with_a_place():
    """A part has a path, a channel, a value and a role."""
    assert Part("[0]", "answer", "A")._fields == ("below", "channel", "value", "role")
    assert Part("[0]", "answer", "A").role == ""
