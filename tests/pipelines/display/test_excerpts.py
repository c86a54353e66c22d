"""Record text made fit to show."""

import unicodedata

import orjson
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.display.excerpts import (
    CONTEXT,
    HIDDEN,
    NAME,
    SPAN,
    WORD,
    column_of,
    excerpt,
    field_text,
    inert,
    visible,
)
from schemas.corpora import CorpusConfig
from transforms.records.formats import settle_layout
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


def hidden(text: str) -> list[str]:
    """Return the characters of a text that act instead of showing."""
    return [char for char in text if unicodedata.category(char) in HIDDEN]


def table_of(kind: str, rows: list[dict[str, object]]) -> pa.Table:
    """Return the rows as a corpus's table."""
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
    """What a path, a start and a length name in a row is the very text that was scored."""
    table = table_of(kind, data.draw(st.lists(ROWS[kind], min_size=1, max_size=4)))
    segments = extract_segments(table, settle_layout(table.schema, CorpusConfig()))
    records = table.to_pylist()
    for row, path, start, text in zip(
        segments.rows, segments.field_paths, segments.starts, segments.texts, strict=True
    ):
        found = field_text(records[row], path)
        assert found is not None
        assert found[start : start + len(text)] == text


def test_content_that_is_one_part_is_its_own_first_part():
    """A message whose content is a single object, not a list of them, is found under place 0 and no other."""
    record = {"messages": [{"role": "assistant", "content": {"type": "text", "text": "alone"}}]}
    assert field_text(record, "messages[0].content[0].text") == "alone"
    assert field_text(record, "messages[0].content[1].text") is None


def test_tool_calls_are_written_as_they_were_scored():
    """A field that isn't text is its JSON, keys sorted."""
    calls = [{"name": "look", "id": 1}]
    found = field_text(
        {"messages": [{"role": "assistant", "content": None, "tool_calls": calls}]},
        "messages[0].tool_calls",
    )
    assert found == orjson.dumps(calls, option=orjson.OPT_SORT_KEYS).decode()


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
    """A damaged path is answered with None, not with an error or another field's text."""
    assert field_text({"messages": [{"role": "user", "content": "text"}]}, path) is None


def test_column_names_may_hold_dots_and_brackets():
    """Of two columns that both begin a path the longer is meant, and a longer name that only looks alike isn't."""
    assert column_of("my.chat[0].content", ["my", "my.chat", "my.chats"]) == "my.chat"
    assert column_of("chat[0][1].content", ["chat", "chat[0]"]) == "chat[0]"
    assert column_of("output", ["out", "output"]) == "output"
    assert column_of("output", ["out"]) is None


@given(st.text(), st.integers(-5, 90), st.integers(-5, 90))
def test_an_excerpt_marks_the_span_and_hides_nothing(text, start, end):
    """Whatever the text and the span, no acting character is left, and what is marked is the span."""
    pieces = excerpt(text, start, end)
    assert not hidden("".join(piece.text for piece in pieces))
    first = min(max(start, 0), len(text))
    span = text[first : max(first, end)]
    assert "".join(piece.text for piece in pieces if piece.marked) == "".join(
        piece.text for piece in visible(span)
    )


@given(st.text())
def test_a_short_text_is_shown_whole(text):
    """Showing a text of fewer characters than the context leaves nothing out."""
    shown = "".join(piece.text for piece in excerpt(text[:CONTEXT], 0, 0))
    assert shown == "".join(piece.text for piece in visible(text[:CONTEXT]))


@pytest.mark.parametrize(
    ("char", "shown"),
    [("\n", "↵"), ("\t", "⇥"), ("\x1b", "<U+001B>"), ("\x9b", "<U+009B>"), ("\u202e", "<U+202E>"), ("\u200d", "<U+200D>"), ("\u2028", "<U+2028>"), ("\u2029", "<U+2029>"), ("\U000e0041", "<U+E0041>"), ("é", "é"), ("<", "<"), ("[", "[")],
)  # fmt: skip
def test_characters_that_act_are_written_out(char, shown):
    """Controls, bidi marks, zero width, separators and tags become visible; what shows by itself stays."""
    assert inert(char) == shown


def test_escapes_are_told_from_the_text_that_looks_like_them():
    """A text that holds an escape's letters isn't taken for an escape."""
    assert [piece.ours for piece in visible("<U+202E>\u202e")] == [False, True]


def test_long_texts_are_cut_between_words_and_say_so():
    """Far text is left out on both sides of the span, at white space where some is near, with an ellipsis each."""
    text = "before " * 200 + "SPAN" + " after" * 200
    start = text.index("SPAN")
    pieces = excerpt(text, start, start + 4)
    shown = "".join(piece.text for piece in pieces)
    assert shown.startswith("… before ")
    assert shown.endswith(" after …")
    assert [piece.text for piece in pieces if piece.marked] == ["SPAN"]
    assert 2 * (CONTEXT - WORD) <= len(shown) <= 2 * CONTEXT + 10


def test_text_without_spaces_is_cut_all_the_same():
    """Where no white space is near, the cut falls inside the word."""
    shown = "".join(piece.text for piece in excerpt("x" * 1000, 500, 501))
    assert shown == f"… {'x' * (2 * CONTEXT + 1)} …"


def test_a_long_span_shows_its_ends_and_how_much_is_left_out():
    """Of a span of thousands of characters both ends are shown, and the number of those between."""
    text = "a" * 2000 + "b" * 2000
    shown = "".join(piece.text for piece in excerpt(text, 0, 4000))
    assert (
        shown == f"{'a' * (SPAN // 2)} … {4000 - SPAN:,} characters left out … {'b' * (SPAN // 2)}"
    )


def test_names_are_cut():
    """A name of any length takes one line, and says that it was cut."""
    assert inert("n" * NAME) == "n" * NAME
    assert inert("n" * (NAME + 1)) == "n" * NAME + "…"
