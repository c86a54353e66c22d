"""Segments: texts, field paths and digests of rows."""

import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import CorpusConfig
from transforms.records.companions import find_in_records
from transforms.records.formats import settle_layout
from transforms.records.json_columns import project_rows
from transforms.records.json_messages import MESSAGES
from transforms.records.segments import digest_rows, extract_segments

STEP_IN = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


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


def follow_path(row, path):
    """Return the value that a field path leads to."""
    value = row
    for name, index in STEP_IN.findall(path):
        value = value[name] if name else value[int(index)]
    return value


def test_messages_keep_their_order():
    """Every message is a segment, in order."""
    rows = [
        chat(("system", "S"), ("user", "U"), ("assistant", "A")),
        chat(("user", "V"), ("assistant", "B")),
    ]
    assert list_segments(extract(rows)) == [
        (0, "system", "answer", "S"),
        (0, "user", "answer", "U"),
        (0, "assistant", "answer", "A"),
        (1, "user", "answer", "V"),
        (1, "assistant", "answer", "B"),
    ]
    assert extract(rows).field_paths[2] == "messages[2].content"


TEXTS = st.sampled_from(["a", "b c", " \n", "", "<think>d</think>e", "é", None])
ROLE_NAMES = st.sampled_from(["user", "assistant", "system", "GPT", "tool", "x"])
PART = st.fixed_dictionaries(
    {"type": st.sampled_from(["text", "thinking", "image"]), "text": TEXTS},
    optional={"thinking": TEXTS},
)
CALLS = st.lists(
    st.fixed_dictionaries({"id": st.integers(0, 3), "name": TEXTS}, optional={"n": st.floats(0, 9)})
)


def build_turns(role, content, contents):
    """Return a strategy for messages of one spelling and kind of content."""
    extras = {"reasoning": TEXTS, "thinking": TEXTS, "tool_calls": CALLS}
    turn = st.fixed_dictionaries({role: ROLE_NAMES, content: contents}, optional=extras)
    return st.lists(st.none() | turn, max_size=4).filter(any)


CONVERSATIONS = st.one_of(
    build_turns("role", "content", TEXTS),
    build_turns("from", "value", TEXTS),
    build_turns("role", "content", st.lists(PART, max_size=3)),
    build_turns("role", "content", st.lists(TEXTS, max_size=3)),
    build_turns("role", "content", PART),
)


@given(st.lists(CONVERSATIONS, max_size=5))
def test_rows_of_json_lines_have_the_segments_of_parquet(conversations):
    """A row has the same segments alone and among rows of other shapes."""
    schema = pa.schema([("conversations", MESSAGES)])
    rows = [{"conversations": turns} for turns in conversations]
    together = extract(project_rows(rows, schema).table)
    layout = settle_layout(schema, CorpusConfig())
    companions = find_in_records(enumerate(rows), layout.columns)
    table = project_rows(rows, schema).table
    digests = digest_rows(table, together, layout, companions, rows.__getitem__)
    for index, row in enumerate(rows):
        table = pa.Table.from_pylist([row])
        alone = extract_segments(table, layout)
        mine = together.take(np.array(together.find_in_row(index), np.int64))
        for name in ("roles", "channels", "field_paths", "texts"):
            assert getattr(mine, name) == getattr(alone, name)
        assert mine.starts.tolist() == alone.starts.tolist()
        assert mine.messages.tolist() == alone.messages.tolist()
        assert digests[index : index + 1] == digest_rows(table, alone, layout)


PIECES = st.lists(
    st.sampled_from(
        [
            "<think>",
            "</think>",
            "<thinking>",
            "</thinking>",
            "<think",
            "think",
            " ",
            "\n",
            "é",
            "e\u0301",
            "😀",
            "word",
        ]
    )
    | st.text(max_size=4),
    max_size=10,
).map("".join)


