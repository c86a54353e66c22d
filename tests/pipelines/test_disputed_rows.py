"""Rows that stay held although a reader labelled them no."""

import json

import pytest

from pipelines.disputed_rows import DisputedRow, describe_disputed, find_disputed
from pipelines.filter import run_filter
from pipelines.labels import Label, read_all_labels
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


def test_rows_labelled_no_and_held_are_found(find):
    """A row is disputed if a reader denies each trait that fired on it."""
    assert find(label(0), label(1, "fox"), label(3), label(4, answer="yes")) == [
        (0, "quarantine"),
        (1, "mask"),
    ]
    assert find(label(2)) == []
    assert find(label(2), label(2, "fox")) == [(2, "quarantine")]
    assert find(label(2), label(2, "fox", "unsure")) == []
    assert find(label(2, None)) == [(2, "quarantine")]
    assert find() == []


def test_the_only_trait_of_a_row_is_named(run):
    """An exception is for the trait that fired, as `inspect` writes it, or for all of several."""
    lines = (label(0), label(2), label(2, "fox"))
    labels = [
        Label(FILE, line["row"], None, False, None, f"line {n}", line["trait"])
        for n, line in enumerate(lines)
    ]
    found = find_disputed(*run, labels, "labels.jsonl")
    assert [(row.row, row.trait) for row in found] == [(0, "owl"), (2, None)]


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


def test_disputed_rows_are_named_with_a_policy():
    """Each kind of decision has a line, with an exception for each of the first rows."""
    rows = [DisputedRow("a.jsonl", n, "quarantine") for n in range(5)]
    first, second = describe_disputed([*rows, DisputedRow("b: c.jsonl", 7, "drop", "heron")])
    assert first.text.startswith(
        "5 rows that you labelled false are still in quarantine: a.jsonl:0, a.jsonl:1, a.jsonl:2 "
        "and 2 more; to release them, decide again with a policy that has `exceptions: [{row: "
    )
    assert first.text.endswith('{row: "a.jsonl:2", action: keep, reason: WHY}, …]`')
    assert second.text == (
        "1 row that you labelled false is still dropped: b: c.jsonl:7; to release it, decide again "
        'with a policy that has `exceptions: [{row: "b: c.jsonl:7", trait: heron, action: keep, '
        "reason: WHY}]`"
    )
    assert list(describe_disputed([])) == []


def test_a_run_says_which_rows_stay_held_against_its_labels(config, policy, tmp_path):
    """A run with labels names the held rows that they deny, until its policy keeps them."""
    labels = tmp_path / "labels.jsonl"
    lines = ({"source": "0.jsonl", "row": n, "trait": "heron", "label": "no"} for n in (1, 6, 7))
    labels.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    given = config.model_copy(update={"labels": (str(labels),)})
    texts = [item["text"] for item in run_filter(given).circumstances["notices"]]
    (said,) = (text for text in texts if "labelled false" in text)
    assert said.startswith(
        "2 rows that you labelled false are still in quarantine: 0.jsonl:1, 0.jso"
    )
    exceptions = said.partition("`")[2].rstrip("`")
    update = {"policy": policy(exceptions), "output": f"{config.output}2"}
    manifest = run_filter(given.model_copy(update=update))
    assert manifest.conservation.by_decision == {"keep": 34, "quarantine": 6}
    assert not any("labelled false" in item["text"] for item in manifest.circumstances["notices"])
