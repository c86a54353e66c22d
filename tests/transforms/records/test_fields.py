"""Conversation fields: the texts of each format and their paths."""

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import CorpusConfig
from transforms.records.field_paths import get_field_text
from transforms.records.fields import Codes, CodeTable, FieldPath, is_role, read_fields
from transforms.records.formats import settle_layout
from transforms.records.json_columns import ColumnKinds, project_rows, select_columns
from transforms.records.json_messages import MESSAGES as JSON_MESSAGES
from transforms.records.roles import ROLES
from transforms.records.segments import extract_segments
from transforms.records.usual_names import USUAL_PATHS

STRING = pa.string()
ANSWER = {"role": "assistant", "content": "A"}
CHAT = pa.schema([("messages", pa.list_(pa.struct([("role", STRING), ("content", STRING)])))])


def extract(rows, schema=None, **config):
    """Extract the segments of rows or a table."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows, schema)
    return extract_segments(table, settle_layout(table.schema, CorpusConfig(**config)))


def list_segments(segments):
    """Return every segment's row, role, channel and text."""
    return list(
        zip(segments.rows.tolist(), segments.roles, segments.channels, segments.texts, strict=True)
    )


def chat(*turns):
    """Return a row of messages."""
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def call_with(number):
    """Return a schema of messages with a numeric argument of this type."""
    call = pa.struct([("arguments", pa.struct([("n", number)]))])
    message = [("role", STRING), ("content", STRING), ("tool_calls", pa.list_(call))]
    return pa.schema([("messages", pa.list_(pa.struct(message)))])


def test_a_field_path_is_completed_by_the_message():
    """Only a path inside messages contains an index."""
    assert (
        FieldPath("messages", "[*].content[1].text").format_path(3) == "messages[3].content[1].text"
    )
    assert FieldPath("prompt").format_path(3) == "prompt"


def test_codes_are_numbered_in_order_of_appearance():
    """A new name gets the next number."""
    codes = CodeTable()
    assert [codes[name] for name in ("b", "a", "b", "c")] == [0, 1, 0, 2]
    assert list(codes) == ["b", "a", "c"]


def test_columns_are_read_in_order_of_the_conversation():
    """Prompts are read before answers in any column order."""
    table = pa.table({"output": ["O", None], "input": [None, "N"], "instruction": ["I", "J"]})
    codes = Codes(CodeTable(), CodeTable())
    columns = read_fields(table, settle_layout(table.schema, CorpusConfig()), codes)
    assert [[field.text.to_pylist() for field in column] for column in columns] == [
        [["I", "J"]],
        [[None, "N"]],
        [["O", None]],
    ]
    assert list(codes.roles) == ["user", "assistant"]
    assert [field.column for field in codes.fields] == ["instruction", "input", "output"]
    (output,) = columns[2]
    assert output.rows.tolist() == [0, 1]
    assert output.role_codes.tolist() == [codes.roles["assistant"]] * 2
    assert output.field_codes.tolist() == [codes.fields[FieldPath("output")]] * 2


def both_spellings(**types):
    """Return a schema with both `role`/`content` and `from`/`value`."""
    names = ("role", "content", "from", "value")
    turn = pa.struct([(name, types.get(name.rstrip("_"), STRING)) for name in names])
    return pa.schema([("conversations", pa.list_(turn))])


SHAREGPT = {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}
MESSAGES = {"conversations": [{"role": "user", "content": "R"}]}


def test_messages_of_both_spellings_are_read():
    """A column may mix both spellings of messages."""
    both = {"conversations": [{"role": "assistant", "content": "C", "from": "gpt", "value": "C"}]}
    segments = extract([SHAREGPT, MESSAGES, both], both_spellings())
    assert list_segments(segments) == [
        (0, "user", "answer", "Q"),
        (0, "assistant", "answer", "A"),
        (1, "user", "answer", "R"),
        (2, "assistant", "answer", "C"),
    ]
    assert segments.field_paths == [
        "conversations[0].value",
        "conversations[1].value",
        "conversations[0].content",
        "conversations[0].content",
    ]


def test_role_and_content_are_each_taken_from_a_filled_spelling():
    """A single message may mix the spellings."""
    rows = [
        {"conversations": [{"role": "", "content": "", "from": "gpt", "value": "D"}]},
        {"conversations": [{"content": "", "from": "gpt", "value": "E"}]},
        {"conversations": [{"role": "assistant", "value": "F"}]},
        {"conversations": [{"from": "gpt", "content": "G"}]},
    ]
    assert list_segments(extract(rows, both_spellings())) == [
        (row, "assistant", "answer", text) for row, text in enumerate("DEFG")
    ]


@pytest.mark.parametrize("types", [{"role": pa.int64()}, {"role": pa.null(), "content": pa.null()}])
def test_a_spelling_that_is_unusable_is_ignored(types):
    """`from` and `value` are read if the other spelling is unusable."""
    assert list_segments(extract([SHAREGPT], both_spellings(**types))) == [
        (0, "user", "answer", "Q"),
        (0, "assistant", "answer", "A"),
    ]