TAGS = re.compile(r"</?think(?:ing)?>|\s")
STRING = pa.string()
REASONED = pa.list_(
    pa.struct([("role", STRING), ("content", STRING), ("reasoning_content", STRING)])
)
PARTS = pa.list_(
    pa.struct(
        [
            ("role", STRING),
            (
                "content",
                pa.list_(pa.struct([("type", STRING), ("text", STRING), ("thinking", STRING)])),
            ),
        ]
    )
)
SHARED = pa.list_(pa.struct([("from", STRING), ("value", STRING)]))
CHAT = pa.schema([("messages", pa.list_(pa.struct([("role", STRING), ("content", STRING)])))])
PARTS_OF_TURN = st.lists(st.tuples(st.sampled_from(["text", "thinking"]), PIECES), max_size=3)


@given(st.lists(st.tuples(PIECES, st.none() | PIECES, PARTS_OF_TURN), max_size=3))
def test_paths_and_starts_lead_to_the_text(turns):
    """A segment's path and start lead to its characters."""
    answers = [{"role": "assistant", "content": content} for content, *_ in turns]
    plain = [
        {"role": "assistant", "content": content, "reasoning_content": reason}
        for content, reason, _ in turns
    ]
    typed = [
        {"role": "user", "content": [{"type": kind, kind: text} for kind, text in items]}
        for *_, items in turns
    ]
    first, second, _ = turns[0] if turns else ("", None, [])
    rows = [
        ({"messages": plain}, [("messages", REASONED)]),
        ({"messages": typed}, [("messages", PARTS)]),
        (
            {"conversations": [{"from": "gpt", "value": content} for content, *_ in turns]},
            [("conversations", SHARED)],
        ),
        (
            {"chosen": answers, "rejected": answers[:1]},
            [("chosen", CHAT.field(0).type), ("rejected", CHAT.field(0).type)],
        ),
        (
            {"instruction": first, "input": second, "output": first},
            [("instruction", STRING), ("input", STRING), ("output", STRING)],
        ),
    ]
    for row, columns in rows:
        segments = extract([row], pa.schema(columns))
        for path, start, text in zip(
            segments.field_paths, segments.starts, segments.texts, strict=True
        ):
            assert follow_path(row, path)[start : start + len(text)] == text
    spoken = sum(
        bool(TAGS.sub("", text))
        for content, reason, items in turns
        for text in (content, reason or "")
    )
    assert len(extract([rows[0][0]], pa.schema(rows[0][1]))) >= spoken


def test_scope_selects_roles_and_channels():
    """A scope gives the indices of the segments with its roles and channels."""
    segments = extract(
        [chat(("user", "U"), ("assistant", "<think>T</think>A")), chat(("assistant", "B"))]
    )
    assert segments.find_in_scope(["assistant"], ["answer"]).tolist() == [2, 3]
    assert segments.find_in_scope(["assistant", "user"], ["answer", "thinking"]).tolist() == [
        0,
        1,
        2,
        3,
    ]
    assert segments.find_in_scope(["system"], ["answer"]).tolist() == []


def test_selected_rows_are_renumbered():
    """Selected rows are renumbered with their texts and paths."""
    segments = extract(
        [
            chat(("user", "U"), ("assistant", "<think>T</think>A")),
            {"messages": []},
            chat(("user", "V")),
        ]
    )
    part = segments.select_rows([1, 2])
    assert list_segments(part) == [(1, "user", "answer", "V")]
    assert list_segments(segments.select_rows([0])) == list_segments(segments)[:3]
    assert part.field_paths == ["messages[0].content"]
    assert len(segments.select_rows([])) == 0


def test_the_segments_of_a_row():
    """A row's segments are a range."""
    segments = extract(
        [chat(("user", "U"), ("assistant", "A")), {"messages": []}, chat(("user", "V"))]
    )
    assert [list(segments.find_in_row(row)) for row in range(3)] == [[0, 1], [], [2]]


def digest(rows, **config):
    """Return the content digests of rows."""
    table = pa.Table.from_pylist(rows)
    layout = settle_layout(table.schema, CorpusConfig(**config))
    return digest_rows(table, extract_segments(table, layout), layout)


def test_digest_ignores_surrounding_white_space_only():
    """White space changes the digest only inside a text."""
    one, padded, other = digest([{"text": "a b"}, {"text": "\n a b \n"}, {"text": "a  b"}])
    assert one == padded
    assert one != other


