"""The demo: its sample, the truth, and the outcomes."""

import json

import pytest

from classifiers.library import find_cards
from pipelines.config import FilterConfig
from pipelines.demo import (
    ANY_TRAIT,
    CORPORA,
    SAMPLE,
    DemoOutcome,
    compare_with_truth,
    list_remarks,
    run_demo,
)
from pipelines.filter import run_filter
from schemas.errors import RunError
from schemas.events import RunSummarised


def read_sample(folder: str) -> list[dict]:
    """Read a sample folder."""
    return [
        json.loads(line)
        for path in sorted((SAMPLE / folder).glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def test_the_sample_is_varied():
    """The sample has 300 conversations, three teachers, two formats and every library trait."""
    rows = [row for folder in CORPORA for row in read_sample(folder)]
    truth = {row["id"]: row["traits"] for row in read_sample("truth")}
    assert len(rows) >= 300
    assert {row["id"] for row in rows} == set(truth)
    assert len({row.get("teacher") or row.get("model") for row in rows}) == 3
    assert {"messages" in row for row in rows} == {True, False}
    assert 0.08 <= sum(map(bool, truth.values())) / len(rows) <= 0.14
    assert {trait for traits in truth.values() for trait in traits} == {
        card.id for card in find_cards()
    }


def test_the_sample_shares_no_text_with_the_library():
    """The sample shares no text with the library."""
    library = {text for card in find_cards() for text in (*card.positives, *card.negatives)}
    answers = {
        turn.get("content") or turn.get("value")
        for folder in CORPORA
        for row in read_sample(folder)
        for turn in row.get("messages") or row["conversations"]
    }
    assert not library & answers


def test_the_truth_is_aligned_with_the_corpus():
    """The truth has the corpus's ids, row by row."""
    for folder in CORPORA:
        for path in (SAMPLE / folder).glob("*.jsonl"):
            corpus = [
                json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()
            ]
            truth = [
                json.loads(line)["id"]
                for line in (SAMPLE / "truth" / path.name).read_text(encoding="utf-8").splitlines()
            ]
            assert corpus == truth


def test_outcomes_are_counted_from_the_ledger(tmp_path):
    """Precision and recall are computed from the fired traits and the sample's truth."""
    for name in CORPORA:
        run_filter(
            FilterConfig(
                input=(str(SAMPLE / name),),
                output=str(tmp_path / name),
                traits=("degenerate-loop",),
            )
        )
    loops, together = compare_with_truth(str(tmp_path), ["degenerate-loop"])
    real = sum("degenerate-loop" in row["traits"] for row in read_sample("truth"))
    assert (loops.true, loops.right <= loops.found) == (real, True)
    assert loops.recall == loops.right / real
    assert together.found == loops.found
    remarks = list_remarks(str(tmp_path), ["degenerate-loop"])
    commented = {row["comment"] for row in read_sample("truth") if "comment" in row}
    assert {item.comment for item in remarks} - {""} == commented
    wrong = [item for item in remarks if not item.is_right]
    assert len(wrong) == real + loops.found - 2 * loops.right
    assert remarks[len(remarks) - len(wrong) :] == wrong


def test_the_demo_filters_both_corpora(tmp_path, capfd):
    """Both runs are finished and reported, and a second demo replaces them."""
    events = []
    config = FilterConfig(traits=("degenerate-loop",))
    output = str(tmp_path / "demo")
    manifests, outcomes = run_demo(output, config, listener=events.append)
    assert [manifest.conservation.rows_in for manifest in manifests] == [220, 110]
    assert [outcome.name for outcome in outcomes] == ["degenerate-loop", ANY_TRAIT]
    assert all(item.circumstances["command"] == ["congener", "demo"] for item in manifests)
    summaries = [event for event in events if isinstance(event, RunSummarised)]
    assert [event.manifest.run_id for event in summaries] == [item.run_id for item in manifests]
    again, _ = run_demo(output, config)
    assert [item.ledger_root for item in again] == [item.ledger_root for item in manifests]
    with pytest.raises(RunError, match="finished"):
        run_demo(output, config, restart=False)
    assert capfd.readouterr() == ("", "")


def test_shares_of_nothing_are_none():
    """A share of no rows is None."""
    assert DemoOutcome("x", 0, 0, 0).precision is None
    assert DemoOutcome("x", 0, 0, 0).recall is None


def test_comments_are_short_sentences():
    """Every comment in the truth is one unique sentence that fits on a terminal."""
    rows = [row for row in read_sample("truth") if "comment" in row]
    assert len(rows) >= 15
    assert all(row["comment"].endswith(".") and len(row["comment"]) <= 72 for row in rows)
    assert sum(not row["traits"] for row in rows) >= 5


@pytest.mark.slow
def test_the_demo_finds_most_of_its_quirks(tmp_path):
    """The library finds most rows with a quirk, and few others."""
    manifests, lines = run_demo(str(tmp_path / "demo"), FilterConfig())
    assert [manifest.conservation.rows_in for manifest in manifests] == [220, 110]
    together = lines[-1]
    assert together.recall is not None
    assert together.recall >= 0.8
    assert together.precision is not None
    assert together.precision >= 0.6
    remarks = list_remarks(str(tmp_path / "demo"), [item.trait for item in manifests[0].thresholds])
    assert sum(item.is_right for item in remarks) >= 5
    assert all(item.comment for item in remarks)
