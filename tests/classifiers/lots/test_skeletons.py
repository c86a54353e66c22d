"""Texts with words hidden: what is kept, and which n-grams say something."""

import numpy as np
import pyarrow as pa
import pytest

from classifiers.lots.skeletons import (
    GAP,
    classify_words,
    find_grammars,
    find_patterns,
    hide_words,
)
from classifiers.lots.tokens import LotTokens, find_tokens


def find(*texts: str) -> LotTokens:
    """Return the tokens of some texts."""
    return find_tokens(pa.array(texts, pa.large_string()))


def test_patterns_keep_function_words_and_marks():
    """Other words are all the same, and words that are kept differ from each other."""
    one, other = (hide_words(find(text)) for text in ("the heron, or", "the mark, or"))
    assert one.hashes.tolist() == other.hashes.tolist()
    assert one.hashes[1] == GAP
    assert len(set(one.hashes.tolist())) == 4


def test_grammar_tells_parts_of_speech_apart():
    """Words of the same class are the same, words of others aren't, and unknown ones are gaps."""
    one, same, other = (
        classify_words(find(text))
        for text in ("a quick answer", "an old house", "a quick explain zyzzogeton")
    )
    assert one.hashes[1:].tolist() == same.hashes[1:].tolist()
    assert one.hashes[0] != same.hashes[0]
    assert one.hashes[2] != other.hashes[2]
    assert other.hashes[3] == GAP


def test_hiding_keeps_places():
    """Only hashes change."""
    tokens = find("It is not the heron, but the egret.")
    for show in (hide_words, classify_words):
        shown = show(tokens)
        assert shown.start.tolist() == tokens.start.tolist()
        assert shown.end.tolist() == tokens.end.tolist()
        assert len(shown) == len(tokens)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("not the heron but", True),
        ("not the", False),
        ("the heron", False),
        ("heron and the", False),
    ],
)
def test_patterns_have_gaps_inside(text, expected):
    """A pattern begins and ends with a function word, and has a gap between."""
    shown = hide_words(find(text))
    assert find_patterns(shown, np.array([0]), np.array([len(shown) - 1])).tolist() == [expected]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("it is important to explain", True),
        (", highlighting the house", True),
        ("it is the", False),
        ("the zyzzogeton of houses", True),
        ("the zyzzogeton of", False),
        ("zyzzogeton the house", False),
        ("the house zyzzogeton", False),
        ("house of zyzzo getonz and", False),
        ("houses, houses, and", True),
        ("** house **", False),
        (". house", False),
    ],
)
def test_grammar_has_a_part_of_speech(text, expected):
    """Grammar has a part of speech, more words than marks, and at most one gap, which is inside."""
    shown = classify_words(find(text))
    assert find_grammars(shown, np.array([0]), len(shown)).tolist() == [expected]


def test_no_text_can_be_hidden():
    """Without tokens nothing is hidden, and nothing is grammar."""
    assert len(hide_words(find())) == len(classify_words(find(""))) == 0
    assert find_grammars(classify_words(find("")), np.empty(0, np.int64), 3).tolist() == []
