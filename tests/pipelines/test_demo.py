"""The demo: its sample, its truth, and how outcomes are counted."""

import json

import pytest

from classifiers.library import find_cards
from pipelines.config import FilterConfig
from pipelines.demo import CORPORA, SAMPLE, Outcome, outcomes, run_demo
from pipelines.filter import run_filter


def rows_of(folder: str) -> list[dict]:
    """Read all rows of a sample folder."""
    return [
        json.loads(line)
        for path in sorted((SAMPLE / folder).glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def test_the_sample_is_what_the_demo_says():
    """At least 300 conversations, three teachers, two formats, a tenth with quirks, every library trait among them."""
    rows = [row for folder in CORPORA for row in rows_of(folder)]
    truth = {row["id"]: row["traits"] for row in rows_of("truth")}
    assert len(rows) >= 300
    assert {row["id"] for row in rows} == set(truth)
    assert len({row.get("teacher") or row.get("model") for row in rows}) == 3
    assert {"messages" in row for row in rows} == {True, False}
    assert 0.08 <= sum(map(bool, truth.values())) / len(rows) <= 0.14
    assert {trait for traits in truth.values() for trait in traits} == {
        card.id for card in find_cards()
    }


def test_the_sample_shares_no_text_with_the_library():
    """What the demo measures was not trained on."""
    library = {text for card in find_cards() for text in (*card.positives, *card.negatives)}
    answers = {
        turn.get("content") or turn.get("value")
        for folder in CORPORA
        for row in rows_of(folder)
        for turn in row.get("messages") or row["conversations"]
    }
    assert not library & answers


def test_truth_lines_up_with_the_corpus():
    """Row by row, truth and corpus have the same ids."""
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
    """Precision and recall follow from what fired and what is true."""
    for name in CORPORA:
        run_filter(
            FilterConfig(
                input=(str(SAMPLE / name),),
                output=str(tmp_path / name),
                traits=("degenerate-loop",),
            )
        )
    loops, together = outcomes(str(tmp_path), ["degenerate-loop"])
    real = sum("degenerate-loop" in row["traits"] for row in rows_of("truth"))
    assert (loops.true, loops.right <= loops.found) == (real, True)
    assert loops.recall == loops.right / real
    assert together.found == loops.found


def test_shares_of_nothing_are_none():
    """No row found or true gives no share, rather than a perfect or a zero one."""
    assert Outcome("x", 0, 0, 0).precision is None
    assert Outcome("x", 0, 0, 0).recall is None


@pytest.mark.slow
def test_the_demo_finds_most_of_its_quirks(tmp_path):
    """The whole library on the sample: most rows with a quirk are found, and most of what is found is right."""
    manifests, lines = run_demo(str(tmp_path / "demo"), FilterConfig())
    assert [manifest.conservation.rows_in for manifest in manifests] == [220, 110]
    together = lines[-1]
    assert together.recall is not None
    assert together.recall >= 0.8
    assert together.precision is not None
    assert together.precision >= 0.6
