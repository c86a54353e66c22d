"""Answers: finding a record's last answer, and putting another text in its place."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import CorpusConfig
from transforms.records.answers import LastAnswer, find_answer, replace_answer
from transforms.records.formats import settle_layout
from transforms.records.plain_values import list_rows
from transforms.records.segments import extract_segments


def find(row, **layout):
    """Return the last answer of a row."""
    table = pa.Table.from_pylist([row])
    settled = settle_layout(table.schema, CorpusConfig())._replace(**layout)
    segments = extract_segments(table, settled)
    return find_answer(segments, range(len(segments)), list_rows(table)[0])


def chat(*turns):
    """Return a row of messages."""
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


ROWS = {
    "messages[1].content": chat(("user", "U"), ("assistant", "A")),
    "messages[3].content": chat(
        ("user", "U"), ("assistant", "X"), ("user", "V"), ("assistant", "A")
    ),
    "conversations[1].value": {
        "conversations": [{"from": "human", "value": "U"}, {"from": "gpt", "value": "A"}]
    },
    "completion": {"prompt": "U", "completion": "A"},
    "output": {"instruction": "U", "output": "A"},
    "text": {"text": "A"},
    "chosen": {"prompt": "U", "chosen": "A", "rejected": "B"},
    "chosen[1].content": {
        "chosen": chat(("user", "U"), ("assistant", "A"))["messages"],
        "rejected": chat(("user", "U"), ("assistant", "B"))["messages"],
    },
}


@pytest.mark.parametrize("path", ROWS)
def test_the_last_answer_of_every_format_is_found(path):
    """The answer's path leads to its whole text."""
    assert find(ROWS[path]) == LastAnswer("A", path, 0, None, ())


@pytest.mark.parametrize("path", ROWS)
def test_only_the_answer_changes(path):
    """The row with another answer has that answer at the same place, and is otherwise the same."""
    row = ROWS[path]
    changed = {**row, **replace_answer(row, find(row), "New.")}
    assert find(changed) == LastAnswer("New.", path, 0, None, ())
    back = {**changed, **replace_answer(changed, find(changed), "A")}
    assert back == row


def test_a_record_isnt_changed_in_place():
    """The old row stays as it was."""
    row = ROWS["messages[1].content"]
    replace_answer(row, find(row), "New.")
    assert row == chat(("user", "U"), ("assistant", "A"))


def test_thinking_goes_with_the_answer():
    """A replacement leaves no thinking of the replaced answer, wherever it was."""
    row = chat(("user", "U"), ("assistant", "<think>T</think>A"))
    assert find(row) == LastAnswer("A", "messages[1].content", 0, None, ())
    assert replace_answer(row, find(row), "N")["messages"][1]["content"] == "N"
    row = {
        "messages": [
            {"role": "user", "content": "U"},
            {"role": "assistant", "reasoning_content": "T", "content": "A"},
        ]
    }
    answer = find(row)
    assert (answer.text, answer.others) == ("A", ("messages[1].reasoning_content",))
    assert replace_answer(row, answer, "N")["messages"][1] == {
        "role": "assistant",
        "reasoning_content": "",
        "content": "N",
    }
    row = {"prompt": "U", "thinking": "T", "completion": "A"}
    assert replace_answer(row, find(row), "N") == {"completion": "N", "thinking": ""}


def test_parts_of_an_answer_are_one_answer():
    """The first part gets the new text, and the others are emptied."""
    parts = [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
    asked = [{"type": "text", "text": "U"}]
    row = {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": parts}]
    }
    answer = find(row)
    assert answer.text == "AB"
    new = replace_answer(row, answer, "N")["messages"][1]["content"]
    assert [part["text"] for part in new] == ["N", ""]


def test_only_the_answer_of_a_transcript_is_replaced():
    """Marks and turns around the answer stay."""
    text = "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\nA<|im_end|>\n"
    row = {"text": text}
    answer = find(row, transcripts=("text",))
    assert (answer.text, answer.path) == ("A", "text")
    assert replace_answer(row, answer, "N")["text"] == text.replace("A<", "N<")


@pytest.mark.parametrize(
    "row",
    [
        chat(("user", "U")),
        chat(("user", "U"), ("assistant", "")),
        chat(("user", "U"), ("assistant", "A"), ("assistant", "B")),
        {
            "messages": [
                {"role": "user", "content": "U", "tool_calls": None},
                {
                    "role": "assistant",
                    "content": "A",
                    "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}],
                },
            ]
        },
    ],
    ids=["no answer", "blank", "two messages", "tool call"],
)
def test_other_answers_cant_be_replaced(row):
    """A missing answer, several messages and tool calls are no answer of plain text."""
    assert find(row) is None


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20).map("A{}".format)


@given(old=TEXTS, new=TEXTS, earlier=st.lists(st.tuples(TEXTS, TEXTS), max_size=2))
def test_any_text_can_replace_any_other(old, new, earlier):
    """The new text is found where the old one was, and all earlier turns are the same."""
    turns = [turn for asked, said in earlier for turn in (("user", asked), ("assistant", said))]
    row = chat(*turns, ("user", "U"), ("assistant", old))
    changed = {**row, **replace_answer(row, find(row), new)}
    assert changed["messages"][:-1] == row["messages"][:-1]
    assert changed["messages"][-1] == {"role": "assistant", "content": new}
