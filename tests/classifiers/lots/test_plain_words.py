"""Which findings say nothing that a reader could look for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lots.parts_of_speech import FUNCTION_WORDS
from classifiers.lots.plain_words import LINKING_WORDS, PLACING_WORDS, is_plain


@pytest.mark.parametrize(
    "text", ["of", ":", "a", ",", "7.", "can", "With", "On the", "of the", "(1"]
)
def test_small_words_marks_and_numbers_are_plain(text):
    """One small word, several that link others, or marks and numbers."""
    assert is_plain("phrase", text)
    assert is_plain("opening", text)


@pytest.mark.parametrize(
    "text",
    ["Several", "As an AI", "I can\u2019t", "you should", "\N{ROCKET}", "\u2014", "of \N{ROCKET}"],
)
def test_whatever_can_be_looked_for_is_not_plain(text):
    """Words with a meaning, refusals of small words, and marks beyond a keyboard's."""
    assert not is_plain("phrase", text)


@pytest.mark.parametrize("kind", ["format", "grammar"])
def test_grammar_and_formats_are_never_plain(kind):
    """Their names are made by congener, and say nothing about words."""
    assert not is_plain(kind, "of the")


@pytest.mark.parametrize("text", ["the \u2026 of", "a \u2026 \u2026 , and", "\u2026 in the \u2026"])
def test_patterns_of_placing_words_are_plain(text):
    """Every text has such patterns, so their rates follow its length."""
    assert is_plain("pattern", text)


@pytest.mark.parametrize(
    "text", ["not \u2026 but", "from \u2026 to", "whether \u2026 or", "\u2014 \u2026 the"]
)
def test_patterns_that_oppose_or_span_are_not_plain(text):
    """A pattern such as `not \u2026 but` is of small words, and is a habit."""
    assert not is_plain("pattern", text)


def test_linking_words_are_function_words():
    """Each word is one that a pattern keeps, too."""
    assert PLACING_WORDS <= LINKING_WORDS | FUNCTION_WORDS
    assert LINKING_WORDS <= FUNCTION_WORDS


@given(st.lists(st.sampled_from(sorted(LINKING_WORDS)), min_size=1, max_size=5), st.booleans())
def test_case_does_not_matter(words, is_upper):
    """Any sequence of linking words is plain, however it is written."""
    text = " ".join(words)
    assert is_plain("phrase", text.upper() if is_upper else text)
    assert not is_plain("phrase", f"{text} zebra")
