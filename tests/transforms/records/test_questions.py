"""The turn that a text answers."""

import pytest

from transforms.records.formats import Layout
from transforms.records.questions import (
    Exchange,
    SpokenText,
    find_last_exchange,
    find_question,
    list_fields,
)

MESSAGES = Layout("messages", {"messages": "messages"}, {})
TALK = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "<think>Hm.</think>Two."},
        {"role": "user", "content": "Three?"},
        {"role": "assistant", "content": "Four."},
    ],
    "id": 7,
}


@pytest.mark.parametrize(
    ("path", "start", "expected"),
    [
        ("messages[4].content", 0, SpokenText("user", "Three?")),
        ("messages[2].content", 0, SpokenText("user", "One?")),
        ("messages[2].content", 18, SpokenText("user", "One?")),
        ("messages[1].content", 0, SpokenText("system", "Be brief.")),
        ("messages[0].content", 0, None),
        ("messages[9].content", 0, None),
    ],
)
def test_the_turn_before_is_found(path, start, expected):
    """The question is the turn before, by another speaker."""
    assert find_question(TALK, path, start, MESSAGES) == expected


def test_fields_of_one_turn_are_joined():
    """An instruction and its input are one question."""
    columns = {name: name for name in ("instruction", "input", "output")}
    record = {"instruction": "Add.", "input": "1 and 2", "output": "3"}
    found = find_question(record, "output", 0, Layout("alpaca", columns, {}))
    assert found == SpokenText("user", "Add.\n1 and 2")


def test_a_column_by_another_name():
    """The run's own columns are read."""
    layout = Layout("completion", {"prompt": "in.ask", "completion": "out"}, {})
    record = {"in": {"ask": "Why?"}, "out": "So."}
    assert find_question(record, "out", 0, layout) == SpokenText("user", "Why?")


def test_a_transcript_is_cut_into_turns():
    """The question in a transcript is the turn before the turn that contains the offset."""
    layout = Layout("text", {"text": "text"}, {}, transcripts=("text",))
    text = "Human: One?\n\nAssistant: Two.\n\nHuman: Three?\n\nAssistant: Four."
    found = find_question({"text": text}, "text", text.index("Four"), layout)
    assert found == SpokenText("user", "Three?")
    found = find_question({"text": text}, "text", text.index("Two"), layout)
    assert found == SpokenText("user", "One?")


@pytest.mark.parametrize("record", [{}, {"text": None}, {"text": " "}, {"other": "x"}])
def test_a_record_without_text_has_no_question(record):
    """A record without text has no question or answer."""
    layout = Layout("text", {"text": "text"}, {})
    assert find_question(record, "text", 0, layout) is None
    assert find_last_exchange(record, layout) == Exchange(None, None)


def test_the_last_answer():
    """The last assistant turn is the answer, or else the last text; the turn before asks."""
    answer = SpokenText("assistant", "Four.")
    assert find_last_exchange(TALK, MESSAGES) == Exchange(SpokenText("user", "Three?"), answer)
    asked = {"messages": TALK["messages"][:2]}
    assert find_last_exchange(asked, MESSAGES).answer == SpokenText("user", "One?")


def test_fields_are_listed_in_the_order_of_turns():
    """Each field with text is listed once, with the roles of its speakers."""
    found = list_fields(TALK, MESSAGES)
    roles = ["system", "user", "assistant", "user", "assistant"]
    assert [item.path for item in found] == [f"messages[{turn}].content" for turn in range(5)]
    assert [item.roles for item in found] == [(role,) for role in roles]
    assert list_fields({}, MESSAGES) == []
