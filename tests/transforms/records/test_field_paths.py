"""Field paths lead to rows' fields."""

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import CorpusConfig
from transforms.records.field_paths import find_read_column, get_field_text
from transforms.records.formats import settle_layout
from transforms.records.json_columns import project_rows
from transforms.records.json_messages import MESSAGES as JSON_MESSAGES
from transforms.records.segments import extract_segments

TEXTS = st.text(max_size=80) | st.lists(
    st.sampled_from(["<think>", "</think>", "plan", "\n", "é", "so. "]), max_size=8
).map("".join)
ROLES = st.sampled_from(["system", "user", "assistant", "tool"])
MESSAGES = st.fixed_dictionaries(
    {"role": ROLES, "content": TEXTS | st.none(), "reasoning_content": TEXTS | st.none()}
)
PARTS = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(["text", "thinking", "image"]), "text": TEXTS | st.none()}
    ),
    max_size=3,
)
CALLS = st.lists(st.fixed_dictionaries({"name": TEXTS, "id": st.integers(0, 9)}), max_size=2)
MESSAGE = [{"role": "assistant", "content": "yes"}]
TURNS = st.fixed_dictionaries({"from": ROLES, "value": TEXTS})
ROWS = {
    "messages": st.fixed_dictionaries({"messages": st.lists(MESSAGES, max_size=4)}),
    "parts": st.fixed_dictionaries(
        {"messages": st.lists(st.fixed_dictionaries({"role": ROLES, "content": PARTS}), max_size=3)}
    ),
    "tools": st.fixed_dictionaries(
        {
            "messages": st.lists(
                st.fixed_dictionaries({"role": ROLES, "content": TEXTS, "tool_calls": CALLS}),
                max_size=3,
            )
        }
    ),
    "conversations": st.fixed_dictionaries({"conversations": st.lists(TURNS, max_size=4)}),
    "alpaca": st.fixed_dictionaries({"instruction": TEXTS, "input": TEXTS, "output": TEXTS}),
    "text": st.fixed_dictionaries({"text": TEXTS | st.none()}),
}
STRING = pa.string()
TYPES = {
    "messages": pa.struct([("role", STRING), ("content", STRING), ("reasoning_content", STRING)]),
    "parts": pa.struct(
        [("role", STRING), ("content", pa.list_(pa.struct([("type", STRING), ("text", STRING)])))]
    ),
    "tools": pa.struct(
        [
            ("role", STRING),
            ("content", STRING),
            ("tool_calls", pa.list_(pa.struct([("name", STRING), ("id", pa.int64())]))),
        ]
    ),
    "conversations": pa.struct([("from", STRING), ("value", STRING)]),
}


def build_table(kind: str, rows: list[dict[str, object]]) -> pa.Table:
    """Return rows as a table."""
    columns = (
        ["instruction", "input", "output"]
        if kind == "alpaca"
        else ["conversations" if kind == "conversations" else "messages"]
    )
    columns = ["text"] if kind == "text" else columns
    field = pa.list_(TYPES[kind]) if kind in TYPES else STRING
    return pa.Table.from_pylist(rows, pa.schema([(name, field) for name in columns]))


@pytest.mark.parametrize("kind", ROWS)
@given(data=st.data())
def test_every_segment_is_found_by_its_path(kind, data):
    """A segment's path, start and length give the scored text."""
    table = build_table(kind, data.draw(st.lists(ROWS[kind], min_size=1, max_size=4)))
    segments = extract_segments(table, settle_layout(table.schema, CorpusConfig()))
    records = table.to_pylist()
    for row, path, start, text in zip(
        segments.rows, segments.field_paths, segments.starts, segments.texts, strict=True
    ):
        found = get_field_text(records[row], path, records[row])
        assert found is not None
        assert found[start : start + len(text)] == text


def test_content_that_is_one_part_is_its_own_first_part():
    """Content that is a single object has only index 0."""
    record = {"messages": [{"role": "assistant", "content": {"type": "text", "text": "alone"}}]}
    assert get_field_text(record, "messages[0].content[0].text", record) == "alone"
    assert get_field_text(record, "messages[0].content[1].text", record) is None


def test_tool_calls_are_returned_as_scored():
    """A field that isn't text is JSON with sorted keys."""
    calls = [{"name": "look", "id": 1}]
    found = get_field_text(
        {"messages": [{"role": "assistant", "content": None, "tool_calls": calls}]},
        "messages[0].tool_calls",
        ["messages"],
    )
    assert found == orjson.dumps(calls, option=orjson.OPT_SORT_KEYS).decode()


def test_a_record_of_json_lines_gives_the_text_that_was_scored():
    """Nulls, whole floats and lone surrogates are returned as scored."""
    calls = [{"name": "look", "id": 1.0, "at": None, "to": "\ud800"}]
    message = {"role": "assistant", "content": ["a\udc00", {"text": "b"}], "tool_calls": calls}
    record = {"messages": [None, message]}
    table = project_rows([record], pa.schema([("messages", JSON_MESSAGES)])).table
    segments = extract_segments(table, settle_layout(table.schema, CorpusConfig()))
    assert len(segments) == 3
    assert [get_field_text(record, path, record) for path in segments.field_paths] == segments.texts
    assert segments.texts[2] == '[{"id":1,"name":"look","to":"\ufffd"}]'


@pytest.mark.parametrize(
    "path",
    [
        "absent[0].content",
        "messages[1].content",
        "messages[7].content",
        "messages[0].absent",
        "messages[0].role.deeper",
        "messagesX",
    ],
)
def test_a_path_that_leads_nowhere_finds_nothing(path):
    """A damaged path gives None."""
    record = {"messages": [{"role": "user", "content": "text"}]}
    assert get_field_text(record, path, record) is None


@pytest.mark.parametrize(
    ("record", "path", "columns"),
    [
        ({"messages[0].content": "no", "messages": MESSAGE}, "messages[0].content", ["messages"]),
        ({"messages[0]": ["no"], "messages": MESSAGE}, "messages[0].content", ["messages"]),
        ({"a.b": "no", "a": {"b": {"text": "yes"}}}, "a.b.text", ["a"]),
        ({"a.b": {"text": "yes"}, "a": {"b": {"text": "no"}}}, "a.b.text", ["a.b"]),
        ({"a": {"b": "yes", "b.c": "no"}, "a.b": "no"}, "a.b", ["a"]),
        (
            {"messages": [{"content": "yes", "content[0]": "no"}]},
            "messages[0].content",
            ["messages"],
        ),
        ({"m": [{"thinking": {"a.b[0]": "yes", "a": "no"}}]}, "m[0].thinking.a.b[0]", ["m"]),
    ],
)
def test_names_that_look_like_paths_hide_nothing(record, path, columns):
    """Names that look like paths don't hide the scored field."""
    assert get_field_text(record, path, columns) == "yes"


def test_a_column_that_is_read_is_found_among_those_of_the_file():
    """A path finds the field's column, not a column with a similar name."""
    names = ["messages", "messages[0].content", "response"]
    assert find_read_column("messages[0].content", ["messages"], names) == "messages"
    assert find_read_column("response.choices[0].text", ["response.choices"], names) == "response"
    assert find_read_column("other", ["messages"], names) is None
