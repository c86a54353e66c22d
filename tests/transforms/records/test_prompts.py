"""Prompts: the messages before a record's last answer."""

import pyarrow as pa
import pytest

from schemas.corpora import CorpusConfig
from transforms.records.formats import settle_layout
from transforms.records.json_columns import ColumnKinds, project_rows, select_columns
from transforms.records.prompts import build_prompt, describe_content, extract_prompt
from transforms.records.segments import extract_segments


def extract(rows):
    """Extract the segments of rows."""
    table = pa.Table.from_pylist(rows)
    return extract_segments(table, settle_layout(table.schema, CorpusConfig()))


def chat(*turns):
    """Return a row of messages."""
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def test_a_prompt_ends_before_the_last_answer():
    """A prompt has earlier answers, but no reasoning or final answers."""
    row = chat(
        ("system", "S"),
        ("user", "U"),
        ("assistant", "<think>T</think>A"),
        ("user", "V"),
        ("assistant", "B"),
        ("assistant", "C"),
    )
    segments = extract([row])
    assert extract_prompt(segments, range(len(segments))) == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "V"},
    ]
    assert extract_prompt(segments, []) == []


def test_a_prompt_never_contains_the_last_answer():
    """The last answer and later messages are left out."""
    for after in (("user", "thanks"), ("tool", "T")):
        segments = extract([chat(("user", "U"), ("assistant", "A"), after)])
        assert extract_prompt(segments, range(len(segments))) == [{"role": "user", "content": "U"}]
    segments = extract([chat(("assistant", "A"), ("user", "U"))])
    assert extract_prompt(segments, range(len(segments))) == []


def test_parts_of_a_message_are_joined():
    """Text around reasoning, and typed parts, are joined to one message."""
    parts = [{"type": "text", "text": "X"}, {"type": "text", "text": "Y"}]
    rows = [
        chat(("user", " U <think>no</think> more "), ("user", "V"), ("assistant", "A")),
        {
            "messages": [
                {"role": "user", "content": parts},
                {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
            ]
        },
    ]
    segments = extract(rows[:1])
    assert extract_prompt(segments, range(len(segments))) == [
        {"role": "user", "content": " U  more "},
        {"role": "user", "content": "V"},
    ]
    segments = extract(rows[1:])
    assert extract_prompt(segments, range(len(segments))) == [{"role": "user", "content": "X\nY"}]


ASKED = [{"role": "user", "content": "U"}]
ANSWERED = [*ASKED, {"role": "assistant", "content": "A"}, {"role": "user", "content": "V"}]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        (
            {
                "chosen": [*ASKED, {"role": "assistant", "content": "yes"}],
                "rejected": [*ASKED, {"role": "assistant", "content": "no"}],
            },
            ASKED,
        ),
        (
            {
                "chosen": [*ANSWERED, {"role": "assistant", "content": "B"}],
                "rejected": [*ANSWERED, {"role": "assistant", "content": "C"}],
            },
            ANSWERED,
        ),
        (
            {
                "prompt": ANSWERED,
                "chosen": [{"role": "assistant", "content": "B"}],
                "rejected": [{"role": "assistant", "content": "C"}],
            },
            ANSWERED,
        ),
        ({"prompt": "U", "chosen": "yes", "rejected": "no"}, ASKED),
        ({"prompt": ANSWERED, "completion": [{"role": "assistant", "content": "B"}]}, ANSWERED),
        (
            {
                "prompt": ANSWERED,
                "chosen": [*ANSWERED, {"role": "assistant", "content": "B"}],
                "rejected": [*ANSWERED, {"role": "assistant", "content": "C"}],
            },
            ANSWERED,
        ),
        (
            {
                "prompt": "U",
                "chosen": [*ASKED, {"role": "assistant", "content": "B"}],
                "rejected": [{"role": "assistant", "content": "C"}],
            },
            ASKED,
        ),
        (
            {
                "prompt": ANSWERED,
                "completion": [
                    {"role": "tool", "content": "T"},
                    {"role": "assistant", "content": "B"},
                ],
            },
            [*ANSWERED, {"role": "tool", "content": "T"}],
        ),
        ({"prompt": ANSWERED, "completion": [{"role": "user", "content": "W"}]}, ANSWERED),
        ({"prompt": "U", "chosen": "", "rejected": "no"}, ASKED),
        (
            {"instruction": "U", "input": "V", "output": "A"},
            [{"role": "user", "content": "U\nV"}],
        ),
        (
            {"instruction": "U", "output": "B", "history": [["P", "A"]]},
            [{"role": "user", "content": "P"}, {"role": "assistant", "content": "A"}, *ASKED],
        ),
        ({"messages": [*ASKED, {"role": "user", "content": "V"}]}, []),
        (
            {"messages": [*ASKED, ANSWERED[2], {"role": "assistant", "content": "A"}]},
            [*ASKED, ANSWERED[2]],
        ),
        ({"text": "T"}, []),
    ],
)
def test_prompts_of_every_format(row, prompt):
    """A pair's prompt has neither side and no repetition."""
    segments = extract([row])
    assert extract_prompt(segments, range(len(segments))) == prompt