def test_a_content_that_is_one_part_has_a_path_in_the_row():
    """Content that is a single part has a path without an index."""
    row = {"messages": [{"role": "assistant", "content": {"type": "text", "text": "A"}}]}
    segments = extract([row])
    assert list_segments(segments) == [(0, "assistant", "answer", "A")]
    assert segments.get_field_path(0) == "messages[0].content.text"


def test_a_whole_number_in_a_call_is_the_same_beside_a_fraction():
    """An integer in a call stays an integer beside fractions."""
    rows = [
        {
            "messages": [
                {"role": "assistant", "content": None, "tool_calls": [{"arguments": {"n": number}}]}
            ]
        }
        for number in (1, 1.5)
    ]
    alone = extract(rows[:1], call_with(pa.int64()))
    beside = extract(rows, call_with(pa.float64()))
    assert alone.texts == beside.texts[:1] == ['[{"arguments":{"n":1}}]']
    assert beside.texts[1] == '[{"arguments":{"n":1.5}}]'


def test_conversations_are_messages_by_other_names():
    """ShareGPT's `from` and `value` are read like `messages`."""
    segments = extract(
        [{"conversations": [{"from": "human", "value": "U"}, {"from": "gpt", "value": "A"}]}]
    )
    assert list_segments(segments) == [(0, "user", "answer", "U"), (0, "assistant", "answer", "A")]
    assert segments.field_paths == ["conversations[0].value", "conversations[1].value"]


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *ROLES.items(),
        ("user", "user"),
        ("Assistant", "assistant"),
        ("GPT", "assistant"),
        ("USER", "user"),
    ],
)
def test_roles_are_normalised(name, role):
    """Role names of other formats become the roles of `messages`."""
    assert extract([chat((name, "text"))]).roles == [role]


@pytest.mark.parametrize(
    ("role", "text", "channel"),
    [
        ("function_call", '{"name": "look"}', "tool"),
        ("tool_call", ' \n[{"name": "look"}]', "tool"),
        ("tool_call", "<call>look</call>", "tool"),
        ("tool_call", 'I will look. {"name": "look"}', "answer"),
        ("thinking", '{"a": 1}', "thinking"),
        ("thinking", "I wonder.", "thinking"),
    ],
)
def test_a_role_may_name_the_channel(role, text, channel):
    """A role that means a call or a thought becomes the assistant, in that channel."""
    rows = [{"conversations": [{"from": role, "value": text}, {"from": "human", "value": "[U]"}]}]
    expected = [(0, "assistant", channel, text), (0, "user", "answer", "[U]")]
    assert list_segments(extract(rows)) == expected
    rows = [chat((role, [{"type": "text", "text": text}]), ("human", [{"text": "[U]"}]))]
    assert list_segments(extract(rows)) == expected


def test_an_unknown_role_is_lowered():
    """An unknown role becomes lower case, and a missing role is empty."""
    assert extract([chat(("Narrator", "text"), (None, "more"))]).roles == ["narrator", ""]


def test_alpaca_prompt_and_output():
    """Instruction and input are user turns, and output is an answer."""
    rows = [
        {"instruction": "I", "input": "", "output": "O"},
        {"instruction": "J", "input": "N", "output": None},
    ]
    assert list_segments(extract(rows)) == [
        (0, "user", "answer", "I"),
        (0, "assistant", "answer", "O"),
        (1, "user", "answer", "J"),
        (1, "user", "answer", "N"),
    ]


def test_completion_of_text_and_of_turns():
    """Prompt and completion may be text or lists of messages."""
    assert list_segments(extract([{"prompt": "P", "completion": "C"}])) == [
        (0, "user", "answer", "P"),
        (0, "assistant", "answer", "C"),
    ]
    rows = [
        {
            "prompt": [{"role": "system", "content": "S"}],
            "completion": [{"role": "assistant", "content": "C"}],
        }
    ]
    assert list_segments(extract(rows)) == [
        (0, "system", "answer", "S"),
        (0, "assistant", "answer", "C"),
    ]


def test_preference_sides_of_text_and_of_turns():
    """Both sides of a pair are read under their own columns."""
    segments = extract([{"prompt": "P", "chosen": "yes", "rejected": "no"}])
    assert list(zip(segments.field_paths, segments.roles, segments.texts, strict=True)) == [
        ("prompt", "user", "P"),
        ("chosen", "assistant", "yes"),
        ("rejected", "assistant", "no"),
    ]
    turns = [{"role": "user", "content": "U"}, {"role": "assistant", "content": "A"}]
    assert extract([{"chosen": turns, "rejected": turns}]).field_paths == [
        "chosen[0].content",
        "chosen[1].content",
        "rejected[0].content",
        "rejected[1].content",
    ]


