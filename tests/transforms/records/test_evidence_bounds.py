"""The bounds in which evidence is shown: whole words, and whole sentences for windows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.records.evidence_bounds import (
    LONGEST_WORD,
    SENTENCE_REACH,
    complete_words,
    settle_evidence,
)

TEXT = "Certainly! As a language model, I don't have feelings. Is there anything else?"


def cut(text: str, start: int, end: int, *, is_window: bool = False) -> str:
    """Return the shown text of a span."""
    first, last = settle_evidence(text, start, end, is_window=is_window)
    return text[first:last]


def test_a_span_grows_to_whole_words():
    """A span that begins or ends inside a word is shown with the whole word."""
    start = TEXT.index("guage")
    assert cut(TEXT, start, start + 7) == "language model"
    assert cut(TEXT, start, TEXT.index("el,")) == "language model"
    assert cut(TEXT, TEXT.index("language"), TEXT.index(" model")) == "language"


def test_an_apostrophe_inside_a_word_belongs_to_it():
    """A contraction is one word, and a quotation mark beside a word isn't part of it."""
    assert cut(TEXT, TEXT.index("don"), TEXT.index("'t")) == "don't"
    assert cut(TEXT, TEXT.index("t have"), TEXT.index(" feel")) == "don't have"
    quoted = "He said 'never' twice"
    assert cut(quoted, quoted.index("never"), quoted.index("' twice")) == "never"


def test_white_space_at_the_ends_is_left_out():
    """A span is shown without the blanks and line breaks at its ends."""
    assert cut("one  two\nthree", 3, 9) == "two"


def test_a_window_grows_to_its_sentences():
    """A window that begins inside a sentence is shown from the sentence's beginning."""
    start, end = TEXT.index("guage"), TEXT.index("feel")
    whole = "As a language model, I don't have feelings."
    assert cut(TEXT, start, end, is_window=True) == whole
    assert cut(TEXT, start, end) == "language model, I don't have"


def test_a_long_sentence_is_cut_at_words():
    """A window in a text without sentences nearby grows only to whole words."""
    words = "word " * 100
    start = len(words) // 2 + 2
    found = cut(words, start, start + 20, is_window=True)
    assert len(found) < 20 + 2 * LONGEST_WORD
    assert found.startswith("word ")
    assert found.endswith(" word")
    assert len(words) // 2 > SENTENCE_REACH


@pytest.mark.parametrize(
    "text", ["我是一个语言模型，没有感情。", "ฉันเป็นโมเดลภาษา", "これは言語モデルです。"]
)
def test_scripts_without_blanks_have_no_words_to_complete(text):
    """In Chinese, Japanese and Thai, a span stays where it is."""
    assert settle_evidence(text, 2, 5, is_window=False) == (2, 5)


@pytest.mark.parametrize(
    ("text", "start", "end", "shown"),
    [
        ("мы языковая модель здесь", 5, 8, "языковая"),
        ("मैं नमस्ते कहता हूँ", 5, 7, "नमस्ते"),
        ("un café noir", 3, 5, "café"),
    ],
)
def test_other_scripts_have_whole_words(text, start, end, shown):
    """Letters with marks and letters of other alphabets are parts of words."""
    assert cut(text, start, end) == shown


def test_a_run_of_letters_is_not_a_word():
    """A bound inside a very long run of letters stays where it is."""
    text = "x" * 500
    assert complete_words(text, 200, 210) == (200, 210)
    assert complete_words(f"{text} end", 200, 210) == (200, 210)


def test_an_empty_span_stays_empty():
    """A score without evidence has no text to show."""
    assert settle_evidence("one two", 3, 3, is_window=True) == (3, 3)
    assert settle_evidence("one    two", 4, 6, is_window=False) == (4, 6)
    assert settle_evidence("", 0, 0, is_window=True) == (0, 0)


@given(
    st.text("ab' .é我\n", max_size=80),
    st.integers(0, 80),
    st.integers(0, 80),
    st.booleans(),
)
def test_a_shown_span_holds_all_that_was_read(text, one, other, is_window):
    """A shown span holds every visible character of the span, and is settled."""
    start, end = sorted((min(one, len(text)), min(other, len(text))))
    first, last = settle_evidence(text, start, end, is_window=is_window)
    assert 0 <= first <= last <= len(text)
    assert text[start:end].strip() in text[first:last]
    assert first <= start or not text[start:first].strip()
    assert last >= end or not text[last:end].strip()
    if not is_window:
        assert settle_evidence(text, first, last, is_window=False) == (first, last)
