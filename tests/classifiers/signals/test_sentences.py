"""Sentences: where they begin and end, their tokens, and the hashes of their n-grams."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.signals import sentences as module
from classifiers.signals.sentences import LONGEST, find_sentences

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=60), max_size=6)


def find(*texts):
    """Return the sentences of some texts."""
    return find_sentences(pa.array(texts, pa.large_string()))


def cut(*texts):
    """Return the sentences of some texts as pairs of a text's index and the sentence."""
    found = find(*texts)
    spans = zip(found.text.tolist(), found.start.tolist(), found.end.tolist(), strict=True)
    return [(index, texts[index][start:end]) for index, start, end in spans]


def list_grams(text):
    """Return the n-grams of the only sentence of a text, as a set."""
    found = find(text)
    assert len(found) == 1
    return set(found.grams.tolist())


def test_sentences_end_at_marks_before_blanks_and_at_line_breaks():
    """A full stop ends a sentence only before a blank, and a line break always does."""
    assert cut("Version 1.2 is out! Is it? Yes.\n- one\n- two") == [
        (0, "Version 1.2 is out!"),
        (0, "Is it?"),
        (0, "Yes."),
        (0, "- one"),
        (0, "- two"),
    ]


def test_sentences_of_scripts_without_blanks():
    """Full stops of Chinese, Japanese and Hindi need no blank after them."""
    assert cut("我是模型。我没有感情！", "これは何？はい。", "यह क्या है। हाँ।") == [
        (0, "我是模型。"),
        (0, "我没有感情！"),
        (1, "これは何？"),
        (1, "はい。"),
        (2, "यह क्या है।"),
        (2, "हाँ।"),
    ]


def test_texts_without_tokens_have_no_sentences():
    """Empty and blank texts have no sentences, and don't shift those of others."""
    assert cut("", "  \n ", "One.", "", "Two.") == [(2, "One."), (4, "Two.")]
    assert len(find()) == 0
    assert len(find("", " ")) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("I’m an AI", "i'm an ai"),
        ("“Quoted”", '"quoted"'),
        ("in 2021", "IN 1999"),
        ("ＡＢＣ", "abc"),
        ("two  blanks", "two blanks"),
        ("ДА", "да"),
    ],
)
def test_spellings_that_do_not_count(one, other):
    """Case, width, blanks, digits and the shape of quotation marks make no difference."""
    assert list_grams(one) == list_grams(other)


@pytest.mark.parametrize(
    ("one", "other"), [("a b", "b a"), ("ab c", "a bc"), ("a-b", "a b"), ("né", "ne"), ("a", "aa")]
)
def test_texts_that_differ_have_different_grams(one, other):
    """Order, word boundaries, marks and accents make a difference."""
    assert list_grams(one) != list_grams(other)


def test_a_sentence_has_its_words_pairs_and_triples():
    """N tokens have N words, N pairs, one of them with the opening, and N - 1 triples."""
    found = find("one two three four")
    assert found.length.tolist() == [4]
    assert len(found.grams) == len(set(found.grams.tolist())) == 4 + 4 + 3
    assert found.owner.tolist() == [0] * 11


def test_the_opening_of_a_sentence_counts():
    """The same words elsewhere in a sentence share all n-grams but those of the opening."""
    assert len(list_grams("a b c") - list_grams("x a b c")) == 2


def test_long_sentences_are_cut():
    """A sentence has at most `LONGEST` tokens, and n-grams don't cross the cut."""
    found = find("word " * (LONGEST + 2))
    assert found.length.tolist() == [LONGEST, 2]
    assert (found.owner == 1).sum() == 2 + 2 + 1


def test_characters_outside_the_basic_plane_are_tokens():
    """An emoji is a token of its own, and spans count it as one character."""
    assert cut("Yes 😀! No 𝒳.") == [(0, "Yes 😀!"), (0, "No 𝒳.")]
    assert find("😀😀").length.tolist() == [2]
    assert list_grams("😀") != list_grams("😁")


def test_hashes_are_the_same_everywhere():
    """The hash of an n-gram is fixed, because banks keep it."""
    assert find("AI").grams.tolist() == [1779366678597280278, 2770476194769432284]


@given(texts=TEXTS, at_once=st.integers(1, 40))
@settings(deadline=None)
def test_blocks_make_no_difference(texts, at_once):
    """Texts that are processed in blocks have the sentences that they have alone."""
    whole = find(*texts)
    before, module.AT_ONCE = module.AT_ONCE, at_once
    try:
        blocks = find(*texts)
    finally:
        module.AT_ONCE = before
    for name in ("text", "start", "end", "length"):
        assert getattr(whole, name).tolist() == getattr(blocks, name).tolist()
    for one, other in ((whole, blocks), (blocks, whole)):
        pairs = set(zip(one.owner.tolist(), one.grams.tolist(), strict=True))
        assert pairs == set(zip(other.owner.tolist(), other.grams.tolist(), strict=True))


@given(texts=TEXTS)
@settings(deadline=None)
def test_long_texts_are_read_in_pieces(texts):
    """Sentences of long texts are in order, with spans of the whole text, and miss no token."""
    before, module.PIECE = module.PIECE, 7
    try:
        found = find(*texts)
    finally:
        module.PIECE = before
    whole = find(*texts)
    assert (np.diff(found.text) >= 0).all()
    for index, text in enumerate(texts):
        own, other = found.text == index, whole.text == index
        covered = "".join(
            text[start:end]
            for start, end in zip(found.start[own].tolist(), found.end[own].tolist(), strict=True)
        )
        assert (found.end[own] - found.start[own] <= 7).all()
        assert [*filter(str.isalnum, covered)] == [*filter(str.isalnum, text)]
        assert own.any() == other.any()


@given(texts=TEXTS)
@settings(deadline=None)
def test_every_token_is_in_one_sentence(texts):
    """Sentences are in order, don't overlap, and leave out nothing but blanks."""
    found = find(*texts)
    for index, text in enumerate(texts):
        own = found.text == index
        spans = list(zip(found.start[own].tolist(), found.end[own].tolist(), strict=True))
        assert all(start < end for start, end in spans)
        edges = [0, *(edge for span in spans for edge in span), len(text)]
        assert edges == sorted(edges)
        rest = "".join(text[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True))
        assert not any(character.isalnum() for character in rest)


def test_a_slice_of_an_array_is_read_from_its_offset():
    """The texts of a slice are those of the slice."""
    texts = pa.array(["zero.", "one.", "two.", "three."], pa.large_string())
    sliced = find_sentences(texts.slice(1, 2))
    assert sliced.grams.tolist() == find("one.", "two.").grams.tolist()
