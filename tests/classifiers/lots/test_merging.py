"""Merging findings that are nearly the same."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.lots.counts import EMPTY, SKETCH
from classifiers.lots.merging import estimate_overlap, merge


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
    assert merge(texts, np.zeros(3), sizes, sketches) == [[0, 1], [2]]


def test_phrases_in_other_texts_stay_apart():
    """A phrase with the same words in other texts is a finding of its own."""
    texts = ["a grey heron", "a white heron"]
    sketches, sizes = sketch(scatter(1, 41), scatter(41, 81))
    assert merge(texts, np.zeros(2), sizes, sketches) == [[0], [1]]


def test_kinds_stay_apart():
    """An opening and a phrase with the same words are two findings."""
    sketches, sizes = sketch(scatter(1, 41), scatter(1, 41))
    assert merge(["Certainly!"] * 2, np.array([0, 1]), sizes, sketches) == [[0], [1]]


def test_no_findings_are_no_groups():
    """Without findings there is nothing to merge."""
    assert merge([], np.empty(0), np.empty(0), np.empty((0, SKETCH), np.uint64)) == []


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
    assert estimate_overlap(sketches, sizes, 0, 1) == pytest.approx(expected, abs=tolerance)
