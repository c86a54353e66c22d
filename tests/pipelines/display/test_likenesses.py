"""What an exemplar has in common with a row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.display.likenesses import contradicts, find_likeness, list_patterns

TEXT = "The parcel left the depot. I am Gemini, by Google. Ask me about refunds."


@pytest.mark.parametrize(
    ("patterns", "other", "expected"),
    [
        (["gemini"], "refunds", "Gemini"),
        ([], "How do refunds work?", " Ask me about refunds."),
        (["claude"], "How do refunds work?", " Ask me about refunds."),
        ([], "nothing alike", ""),
        ([], "", ""),
    ],
)
def test_the_stretch_shows_the_likeness(patterns, other, expected):
    """A lexicon hit comes first, then the sentence with the most words of the other text."""
    start, end = find_likeness(TEXT, patterns, other)
    assert TEXT[start:end] == expected


@given(st.text(), st.text())
def test_any_stretch_is_inside(text, other):
    """Whatever the texts, the stretch is inside the exemplar."""
    start, end = find_likeness(text, [], other)
    assert 0 <= start <= end <= len(text)


def test_patterns_come_from_the_card():
    """The patterns are those of the card's lexicon, if it has one."""
    lexicon = {"patterns": [{"match": "one", "weight": 1.0}, {"match": "two"}]}
    assert list_patterns({"signals": {"lexicon": lexicon}}) == ["one", "two"]
    assert list_patterns({"signals": {"lexicon": None}}) == []
    assert list_patterns({}) == []


@pytest.mark.parametrize(
    ("similarities", "expected"),
    [
        ({}, False),
        ({"positive": 0.7}, False),
        ({"positive": 0.7, "negative": 0.6}, False),
        ({"positive": 0.6, "negative": 0.7}, True),
    ],
)
def test_the_nearest_exemplar_decides(similarities, expected):
    """A finding is in doubt if a negative is nearer than every positive."""
    near = [{"polarity": name, "similarity": value} for name, value in similarities.items()]
    assert contradicts(near) is expected
