"""Rows that stay held although a reader labelled them no."""

import json

import pytest

from pipelines.decide import DecideConfig, run_decide
from pipelines.disputed_rows import DisputedRow, describe_disputed, find_disputed
from pipelines.filter import run_filter
from pipelines.labels import Label, read_all_labels
from pipelines.release import plan_release, write_release
from schemas.errors import CardError
from tests.support.hostile import FILE, filter_lines, write_cards
from tests.support.runs import read_ledger

LINES = [
    json.dumps({"text": text})
    for text in ("an owl", "a fox", "an owl and a fox", "a goose", "owls", "an owl")
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Filter rows that one trait holds, one masks, or both find; return the run and manifest."""
    folder = tmp_path_factory.mktemp("disputed")
    return filter_lines(folder, LINES, write_cards(folder / "traits", ["owl", "fox"]))


@pytest.fixture
def find(run, tmp_path):
    """Return a function that finds the rows that lines of labels dispute."""

    def find_rows(*lines, **options):
        path = tmp_path / "labels.jsonl"
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        found = find_disputed(*run, read_all_labels(path), str(path), **options)
        return [(row.row, row.decision) for row in found]

    return find_rows


def label(row, trait="owl", answer="no", **more):
    """Return a line of labels."""
    return {"source": FILE, "row": row, "trait": trait, "label": answer, **more}


def test_findings_labelled_no_with_an_action_are_found(find):
    """A finding is disputed if a reader denies it, whatever else fired on its row."""
    assert find(label(0), label(1, "fox"), label(3), label(4, answer="yes")) == [
        (0, "quarantine"),
        (1, "mask"),
    ]
    assert find(label(2)) == [(2, "quarantine")]
    assert find(label(2), label(2, "fox")) == [(2, "quarantine")] * 2
    assert find(label(2), label(2, "fox", "unsure")) == [(2, "quarantine")]
    assert find(label(2, None)) == [(2, "quarantine")] * 2
    assert find() == []


def test_each_finding_has_its_trait(run):
    """A row with two denied traits has two findings, as many as a release takes back."""
    lines = (label(0), label(2), label(2, "fox"))
    labels = [
        Label(FILE, line["row"], None, False, None, f"line {n}", line["trait"])
        for n, line in enumerate(lines)
    ]
    found = find_disputed(*run, labels, "labels.jsonl")
    assert sorted((row.row, row.trait) for row in found) == [(0, "owl"), (2, "fox"), (2, "owl")]
    assert found[0].name == f"{FILE}:0"


def test_the_later_label_counts(find):
    """A reader may change an answer, and contradictions without times are errors."""
    lines = [label(0, time=1), label(0, answer="yes", time=2)]
    assert find(*lines) == []
    assert find(*lines, label(0, time=3)) == [(0, "quarantine")]
    with pytest.raises(CardError, match="contradicts"):
        find(label(0), label(0, answer="yes"))


def test_a_record_id_says_which_text_was_read(find, run):
    """A label with a record id counts for a row with this id, wherever the row was."""
    ids = [row["record_id"] for row in read_ledger(run[0])]
    assert find({"record_id": ids[5], "trait": "owl", "label": "no"}, by_place=False) == [
        (0, "quarantine"),
        (5, "quarantine"),
    ]
    assert find(label(0, record_id=ids[0]), by_place=False) == [(0, "quarantine")]
    assert find(label(0, record_id=ids[4])) == []
    assert find(label(0), by_place=False) == []


def test_disputed_findings_are_counted_with_the_release():
    """One line counts the findings, and gives the command with every file of labels."""
    rows = [DisputedRow("a.jsonl", n, "quarantine", "owl") for n in range(5)]
    (said,) = describe_disputed(rows, "a run", ["one.jsonl", "two.jsonl"])
    assert said.text == (
        "5 findings that you labelled false count in this run as before; to take them back: "
        "congener release 'a run' --reviews one.jsonl --reviews two.jsonl --output RUN2"
    )
    (single,) = describe_disputed(rows[:1], "run", ["one.jsonl"])
    assert single.text.startswith("1 finding that you labelled false counts in this run")
    assert "to take it back" in single.text
    assert list(describe_disputed([], "run", [])) == []


def test_a_run_counts_findings_against_its_labels_until_they_are_released(config, tmp_path):
    """A run with labels counts the findings that they deny, and its release takes all back."""
    labels = tmp_path / "labels.jsonl"
    lines = ({"source": "0.jsonl", "row": n, "trait": "heron", "label": "no"} for n in (1, 6, 7))
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    manifest = run_filter(config.model_copy(update={"labels": (str(labels),)}))
    (said,) = (text for text in list_texts(manifest) if "labelled false" in text)
    assert said.startswith("2 findings that you labelled false count in this run as before")
    assert said.endswith(f"congener release {config.output} --reviews {labels} --output RUN2")
    released = plan_release(config.output, [labels])
    assert released.released == {"heron": 2}
    written = write_release(released, f"{config.output}2")
    own = config.model_copy(update={"policy": written, "output": f"{config.output}2"})
    again = run_decide(DecideConfig(run=config.output, filter=own))
    assert again.conservation.by_decision == {"keep": 34, "quarantine": 6}
    assert find_disputed(f"{config.output}2", again, read_all_labels(labels), "") == []


def list_texts(manifest):
    """Return what a run said."""
    return [item["text"] for item in manifest.circumstances["notices"]]
