"""Answered prompts: the prompt as one text, the last answer, and spans of it."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.corpora import CorpusConfig
from transforms.records.answered_prompts import join_messages, read_answered_prompt
from transforms.records.formats import Layout

MESSAGES = Layout("messages", {"messages": "messages"}, {})


def chat(*turns):
    """Return a record with these roles and texts."""
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def span(path, start, end):
    """Return a stretch of a field."""
    return {"field_path": path, "start": start, "end": end}


def test_a_single_question_stays_as_it_is():
    """A prompt of one message has no role before it."""
    found = read_answered_prompt(chat(("user", "Why?\n"), ("assistant", "So.")), MESSAGES)
    assert found == ("Why?\n", "So.", (), 1)


def test_several_messages_are_named():
    """Earlier turns and the system prompt are part of the prompt, each with its role."""
    record = chat(
        ("system", "Be brief."),
        ("user", "Why?"),
        ("assistant", "So."),
        ("user", "And?"),
        ("assistant", "No."),
    )
    found = read_answered_prompt(record, MESSAGES)
    assert found.prompt == "system: Be brief.\nuser: Why?\nassistant: So.\nuser: And?"
    assert found.answer == "No."


def test_thinking_is_not_the_answer():
    """The answer begins after the thinking, and spans are counted from there."""
    text = "<think>\nA heron?\n</think>\n\nA heron stood."
    start = text.index("A heron stood")
    record = chat(("user", "What?"), ("assistant", text))
    spans = [span("messages[1].content", start + 2, start + 7), span("messages[1].content", 9, 14)]
    found = read_answered_prompt(record, MESSAGES, spans)
    assert "think" not in found.answer
    assert [found.answer[begin:end] for begin, end in found.spans] == ["heron"]


def test_spans_of_other_fields_are_left_out():
    """Only spans of the last answer are returned, cut to the answer."""
    record = chat(("user", "Why?"), ("assistant", "So."), ("user", "And?"), ("assistant", "No."))
    spans = [
        span("messages[1].content", 0, 2),
        span("messages[3].content", 1, 99),
        span("messages[3].content", 1, 1),
    ]
    assert read_answered_prompt(record, MESSAGES, spans).spans == ((1, 3),)


def test_records_without_a_question_or_an_answer():
    """A record that ends with a question, or only speaks, is none."""
    for turns in (
        [("user", "Why?")],
        [("assistant", "So.")],
        [("system", "Be brief."), ("assistant", "So.")],
        [],
    ):
        assert read_answered_prompt(chat(*turns), MESSAGES) is None


def test_other_formats():
    """Instructions with outputs are read like messages."""
    layout = Layout("alpaca", {"instruction": "instruction", "output": "output"}, {})
    record = {"instruction": "Name a bird.", "output": "A heron."}
    found = read_answered_prompt(record, layout, [span("output", 2, 7)])
    assert found == ("Name a bird.", "A heron.", ((2, 7),), 1)
    assert CorpusConfig(format="text").format == "text"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_no_text_is_lost(texts):
    """Every message's text is in the prompt."""
    messages = [{"role": "user", "content": text} for text in texts]
    joined = join_messages(messages)
    assert all(text in joined for text in texts)
    assert (joined == texts[0]) == (len(texts) == 1)


def test_the_users_messages_are_counted():
    """The number of turns is that of the user's messages before the last answer."""
    turns = (("system", "Be brief."), ("user", "Why?"), ("assistant", "So."), ("user", "How?"))
    found = read_answered_prompt(chat(*turns, ("assistant", "Thus.")), MESSAGES)
    assert found.turns == 2
