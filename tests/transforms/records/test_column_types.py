"""Column types: which types suit which format column."""

import pyarrow as pa
import pytest

from transforms.records.column_types import (
    COLUMN_CHECKS,
    NAMES_OF_LISTS,
    describe_need,
    find_wrapper,
    fits,
    is_answers,
    is_exchanges,
    is_message,
    is_pairs,
    is_plain_list,
    is_segments,
    is_text,
    is_texts,
    is_turns,
)
from transforms.records.json_kinds import ARROW_TYPES

STRING = pa.string()
MESSAGE = pa.struct([("role", STRING), ("content", STRING)])
TURNS = pa.list_(MESSAGE)
PARTS = pa.list_(pa.struct([("type", STRING), ("text", STRING)]))
SHARED = pa.list_(pa.struct([("from", STRING), ("value", STRING)]))


def test_types_of_turns():
    """Turns are lists of structs with a role and content."""
    assert is_turns(TURNS)
    assert is_turns(SHARED)
    assert is_turns(pa.list_(pa.struct([("role", STRING), ("value", STRING)])))
    assert is_turns(pa.list_(pa.struct([("role", STRING), ("parts", PARTS)])))
    assert is_turns(pa.list_(pa.struct([("role", pa.null()), ("content", pa.null())])))
    assert not is_turns(pa.list_(STRING))
    for role, content in ((STRING, pa.int64()), (pa.int64(), STRING), (STRING, pa.bool_())):
        assert not is_turns(pa.list_(pa.struct([("role", role), ("content", content)])))
    assert not is_turns(TURNS.value_type)
    assert not is_turns(pa.list_(pa.struct([("role", STRING)])))
    assert not is_turns(pa.list_(pa.struct([("content", STRING)])))


def test_types_of_text():
    """Bytes, numbers, nulls and lists aren't text."""
    for kind in (
        pa.binary(),
        pa.int32(),
        pa.null(),
        pa.list_(STRING),
        pa.dictionary(pa.int8(), pa.int64()),
    ):
        assert not is_text(kind)
        assert not fits("text", kind)
    assert fits("prompt", STRING)
    assert fits("prompt", TURNS)
    assert not fits("instruction", TURNS)


def test_types_of_answers_and_pairs():
    """Lists of texts, answers and pairs are distinguished."""
    answers = pa.large_list(pa.struct([("answer", STRING), ("model", STRING)]))
    pairs = pa.list_(pa.large_list(pa.large_string()))
    assert is_answers(answers)
    assert not is_answers(TURNS)
    assert not is_answers(pa.list_(pa.struct([("model", STRING)])))
    assert is_pairs(pairs)
    assert not is_pairs(pa.list_(STRING))
    assert is_texts(pa.large_list(STRING))
    assert not is_texts(pairs)
    assert is_message(MESSAGE)
    assert not is_message(TURNS)


def test_choices_have_their_message_in_a_field():
    """The message's field in a choice is found."""
    assert find_wrapper(pa.list_(pa.struct([("index", pa.int64()), ("message", MESSAGE)]))) == (
        "message"
    )
    gemini = pa.struct([("role", STRING), ("parts", PARTS)])
    assert find_wrapper(pa.list_(pa.struct([("content", gemini)]))) == "content"
    assert find_wrapper(TURNS) is None
    assert find_wrapper(pa.list_(pa.struct([("role", STRING), ("content", PARTS)]))) is None
    assert find_wrapper(pa.list_(STRING)) is None


def test_a_type_may_say_who_speaks():
    """LangChain's messages have a type for a role, and may be in `data`."""
    typed = pa.struct([("type", STRING), ("content", STRING)])
    assert is_message(typed)
    assert not is_message(pa.struct([("type", STRING), ("text", STRING)]))
    dump = pa.struct([("type", STRING), ("data", pa.struct([("content", STRING)]))])
    assert find_wrapper(pa.list_(dump)) == "data"
    assert find_wrapper(pa.list_(pa.struct([("data", typed)]))) == "data"
    other = pa.struct([("type", STRING), ("data", pa.struct([("url", STRING)]))])
    assert find_wrapper(pa.list_(other)) is None


def test_segments_have_a_label():
    """A list of texts with bool labels holds segments."""
    kind = pa.struct([("label", pa.bool_()), ("text", STRING)])
    assert is_segments(pa.list_(kind))
    assert not is_segments(pa.list_(pa.struct([("label", STRING), ("text", STRING)])))
    assert not is_segments(pa.list_(pa.struct([("label", pa.bool_()), *MESSAGE])))
    assert not is_segments(kind)


def test_lists_of_texts_may_be_conversations_or_texts():
    """Only conversation and text columns may be lists of texts."""
    lists = pa.large_list(STRING)
    columns = ("messages", "conversations", "text", "prompt", "history")
    assert [is_plain_list(name, lists) for name in columns] == [True] * 3 + [False] * 2
    assert not is_plain_list("messages", TURNS)
    assert all(COLUMN_CHECKS.get(name) or name == "text" for name in NAMES_OF_LISTS)


CONVERSATIONS = {"messages", "message", "choices", "candidates", "dumps", "exchanges"}


def test_exchanges_have_a_question_and_its_answer():
    """A list of structs with two speakers' texts and no role holds exchanges."""
    exchange = pa.struct([("user", STRING), ("assistant", STRING), ("source", STRING)])
    assert is_exchanges(pa.large_list(exchange))
    assert not is_exchanges(exchange)
    assert not is_exchanges(TURNS)
    assert not is_exchanges(pa.list_(pa.struct([("user", STRING), ("id", STRING)])))
    assert not is_exchanges(pa.list_(pa.struct([("input", STRING), ("output", pa.int64())])))


SIDES = {"text", "answers", "segments", "texts", *CONVERSATIONS}


@pytest.mark.parametrize(
    ("column", "kinds"),
    [
        ("messages", CONVERSATIONS | {"segments"}),
        ("conversations", CONVERSATIONS | {"segments"}),
        ("prompt", {"text", "messages", "message", "texts"}),
        ("completion", SIDES),
        ("output", SIDES),
        ("chosen", SIDES),
        ("rejected", SIDES),
        ("rejected_response", SIDES),
        ("history", {"pairs", "messages", "exchanges"}),
        ("system", {"text", "message", "texts", "answers", "segments", "exchanges"}),
        ("thinking", {"text"}),
        ("instruction", {"text"}),
    ],
)
def test_kinds_of_json_that_fit_a_column(column, kinds):
    """Each format column accepts the kinds that trainers accept."""
    fitting = {kind for kind, found in ARROW_TYPES.items() if fits(column, found)}
    assert fitting == kinds


def test_needs_are_described_in_words():
    """Every column's need is described, by default as text."""
    assert describe_need("text") == "text"
    assert all(
        "text" in describe_need(name) or "list" in describe_need(name) for name in COLUMN_CHECKS
    )
