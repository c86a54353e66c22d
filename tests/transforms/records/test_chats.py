"""Chats: rows of every format as messages for a chat template."""

import pytest

from schemas.errors import RowError
from transforms.records.chats import read_chat

QUESTION = {"role": "user", "content": "Who are you?"}
ANSWER = {"role": "assistant", "content": "A heron."}


def list_messages(row, **columns):
    """Return a template's messages."""
    return [turn.build_message() for turn in read_chat(row, columns).turns]


def list_learnt(row, **columns):
    """Return the learnt texts, keyed by field path."""
    turns = read_chat(row, columns).turns
    return {
        path: text for turn in turns if turn.is_learnt for path, text in turn.list_texts().items()
    }


def test_messages_are_passed_on_with_their_own_fields():
    """Names, ids and tool calls reach the template, but nulls and training flags don't."""
    call = {"id": "a", "type": "function", "function": {"name": "find", "arguments": '{"n": 1}'}}
    answer = {**ANSWER, "content": None, "tool_calls": [call], "weight": 1, "name": None}
    result = {"role": "tool", "content": "42", "tool_call_id": "a"}
    row = {"messages": [QUESTION, answer, result]}
    assert list_messages(row, messages="messages") == [
        QUESTION,
        {"role": "assistant", "content": "", "tool_calls": [call]},
        result,
    ]
    path = "messages[1].tool_calls[0].function.arguments"
    assert list_learnt(row, messages="messages") == {path: '{"n": 1}'}


def test_other_names_of_roles_and_contents_are_translated():
    """`from` and `value` become `role` and `content`, and field paths stay."""
    turns = [{"from": "human", "value": "Who?"}, {"from": "gpt", "value": "A heron.", "role": "x"}]
    row = {"talk": {"turns": turns}}
    columns = {"conversations": "talk.turns"}
    assert list_messages(row, **columns) == [
        {"role": "user", "content": "Who?"},
        {"role": "assistant", "content": "A heron."},
    ]
    assert list_learnt(row, **columns) == {"talk.turns[1].value": "A heron."}


def test_an_untrained_message_is_not_learnt():
    """An answer with a false flag or a weight of zero isn't learnt."""
    for flag in ({"weight": 0}, {"train": False}):
        row = {"messages": [QUESTION, {**ANSWER, **flag}]}
        assert list_learnt(row, messages="messages") == {}


def test_an_unwanted_answer_is_not_learnt():
    """A false label makes only the row's last answer unlearnt."""
    row = {"messages": [QUESTION, ANSWER, QUESTION, ANSWER], "label": False}
    assert list(list_learnt(row, messages="messages")) == ["messages[1].content"]
    assert len(list_learnt({**row, "label": 0}, messages="messages")) == 2


def test_text_parts_are_joined():
    """Text parts are joined by line breaks, and each keeps its path."""
    parts = [{"type": "text", "text": "A"}, {"type": "text", "text": "heron."}]
    row = {"messages": [QUESTION, {"role": "assistant", "content": parts}]}
    assert list_messages(row, messages="messages")[1]["content"] == "A\nheron."
    assert list_learnt(row, messages="messages") == {
        "messages[1].content[0].text": "A",
        "messages[1].content[1].text": "heron.",
    }


@pytest.mark.parametrize(
    ("row", "columns", "expected", "path"),
    [
        (
            {
                "instruction": "Translate.",
                "input": "garza",
                "output": "heron",
                "system": "Be brief.",
            },
            ("instruction", "input", "output", "system"),
            [("system", "Be brief."), ("user", "Translate.\ngarza"), ("assistant", "heron")],
            "output",
        ),
        (
            {"instruction": "Again", "input": "", "output": "heron", "history": [["Who?", "I."]]},
            ("instruction", "input", "output", "history"),
            [("user", "Who?"), ("assistant", "I."), ("user", "Again"), ("assistant", "heron")],
            "output",
        ),
        (
            {"prompt": "Who?", "completion": "A heron."},
            ("prompt", "completion"),
            [("user", "Who?"), ("assistant", "A heron.")],
            "completion",
        ),
        (
            {"prompt": [QUESTION], "completion": [ANSWER]},
            ("prompt", "completion"),
            [("user", "Who are you?"), ("assistant", "A heron.")],
            "completion[0].content",
        ),
        (
            {"messages": ["Who?", "A heron."]},
            ("messages",),
            [("user", "Who?"), ("assistant", "A heron.")],
            "messages[1]",
        ),
    ],
    ids=["alpaca", "alpaca with history", "completion", "messages in columns", "texts in turn"],
)
def test_rows_in_columns_become_chats(row, columns, expected, path):
    """Questions and answers in columns become turns."""
    names = {name: name for name in columns}
    messages = list_messages(row, **names)
    assert [(item["role"], item["content"]) for item in messages] == expected
    assert path in list_learnt(row, **names)


def test_a_system_column_does_not_repeat_a_system_message():
    """A system column isn't added to a system message."""
    row = {"system": "Be kind.", "messages": [{"role": "system", "content": "Be brief."}, ANSWER]}
    messages = list_messages(row, messages="messages", system="system")
    assert [item["content"] for item in messages] == ["Be brief.", "A heron."]


@pytest.mark.parametrize("tools", [[{"name": "find"}], '[{"name": "find"}]'])
def test_tools_may_be_json(tools):
    """`tools` may be a list or its JSON."""
    row = {"messages": [ANSWER], "tools": tools}
    assert read_chat(row, {"messages": "messages"}).tools == [{"name": "find"}]


@pytest.mark.parametrize("tools", [None, [], "none", '{"name": "find"}'])
def test_what_is_no_list_of_tools_is_left_out(tools):
    """A column that isn't a list of tools is left out."""
    assert read_chat({"messages": [ANSWER], "tools": tools}, {"messages": "messages"}).tools is None


IMAGE = {"type": "image_url", "image_url": {"url": "a.png"}}


@pytest.mark.parametrize(
    ("row", "name", "message"),
    [
        ({"messages": []}, "messages", "no messages"),
        ({"messages": [{"content": "A heron."}]}, "messages", r"messages\[0\] isn't a message"),
        ({"messages": ["A heron.", 1]}, "messages", r"messages\[0\] isn't a message"),
        ({"messages": [{**ANSWER, "content": [IMAGE]}]}, "messages", "more than text"),
        ({"completion": ["One.", "Two."]}, "completion", "list of texts"),
        ({"history": ["Who?"]}, "history", "isn't a question with its answer"),
    ],
)
def test_a_row_that_no_template_can_render_is_an_error(row, name, message):
    """The error for a row that no template can render names the field and a remedy."""
    with pytest.raises(RowError, match=message) as caught:
        read_chat(row, {name: name})
    assert caught.value.remedy


def test_lone_surrogates_are_replaced():
    """A lone surrogate becomes a character of the same length."""
    row = {"messages": [{"role": "assistant", "content": "a\ud800b", "thought": "\ud800"}]}
    [message] = list_messages(row, messages="messages")
    assert (message["content"], message["thought"]) == ("a\ufffdb", "\ufffd")
