"""Warnings about corpora that score higher than the calibration texts."""

import numpy as np
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
    """A sample of the corpus is advised only if the corpus has enough rows for every level."""
    monkeypatch.setattr(likeness, "SIGNIFICANCE", 0.1)
    run, manifest = finished
    (text,) = list_warnings(finished, np.zeros(1000))
    assert "heron (20%). --background corpus calibrates on a sample" in text
    assert "The percentage is roughly the share of the rows that score too high: heron" in text
    strict = manifest.thresholds[0].model_copy(update={"max_false_positive_rate": 0.005})
    short = manifest.model_copy(update={"thresholds": (strict,)})
    (text,) = list_warnings((run, short), np.zeros(1000))
    assert "--background corpus" not in text
    assert "--background FILE calibrates" in text
    assert "need 598 rows" in text


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
    remark = "may not hold: about 20% of the rows score higher than its clean texts do"
    assert notice.remarks == (("heron", remark),)
    assert notice.severity == "warning"
