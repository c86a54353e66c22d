"""The memory of words: it never mistakes a word, stays bounded, and knows when it is no use."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from classifiers.models import word_memory as module
from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from classifiers.models.loading import load_tokenizer
from classifiers.models.tokens import TextTokens
from classifiers.models.word_memory import WordMemory, find_literals


class Letters:
    """Splits a word into its characters, and remembers which words it was asked for."""

    def __init__(self):
        self.asked = []

    def __call__(self, words):
        """Return a token for each character, with its code as id."""
        self.asked += words
        codes = np.array([ord(letter) for word in words for letter in word], np.int32)
        starts = np.array([place for word in words for place in range(len(word))], np.int32)
        bounds = np.cumsum([0, *map(len, words)])
        return TextTokens(codes, starts, starts + 1, bounds)


def split(memory, texts):
    """Return each text's tokens as a list of character and position."""
    found = []
    for ids, starts, ends, bounds in memory.split(pa.array(texts, pa.large_string())):
        assert (ends - starts == 1).all()
        tokens = list(zip(map(chr, ids.tolist()), starts.tolist(), strict=True))
        edges = bounds.tolist()
        found += [tokens[begin:end] for begin, end in pairwise(edges)]
    return found


def list_letters(text):
    """Return every character but blanks, with its position."""
    return [(letter, place) for place, letter in enumerate(text) if letter not in " \t\n\r"]


TEXTS = st.lists(
    st.text("ab\x00 .é雨\n", max_size=40) | st.text("a\x00", min_size=12, max_size=18), max_size=5
)


@settings(max_examples=200)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_every_text_has_the_tokens_of_its_words(calls):
    """Words of any length, with any characters, are found again and never mixed up."""
    memory = WordMemory(Letters())
    for texts in calls:
        assert split(memory, texts) == [list_letters(text) for text in texts]


def test_a_word_is_split_once():
    """Words that were seen before aren't split again, and marks are words of their own."""
    letters = Letters()
    memory = WordMemory(letters)
    split(memory, ["It rains, it rains.", "rains"])
    assert sorted(letters.asked) == [",", ".", "It", "it", "rains"]
    split(memory, ["It rains!"])
    assert letters.asked[5:] == ["!"]
    assert len(memory) == 6


def test_words_of_neighbouring_texts_are_apart():
    """A word doesn't continue in the next text."""
    letters = Letters()
    assert split(WordMemory(letters), ["ab", "cd", "", "e"]) == [
        list_letters("ab"),
        list_letters("cd"),
        [],
        list_letters("e"),
    ]
    assert letters.asked == ["ab", "cd", "e"]


def test_long_words_are_compared_whole():
    """Words that differ only after the bytes of their key are different words."""
    words = ["x" * 20 + letter for letter in "abc"] + ["x" * 15, "x" * 16, "雨" * 5, "雨" * 6]
    memory = WordMemory(Letters())
    for _ in range(2):
        assert split(memory, words) == [list_letters(word) for word in words]


def test_words_that_share_a_slot(monkeypatch):
    """With hardly any slots, every word is still found."""
    monkeypatch.setattr(module, "SLOTS", 2)
    letters = Letters()
    memory = WordMemory(letters)
    words = [f"w{number}" for number in range(50)]
    for _ in range(2):
        assert split(memory, [" ".join(words)]) == [list_letters(" ".join(words))]
    assert sorted(letters.asked) == sorted(words)


def test_the_memory_starts_over_when_it_is_full(monkeypatch):
    """The number of words is bounded, and words are split again after that."""
    monkeypatch.setattr(module, "MOST_WORDS", 10)
    monkeypatch.setattr(module, "AT_ONCE", 1)
    letters = Letters()
    memory = WordMemory(letters)
    texts = [f"a{number} b{number}" for number in range(40)] * 2
    assert split(memory, texts) == [list_letters(text) for text in texts]
    assert len(memory) <= 12
    assert len(letters.asked) == 160


@pytest.mark.parametrize("size", [1, 5, 1 << 16])
def test_blocks_of_any_size(monkeypatch, size):
    """Texts are split in blocks, and blank texts in between have no tokens."""
    monkeypatch.setattr(module, "AT_ONCE", size)
    texts = ["ab cd", "", " ", "é f", "a" * 40, ""]
    assert split(WordMemory(Letters()), texts) == [list_letters(text) for text in texts]
    assert split(WordMemory(Letters()), []) == []


@pytest.fixture(scope="module")
def description():
    """Return the default encoder's tokenizer as its JSON."""
    return json.loads(load_tokenizer(find_model(DEFAULT_ENCODER)).backend.to_str())


def change(description, **changes):
    """Return a tokenizer with some of its settings replaced."""
    return Tokenizer.from_str(json.dumps({**description, **changes}))


def test_a_tokenizer_of_berts_kind_can_be_remembered(description):
    """The texts that such a tokenizer looks for first are known."""
    assert find_literals(change(description)) == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": None},
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": None},
    ],
    ids=["no normalizer", "another normalizer", "another splitter", "no splitter"],
)
def test_tokenizers_that_look_beyond_a_word_are_not_remembered(description, changes):
    """A tokenizer of another kind has no memory of words."""
    assert find_literals(change(description, **changes)) is None


@pytest.mark.parametrize("flag", ["single_word", "lstrip", "rstrip", "normalized"])
def test_special_tokens_that_take_their_neighbours_rule_a_memory_out(description, flag):
    """A special token that depends on the characters around it can't be looked for."""
    first, *others = description["added_tokens"]
    changed = change(description, added_tokens=[{**first, flag: True}, *others])
    assert find_literals(changed) is None
