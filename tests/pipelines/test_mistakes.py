"""Rows that a trait judges differently from a reader, and thresholds at their scores."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import mistakes
from pipelines.evaluation import Population, Range, measure
from pipelines.labels import Label
from pipelines.mistakes import (
    Mistake,
    list_mistakes,
    measure_thresholds,
    suggest_thresholds,
)

SCORES = [0.9, 0.9, 0.451, 0.451, 0.2, *[0.0] * 15, np.nan]


@pytest.fixture
def population(monkeypatch):
    """Return twenty rows and one without a score, in two ranges, with a threshold of 0.5."""
    scores = np.array(SCORES, np.float32)
    ledger = pl.DataFrame({"source": ["a.jsonl"] * len(SCORES), "row": range(len(SCORES))})
    table = {
        "bird": SCORES,
        "bird/lexicon": [0.4] * len(SCORES),
        "bird/wording": SCORES,
        "bird/wording@rejected": [1.0] * len(SCORES),
        "birds/head": [1.0] * len(SCORES),
    }
    folders = {"ledger": ledger, "scores": pl.DataFrame(table)}
    monkeypatch.setattr(
        mistakes,
        "scan_folder",
        lambda run, manifest, folder, row_index: folders[folder].lazy().with_row_index(row_index),
    )
    rule = SimpleNamespace(trait="bird", signal="combined", threshold=0.5)
    ranges = [Range(0.5, np.array([1, 0])), Range(0.0, np.arange(19, 1, -1))]
    return Population("run", None, rule, scores, ranges, {0.5: 0.01}, 0)


def label(*showing):
    """Return labels of every scored row, of which some show the trait."""
    return {
        row: Label("a.jsonl", row, None, row in showing, None, row)
        for row in range(len(SCORES) - 1)
    }


def test_wrong_and_missed_rows_are_named(population):
    """A wrong row fires by a signal without the trait; a missed one is below the threshold."""
    found = list_mistakes(population, label(1, 2, 4))
    assert found.wrong == [Mistake("a.jsonl", 0, 0.9, signal="wording")]
    assert found.missed == [Mistake("a.jsonl", 2, 0.451), Mistake("a.jsonl", 4, 0.2)]
    assert found.missed[0].name == "a.jsonl:2"


def test_labels_that_agree_leave_no_mistakes(population):
    """A card whose labels agree with it has no mistakes, and no file is read."""
    assert list_mistakes(population, label(0, 1)) == ([], [])
    assert list_mistakes(population, {}) == ([], [])


def test_the_scores_of_missed_rows_become_thresholds(population):
    """The table has a useful threshold between those of the levels, measured like the others."""
    labels = label(0, 1, 2, 3)
    found = suggest_thresholds(population, labels)
    assert found.thresholds == {0.5: 0.01, 0.451: None}
    assert [(item.lowest, item.rows.tolist()) for item in found.ranges] == [
        (0.5, [1, 0]),
        (0.451, [3, 2]),
        (0.0, list(range(19, 3, -1))),
    ]
    high, low = measure(found, labels)
    assert (high.accuracy.recall.estimate, low.accuracy.recall.estimate) == (0.5, 1.0)
    assert (high.rows, low.rows, low.accuracy.precision.estimate) == (2, 4, 1.0)


def test_a_threshold_has_one_recall_whatever_rows_were_missed(population):
    """Only thresholds at missed rows' scores are measured by ranges that are divided there."""
    labels = {row: item for row, item in label(0, 1, 2, 9).items() if row in (0, 1, 2, 9, 12)}
    (plain,) = measure(population, labels)
    high, low = measure_thresholds(population, labels)
    divided = measure(suggest_thresholds(population, labels), labels)
    assert high == plain
    assert high.accuracy.recall.estimate != divided[0].accuracy.recall.estimate
    assert low == divided[1]
    assert (low.threshold, low.rate) == (0.451, None)


def test_a_score_of_nothing_is_no_threshold(population):
    """Rows that score zero suggest no threshold, and known thresholds aren't repeated."""
    assert suggest_thresholds(population, label(10)).thresholds == {0.5: 0.01}
    known = replace(population, thresholds={0.5: 0.01, 0.451: 0.05})
    assert suggest_thresholds(known, label(2)).thresholds == known.thresholds


def test_only_the_highest_missed_scores_become_thresholds(population):
    """A table of every missed row's score would be as long as the list of labels."""
    scores = population.scores.copy()
    scores[5:15] = np.linspace(0.3, 0.39, 10)
    found = suggest_thresholds(replace(population, scores=scores), label(*range(20)))
    assert list(found.thresholds) == pytest.approx([0.5, 0.451, 0.39, 0.38])


@given(
    st.lists(st.integers(0, 10_000), min_size=18, max_size=18),
    st.sets(st.integers(0, 17), min_size=1),
)
def test_divided_ranges_keep_every_row_in_its_range(steps, showing):
    """No row is lost or counted twice, and each is in the range of its score."""
    scores = np.array(steps, np.float32) / 10_000
    order = np.argsort(scores)
    high = np.round(scores * 10_000) >= 5_000
    ranges = [
        Range(low, order[chosen[order]])
        for low, chosen in ((0.5, high), (0.0, ~high))
        if chosen.any()
    ]
    rule = SimpleNamespace(trait="bird", signal="combined", threshold=0.5)
    labels = {row: Label("a", row, None, row in showing, None, row) for row in range(18)}
    given_rows = Population("run", None, rule, scores, ranges, {0.5: 0.01}, 0)
    found = suggest_thresholds(given_rows, labels)
    assert sorted(row for item in found.ranges for row in item.rows) == list(range(18))
    highest = 2.0
    for item in found.ranges:
        assert item.lowest < highest
        assert all(item.lowest - 1e-6 <= scores[row] < highest for row in item.rows)
        highest = item.lowest
