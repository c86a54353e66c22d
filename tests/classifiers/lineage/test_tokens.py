"""Tokens and n-grams of answers."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lineage.tokens import (
    CLOSING,
    OPENING,
    TOKEN,
    count_grams,
    tokenise,
    write_gram,
)

TEXTS = st.lists(st.text("ab \n.", max_size=12), max_size=5)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I don't, OK?", ["I", "don't", ",", "OK", "?"]),
        ("It’s 1984\n\n- x_y", ["It’s", "1984", "\n\n", "-", "x", "_", "y"]),
        ("日本 ab", ["日", "本", "ab"]),
        ("**Bold**", ["*", "*", "Bold", "*", "*"]),
        ("", []),
    ],
)
def test_texts_are_cut_into_words_marks_and_line_breaks(text, tokens):
    """Case, marks and line breaks are kept; blanks aren't tokens."""
    assert TOKEN.findall(text) == tokens


def test_each_text_opens_and_closes():
    """Every text has two more tokens, even an empty one, and owners are in order."""
    found = tokenise(["b a b", ""])
    words = [found.vocabulary[token] for token in found.tokens]
    assert words == [OPENING, "b", "a", "b", CLOSING, OPENING, CLOSING]
    assert found.owner.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert found.texts == 2


def test_no_texts_have_no_tokens():
    """Without texts there are no tokens and no n-grams."""
    found = tokenise([])
    assert len(found.tokens) == 0
    assert count_grams(found, 2).counts.shape == (0, 0)


def list_grams(text: str, size: int) -> Counter[tuple[str, ...]]:
    """Count n-grams in the plainest way."""
    words = [OPENING, *TOKEN.findall(text), CLOSING]
    return Counter(tuple(words[i : i + size]) for i in range(len(words) - size + 1))


@given(TEXTS, st.integers(1, 4))
def test_counts_agree_with_a_plain_count(texts, size):
    """Each text's n-grams are counted exactly, and none crosses two texts."""
    found = tokenise(texts)
    grams = count_grams(found, size)
    counts = grams.counts.toarray()
    for text, row in zip(texts, counts, strict=True):
        names = [tuple(found.vocabulary[token] for token in gram) for gram in grams.tokens]
        counted = {name: int(count) for name, count in zip(names, row, strict=True) if count}
        assert counted == dict(list_grams(text, size))


@given(TEXTS, st.integers(1, 4), st.integers(1, 5))
def test_rare_n_grams_can_be_left_out(texts, size, fewest):
    """The n-grams that are left are those that occur often enough, with the same counts."""
    found = tokenise(texts)
    every, frequent = count_grams(found, size), count_grams(found, size, fewest)
    enough = np.asarray(every.counts.sum(axis=0)).ravel() >= fewest
    assert frequent.tokens.tolist() == every.tokens[enough].tolist()
    assert (frequent.counts.toarray() == every.counts.toarray()[:, enough]).all()


def test_n_grams_are_sorted_and_distinct():
    """The rows of n-grams ascend, so that equal texts give equal arrays."""
    grams = count_grams(tokenise(["b a b a", "a b"]), 2)
    rows = [tuple(row) for row in grams.tokens.tolist()]
    assert rows == sorted(set(rows))


def test_n_grams_are_written_for_readers():
    """Line breaks, openings and closings are visible."""
    found = tokenise(["Sure!\n\nx"])
    assert write_gram(found.tokens, found.vocabulary) == "⟨start⟩ Sure ! ↵↵ x ⟨end⟩"