def test_plain_text_is_the_assistants():
    """Plain text has the assistant's role."""
    assert list_segments(extract([{"text": "T"}])) == [(0, "assistant", "answer", "T")]


def test_paths_name_the_columns_of_the_corpus():
    """A path has the corpus's column name."""
    segments = extract(
        [{"q": "I", "a": "O"}], format="alpaca", columns={"instruction": "q", "output": "a"}
    )
    assert segments.field_paths == ["q", "a"]


def test_typed_parts_are_read():
    """Text and thinking parts have their channels, and other parts are left out."""
    content = [
        {"type": "thinking", "thinking": "T", "text": None},
        {"type": "text", "thinking": None, "text": "A"},
        {"type": "image", "thinking": None, "text": None},
        {"type": "reasoning", "thinking": None, "text": "R"},
        None,
    ]
    segments = extract([chat(("assistant", content))])
    assert list_segments(segments) == [
        (0, "assistant", "thinking", "T"),
        (0, "assistant", "answer", "A"),
        (0, "assistant", "thinking", "R"),
    ]
    assert segments.field_paths == [
        "messages[0].content[0].thinking",
        "messages[0].content[1].text",
        "messages[0].content[3].text",
    ]


def test_parts_that_are_strings_are_read():
    """A list of strings is read as a list of text parts."""
    assert list_segments(extract([chat(("user", ["a", None, "b"]))])) == [
        (0, "user", "answer", "a"),
        (0, "user", "answer", "b"),
    ]


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning", "thinking"])
def test_reasoning_fields_are_thinking(name):
    """A reasoning field is thinking."""
    segments = extract([{"messages": [{"role": "assistant", "content": "A", name: "R"}]}])
    assert sorted(zip(segments.channels, segments.field_paths, segments.texts, strict=True)) == [
        ("answer", "messages[0].content", "A"),
        ("thinking", f"messages[0].{name}", "R"),
    ]


def test_a_reasoning_field_without_text_is_ignored():
    """A bool field named `thinking` is ignored."""
    assert list_segments(
        extract([{"messages": [{"role": "assistant", "content": "A", "thinking": True}]}])
    ) == [(0, "assistant", "answer", "A")]


def test_tool_calls_have_a_channel():
    """Tool calls are JSON in the tool channel."""
    call = {"id": "1", "function": {"name": "look", "arguments": "{}"}}
    rows = [
        {
            "messages": [
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "found", "tool_calls": []},
            ]
        },
        {"messages": [{"role": "assistant", "content": "A", "tool_calls": None}]},
    ]
    segments = extract(rows)
    assert [item[:3] for item in list_segments(segments)] == [
        (0, "assistant", "tool"),
        (0, "tool", "answer"),
        (1, "assistant", "answer"),
    ]
    assert orjson.loads(segments.texts[0]) == [call]
    assert segments.field_paths[0] == "messages[0].tool_calls"


def test_tool_calls_do_not_depend_on_the_neighbours():
    """A call's text doesn't depend on other rows' calls."""
    alone = [
        {"messages": [{"role": "assistant", "content": "A", "tool_calls": [{"name": "look"}]}]}
    ]
    beside = [
        *alone,
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": "B",
                    "tool_calls": [{"name": "go", "arguments": {"to": "x"}}],
                }
            ]
        },
    ]
    assert extract(beside).texts[:2] == extract(alone).texts
    assert '"to"' in extract(beside).texts[3]


def test_tool_calls_that_are_text_stay_as_they_are():
    """Calls in a JSON string are scored unchanged."""
    call = '{"b": 1, "a": null}'
    message = {"role": "assistant", "content": "A", "tool_calls": call}
    for table in (pa.Table.from_pylist([{"messages": [message]}]), project([message])):
        assert list_segments(extract(table)) == [
            (0, "assistant", "answer", "A"),
            (0, "assistant", "tool", call),
        ]


def project(*rows):
    """Return rows of messages as the table that is read from JSON Lines."""
    schema = pa.schema([("messages", JSON_MESSAGES)])
    return project_rows([{"messages": messages} for messages in rows], schema).table


def test_messages_of_json_lines_may_mix_text_and_parts():
    """JSON Lines messages may mix text, parts and calls."""
    table = project(
        [
            {"role": "system", "content": "S", "thinking": True},
            {"role": "user", "content": ["a", {"type": "image"}, {"type": "text", "text": "b"}]},
            None,
            {"role": "assistant", "reasoning": "R", "content": {"type": "thinking", "text": "T"}},
        ],
        None,
        [
            {"from": "human", "value": "V"},
            {"from": "gpt", "value": [{"text": "W"}], "tool_calls": [{"id": 1, "x": None}]},
            {"role": 7, "content": 8},
        ],
    )
    segments = extract(table)
    assert list_segments(segments) == [
        (0, "system", "answer", "S"),
        (0, "user", "answer", "a"),
        (0, "user", "answer", "b"),
        (0, "assistant", "thinking", "R"),
        (0, "assistant", "thinking", "T"),
        (2, "user", "answer", "V"),
        (2, "assistant", "answer", "W"),
        (2, "assistant", "tool", '[{"id":1}]'),
    ]
    assert segments.field_paths == [
        "messages[0].content",
        "messages[1].content[0]",
        "messages[1].content[2].text",
        "messages[3].reasoning",
        "messages[3].content.text",
        "messages[0].value",
        "messages[1].value[0].text",
        "messages[1].tool_calls",
    ]