def build(row):
    """Build a JSON Lines row's prompt."""
    kinds = ColumnKinds()
    kinds.observe(row)
    schema = kinds.settle_schema()
    layout = settle_layout(schema, CorpusConfig())
    table = project_rows([row], select_columns(schema, layout.columns.values(), ())).table
    segments = extract_segments(table, layout)
    return build_prompt(segments, range(len(segments)), row, layout.columns)


def call(name, arguments, **more):
    """Return a tool call in chat API form."""
    return {"type": "function", "function": {"name": name, "arguments": arguments}, **more}


LOOK = call("look", '{"at":"a"}', id="c1")
ASSISTANT = {"role": "assistant", "content": "A"}


@pytest.mark.parametrize(
    "turns",
    [
        [
            {"role": "assistant", "content": None, "tool_calls": [LOOK]},
            {"role": "tool", "content": "T", "tool_call_id": "c1"},
        ],
        [
            {"role": "assistant", "tool_calls": [call("look", {"at": "a"}, id="c1")]},
            {"role": "tool", "content": "T"},
        ],
        [
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {"at": "a"}}],
            },
            {"role": "tool", "content": [{"type": "text", "text": "T"}]},
        ],
    ],
    ids=["chat", "objects", "parts"],
)
def test_calls_and_results_are_as_a_chat_api_takes_them(turns):
    """Every provider's calls have an id, and results name the id."""
    row = {"messages": [{"role": "user", "content": "U"}, *turns, ASSISTANT]}
    prompt = build(row)
    assert prompt.messages == [
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": None, "tool_calls": [LOOK]},
        {"role": "tool", "content": "T", "tool_call_id": "c1"},
    ]
    assert prompt.missing == []
    assert "look" in describe_content(prompt.messages[1])


def use(name, number):
    """Return a call as a part in Anthropic's format."""
    return {"type": "tool_use", "id": number, "name": name, "input": {}}


def test_results_in_a_users_turn_are_messages_of_tools():
    """Each result in a user turn becomes a tool message before the text."""
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "U"}]},
        {"role": "assistant", "content": [use("look", "c1"), use("hear", "c2")]},
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c2", "content": "R"},
                {
                    "type": "tool_result",
                    "tool_use_id": "c1",
                    "content": [{"type": "text", "text": text} for text in "ST"],
                },
                {"type": "text", "text": "V"},
            ],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
    ]
    prompt = build({"messages": turns})
    assert prompt.messages[2:] == [
        {"role": "tool", "content": "R", "tool_call_id": "c2"},
        {"role": "tool", "content": "S\nT", "tool_call_id": "c1"},
        {"role": "user", "content": "V"},
    ]
    assert prompt.missing == []


def test_results_of_gemini_name_their_calls_in_order():
    """A result without an id gets the next call's id."""
    look = {"functionCall": {"name": "look", "args": {"at": "a"}}}
    result = {"functionResponse": {"name": "look", "response": {"seen": "R"}}}
    turns = [
        {"role": "user", "parts": [{"text": "U"}]},
        {"role": "model", "parts": [look]},
        {"role": "user", "parts": [result]},
        {"role": "model", "parts": [{"text": "A"}]},
    ]
    prompt = build({"messages": turns})
    assert prompt.messages[1:] == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("look", '{"at":"a"}', id="call_1")],
        },
        {"role": "tool", "content": '{"seen":"R"}', "tool_call_id": "call_1"},
    ]
    assert prompt.missing == []


def test_a_picture_in_a_result_is_missing():
    """An image in a tool result is missing."""
    image = {"type": "image", "source": {"data": "UklG"}}
    content = [{"type": "text", "text": "R"}, image]
    turns = [
        {"role": "user", "content": [{"type": "text", "text": "U"}]},
        {"role": "assistant", "content": [use("look", "c1")]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "c1", "content": content}],
        },
        {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
    ]
    assert build({"messages": turns}).missing == ["messages[2].content[0]"]