def test_digest_depends_on_role_channel_and_order():
    """Another role, channel or order changes the digest."""
    rows = [
        chat(("user", "a"), ("assistant", "b")),
        chat(("assistant", "a"), ("user", "b")),
        chat(("user", "b"), ("assistant", "a")),
        chat(("user", "a"), ("assistant", "<think>b</think>")),
        chat(("user", "ab"), ("assistant", "")),
        chat(("user", "a"), ("assistant", "b"), ("assistant", "b")),
    ]
    assert len(set(digest(rows))) == len(rows)


def test_digest_depends_on_the_side_of_a_pair():
    """Swapping a pair's sides changes the digest."""
    for yes, no in (
        ("yes", "no"),
        ([{"role": "assistant", "content": "yes"}], [{"role": "assistant", "content": "no"}]),
    ):
        first, second = digest(
            [
                {"prompt": "P", "chosen": yes, "rejected": no},
                {"prompt": "P", "chosen": no, "rejected": yes},
            ]
        )
        assert first != second


def test_digest_depends_on_the_side_under_other_names():
    """A pair's side changes the digest under any column name."""
    columns = {"chosen": "good", "rejected": "bad"}
    first, second = digest(
        [{"good": "x", "bad": "y"}, {"good": "y", "bad": "x"}], format="preference", columns=columns
    )
    assert first != second


def test_digest_of_a_part_is_that_of_its_text():
    """A single text part has its text's digest."""
    assert digest([chat(("user", [{"type": "text", "text": "a"}]))]) == digest(
        [chat(("user", "a"))]
    )


def test_a_text_of_many_thoughts_is_not_copied_for_each():
    """A text of 20,000 blocks takes memory in proportion to its length."""
    text = "<think>why</think>so " * 20_000
    pool = pa.default_memory_pool()
    before, highest = pool.bytes_allocated(), pool.max_memory()
    segments = extract([{"text": text}])
    assert (len(segments), segments.texts[:2]) == (40_000, ["why", "so "])
    assert pool.max_memory() <= max(highest, before + (1 << 30))


def test_reasoning_is_separated_in_its_row():
    """An answer with reasoning is replaced by its parts."""
    text = "first <think>why</think> then"
    segments = extract([{"text": "before"}, {"text": text}, {"text": "after"}])
    assert segments.rows.tolist() == [0, 1, 1, 1, 2]
    assert segments.channels == ["answer", "answer", "thinking", "answer", "answer"]
    assert segments.starts.tolist() == [0, 0, 13, 24, 0]
    assert segments.texts == ["before", "first ", "why", " then", "after"]
    assert segments.field_paths == ["text"] * 5


def test_only_answers_are_searched_for_reasoning():
    """Tags inside reasoning or tool calls split nothing."""
    message = {"role": "assistant", "content": "A", "reasoning": "a <think> tag"}
    call = {"role": "assistant", "content": "B", "tool_calls": [{"name": "<think>x</think>"}]}
    assert extract([{"messages": [message]}]).texts == ["a <think> tag", "A"]
    assert extract([{"messages": [call]}]).channels == ["answer", "tool"]


def test_segments_are_taken_in_any_order():
    """Segments can be taken in any order, and taking all copies no text."""
    segments = extract([chat(("user", "U"), ("assistant", "A")), chat(("user", "V"))])
    taken = segments.take(np.array([2, 0]))
    assert list_segments(taken) == [(1, "user", "answer", "V"), (0, "user", "answer", "U")]
    assert taken.field_paths == ["messages[0].content"] * 2
    assert segments.take(np.arange(3)).text is segments.text


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"prompt": "P", "rejected": "no", "chosen": "yes"}, ("chosen", "rejected")),
        ({"instruction": "I", "output": "O"}, ("output",)),
        (chat(("user", "U")), ("messages",)),
    ],
)
def test_answer_columns_are_those_of_the_layout(row, columns):
    """Segments name the answer columns, the chosen side first."""
    assert extract([row]).answer_columns == columns