def test_results_in_a_turn_of_the_user_are_the_tools():
    """A tool's result in a user turn belongs to the tool."""
    result = {"type": "tool_result", "tool_use_id": "1", "content": "R"}
    turns = [
        {"role": "user", "content": [result, {"type": "text", "text": "U"}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"n": 1.0}}}]},
    ]
    for table in (project(turns), pa.Table.from_pylist([{"messages": turns}])):
        segments = extract(table)
        assert list_segments(segments) == [
            (0, "tool", "answer", "R"),
            (0, "user", "answer", "U"),
            (0, "tool", "tool", '{"n":1}'),
        ]
        assert segments.field_paths == [
            "messages[0].content[0].content",
            "messages[0].content[1].text",
            "messages[1].parts[0].functionResponse.response",
        ]


def test_a_column_of_parquet_named_like_structured_texts_is_not_read():
    """A Parquet field named `structured` isn't read."""
    message = {"role": "user", "content": "U", "structured": '[["content","","answer","hidden"]]'}
    assert extract([{"messages": [message]}]).texts == ["U"]


def test_fields_without_a_value_have_no_code():
    """A field that is always null counts as absent."""
    codes = Codes(CodeTable(), CodeTable())
    table = project([{"role": "user", "content": "U"}])
    (column,) = read_fields(table, settle_layout(table.schema, CorpusConfig()), codes)
    assert [field.text.to_pylist() for field in column if len(field.rows)] == [["U"]]
    assert list(codes.fields) == [FieldPath("messages", "[*].content")]
    assert len(extract(project([{}], None, [{"role": "user"}]))) == 0


def test_null_content_and_empty_conversations():
    """Null content and empty conversations shift no rows."""
    rows = [
        chat(("assistant", None)),
        {"messages": []},
        {"messages": None},
        chat(("user", " \n"), ("assistant", "A")),
    ]
    assert list_segments(extract(rows)) == [(3, "assistant", "answer", "A")]


def test_null_messages_inside_a_list():
    """A null message has no segment, and others keep their indices."""
    segments = extract(
        [
            {
                "messages": [
                    {"role": "user", "content": "U"},
                    None,
                    {"role": "assistant", "content": "A"},
                ]
            }
        ]
    )
    assert list_segments(segments) == [(0, "user", "answer", "U"), (0, "assistant", "answer", "A")]
    assert segments.field_paths == ["messages[0].content", "messages[2].content"]


def test_values_under_a_null_struct_are_ignored():
    """Values under a null struct are ignored."""
    roles, contents = pa.array(["user", "assistant"]), pa.array(["hidden", "A"])
    turns = pa.StructArray.from_arrays(
        [roles, contents], ["role", "content"], mask=pa.array([True, False])
    )
    table = pa.table({"messages": pa.ListArray.from_arrays(pa.array([0, 2], pa.int32()), turns)})
    assert list_segments(extract(table)) == [(0, "assistant", "answer", "A")]


def test_values_under_a_null_list_are_ignored():
    """Values under a null list are ignored."""
    turns = pa.array([{"role": "user", "content": name} for name in "abcd"])
    lists = pa.ListArray.from_arrays(
        pa.array([0, 1, 3, 4], pa.int32()), turns, mask=pa.array([False, True, False])
    )
    assert list_segments(extract(pa.table({"messages": lists}))) == [
        (0, "user", "answer", "a"),
        (2, "user", "answer", "d"),
    ]


CONVERSATIONS = st.lists(
    st.none()
    | st.lists(
        st.none()
        | st.tuples(
            st.sampled_from(["user", "assistant"]),
            st.none() | st.sampled_from(["a", "b c", "<think>d</think>e"]),
        ),
        max_size=4,
    ),
    max_size=8,
)


