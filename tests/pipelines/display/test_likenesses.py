"""The part of an exemplar that resembles a row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.display.likenesses import describe_doubt, find_likeness, list_patterns

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
    """A lexicon hit comes first, then the sentence with the most shared words."""
    start, end = find_likeness(TEXT, patterns, other)
    assert TEXT[start:end] == expected


@given(st.text(), st.text())
def test_any_stretch_is_inside(text, other):
    """The stretch is always inside the exemplar."""
    start, end = find_likeness(text, [], other)
    assert 0 <= start <= end <= len(text)


def test_patterns_come_from_the_card():
    """The patterns are the card's lexicon patterns."""
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
    """A finding is doubtful if a negative is nearest."""
    near = [{"polarity": name, "similarity": value} for name, value in similarities.items()]
    assert (describe_doubt(near) is not None) is expected


def test_a_doubt_says_whose_the_negative_is():
    """The sentence names the negative's owner, if it is known."""
    near = {"polarity": "negative", "similarity": 0.7}
    assert describe_doubt([near]).startswith("The nearest exemplar is a negative, so")
    own, library = (describe_doubt([near | {"owner": name}]) for name in ("card", "library"))
    assert "a negative, a hard negative of the card, so" in own
    assert "a negative, a text of the library, so" in library
