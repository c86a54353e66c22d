"""Unread text: outside every scope, or in unread fields."""

import base64
import json

import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cards import Scope
from schemas.corpora import CorpusConfig
from transforms.records.formats import settle_layout
from transforms.records.json_columns import ColumnKinds, project_rows, select_columns
from transforms.records.segments import extract_segments
from transforms.records.unread_text import (
    MOST_PATHS,
    RowNames,
    UnreadFields,
    count_conversations,
    count_texts,
    count_turns,
    count_words,
    find_reach,
    list_prefixes,
    list_strings,
)

ASSISTANT = Scope()
PROSE = "It is known that the heron stands in the reeds."


def extract(rows, **config):
    """Extract the segments of JSON Lines rows."""
    kinds = ColumnKinds()
    for row in rows:
        kinds.observe(row)
    schema = kinds.settle_schema()
    layout = settle_layout(schema, CorpusConfig(**config))
    table = project_rows(rows, select_columns(schema, layout.columns.values(), ())).table
    return extract_segments(table, layout)


def list_turns(segments, scopes):
    """Count the characters in each role and channel with these scopes."""
    lengths = pc.utf8_length(segments.text).to_numpy()
    return count_turns(segments, lengths, find_reach(segments, scopes))


def find_fields(rows, **config):
    """Count the characters in each unread field."""
    segments, unread = extract(rows, **config), UnreadFields()
    paths = list(zip(segments.field_paths, segments.channels, strict=True))
    for index, row in enumerate(rows):
        unread.observe(row, [paths[segment] for segment in segments.find_in_row(index)])
    return {item.field_path: item.characters for item in unread.list_fields()}


def chat(*turns, **fields):
    """Return a row of messages."""
    return {"messages": [{"role": role, "content": text} for role, text in turns], **fields}


TRANSCRIPT = "Human: Why?\n\nAssistant: Because."


def test_conversations_in_messages_are_counted_by_role():
    """Transcripts in messages are counted by role, but not in text columns."""
    rows = [
        chat(("user", TRANSCRIPT), ("assistant", f"Sure.\n\n{TRANSCRIPT}")),
        chat(("user", TRANSCRIPT), ("assistant", "The word Human: is a mark.")),
    ]
    assert count_conversations(extract(rows)) == {"user": 2, "assistant": 1}
    assert count_conversations(extract([{"text": TRANSCRIPT}])) == {}