@given(CONVERSATIONS, st.integers(0, 8), st.integers(0, 8), st.booleans(), st.booleans())
def test_slices_and_chunks_are_read_like_new_tables(rows, begin, size, chunked, large):
    """Slices and chunks give the same segments as new tables."""
    rows = [
        {
            "messages": turns
            and [turn and dict(zip(("role", "content"), turn, strict=True)) for turn in turns]
        }
        for turns in rows
    ]
    schema = (
        pa.schema([("messages", pa.large_list(CHAT.field(0).type.value_type))]) if large else CHAT
    )
    table = pa.Table.from_pylist(rows, schema)
    if chunked:
        table = pa.concat_tables([table.slice(0, 2), table.slice(2)])
    sliced, fresh = (
        extract(table.slice(begin, size)),
        extract(rows[begin : begin + size], CHAT),
    )
    assert list_segments(sliced) == list_segments(fresh)
    assert (sliced.field_paths, sliced.starts.tolist()) == (
        fresh.field_paths,
        fresh.starts.tolist(),
    )


def test_every_type_of_text_is_read():
    """Dictionary-encoded and large text is read."""
    chunks = [
        pa.array(part, pa.string()).dictionary_encode() for part in (["x", "a"], ["b", None, "a"])
    ]
    for column in (
        pa.chunked_array(chunks),
        pa.chunked_array([chunk.cast(pa.large_string()) for chunk in chunks]),
    ):
        table = pa.table({"text": column}).slice(1)
        assert list_segments(extract(table)) == [
            (0, "assistant", "answer", "a"),
            (1, "assistant", "answer", "b"),
            (3, "assistant", "answer", "a"),
        ]


def test_a_table_without_rows_has_no_segments():
    """A table without rows has no segments."""
    assert len(extract([], CHAT)) == 0
    assert len(extract(pa.table({"messages": pa.chunked_array([], CHAT.field(0).type)}))) == 0


def test_a_stray_role_does_not_decide_the_spelling():
    """A stray `role` doesn't hide `from` and `value`."""
    rows = [
        {
            "conversations": [
                {"from": "gpt", "value": "Hi.", "role": None},
                {"from": "human", "value": "Ho.", "role": "x"},
            ]
        }
    ]
    assert list_segments(extract(rows)) == [
        (0, "assistant", "answer", "Hi."),
        (0, "user", "answer", "Ho."),
    ]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            {"role": "assistant", "content": None, "refusal": "I can't.", "audio": None},
            [("answer", "refusal", "I can't.")],
        ),
        (
            {"role": "assistant", "content": "", "audio": {"data": "UklG", "transcript": "Heard."}},
            [("answer", "audio.transcript", "Heard.")],
        ),
        (
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "f", "arguments": "{}"},
            },
            [("tool", "function_call", '{"arguments":"{}","name":"f"}')],
        ),
        (
            {"role": "assistant", "content": "A", "reasoning": "R", "thought": "T"},
            [
                ("thinking", "reasoning", "R"),
                ("thinking", "thought", "T"),
                ("answer", "content", "A"),
            ],
        ),
        (
            {
                "role": "assistant",
                "content": "A",
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "S", "text": None},
                    {"type": "reasoning.text", "summary": None, "text": "T"},
                ],
            },
            [
                ("thinking", "reasoning_details[0].summary", "S"),
                ("thinking", "reasoning_details[1].text", "T"),
                ("answer", "content", "A"),
            ],
        ),
        (
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "T"}]},
                    {"type": "output_text", "text": "A", "id": 7},
                    {"type": "tool_use", "id": 7, "name": "look", "input": {"n": 1}},
                ],
            },
            [
                ("thinking", "content[0].thinking[0].text", "T"),
                ("answer", "content[1].text", "A"),
                ("tool", "content[2]", '{"id":7,"input":{"n":1},"name":"look","type":"tool_use"}'),
            ],
        ),
        (
            {
                "role": "assistant",
                "parts": [{"text": "T", "thought": True}, {"text": "A", "thought": None}],
            },
            [("thinking", "parts[0].text", "T"), ("answer", "parts[1].text", "A")],
        ),
    ],
)
def test_messages_of_apis_are_read_alike_from_both_kinds_of_file(message, expected):
    """API messages give the same segments from Parquet and JSON Lines."""
    other = {"role": "user", "content": "Q"} if isinstance(message.get("content"), str) else {}
    for messages in ([message], [message, other]):
        row = {"messages": messages}
        for table in (pa.Table.from_pylist([row]), project(messages)):
            segments = extract(table)
            found = list(zip(segments.channels, segments.field_paths, segments.texts, strict=True))
            assert found[: len(expected)] == [
                (channel, f"messages[0].{path}", text) for channel, path, text in expected
            ]
            assert [
                get_field_text(row, path, row) for path in segments.field_paths
            ] == segments.texts
            assert len(found) == len(expected) + (1 if other in messages and other else 0)
            assert set(segments.roles[: len(expected)]) == {"assistant"}


def read_json(rows, **config):
    """Extract the segments of JSON Lines rows."""
    kinds = ColumnKinds(paths=USUAL_PATHS)
    for row in rows:
        kinds.observe(row)
    schema = kinds.settle_schema()
    layout = settle_layout(schema, CorpusConfig(**config))
    found = project_rows(rows, select_columns(schema, layout.columns.values(), ()))
    assert found.misfits == {}
    return extract_segments(found.table, layout)


