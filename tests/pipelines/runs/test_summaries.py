"""Summaries of a finished run equal a row-by-row count."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.summaries import BINS, count_scores
from tests.support.hostile import filter_hostile_corpus


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("summaries"))[0]


def test_every_score_is_counted(hostile):
    """Bins match a numpy histogram, and only rows at or above the threshold fired."""
    manifest = load_manifest(hostile)
    paths = sorted(Path(hostile, "scores").glob("*.parquet"))
    scores = pl.concat([pl.read_parquet(path) for path in paths])
    for rule, counts in zip(manifest.thresholds, count_scores(hostile, manifest), strict=True):
        known = scores[rule.trait].drop_nulls().to_numpy().astype(float).round(4)
        expected, _ = np.histogram(np.round(known * 10_000), bins=np.arange(0, 10_001, 250))
        assert np.array_equal(np.add(counts.below, counts.above), expected)
        fired = int((known >= rule.threshold - 1e-9).sum())
        assert sum(counts.above) == fired == manifest.fired.get(rule.trait, 0)
        total = sum(counts.below) + sum(counts.above) + counts.unscored
        assert total == manifest.conservation.rows_in
        assert counts.unscored == manifest.conservation.by_decision["reject"]


def test_scores_of_one_signal_are_counted(hostile):
    """For a rule that names one signal, that signal's scores are counted."""
    manifest = load_manifest(hostile)
    rules = [rule.model_copy(update={"signal": "lexicon"}) for rule in manifest.thresholds]
    other = manifest.model_copy(update={"thresholds": tuple(rules)})
    assert count_scores(hostile, other) == count_scores(hostile, manifest)


def test_no_rows_are_no_scores(hostile):
    """A run without rows has empty bins."""
    manifest = load_manifest(hostile)
    conservation = manifest.conservation.model_copy(update={"rows_in": 0})
    empty = manifest.model_copy(update={"conservation": conservation})
    counts = count_scores("nowhere", empty)
    assert len(counts) == len(manifest.thresholds)
    assert {sum(item.below) + sum(item.above) + item.unscored for item in counts} == {0}


def test_bins_divide_the_steps_of_scores():
    """Every bin covers equally many scores."""
    assert 10_000 % BINS == 0
