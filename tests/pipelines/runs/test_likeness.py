"""Warnings about corpora that score higher than the calibration texts."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.filter import run_filter
from pipelines.runs import likeness
from pipelines.runs.likeness import warn_of_unlike
from pipelines.runs.manifest_file import load_manifest


@pytest.fixture
def finished(config, policy):
    """Filter 40 rows, of which a fifth score, at a calibrated threshold; return run, manifest."""
    level = policy("traits: {heron: {max_false_positive_rate: 0.1}}\n")
    run_filter(config.model_copy(update={"policy": level}))
    return config.output, load_manifest(config.output)


def list_warnings(finished, scores) -> list[str]:
    """Return the warnings if these were the scores of the calibration texts."""
    calibration = {"heron": {"combined": np.array(scores, np.float32)}}
    return [notice.text for notice in warn_of_unlike(*finished, calibration)]


def test_only_a_corpus_that_scores_higher_is_unlike(finished, monkeypatch):
    """A warning needs a tenth of the rows in excess, and more than chance explains."""
    monkeypatch.setattr(likeness, "SIGNIFICANCE", 0.1)
    assert len(list_warnings(finished, np.zeros(1000))) == 1
    assert list_warnings(finished, np.ones(1000)) == []
    assert list_warnings(finished, [0.0] * 890 + [1.0] * 110) == []
    assert list_warnings(finished, np.zeros(5)) == []
    monkeypatch.setattr(likeness, "LEAST_EXCESS", 0.21)
    assert list_warnings(finished, np.zeros(1000)) == []


def test_only_advice_that_works_is_given(finished, monkeypatch):
    """The advice has the number of clean rows that every level needs, and no unread sample."""
    monkeypatch.setattr(likeness, "SIGNIFICANCE", 0.1)
    run, manifest = finished
    (text,) = list_warnings(finished, np.zeros(1000))
    assert "heron (20% of the rows score 0.8647 or more, and 0% of those texts)" in text
    assert f"congener inspect {run} --trait heron): if most of them show it, it is common;" in text
    strict = manifest.thresholds[0].model_copy(update={"max_false_positive_rate": 0.005})
    short = manifest.model_copy(update={"thresholds": (strict,)})
    (text,) = list_warnings((run, short), np.zeros(1000))
    assert "--background corpus" not in text
    assert text.endswith(
        "--background FILE, with 598 or more clean rows like the corpus, corrects its threshold"
    )


def test_scores_far_below_the_threshold_say_nothing(finished, monkeypatch):
    """If all rows but no clean texts score 0.1, nothing follows for a threshold of 0.5."""
    monkeypatch.setattr(likeness, "SIGNIFICANCE", 0.1)
    run, manifest = finished
    rule = manifest.thresholds[0]
    monkeypatch.setattr(
        likeness, "_read_scores", lambda *_: {"heron": np.array([0.1] * 900 + [0.9] * 50)}
    )
    assert list_warnings(finished, np.zeros(1000)) == []
    low = manifest.model_copy(update={"thresholds": (rule.model_copy(update={"threshold": 0.15}),)})
    assert "100% of the rows score 0.1000 or more" in list_warnings((run, low), np.zeros(1000))[0]


def test_a_trait_that_fires_within_its_bound_keeps_its_promise(finished, monkeypatch):
    """Rows that score high but fire no more often than allowed are no reason for a warning."""
    monkeypatch.setattr(likeness, "SIGNIFICANCE", 0.1)
    run, manifest = finished
    (rule,) = manifest.thresholds
    wide = rule.model_copy(update={"bound": 0.2})
    kept = manifest.model_copy(update={"thresholds": (wide,)})
    assert list_warnings((run, kept), np.zeros(1000)) == []


def test_a_run_without_rows_is_like_any_text(config, policy, tmp_path):
    """An empty corpus has no scores to compare, so there is no warning and no failure."""
    empty = tmp_path / "empty.parquet"
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), empty)
    level = policy("traits: {heron: {max_false_positive_rate: 0.1}}\n")
    run_filter(config.model_copy(update={"policy": level, "input": (str(empty),)}))
    finished = config.output, load_manifest(config.output)
    assert list_warnings(finished, np.zeros(1000)) == []


def test_an_explicit_threshold_has_no_calibration(finished):
    """A trait whose threshold is set by hand is never compared."""
    run, manifest = finished
    rules = tuple(item.model_copy(update={"origin": "explicit"}) for item in manifest.thresholds)
    explicit = manifest.model_copy(update={"thresholds": rules})
    assert list_warnings((run, explicit), np.zeros(1000)) == []


def test_a_large_run_is_compared_by_evenly_spread_shards(finished, monkeypatch):
    """Only every n-th score file is read, so that few rows are compared."""
    monkeypatch.setattr(likeness, "COMPARED_ROWS", 20)
    read, real = [], likeness.read_table
    monkeypatch.setattr(
        likeness, "read_table", lambda *given: read.append(given[1].rows) or real(*given)
    )
    list_warnings(finished, np.zeros(1000))
    assert 14 <= sum(read) <= 24


def test_a_warning_has_a_remark_for_each_trait(finished, monkeypatch):
    """The remark, which stands beside the trait's bound, has the trait's own share."""
    monkeypatch.setattr(likeness, "SIGNIFICANCE", 0.1)
    calibration = {"heron": {"combined": np.zeros(1000, np.float32)}}
    (notice,) = warn_of_unlike(*finished, calibration)
    remark = "may not hold: 20% of the rows score 0.8647 or more, and 0% of its clean texts"
    assert notice.remarks == (("heron", remark),)
    assert notice.severity == "warning"
