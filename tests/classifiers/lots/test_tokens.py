"""Tokens: where they begin and end, and the hashes of their n-grams."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lots import tokens as module
from classifiers.lots.tokens import cut_tokens, drop_repeats, find_tokens, hash_grams

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=40), max_size=6)


def find(*texts):
    """Return the tokens of some texts."""
    return find_tokens(pa.array(texts, pa.large_string()))


def cut(*texts):
    """Return the tokens of some texts as pairs of a text's index and the token."""
    found = find(*texts)
    spans = zip(found.text.tolist(), found.start.tolist(), found.end.tolist(), strict=True)
    return [(index, texts[index][start:end]) for index, start, end in spans]


def test_words_and_runs_of_marks_are_tokens():
    """A word is a token, and so is a run of one mark; other marks are tokens of their own."""
    assert [token for _, token in cut("### Human: don't stop... ok?!")] == [
        *("###", "Human", ":", "don't", "stop", "...", "ok", "?", "!"),
    ]


def test_scripts_without_blanks():
    """Each character of a script without blanks is a token, even if it is repeated."""
    assert [token for _, token in cut("我我是 AI模型")] == ["我", "我", "是", "AI", "模", "型"]


def test_tokens_stay_within_their_texts():
    """A word at the end of a text and one at the beginning of the next are two tokens."""
    assert cut("one", "", "two", " ", "##", "#") == [
        (0, "one"),
        (2, "two"),
        (4, "##"),
        (5, "#"),
    ]


def test_case_and_quotation_marks_do_not_count():
    """Tokens that differ in case or in the form of an apostrophe are equal, and digits count."""
    upper, lower = find("HERON don’t"), find("heron don't")
    assert upper.hashes.tolist() == lower.hashes.tolist()
    assert len(set(find("17 71 18 w1 w2").hashes.tolist())) == 5


def test_equal_tokens_are_equal_everywhere():
    """A token's hash depends neither on its place nor on the texts around it."""
    alone = find("reeds").hashes[0]
    assert find("🦆 in the Reeds", "x").hashes[3] == alone
    assert find("x" * 1_000 + " reeds").hashes[1] == alone


def test_long_texts_are_cut_in_blocks(monkeypatch):
    """Blocks hold whole texts, and give the same tokens as everything at once."""
    texts = pa.array(["a heron", "b", "in the reeds " * 9, "", "c"], pa.large_string())
    whole = find_tokens(texts)
    monkeypatch.setattr(module, "AT_ONCE", 10)
    blocks = list(cut_tokens(texts))
    assert len(blocks) == 2
    assert np.concatenate([item.hashes for item in blocks]).tolist() == whole.hashes.tolist()
    assert np.concatenate([item.text for item in blocks]).tolist() == whole.text.tolist()


@given(TEXTS)
def test_tokens_cover_everything_but_blanks(texts):
    """Tokens are in order, don't overlap, and leave out nothing but blanks."""
    found = find(*texts)
    left = [list(text) for text in texts]
    before = (-1, 0)
    for index, start, end in zip(
        found.text.tolist(), found.start.tolist(), found.end.tolist(), strict=True
    ):
        assert (index, start) >= before
        assert end > start
        left[index][start:end] = [" "] * (end - start)
        before = (index, end)
    rest = "".join(character for part in left for character in part)
    kinds, _ = module._describe_characters()
    assert all(kinds[min(ord(character), module.PLANE - 1)] == module.BLANK for character in rest)


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_n_grams_stay_within_their_texts(size):
    """There are as many n-grams of each size as places for them, and equal ones are equal."""
    found = find("a b c a b", "c a", "", "b c a b")
    grams = dict(enumerate(hash_grams(found, 5), 1))
    places, hashes = grams[size]
    assert len(places) == sum(max(0, count - size + 1) for count in (5, 2, 0, 4))
    words = [["a", "b", "c", "a", "b"], ["c", "a"], [], ["b", "c", "a", "b"]]
    flat = [word for part in words for word in part]
    named = [" ".join(flat[place : place + size]) for place in places.tolist()]
    assert len(set(named)) == len(set(hashes.tolist()))
    assert len(set(zip(named, hashes.tolist(), strict=True))) == len(set(named))


def test_counts_by_text():
    """Each text has its number of tokens, and blank texts have none."""
    assert find("a b", " ", "c").count_by_text(4).tolist() == [2, 0, 1, 0]
    assert len(find("a b", " ", "c")) == 3


def test_other_hashes_in_the_same_places():
    """Tokens can be given other hashes, and keep their places."""
    found = find("a b")
    other = found.with_hashes(np.zeros(2, np.uint64))
    assert other.start.tolist() == found.start.tolist()
    assert other.hashes.tolist() == [0, 0]


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 2**31 - 1))))
def test_repeats_are_dropped(pairs):
    """Each pair is left once, in order."""
    owners = np.array([owner for owner, _ in pairs], np.int64)
    numbers = np.array([number for _, number in pairs], np.int64)
    kept = drop_repeats(owners, numbers)
    assert list(zip(*(part.tolist() for part in kept), strict=True)) == sorted(set(pairs))
