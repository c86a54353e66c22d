"""Merging findings that are nearly the same."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.lots.counts import EMPTY, SKETCH
from classifiers.lots.discovery import KINDS
from classifiers.lots.merging import estimate_common, merge


def sketch(*sets):
    """Return the sketches of sets of digests, and the sets' sizes."""
    rows = np.full((len(sets), SKETCH), EMPTY)
    for row, members in zip(rows, sets, strict=True):
        smallest = sorted(members)[:SKETCH]
        row[: len(smallest)] = smallest
    return rows, np.array([len(members) for members in sets])


def scatter(start, stop):
    """Return digests that are spread like hashes."""
    return {(number * 0x9E3779B97F4A7C15) % (1 << 64) for number in range(start, stop)}


def test_overlapping_phrases_in_the_same_texts_are_merged():
    """Windows of one longer phrase become one finding, named after the first."""
    texts = ["As an AI language", "an AI language model", "herons in reeds"]
    sketches, sizes = sketch(scatter(1, 41), scatter(1, 45), scatter(1, 41))
    assert merge(texts, np.zeros(3, np.int64), sizes, sketches) == [[0, 1], [2]]


def test_phrases_in_other_texts_stay_apart():
    """A phrase with the same words in other texts is a finding of its own."""
    texts = ["a grey heron", "a white heron"]
    sketches, sizes = sketch(scatter(1, 41), scatter(41, 81))
    assert merge(texts, np.zeros(2, np.int64), sizes, sketches) == [[0], [1]]


def test_the_same_words_in_the_same_texts_are_one_finding():
    """An opening and a phrase with the same words are one, unless they are in other texts."""
    sketches, sizes = sketch(scatter(1, 41), scatter(1, 41))
    assert merge(["Certainly!"] * 2, np.array([0, 1]), sizes, sketches) == [[0, 1]]
    assert merge(["Certainly!"] * 2, np.array([1, 0]), sizes, sketches) == [[0, 1]]
    sketches, sizes = sketch(scatter(1, 41), scatter(41, 81))
    assert merge(["Certainly!"] * 2, np.array([0, 1]), sizes, sketches) == [[0], [1]]


def test_marks_around_the_same_words_are_one_finding():
    """`**: The` as a phrase, an opening and a pattern is a single finding."""
    written = ["**: The", "**: The ", ": The"]
    kinds = np.array([KINDS.index(name) for name in ("pattern", "phrase", "closing")])
    sketches, sizes = sketch(scatter(1, 41), scatter(1, 43), scatter(1, 60))
    assert merge(written, kinds, sizes, sketches) == [[0, 1, 2]]


def test_marks_belong_to_their_format():
    """`**` and bold text in the same texts are one finding, which has the format's name."""
    kinds = np.array([KINDS.index(name) for name in ("phrase", "format", "phrase", "phrase")])
    written = ["**", "bold text", "bold", "("]
    sketches, sizes = sketch(scatter(1, 41), scatter(1, 42), scatter(1, 41), scatter(1, 90))
    assert merge(written, kinds, sizes, sketches) == [[1, 0], [2], [3]]
    apart, counts = sketch(scatter(1, 41), scatter(20, 60), scatter(1, 41), scatter(1, 90))
    assert merge(written, kinds, counts, apart) == [[0], [1], [2], [3]]


def test_formats_are_never_merged():
    """Two habits whose names share words in the same texts are two findings."""
    kinds = np.full(2, KINDS.index("format"))
    sketches, sizes = sketch(scatter(1, 41), scatter(1, 41))
    written = ["a bulleted list", "a numbered list"]
    assert merge(written, kinds, sizes, sketches) == [[0], [1]]


def merge_two(first: tuple[str, str], second: tuple[str, str], common: int) -> int:
    """Merge two findings of 40 texts each, with a number of common texts; return the groups."""
    kinds = np.array([KINDS.index(first[0]), KINDS.index(second[0])])
    sketches, sizes = sketch(scatter(1, 41), scatter(41 - common, 81 - common))
    return len(merge([first[1], second[1]], kinds, sizes, sketches))


@pytest.mark.parametrize(
    ("first", "second", "common", "expected"),
    [
        (("phrase", "important to note"), ("grammar", "is important to note"), 30, 1),
        (("phrase", "important to note"), ("grammar", "is important to note"), 10, 2),
        (("phrase", "not a heron but"), ("pattern", "not a heron but a"), 30, 1),
        (("opening", "Sure, here is"), ("grammar", "sure, here"), 30, 1),
        (("format", "a heading"), ("grammar", "a heading"), 40, 2),
        (("grammar", "is important to note"), ("phrase", "important to note"), 40, 1),
        (("grammar", "is important to note"), ("phrase", "it important to note"), 40, 2),
        (("phrase", "of"), ("grammar", "the house of the house"), 40, 2),
    ],
)
def test_what_hides_words_joins_the_phrase_that_it_repeats(first, second, common, expected):
    """Half of the texts and half of the tokens must be the phrase's, which is ranked higher."""
    assert merge_two(first, second, common) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("a quick answer", "an old answer", 1),
        ("a quick answer", "a quick answer of houses", 1),
        ("a quick answer", "quickly, an answer", 2),
        ("house and house", "a quick house", 2),
    ],
)
def test_grammar_is_merged_by_more_of_its_tokens(first, second, expected):
    """Two of three tokens must be the same, and a class counts as often as it is there."""
    assert merge_two(("grammar", first), ("grammar", second), 40) == expected


def test_no_findings_are_no_groups():
    """Without findings there is nothing to merge."""
    assert merge([], np.empty(0, np.int64), np.empty(0), np.empty((0, SKETCH), np.uint64)) == []


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ((1, 31), (1, 31), 1.0),
        ((1, 31), (16, 46), 0.5),
        ((1, 31), (31, 61), 0.0),
        ((1, 2_001), (1, 2_001), 1.0),
        ((1, 2_001), (1_001, 3_001), 0.5),
        ((1, 2_001), (1, 501), 1.0),
        ((1, 2_001), (2_001, 4_001), 0.0),
    ],
)
def test_overlaps_are_estimated(one, other, expected):
    """Small sets are compared exactly, and large ones to about a tenth."""
    sketches, sizes = sketch(scatter(*one), scatter(*other))
    tolerance = 1e-9 if sizes.max() <= SKETCH else 0.35
    common = estimate_common(sketches, sizes, 0, 1)
    assert common / sizes.min() == pytest.approx(expected, abs=tolerance)
