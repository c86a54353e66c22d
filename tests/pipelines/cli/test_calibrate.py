"""`congener calibrate`: options, output and exit codes."""

import json

import polars as pl
import pytest
import yaml

from classifiers.guarantees.lot_differences import LotDifference
from classifiers.guarantees.score_differences import ScoreDifference
from pipelines.calibrate import Chosen, LotRate, LotRates
from pipelines.cli.calibrate import CalibrationResult, describe_lots

CHOSEN = (
    Chosen("owl", "combined", 0.5, 1_200, 0.61, 900, 1_000),
    Chosen("fox", "combined", 0.5, 7, None, 0, 1_000, "no finding is sure enough"),
    Chosen("elk", "combined", 0.5, 9, None, 0, 1_000, "no finding is sure enough"),
)


def test_a_level_is_written_as_a_policy(congener, held, tmp_path):
    """The promise comes first, then the table, and decide takes the file."""
    run, path = str(held / "run"), tmp_path / "policy.yaml"
    code, out, err = congener(
        *("calibrate", run, "--max-false-positive-rate", "0.4", "--confidence", "0.9"),
        *("-o", str(path)),
    )
    assert code == 0, err
    assert out.startswith("with 90% confidence for each trait, it fires on at most 40.00% of")
    assert f"next: congener decide {run} --policy {path} --output RUN2" in out
    rule = yaml.safe_load(path.read_text())["traits"]["heron"]
    assert rule == {"max_false_positive_rate": 0.4, "confidence": 0.9}
    output = str(tmp_path / "again")
    code, _, err = congener("decide", run, "--policy", str(path), "-o", output, "-q")
    assert code == 0, err


def test_json_has_the_promise_and_the_thresholds(congener_json, held):
    """Without --output, nothing is written."""
    found = congener_json("calibrate", str(held / "run"), "--clean-share", "0.2")
    assert found["promise"].startswith("on average, at most 20.0% of the findings of this trait")
    assert found["thresholds"][0]["trait"] == "heron"
    assert (found["policy"], found["lots"]) == (None, [])


def test_misses_need_texts_with_the_trait(congener, held):
    """The herons' card has no positives, which the note says."""
    code, out, err = congener("calibrate", str(held / "run"), "--max-misses", "0.2")
    assert code == 0, err
    assert "on average, each trait misses at most 20.0% of rows" in out
    assert "heron: too few texts with the trait" in out


def test_labels_by_lot_are_tested(congener, held, tmp_path):
    """Clean labelled rows are counted by teacher."""
    labels = tmp_path / "labels.jsonl"
    ledger = pl.read_parquet(held / "run" / "ledger" / "*.parquet")
    kept = ledger.filter(pl.col("decision") == "keep").select("source", "row")
    rows = [{**row, "label": False} for row in kept.to_dicts()]
    labels.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("calibrate", str(held / "run"), "--max-false-positive-rate", "0.4")
    code, out, err = congener(*words, "--labels", str(labels), "--by", "teacher")
    assert code == 0, err
    assert "heron: the clean rows of lots don't differ (at the threshold p = 1.0000, in all" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "a promise is needed"),
        (("--clean-share", "0.1", "--max-misses", "0.1"), "are promises of their own"),
        (("--clean-share", "1"), "--clean-share: 1.0 isn't between 0 and 1"),
        (("--clean-share", "nan"), "isn't between 0 and 1"),
        (("--max-misses", "0.1", "--confidence", "0"), "--confidence: 0.0 isn't between"),
        (("--clean-share", "0.1", "--by", "teacher"), "--by: needs --labels"),
        (("--clean-share", "0.1", "--labels", "x"), "--labels: are used for misses and for lots"),
        (("--clean-share", "0.1", "--trait", "stork"), "has no trait 'stork'"),
    ],
)
def test_mistakes_are_explained(congener, held, words, said):
    """Each error names the option or the trait."""
    code, _, err = congener("calibrate", str(held / "run"), *words)
    assert code in (2, 4)
    assert said in err


def test_equal_notes_are_joined():
    """A note is shown once, with all of its traits, and warnings come before the table."""
    result = CalibrationResult("run", "a promise", CHOSEN, [], None, ["unlike"])
    lines = [part for part in result.render() if isinstance(part, str)]
    assert lines == ["a promise", "warning: unlike", "fox, elk: no finding is sure enough"]
    assert result.to_json()["warnings"] == ["unlike"]


def test_lots_are_described_with_their_counts():
    """A lot's own threshold, and how its scores lie, are shown beside its counts."""
    lots = [LotRate("a", 0, 200, 0.5, 0.38, 0.002), LotRate("b", 9, 200, None, 0.62, 0.06)]
    scores = ScoreDifference(9.5, 0.002, [])
    text = describe_lots(LotRates("owl", LotDifference(9.2, 0.0021), scores, True, lots))
    assert text == (
        "owl: the clean rows of lots differ (at the threshold p = 0.0021, in all scores "
        "p = 0.0020): a 0 of 200 (lower than other lots' rows in 62% of pairs, q = 0.0020; own "
        "threshold 0.5000), b 9 of 200"
    )
    higher = LotRate("c", 1, 9, None, 0.75, 0.05)
    equal = LotRates("elk", LotDifference(0.0, 1.0), ScoreDifference(0.0, 1.0, []), False, [higher])
    assert describe_lots(equal).endswith(
        "don't differ (at the threshold p = 1.0000, in all scores p = 1.0000): c 1 of 9 "
        "(higher than other lots' rows in 75% of pairs, q = 0.0500)"
    )


def test_lots_in_json():
    """Both tests are in the JSON, and each lot has its shift."""
    lots = [LotRate("a", 0, 200, 0.5, 0.38, 0.002)]
    rates = LotRates("owl", LotDifference(9.2, 0.02), ScoreDifference(9.5, 0.03, []), True, lots)
    (found,) = CalibrationResult("run", "a promise", CHOSEN, [rates], None).to_json()["lots"]
    assert json.loads(json.dumps(found)) == {
        "trait": "owl",
        "test": {"statistic": 9.2, "p": 0.02},
        "scores": {"statistic": 9.5, "p": 0.03},
        "differ": True,
        "lots": [lots[0]._asdict()],
    }
