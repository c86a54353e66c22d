"""Prompts: the messages before a record's last answer."""

import pyarrow as pa
import pytest

from schemas.corpora import CorpusConfig
from transforms.records.formats import settle_layout
from transforms.records.prompts import extract_prompt
from transforms.records.segments import extract_segments


def extract(rows):
    """Extract the segments of rows, with the format detected."""
    table = pa.Table.from_pylist(rows)
    return extract_segments(table, settle_layout(table.schema, CorpusConfig()))


def chat(*turns):
    """Return a row of messages."""
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


def test_a_prompt_ends_before_the_last_answer():
    """The prompt has earlier answers, but neither reasoning nor the answers at the end."""
    row = chat(
        ("system", "S"),
        ("user", "U"),
        ("assistant", "<think>T</think>A"),
        ("user", "V"),
        ("assistant", "B"),
        ("assistant", "C"),
    )
    segments = extract([row])
    assert extract_prompt(segments, range(len(segments))) == [
        {"role": "system", "content": "S"},
        {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A"},
        {"role": "user", "content": "V"},
    ]
    assert extract_prompt(segments, []) == []


def test_a_prompt_never_contains_the_last_answer():
    """Messages after the last answer are left out with it."""
    for after in (("user", "thanks"), ("tool", "T")):
        segments = extract([chat(("user", "U"), ("assistant", "A"), after)])
        assert extract_prompt(segments, range(len(segments))) == [{"role": "user", "content": "U"}]
    segments = extract([chat(("assistant", "A"), ("user", "U"))])
    assert extract_prompt(segments, range(len(segments))) == []


def test_parts_of_a_message_are_joined():
    """Text around reasoning and typed parts are each joined to one message."""
    parts = [{"type": "text", "text": "X"}, {"type": "text", "text": "Y"}]
    rows = [
        chat(("user", " U <think>no</think> more "), ("user", "V"), ("assistant", "A")),
        {
            "messages": [
                {"role": "user", "content": parts},
                {"role": "assistant", "content": [{"type": "text", "text": "A"}]},
            ]
        },
    ]
    segments = extract(rows[:1])
    assert extract_prompt(segments, range(len(segments))) == [
        {"role": "user", "content": " U  more "},
        {"role": "user", "content": "V"},
    ]
    segments = extract(rows[1:])
    assert extract_prompt(segments, range(len(segments))) == [{"role": "user", "content": "X\nY"}]


ASKED = [{"role": "user", "content": "U"}]
ANSWERED = [*ASKED, {"role": "assistant", "content": "A"}, {"role": "user", "content": "V"}]


@pytest.mark.parametrize(
    ("row", "prompt"),
    [
        (
            {
                "chosen": [*ASKED, {"role": "assistant", "content": "yes"}],
                "rejected": [*ASKED, {"role": "assistant", "content": "no"}],
            },
            ASKED,
        ),
        (
            {
                "chosen": [*ANSWERED, {"role": "assistant", "content": "B"}],
                "rejected": [*ANSWERED, {"role": "assistant", "content": "C"}],
            },
            ANSWERED,
        ),
        (
            {
                "prompt": ANSWERED,
                "chosen": [{"role": "assistant", "content": "B"}],
                "rejected": [{"role": "assistant", "content": "C"}],
            },
            ANSWERED,
        ),
        ({"prompt": "U", "chosen": "yes", "rejected": "no"}, ASKED),
        ({"prompt": ANSWERED, "completion": [{"role": "assistant", "content": "B"}]}, ANSWERED),
        (
            {
                "prompt": ANSWERED,
                "chosen": [*ANSWERED, {"role": "assistant", "content": "B"}],
                "rejected": [*ANSWERED, {"role": "assistant", "content": "C"}],
            },
            ANSWERED,
        ),
        (
            {
                "prompt": "U",
                "chosen": [*ASKED, {"role": "assistant", "content": "B"}],
                "rejected": [{"role": "assistant", "content": "C"}],
            },
            ASKED,
        ),
        (
            {
                "prompt": ANSWERED,
                "completion": [
                    {"role": "tool", "content": "T"},
                    {"role": "assistant", "content": "B"},
                ],
            },
            [*ANSWERED, {"role": "tool", "content": "T"}],
        ),
        ({"prompt": ANSWERED, "completion": [{"role": "user", "content": "W"}]}, ANSWERED),
        ({"prompt": "U", "chosen": "", "rejected": "no"}, ASKED),
        ({"instruction": "U", "input": "V", "output": "A"}, [*ASKED, ANSWERED[2]]),
        ({"text": "T"}, []),
    ],
)
def test_prompts_of_every_format(row, prompt):
    """The prompt contains no side of a pair, and appears only once if a side repeats it."""
    segments = extract([row])
    assert extract_prompt(segments, range(len(segments))) == prompt
