"""Summaries of a finished run equal a row-by-row count of its files."""

from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.summaries import BINS, compute_share, count_scores, share_by_group
from schemas.lots import LOT_FIELDS
from schemas.policies import PUBLISHED
from tests.support.hostile import filter_answers, filter_hostile_corpus
from tests.support.runs import read_ledger


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("summaries"))[0]


def test_every_score_is_counted(hostile):
    """Bins match a numpy histogram of exact decimals; only rows at or above the threshold fired."""
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
    """If a trait's rule uses one signal, that signal's scores are counted."""
    manifest = load_manifest(hostile)
    rules = [rule.model_copy(update={"signal": "lexicon"}) for rule in manifest.thresholds]
    other = manifest.model_copy(update={"thresholds": tuple(rules)})
    assert count_scores(hostile, other) == count_scores(hostile, manifest)


def test_no_rows_are_no_scores(hostile):
    """A run without rows has no files to read; every bin is empty."""
    manifest = load_manifest(hostile)
    conservation = manifest.conservation.model_copy(update={"rows_in": 0})
    empty = manifest.model_copy(update={"conservation": conservation})
    counts = count_scores("nowhere", empty)
    assert len(counts) == len(manifest.thresholds)
    assert {sum(item.below) + sum(item.above) + item.unscored for item in counts} == {0}


@pytest.mark.parametrize("fields", [("teacher",), LOT_FIELDS, ("teacher", "date")])
def test_groups_are_the_ledgers(hostile, fields):
    """Groups count rows and removals, without rejects, and are sorted by removals, most first."""
    manifest = load_manifest(hostile)
    counted, removed = Counter(), Counter()
    for row in read_ledger(hostile):
        if row["decision"] != "reject":
            names = tuple(row[field] or "-" for field in fields)
            counted[names] += 1
            removed[names] += row["decision"] not in PUBLISHED
    found = share_by_group(hostile, manifest, fields, 50)
    order = sorted(
        counted, key=lambda names: (-removed[names], -removed[names] / counted[names], names)
    )
    assert [share.names for share in found.shown] == order[:50]
    assert all(share.rows == counted[share.names] for share in found.shown)
    assert all(share.removed == removed[share.names] for share in found.shown)
    assert found.omitted == len(counted) - len(found.shown)
    assert found.fields == fields
    rejects = manifest.conservation.by_decision["reject"]
    assert sum(counted.values()) == manifest.conservation.rows_in - rejects


def test_rows_without_any_lot_field_are_one_group(tmp_path):
    """Rows without any lot field form one group, whose fields are all `-`."""
    run = filter_answers(tmp_path, ["an owl", "a goose", "a heron"], ["owl"])
    (share,) = share_by_group(run, load_manifest(run), LOT_FIELDS, 50).shown
    assert share.names == ("-", "-", "-", "-")
    assert (share.rows, share.removed) == (3, 1)


@given(st.integers(1, 5000), st.data())
def test_intervals_are_clopper_pearsons(total, data):
    """The interval of a share equals scipy's exact interval."""
    removed = data.draw(st.integers(0, total))
    found = compute_share(("x",), total, removed)
    expected = binomtest(removed, total).proportion_ci(0.95, "exact")
    assert found.low == pytest.approx(expected.low, abs=1e-9)
    assert found.high == pytest.approx(expected.high, abs=1e-9)
    assert found.low <= found.share <= found.high


def test_bins_divide_the_steps_of_scores():
    """Every bin covers the same number of possible scores."""
    assert 10_000 % BINS == 0
