"""Findings as patterns: they match what the audit counted, and nothing else."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lots.expressions import build_expression
from classifiers.lots.formats import HABITS, find_habits
from schemas.cards import check_pattern, compile_pattern

FORMATTED = [
    "- one\n- two",
    "1. One\n2. Two",
    "# Title\n\nText.",
    "Some **bold** and *italic* text — here; there!",
    "`code` and\n```\nmore\n```",
    "| a | b |\n",
    "See https://example.org, or $x$ (perhaps)…",
    "NASA said “yes” – and \U0001f600",
    "plain words without anything",
    " begins with a blank",
    "Is it? ",
    "Привет",
]


def matches(kind, text, searched):
    """Return whether a finding's pattern is in a text."""
    return compile_pattern(check_pattern(build_expression(kind, text))).search(searched) is not None


@pytest.mark.parametrize(
    ("text", "searched", "expected"),
    [
        ("mind the gap", "Please Mind the\n gap.", True),
        ("mind the gap", "Remind the gap", False),
        ("mind the gap", "mind the gaps", False),
        ("I'm an AI", "So I’m an AI, too", True),
        ('"yes"', "He said “yes” to it", True),
        ("### Human:", "text\n### Human: hello", True),
        ("a.b (c)", "see a.b (c) there", True),
        ("a.b", "axb", False),
    ],
)
def test_phrases_match_as_the_audit_counts_them(text, searched, expected):
    """Case, white space and the shape of quotation marks don't count, and words are whole."""
    assert matches("phrase", text, searched) is expected


def test_edges_match_only_at_the_edge():
    """An opening is looked for at the start, and a closing at the end."""
    assert matches("opening", "Sure,", "  sure, here it is")
    assert not matches("opening", "Sure,", "I am sure, here it is")
    assert matches("closing", "hope this helps!", "I hope this helps!\n")
    assert not matches("closing", "hope this helps!", "I hope this helps! Bye")


def test_patterns_have_gaps_of_one_word():
    """Each sign in a pattern stands for one word."""
    assert matches("pattern", "it is not … but …", "It is not courage but habit.")
    assert not matches("pattern", "it is not … but …", "It is not real courage but habit.")


@pytest.mark.parametrize("habit", HABITS)
def test_formats_match_what_the_audit_counts(habit):
    """A format's pattern is in the same texts, although lexicons ignore case."""
    found = find_habits(pa.array(FORMATTED, pa.large_string()))[:, list(HABITS).index(habit)]
    assert [matches("format", habit, text) for text in FORMATTED] == found.tolist()


@given(st.text(min_size=1, max_size=30).filter(lambda text: any(map(str.isalnum, text))))
def test_every_phrase_becomes_a_safe_pattern(text):
    """Whatever the phrase, its pattern is RE2 syntax, and doesn't match the empty string."""
    check_pattern(build_expression("phrase", " ".join(text.split())))