LAYOUTS = {
    "gemini": (
        {
            "systemInstruction": {"role": "user", "parts": [{"text": "S"}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Q"}]},
                {"role": "model", "parts": [{"text": "A"}, {"text": "B"}]},
            ],
        },
        [
            ("systemInstruction.parts[0].text", "system", "answer", "S"),
            ("contents[0].parts[0].text", "user", "answer", "Q"),
            ("contents[1].parts[0].text", "assistant", "answer", "A"),
            ("contents[1].parts[1].text", "assistant", "answer", "B"),
        ],
    ),
    "batch": (
        {"response": {"body": {"choices": [{"index": 0, "message": {**ANSWER, "refusal": "R"}}]}}},
        [
            ("response.body.choices[0].message.content", "assistant", "answer", "A"),
            ("response.body.choices[0].message.refusal", "assistant", "answer", "R"),
        ],
    ),
    "logged calls of an API": (
        {
            "request": {"messages": [{"role": "user", "content": "Q"}]},
            "response": {"choices": [{"message": ANSWER}, {"message": ANSWER}]},
        },
        [
            ("request.messages[0].content", "user", "answer", "Q"),
            ("response.choices[0].message.content", "assistant", "answer", "A"),
            ("response.choices[1].message.content", "assistant", "answer", "A"),
        ],
    ),
    "candidates": (
        {"response": {"candidates": [{"content": {"role": "model", "parts": [{"text": "A"}]}}]}},
        [("response.candidates[0].content.parts[0].text", "assistant", "answer", "A")],
    ),
    "openai preference": (
        {
            "input": {"messages": [{"role": "user", "content": "Q"}]},
            "preferred_output": [ANSWER],
            "non_preferred_output": [{"role": "assistant", "content": "N"}],
        },
        [
            ("input.messages[0].content", "user", "answer", "Q"),
            ("preferred_output[0].content", "assistant", "answer", "A"),
            ("non_preferred_output[0].content", "assistant", "answer", "N"),
        ],
    ),
    "single messages as sides": (
        {
            "conversations": [{"from": "human", "value": "Q"}],
            "chosen": {"from": "gpt", "value": "A"},
            "rejected": {"from": "gpt", "value": "N"},
            "system": "S",
        },
        [
            ("system", "system", "answer", "S"),
            ("conversations[0].value", "user", "answer", "Q"),
            ("chosen.value", "assistant", "answer", "A"),
            ("rejected.value", "assistant", "answer", "N"),
        ],
    ),
    "sides after an instruction": (
        {"instruction": "Q", "input": "I", "chosen": "A", "rejected": "N"},
        [
            ("instruction", "user", "answer", "Q"),
            ("input", "user", "answer", "I"),
            ("chosen", "assistant", "answer", "A"),
            ("rejected", "assistant", "answer", "N"),
        ],
    ),
    "history": (
        {"instruction": "Q", "output": "A", "history": [["P", "B"], ["R", "C"]], "system": "S"},
        [
            ("system", "system", "answer", "S"),
            ("history[0][0]", "user", "answer", "P"),
            ("history[0][1]", "assistant", "answer", "B"),
            ("history[1][0]", "user", "answer", "R"),
            ("history[1][1]", "assistant", "answer", "C"),
            ("instruction", "user", "answer", "Q"),
            ("output", "assistant", "answer", "A"),
        ],
    ),
    "system prompts in a column": (
        {"conversations": [{"from": "gpt", "value": "A"}], "system": "S", "tools": "[]"},
        [
            ("system", "system", "answer", "S"),
            ("conversations[0].value", "assistant", "answer", "A"),
        ],
    ),
    "reasoning beside the answer": (
        {"Question": "Q", "Complex_CoT": "T", "Response": "A"},
        [
            ("Question", "user", "answer", "Q"),
            ("Complex_CoT", "assistant", "thinking", "T"),
            ("Response", "assistant", "answer", "A"),
        ],
    ),
    "several texts": (
        {"prompt": "Q", "completion": ["A", "B"]},
        [
            ("prompt", "user", "answer", "Q"),
            ("completion[0]", "assistant", "answer", "A"),
            ("completion[1]", "assistant", "answer", "B"),
        ],
    ),
    "several answers": (
        {
            "instruction": "Q",
            "completions": [{"model": "m", "response": "A", "reasoning": "T"}, {"response": "B"}],
        },
        [
            ("instruction", "user", "answer", "Q"),
            ("completions[0].reasoning", "assistant", "thinking", "T"),
            ("completions[0].response", "assistant", "answer", "A"),
            ("completions[1].response", "assistant", "answer", "B"),
        ],
    ),
    "history beside a question": (
        {"query": "Q", "response": "A", "history": [["P", "B"]], "rejected_response": "N"},
        [
            ("history[0][0]", "user", "answer", "P"),
            ("history[0][1]", "assistant", "answer", "B"),
            ("query", "user", "answer", "Q"),
            ("response", "assistant", "answer", "A"),
            ("rejected_response", "assistant", "answer", "N"),
        ],
    ),
    "history of messages": (
        {
            "message": "Q",
            "instruction": "I",
            "output": "A",
            "chat_history": [{"role": "USER", "message": "P"}, {"role": "CHATBOT", "message": "B"}],
            "preamble": "S",
        },
        [
            ("preamble", "system", "answer", "S"),
            ("chat_history[0].message", "user", "answer", "P"),
            ("chat_history[1].message", "assistant", "answer", "B"),
            ("instruction", "user", "answer", "I"),
            ("output", "assistant", "answer", "A"),
        ],
    ),
    "exchanges": (
        {
            "texts": [{"user": "Q", "assistant": "A", "source": "s"}],
            "images": ["a.png"],
        },
        [
            ("texts[0].user", "user", "answer", "Q"),
            ("texts[0].assistant", "assistant", "answer", "A"),
        ],
    ),
    "exchanges with a system prompt": (
        {
            "conversation": [
                {"system": "S", "input": "Q", "output": "A"},
                {"input": "R", "output": "B"},
            ]
        },
        [
            ("conversation[0].system", "system", "answer", "S"),
            ("conversation[0].input", "user", "answer", "Q"),
            ("conversation[0].output", "assistant", "answer", "A"),
            ("conversation[1].input", "user", "answer", "R"),
            ("conversation[1].output", "assistant", "answer", "B"),
        ],
    ),
    "senders": (
        {"chat_messages": [{"sender": "human", "text": "Q"}, {"sender": "assistant", "text": "A"}]},
        [
            ("chat_messages[0].text", "user", "answer", "Q"),
            ("chat_messages[1].text", "assistant", "answer", "A"),
        ],
    ),
    "the message of a batch": (
        {
            "custom_id": "1",
            "result": {
                "type": "succeeded",
                "message": {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
            },
        },
        [("result.message.content[0].text", "assistant", "answer", "A")],
    ),
    "a logged message": (
        {
            "request": {
                "system": [{"type": "text", "text": "S"}],
                "messages": [{"role": "user", "content": "Q"}],
            },
            "response": {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
        },
        [
            ("request.system[0].text", "system", "answer", "S"),
            ("request.messages[0].content", "user", "answer", "Q"),
            ("response.content[0].text", "assistant", "answer", "A"),
        ],
    ),
    "system prompts as texts": (
        {"system": ["S"], "messages": [ANSWER]},
        [
            ("system[0]", "system", "answer", "S"),
            ("messages[0].content", "assistant", "answer", "A"),
        ],
    ),
    "a rejected answer after a conversation": (
        {
            "messages": [{"role": "user", "content": "Q"}, ANSWER],
            "rejected_messages": [
                {"role": "user", "content": "Q"},
                {"role": "assistant", "content": "N"},
            ],
        },
        [
            ("messages[0].content", "user", "answer", "Q"),
            ("messages[1].content", "assistant", "answer", "A"),
            ("rejected_messages[0].content", "user", "answer", "Q"),
            ("rejected_messages[1].content", "assistant", "answer", "N"),
        ],
    ),
    "input and output": (
        {"input": [{"role": "user", "content": "Q"}], "output": "A", "generator": "m"},
        [
            ("input[0].content", "user", "answer", "Q"),
            ("output", "assistant", "answer", "A"),
        ],
    ),
    "speakers as columns": (
        {"system": "S", "user": "Q", "assistant": "A"},
        [
            ("system", "system", "answer", "S"),
            ("user", "user", "answer", "Q"),
            ("assistant", "assistant", "answer", "A"),
        ],
    ),
    "inputs and targets": (
        {"inputs": "Q", "targets": "A", "task": "t"},
        [("inputs", "user", "answer", "Q"), ("targets", "assistant", "answer", "A")],
    ),
    "a problem and its solution": (
        {"problem": "Q", "solution": "A", "level": "5"},
        [("problem", "user", "answer", "Q"), ("solution", "assistant", "answer", "A")],
    ),
    "a trajectory": (
        {"trajectory": [{"role": "ai", "text": "A", "mask": False}], "instance_id": "i"},
        [("trajectory[0].text", "assistant", "answer", "A")],
    ),
    "a transcript in a column of chats": (
        {"system": "SYSTEM: S", "chat": "USER: Q\n\nASSISTANT: A"},
        [("chat", "assistant", "answer", "USER: Q\n\nASSISTANT: A")],
    ),
    "a message of LangChain": (
        {
            "messages": [
                {"type": "human", "content": "Q"},
                {"type": "ai", "content": "", "tool_calls": [{"name": "f", "args": {"x": 1}}]},
                {"type": "tool", "content": "R", "tool_call_id": "i"},
                {"type": "AIMessageChunk", "content": "A"},
                {"type": "other", "content": "O"},
            ]
        },
        [
            ("messages[0].content", "user", "answer", "Q"),
            ("messages[1].tool_calls", "assistant", "tool", '[{"args":{"x":1},"name":"f"}]'),
            ("messages[2].content", "tool", "answer", "R"),
            ("messages[3].content", "assistant", "answer", "A"),
            ("messages[4].content", "", "answer", "O"),
        ],
    ),
    "a dump of LangChain": (
        {
            "messages": [
                {"type": "system", "data": {"content": "S"}},
                {"type": "human", "data": {"content": "Q", "type": "human"}},
                {"type": "ai", "data": {"content": "A"}},
            ]
        },
        [
            ("messages[0].data.content", "system", "answer", "S"),
            ("messages[1].data.content", "user", "answer", "Q"),
            ("messages[2].data.content", "assistant", "answer", "A"),
        ],
    ),
    "segments of Axolotl": (
        {"segments": [{"label": False, "text": "<s>Q"}, {"label": True, "text": "A</s>"}]},
        [
            ("segments[0].text", "user", "answer", "<s>Q"),
            ("segments[1].text", "assistant", "answer", "A</s>"),
        ],
    ),
    "turns of UltraChat": (
        {"id": "1", "data": ["Q", "A", None, "B"]},
        [
            ("data[0]", "user", "answer", "Q"),
            ("data[1]", "assistant", "answer", "A"),
            ("data[3]", "assistant", "answer", "B"),
        ],
    ),
    "a list of texts": (
        {"text": ["A", "B"]},
        [("text[0]", "assistant", "answer", "A"), ("text[1]", "assistant", "answer", "B")],
    ),
    "a message in each row": (
        {"text": "Q", "role": "prompter", "parent_id": "p"},
        [("text", "user", "answer", "Q")],
    ),
    "a message in each row, under other names": (
        {"value": "A", "from": "gpt"},
        [("value", "assistant", "answer", "A")],
    ),
    "reasoning beside text": (
        {"text": "A", "reasoning": "T"},
        [("reasoning", "assistant", "thinking", "T"), ("text", "assistant", "answer", "A")],
    ),
}


@pytest.mark.parametrize(("row", "expected"), LAYOUTS.values(), ids=LAYOUTS)
def test_layouts_are_read_without_options(row, expected):
    """The layouts of tools and APIs are recognised in both kinds of file."""
    empty = {}
    for segments in (extract(pa.Table.from_pylist([row, empty])), read_json([row, empty])):
        assert segments.rows.tolist() == [0] * len(expected)
        found = zip(
            segments.field_paths, segments.roles, segments.channels, segments.texts, strict=True
        )
        assert list(found) == expected
        assert [get_field_text(row, path, row) for path in segments.field_paths] == segments.texts
    assert digest(extract(pa.Table.from_pylist([row]))) == digest(read_json([row]))


def test_a_role_column_says_who_speaks():
    """A role column gives each row's role, and an unknown name means the assistant."""
    names = ["prompter", "assistant", "System", "engineer", None, "reasoning", "tool"]
    rows = [{"text": "T", "role": name} for name in names]
    for segments in (extract(rows), read_json(rows)):
        assert list_segments(segments) == [
            (0, "user", "answer", "T"),
            (1, "assistant", "answer", "T"),
            (2, "system", "answer", "T"),
            (3, "assistant", "answer", "T"),
            (4, "assistant", "answer", "T"),
            (5, "assistant", "thinking", "T"),
            (6, "tool", "answer", "T"),
        ]
    table = pa.table({"text": ["T"], "role": pa.array(["user"]).dictionary_encode()})
    assert extract(table).roles == ["user"]


def test_known_names_of_roles():
    """Only known names are roles."""
    assert all(map(is_role, ("user", "Prompter", "gpt-4o", "ipython")))
    assert not any(map(is_role, ("engineer", "", None)))


def digest(segments):
    """Return each segment's role, channel and text."""
    return list(zip(segments.roles, segments.channels, segments.texts, strict=True))


def test_a_path_may_name_any_column():
    """A path can name a column at any depth."""
    row = {"data": {"turns": [[{"role": "user", "content": "Q"}, ANSWER]]}, "text": "other"}
    config = {"format": "messages", "columns": {"messages": "data.turns[0]"}}
    kinds = ColumnKinds(paths=["data.turns[0]"])
    kinds.observe(row)
    schema = kinds.settle_schema()
    layout = settle_layout(schema, CorpusConfig(**config))
    table = project_rows([row], select_columns(schema, layout.columns.values(), ())).table
    for segments in (extract_segments(table, layout), extract([row], **config)):
        assert segments.field_paths == ["data.turns[0][0].content", "data.turns[0][1].content"]
        assert [get_field_text(row, path, row) for path in segments.field_paths] == ["Q", "A"]
