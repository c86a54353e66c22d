"""Windows cover all tokens with the right overlap, and batches keep to the budget."""

from __future__ import annotations

import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.models.checkpoints import DEFAULT_ENCODER, find_model
from classifiers.models.loading import load_tokenizer
from classifiers.models.windows import (
    BatchCounts,
    collect_runs,
    collect_windows,
    cut_windows,
    join_windows,
    pad_batch,
    plan_batches,
    plan_packed_batches,
)

WORDS = st.sampled_from(
    [
        "rain",
        "gutter",
        "unbelievably",
        "3.14",
        "don't",
        "Où",
        "café",
        "雨",
        "🌧",
        "x" * 30,
        ".",
        "\n\n",
        "it",
        "a-b",
    ]
)
TEXTS = st.lists(WORDS, max_size=60).map(" ".join) | st.text(max_size=120)


@pytest.fixture(scope="module")
def tokenizer():
    """Return the default encoder's tokenizer."""
    return load_tokenizer(find_model(DEFAULT_ENCODER))


def tokenise(tokenizer, text):
    """Return the ids and offsets of a text's tokens, without special tokens."""
    encoding = tokenizer.backend.encode(text)
    keep = [index for index, special in enumerate(encoding.special_tokens_mask) if not special]
    return [encoding.ids[index] for index in keep], [encoding.offsets[index] for index in keep]


