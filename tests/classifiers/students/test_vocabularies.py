"""Tokens of a tiny student: words, bytes, spans and order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from classifiers.students.vocabularies import (
    ANSWERED,
    ASKED,
    END,
    FIRST_BYTE,
    FIRST_WORD,
    Vocabulary,
    learn_vocabulary,
)

TEXTS = ("A heron stood.", "A heron's nest, a crane.", "The heron slept.")


@given(st.text(max_size=60))
def test_any_text_comes_back_whole(text):
    """Decoding the tokens of any text returns the text, and the spans cover it in order."""
    tokens = learn_vocabulary(TEXTS, 300).encode(text)
    assert Vocabulary(()).decode(Vocabulary(()).encode(text).ids) == text
    assert learn_vocabulary(TEXTS, 300).decode(tokens.ids) == text
    pieces = list(dict.fromkeys(tokens.spans))
    assert "".join(text[start:end] for start, end in pieces) == text


def test_a_lone_surrogate_comes_back():
    """A lone surrogate, which JSON can hold, is three bytes."""
    tokens = Vocabulary(()).encode("a\ud800")
    assert len(tokens.ids) == 4
    assert Vocabulary(()).decode(tokens.ids) == "a\ud800"


def test_frequent_words_are_tokens_and_others_are_bytes():
    """A word that occurs twice is one token, and a rarer word is its bytes with the same span."""
    vocabulary = learn_vocabulary(TEXTS, 400)
    assert vocabulary.words[0] == " heron"
    assert " crane" not in vocabulary.words
    ids, spans = vocabulary.encode(" heron crane")
    assert ids[0] == FIRST_WORD
    assert [token - FIRST_BYTE for token in ids[1:]] == list(b" crane")
    assert spans == [(0, 6)] + [(6, 12)] * 6


def test_digits_are_apart():
    """Every digit is a token of its own, so a year isn't a rare word."""
    assert Vocabulary(()).encode("in 2024").spans[-4:] == [(3, 4), (4, 5), (5, 6), (6, 7)]


def test_the_order_of_texts_does_not_matter():
    """The same texts in another order give the same vocabulary and digest."""
    one, other = learn_vocabulary(TEXTS, 400), learn_vocabulary(TEXTS[::-1], 400)
    assert one == other
    assert one.digest == other.digest != learn_vocabulary(TEXTS[1:], 400).digest


def test_the_size_counts_bytes_and_special_tokens():
    """A vocabulary has at most as many tokens as stated, but always all bytes."""
    assert len(learn_vocabulary(TEXTS, FIRST_WORD + 1)) == FIRST_WORD + 1
    assert len(learn_vocabulary(TEXTS, 5)) == FIRST_WORD


def test_special_tokens_have_no_text():
    """The tokens between turns aren't part of an answer, and no text contains them."""
    vocabulary = learn_vocabulary(TEXTS, 400)
    assert vocabulary.decode([ASKED, FIRST_WORD, ANSWERED, END]) == " heron"
    assert not {ASKED, ANSWERED, END} & set(vocabulary.encode("\x00\x01\x02<end>").ids)


def test_bytes_that_are_not_text_become_replacements():
    """A student may write half a character, which is shown as a replacement character."""
    assert Vocabulary(()).decode([FIRST_BYTE + 0xC3, FIRST_BYTE + 0x28]) == "\ufffd("
