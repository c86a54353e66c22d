"""The features of rows: lengths, languages, beginnings of prompts."""

from __future__ import annotations

import pyarrow as pa

from classifiers.languages import LANGUAGES
from classifiers.lots.topics import hash_words
from transforms.records.formats import Layout
from transforms.records.segments import extract_segments
from transforms.records.sides import assign_sides
from transforms.row_features import TOPIC_CHARACTERS, describe_rows

MESSAGES = Layout("messages", {"messages": "messages"}, {})
PAIRS = Layout(
    "preference",
    {"prompt": "prompt", "chosen": "chosen", "rejected": "rejected"},
    {},
    sides=("rejected",),
)
GERMAN = (
    "Der Reiher steht im Schilf und wartet auf die Fische, die er mit dem Schnabel fängt. "
    "Das ist nicht leicht, aber er hat auch viel Zeit und er ist sehr geduldig."
)


def talk(*turns):
    """Return a row of messages, from pairs of a role and a text."""
    return {"messages": [{"role": role, "content": text} for role, text in turns]}


def describe(rows, layout=MESSAGES):
    """Return the features of rows."""
    table = pa.Table.from_pylist(rows)
    return describe_rows(assign_sides(extract_segments(table, layout), layout, {}), table.num_rows)


def test_lengths_are_those_of_all_answers():
    """A row's length counts the characters of its answers, not those of its prompts."""
    found = describe(
        [
            talk(("user", "Hello there"), ("assistant", "Héron")),
            talk(("user", "a"), ("assistant", "12345"), ("user", "b"), ("assistant", "678")),
            talk(("user", "no answer")),
        ]
    )
    assert found.lengths.tolist() == [5, 8, 0]


def test_languages_are_those_of_answers():
    """A row has the language of most of its answers' characters."""
    found = describe(
        [
            talk(("user", "What does it do?"), ("assistant", GERMAN)),
            talk(("user", GERMAN), ("assistant", "The heron and the fish are in the reeds.")),
            talk(("user", "x"), ("assistant", "Цапля стоит в камышах и ждёт рыбу.")),
        ]
    )
    names = [LANGUAGES[code] for code in found.languages]
    assert names == ["another language in Latin script", "English or unknown", "Cyrillic script"]


def test_heads_are_prompts_or_else_answers():
    """The head of a row joins what users say; rows without a prompt have their answer's head."""
    found = describe(
        [
            talk(("system", "Be brief."), ("user", "One?"), ("assistant", "A"), ("user", "Two?")),
            talk(("assistant", "Only an answer.")),
        ]
    )
    assert found.heads == ["One?\nTwo?", "Only an answer."]


def test_long_prompts_are_cut():
    """Only the beginning of a prompt decides its topic."""
    found = describe([talk(("user", "heron " * 1_000), ("assistant", "Yes."))])
    assert len(found.heads[0]) == TOPIC_CHARACTERS
    expected = hash_words(pa.array(found.heads, pa.large_string()))
    assert found.words.columns.tolist() == expected.columns.tolist()


def test_rejected_answers_do_not_count():
    """Of a pair, only the chosen answer has a length."""
    rows = [{"prompt": "Which?", "chosen": "This", "rejected": "Certainly not this"}]
    found = describe(rows, PAIRS)
    assert found.lengths.tolist() == [4]
    assert found.heads == ["Which?"]


def test_no_rows_have_no_features():
    """A table without rows is described too."""
    table = pa.table({"messages": pa.array([], pa.list_(pa.struct([("role", pa.string())])))})
    found = describe_rows(extract_segments(table, MESSAGES), 0)
    assert (len(found.lengths), found.heads, found.words.texts) == (0, [], 0)