def test_results_of_tools_are_read():
    """A tool's result is read as the tool's text anywhere."""
    result = {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text"}]}
    result["content"][0]["text"] = PROSE
    rows = [
        {"messages": [{"role": "user", "content": [result, {"type": "text", "text": PROSE}]}]},
        {
            "messages": [
                {"role": "user", "parts": [{"functionResponse": {"response": {"a": PROSE}}}]}
            ]
        },
    ]
    counts = list_turns(extract(rows), [ASSISTANT])
    assert [(item.role, item.channel, item.rows) for item in counts] == [
        ("tool", "answer", 1),
        ("tool", "tool", 1),
        ("user", "answer", 1),
    ]
    assert find_fields(rows) == {}


def test_turns_are_counted_by_role_and_channel():
    """Rows, characters and unread characters are counted by role and channel."""
    rows = [
        chat(("narrator", "Once."), ("user", "Why?"), ("assistant", "<think>Hm.</think>Yes.")),
        chat(("user", "Who?"), ("user", "é?"), ("assistant", "I.")),
    ]
    segments = extract(rows)
    counts = list_turns(segments, [ASSISTANT])
    assert [tuple(item.model_dump().values()) for item in counts] == [
        ("assistant", "answer", 2, 6, 0),
        ("assistant", "thinking", 1, 3, 0),
        ("narrator", "answer", 1, 5, 5),
        ("user", "answer", 2, 10, 10),
    ]


def test_the_longest_opening_counts():
    """Text after the longest opening is unread."""
    segments = extract([chat(("assistant", "x" * 100))])
    openings = [Scope(opening=20), Scope(opening=30)]
    assert list_turns(segments, openings)[0].unread == 70
    assert list_turns(segments, [*openings, ASSISTANT])[0].unread == 0
    assert list_turns(segments, [])[0].unread == 100


def test_openings_and_closings_add_up():
    """Text between the longest opening and the longest closing is unread."""
    segments = extract([chat(("assistant", "x" * 100))])
    for scopes, unread in (
        ([Scope(closing=30), Scope(closing=20)], 70),
        ([Scope(closing=30), Scope(opening=20)], 50),
        ([Scope(closing=60), Scope(opening=70)], 0),
        ([Scope(closing=60), ASSISTANT], 0),
    ):
        assert list_turns(segments, scopes)[0].unread == unread


def test_nothing_is_counted_without_text():
    """Rows without segments have no counts."""
    segments = extract([chat(("user", " "))])
    assert count_texts(segments, RowNames(["a"], [0]), [ASSISTANT]).turns == ()


def test_languages_are_counted_in_what_is_read():
    """Languages come from the text that traits read, and each language's first row is named."""
    rows = [
        chat(("user", "Небо голубое."), ("assistant", PROSE)),
        chat(("user", PROSE), ("assistant", "Небо голубое.")),
        chat(("user", PROSE), ("assistant", "Вода мокрая.")),
    ]
    counts = count_texts(extract(rows), RowNames(["a", "a", "b"], [4, 5, 0]), [ASSISTANT])
    (item,) = counts.languages
    assert (item.language, item.rows, item.source, item.row) == ("Cyrillic script", 2, "a", 5)


@pytest.mark.parametrize(
    "value",
    [
        "b3f0c9a2-9d6e-4a0e-8f57-0d3c8f1c9a11",
        "https://example.org/a/very/long/path?with=query&and=more",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        base64.encodebytes(bytes(range(256)) * 9).decode(),
        "2024-05-01T12:30:00Z",
        "Mon 6 May",
        "train",
        "claude-sonnet-4",
        "cc by 4.0",
        "1 2 3 4 5 6 7 8 9",
        "",
        " \n",
    ],
)
def test_metadata_is_no_text(value):
    """Ids, URLs, hashes, base64, dates, numbers and names aren't text."""
    assert find_fields([chat(("assistant", "A"), note=value, nested={"deep": [value]})]) == {}


@pytest.mark.parametrize(
    "value",
    [
        PROSE,
        "Let me think.",
        "天空是蓝色的，因为阳光被散射。",
        "ท้องฟ้าเป็นสีฟ้าเพราะแสง",
        '{"a": "it is so"}',
    ],
)
def test_prose_is_text(value):
    """Sentences in any script are text, at any depth."""
    size = len(value)
    row = chat(("assistant", "A"), note=value, more=[{"deep": [value, value]}])
    assert find_fields([row]) == {"more[].deep[]": 2 * size, "note": size}


def test_a_rare_long_text_is_text():
    """A field with one long value is text."""
    rows = [chat(("assistant", "A"), kind="chat") for _ in range(50)]
    assert find_fields(rows) == {}
    rows[7]["kind"] = PROSE * 3
    assert set(find_fields(rows)) == {"kind"}


def test_many_fields_of_a_column_are_one():
    """Many fields in a column are reported as the column."""
    keys = [f"key{number}" for number in range(MOST_PATHS + 1)]
    rows = [chat(("assistant", "A"), notes={key: PROSE}) for key in keys]
    assert find_fields(rows) == {"notes": len(PROSE) * len(keys)}
    assert set(find_fields(rows[1:])) == {f"notes.{key}" for key in keys[1:]}


def test_fields_of_messages_that_arent_read():
    """Unread message fields and part types are listed."""
    message = {
        "role": "assistant",
        "content": [{"type": "text", "text": PROSE}, {"type": "caption", "caption": PROSE}],
        "musing": PROSE,
    }
    found = find_fields([{"messages": [message]}])
    assert found == {
        "messages[].content[].caption": len(PROSE),
        "messages[].musing": len(PROSE),
    }


def test_any_text_in_a_contents_keys_counts():
    """Unread keys of a content are listed, however short."""
    message = {"role": "assistant", "content": {"foo": "text", "type": "note", "url": "u"}}
    other = {"role": "user", "content": {"text": "Hi", "bar": "more"}}
    found = find_fields([{"messages": [message, other]}])
    assert found == {"messages[].content.foo": 4, "messages[].content.bar": 4}


def test_tool_calls_are_read_as_a_whole():
    """A call's arguments are read."""
    call = {"type": "function", "function": {"name": "mail", "arguments": {"body": PROSE}}}
    row = {"messages": [{"role": "assistant", "content": "A", "tool_calls": [call]}]}
    assert find_fields([row]) == {}


FORMAT_ROWS = {
    "messages": chat(("system", PROSE), ("narrator", PROSE), ("user", PROSE), ("assistant", PROSE)),
    "conversations": {
        "conversations": [{"from": "human", "value": PROSE}, {"from": "gpt", "value": PROSE}]
    },
    "alpaca": {"instruction": PROSE, "input": PROSE, "output": PROSE},
    "completion": {"prompt": PROSE, "completion": PROSE},
    "preference": {"prompt": PROSE, "chosen": PROSE, "rejected": PROSE},
    "text": {"text": PROSE},
}


@pytest.mark.parametrize("name", FORMAT_ROWS)
def test_all_text_is_in_scope_or_listed(name):
    """Every character is read or listed as unread."""
    extra = {"scratchpad_notes": PROSE, "meta": {"notes": [PROSE]}, "id": "0f1e2d3c"}
    rows = [FORMAT_ROWS[name] | extra | {"n": number} for number in range(3)]
    segments = extract(rows)
    counts = list_turns(segments, [ASSISTANT])
    read = sum(item.characters - item.unread for item in counts)
    unread = sum(item.unread for item in counts) + sum(find_fields(rows).values())
    assert read + unread == json.dumps(rows).count(PROSE) * len(PROSE)
    assert {"scratchpad_notes", "meta.notes[]"} <= set(find_fields(rows))


KEYS = st.sampled_from(["a", "b", "role", "content", "text", "type"])
VALUES = st.recursive(
    st.sampled_from([PROSE, "id-7", "", None, 3, 0.5, True]),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(KEYS, below, max_size=3),
    max_leaves=8,
)


@given(VALUES, VALUES)
def test_no_prose_is_ever_lost(content, other):
    """Prose is always in a segment or an unread field."""
    rows = [{"messages": [{"role": "assistant", "content": content}], "other": other}]
    segments = extract([*rows, chat(("assistant", "A"))])
    read = "".join(segments.texts).count(PROSE)
    listed = find_fields([*rows, chat(("assistant", "A"))])
    assert read * len(PROSE) + sum(listed.values()) >= json.dumps(rows).count(PROSE) * len(PROSE)


def test_strings_and_paths():
    """Strings are found at any depth, with segments' paths."""
    row = {"a": [{"b": "x"}, "y"], "c": {"d": "z"}, "e": 1, "f": ("w",)}
    assert sorted(list_strings(row)) == [
        ("a[0].b", "x"),
        ("a[1]", "y"),
        ("c.d", "z"),
        ("f[0]", "w"),
    ]
    assert set(list_prefixes("a[0].b")) == {"a", "a[0]", "a[0].b"}
    deep = value = {}
    for _ in range(5_000):
        value["a"] = value = {}
    value["a"] = "x"
    assert len(list(list_strings(deep))) == 1


def test_words_are_counted():
    """A word is a run of letters, or two letters of a script without spaces."""
    assert count_words("“Don't!” she said (loudly), well-known.") == 5
    assert count_words("x1 y2 3 a") == 0
    assert count_words("天空是蓝色的") == 3
    assert count_words("a" * 31) == 0


def test_columns_with_a_value_are_known():
    """A column without values doesn't count as seen."""
    unread = UnreadFields()
    unread.observe({"a": "x", "b": None, "c": [], "d": 0}, ())
    assert unread.columns == {"a", "d"}