def test_calls_without_ids_get_one_each():
    """Missing ids are made up in order, and results match calls in order."""
    calls = [{"name": "look", "arguments": {}}, {"name": "hear", "arguments": "x"}]
    turns = [
        {"role": "user", "content": "U", "name": "Ann"},
        {"role": "assistant", "tool_calls": calls},
        {"role": "tool", "content": "T"},
        {"role": "tool", "content": "V"},
        ASSISTANT,
    ]
    user, asked, *results = build({"messages": turns}).messages
    assert user["name"] == "Ann"
    assert asked["tool_calls"] == [
        call("look", "{}", id="call_1"),
        call("hear", "x", id="call_2"),
    ]
    assert [result["tool_call_id"] for result in results] == ["call_1", "call_2"]


def test_messages_in_a_nested_column_keep_their_ids():
    """In a nested column, a result names its call."""
    turns = [
        {"role": "user", "content": "U", "name": "Ann"},
        {"role": "assistant", "tool_calls": [LOOK]},
        {"role": "tool", "content": "T", "tool_call_id": "c1"},
        ASSISTANT,
    ]
    row = {"input": {"messages": turns}}
    table = pa.Table.from_pylist([row])
    config = CorpusConfig(format="messages", columns={"messages": "input.messages"})
    layout = settle_layout(table.schema, config)
    segments = extract_segments(table, layout)
    prompt = build_prompt(segments, range(len(segments)), row, layout.columns)
    assert prompt.messages[0]["name"] == "Ann"
    assert prompt.messages[2]["tool_call_id"] == "c1"


def test_a_prompt_ends_before_a_call_that_is_the_answer():
    """A call at the end is the answer, and a result without a call lacks an id."""
    row = {
        "messages": [{"role": "user", "content": "U"}, {"role": "assistant", "tool_calls": [LOOK]}]
    }
    assert build(row).messages == [{"role": "user", "content": "U"}]
    row = {
        "messages": [{"role": "tool", "content": "T"}, {"role": "user", "content": "U"}, ASSISTANT]
    }
    assert build(row).missing == ["messages[0].tool_call_id"]
    nameless = {"role": "assistant", "tool_calls": [{"arguments": "x"}]}
    row = {"messages": [{"role": "user", "content": "U"}, nameless, *row["messages"]]}
    assert build(row).missing == ["messages[1]: the name of a tool"]


IMAGE = {"type": "image_url", "image_url": {"url": "a.png"}}


@pytest.mark.parametrize(
    ("row", "missing"),
    [
        ({"prompt": "U", "completion": "A"}, []),
        ({"prompt": "U", "completion": "A", "label": True, "margin": 2}, []),
        ({"prompt": "U", "completion": "A", "images": ["a.png"]}, ["images"]),
        ({"prompt": "U", "completion": "A", "context": "C"}, ["context"]),
        ({"prompt": "Read: C", "completion": "A", "context": " C "}, []),
        ({"prompt": " ", "completion": "A"}, ["prompt"]),
        ({"chosen": "A", "rejected": "B"}, ["prompt"]),
        ({"chosen": "A", "rejected": "B", "question": "U"}, []),
        ({"text": "T"}, ["prompt"]),
        (
            {
                "messages": [
                    {"role": "user", "content": [IMAGE, {"type": "text", "text": "U"}]},
                    {"role": "assistant", "content": [IMAGE, {"type": "text", "text": "A"}]},
                ]
            },
            ["messages[0].content[0]"],
        ),
        (
            {"messages": [{"role": "user", "content": "U", "images": ["a.png"]}, ASSISTANT]},
            ["messages[0].images"],
        ),
    ],
)
def test_what_texts_cant_carry_is_named(row, missing):
    """Media, unplaced columns and a missing prompt are listed."""
    assert build(row).missing == missing


def test_system_prompt_question_and_tools_in_columns_of_their_own():
    """System prompts, questions and tools in other columns complete the prompt."""
    row = {"chosen": "A", "rejected": "B", "system": "S", "instruction": "U", "input": "V"}
    prompt = build({**row, "tools": '[{"name": "look"}]'})
    assert prompt.messages == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U\nV"},
    ]
    assert prompt.tools == [{"name": "look"}]
    assert prompt.encode().endswith('"tools":[{"name":"look"}]}')
    turns = [{"role": "system", "content": "T"}, {"role": "user", "content": "W"}, ASSISTANT]
    assert [
        message["content"] for message in build({"messages": turns, "system": "S"}).messages
    ] == [
        "T",
        "W",
    ]
    assert build({"messages": turns}).encode() == (
        '{"messages":[{"content":"T","role":"system"},{"content":"W","role":"user"}]}'
    )