@settings(max_examples=150)
@given(TEXTS, st.integers(8, 30), st.data())
def test_windows_cover_all_tokens_and_overlap(tokenizer, text, size, data):
    """Each window begins with the tokens that it shares with the previous window."""
    overlap = data.draw(st.integers(0, size // 2))
    ids, offsets = tokenise(tokenizer, text)
    found = cut_windows(tokenizer, [text], size, overlap)
    room, step = size - 2, size - 2 - overlap
    begins = [0, *(begin for begin in range(step, len(ids), step) if begin + overlap < len(ids))]
    assert [window.ids[1:-1] for window in found] == [ids[begin : begin + room] for begin in begins]
    assert all((window.ids[0], window.ids[-1]) == (101, 102) for window in found)
    assert all(len(window.ids) <= size for window in found)
    for window, begin in zip(found, begins, strict=True):
        inside = offsets[begin : begin + room]
        assert (window.start, window.end) == ((inside[0][0], inside[-1][1]) if inside else (0, 0))


@settings(max_examples=150)
@given(TEXTS)
def test_every_letter_is_in_a_window(tokenizer, text):
    """Only white space and dropped marks may be outside every window."""
    covered = np.zeros(len(text), bool)
    for window in cut_windows(tokenizer, [text], 12, 4):
        assert 0 <= window.start <= window.end <= len(text)
        covered[window.start : window.end] = True
    missed = [letter for letter, inside in zip(text, covered, strict=True) if not inside]
    assert not [letter for letter in missed if unicodedata.category(letter)[0] in "LN"]


@settings(max_examples=50)
@given(st.lists(TEXTS, max_size=6))
def test_every_text_has_a_window(tokenizer, texts):
    """Windows are in text order, and don't depend on other texts."""
    found = cut_windows(tokenizer, texts, 10, 2)
    assert [window.text for window in found] == sorted(window.text for window in found)
    assert {window.text for window in found} == set(range(len(texts)))
    for index, text in enumerate(texts):
        assert [window[1:] for window in found if window.text == index] == [
            window[1:] for window in cut_windows(tokenizer, [text], 10, 2)
        ]


@pytest.fixture(scope="module")
def windows(tokenizer):
    """Return the windows of a few texts, of which one is empty."""
    return cut_windows(tokenizer, ["one two three", "", "four " * 30, "five"], 10, 2)


def test_windows_are_a_sequence(windows):
    """A window can be taken by its index, from either end, and as part of a slice."""
    listed = list(windows)
    assert len(listed) == len(windows) > 4
    assert windows[0] == listed[0] == windows[-len(windows)]
    assert windows[-1] == listed[-1]
    assert windows[1:3] == listed[1:3]
    assert windows == listed
    assert windows != listed[:-1]
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_windows_from_lists(windows):
    """Windows that are collected from a list are those of the list."""
    assert collect_windows(list(windows)) == windows
    assert collect_windows(windows) is windows
    assert collect_windows([]) == []


def test_spans_and_lengths_of_windows(windows):
    """Arrays of windows have the values of each window."""
    assert windows.spans.tolist() == [[window.start, window.end] for window in windows]
    assert windows.runs.lengths.tolist() == [len(window.ids) for window in windows]


def test_windows_of_parts_of_texts(windows):
    """A window of a part begins later by what was before the part."""
    shifted = windows.shift(np.array([0, 5, 100, 7]))
    for window, moved in zip(windows, shifted, strict=True):
        start = [0, 5, 100, 7][window.text]
        assert moved == window._replace(start=window.start + start, end=window.end + start)
    assert collect_windows([]).shift(np.empty(0, np.int32)) == []


def test_joined_windows_keep_their_order(windows, tokenizer):
    """Windows that are joined come one group after the other."""
    other = cut_windows(tokenizer, ["six"], 10, 2)
    assert join_windows([windows, other]) == [*windows, *other]
    assert join_windows([windows]) is windows
    assert join_windows([]) == []


def test_texts_may_be_an_array(tokenizer, windows):
    """A list and an Arrow array give the same windows."""
    texts = pa.array(["one two three", "", "four " * 30, "five"], pa.large_string())
    assert cut_windows(tokenizer, texts, 10, 2) == windows
    assert cut_windows(tokenizer, texts.slice(3), 10, 2) == [windows[-1]._replace(text=0)]


@given(st.lists(st.lists(st.integers(0, 99), max_size=5), max_size=6), st.data())
def test_runs_are_taken_in_any_order(runs, data):
    """Runs that are taken have their own tokens, whatever the order."""
    collected = collect_runs(runs)
    places = data.draw(st.lists(st.integers(0, len(runs) - 1))) if runs else []
    taken = collected.take(np.array(places, np.int64))
    begins = zip(taken.bounds[:-1], taken.bounds[1:], strict=True)
    assert [taken.ids[begin:end].tolist() for begin, end in begins] == [
        runs[place] for place in places
    ]
    assert collect_runs(collected) is collected


def test_settings_do_not_linger(tokenizer):
    """A call's size and overlap don't affect later calls."""
    text = "word " * 50
    first = cut_windows(tokenizer, [text], 20, 5)
    cut_windows(tokenizer, [text], 8, 0)
    assert cut_windows(tokenizer, [text], 20, 5) == first


LENGTHS = st.lists(st.integers(1, 128), max_size=60)


@given(LENGTHS, st.integers(1, 2000))
def test_batches_hold_every_window_once_within_the_budget(lengths, budget):
    """A batch keeps to the budget, unless it is a single longer window."""
    batches = plan_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch.tolist()) == list(
        range(len(lengths))
    )
    for batch in batches:
        longest = max(lengths[index] for index in batch)
        assert len(batch) == 1 or longest * len(batch) <= budget


@given(LENGTHS, st.integers(1, 2000))
def test_batches_are_sorted_and_full(lengths, budget):
    """Windows are sorted by length and index, and every batch but the last is full."""
    batches = plan_batches(lengths, budget)
    order = [index for batch in batches for index in batch.tolist()]
    assert order == sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    for batch in batches[:-1]:
        assert lengths[batch[0]] * (len(batch) + 1) > budget


@given(LENGTHS, st.integers(1, 2000))
def test_packed_batches_hold_every_window_once_within_the_budget(lengths, budget):
    """Packed batches keep to the budget without padding, are full, and have the same order."""
    lengths = np.array(lengths, np.int64)
    batches = plan_packed_batches(lengths, budget)
    order = [index for batch in batches for index in batch.tolist()]
    assert order == sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    for number, batch in enumerate(batches):
        total = lengths[batch].sum()
        assert len(batch) == 1 or total <= budget
        if number + 1 < len(batches):
            assert total + lengths[batches[number + 1][0]] > budget


def test_counts_are_merged():
    """Counts from elsewhere are added to each field."""
    counts = BatchCounts(1, 2, 3, 4)
    counts.merge(BatchCounts(10, 20, 30, 40))
    assert counts == BatchCounts(11, 22, 33, 44)


@given(
    st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=9), min_size=1, max_size=6),
    st.integers(0, 3),
)
def test_padding_is_on_the_right_and_masked(ids, pad):
    """The mask is 1 for tokens and 0 for padding."""
    tokens, mask = pad_batch(ids, pad)
    assert tokens.shape == mask.shape == (len(ids), max(map(len, ids)))
    assert tokens.dtype == mask.dtype == np.int64
    for row, item in enumerate(ids):
        assert tokens[row].tolist() == item + [pad] * (tokens.shape[1] - len(item))
        assert mask[row].tolist() == [1] * len(item) + [0] * (tokens.shape[1] - len(item))


def test_padding_waste_is_the_share_that_was_padding():
    """Padding waste is the padding's share of all computed tokens, or zero without tokens."""
    assert BatchCounts().padding_waste == 0.0
    assert BatchCounts(tokens=75, padded=100).padding_waste == pytest.approx(0.25)
    assert BatchCounts(tokens=100, padded=100).padding_waste == 0.0
