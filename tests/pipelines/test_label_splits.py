"""Which labels may calibrate a run: rows that were drawn, and that no fit has learnt from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from classifiers.labelled_rows import JudgedRow, is_kept_out, split_labels
from pipelines.calibrate import read_labelled, read_scored_run
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.label_splits import LabelSplit, has_learnt_from_labels, split_for_calibration
from pipelines.labels import read_labels
from schemas.cards import TraitCard
from schemas.errors import CardError
from tests.support.corpora import build_conversation, write_rows

ROWS = 24
CARD = "id: bird\nthreshold: 0.5\naction: flag\nsignals: [wording]\n"
EXEMPLARS = ("One egret in the reeds.", "Two egrets in a marsh.", "An egret, again.", "Egrets!")


def write_labels(path: Path, rows=range(ROWS), **more) -> Path:
    """Label rows for the trait: every other one shows it."""
    names = {"source": "corpus.jsonl", "trait": "bird", **more}
    write_rows(path, [{**names, "row": row, "label": row % 2 == 0} for row in rows])
    return path


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> str:
    """Filter a corpus with a trait that was fitted with labels of all its rows."""
    folder = tmp_path_factory.mktemp("fitted")
    texts = ("A heron by the river, day {}.", "A chair by the door, day {}.")
    rows = [build_conversation(n, texts[n % 2].format(n)) for n in range(ROWS)]
    (folder / "bird").mkdir()
    (folder / "bird" / "card.yaml").write_text(CARD, encoding="utf-8")
    write_rows(folder / "bird" / "positives.jsonl", [{"text": text} for text in EXEMPLARS])
    config = FilterConfig(
        input=(str(write_rows(folder / "corpus.jsonl", rows)),),
        output=str(folder / "run"),
        traits=(str(folder / "bird"),),
        labels=(str(write_labels(folder / "labels.jsonl")),),
    )
    run_filter(config)
    return config.output


def split(run: str, path: Path) -> LabelSplit:
    """Split a file's labels for a run."""
    return split_for_calibration(run, "bird", TraitCard(id="bird"), read_labels(path, "bird"))


def test_labels_of_the_fit_do_not_calibrate(fitted, tmp_path):
    """Only the half of the prompts that no fit learns from is used."""
    assert has_learnt_from_labels(fitted, "bird")
    found = split(fitted, write_labels(tmp_path / "labels.jsonl"))
    kept = {label.row for label in found.labels}
    questions = [build_conversation(n, "")["messages"][0]["content"] for n in range(ROWS)]
    expected = {n for n, text in enumerate(questions) if is_kept_out(JudgedRow(("x",), text, None))}
    assert kept == expected
    assert 0 < len(kept) < ROWS
    assert found.fitted == ROWS - len(kept)
    (reason,) = found.describe_unused()
    assert reason.startswith(f"{found.fitted} labels of rows in the half from which")


def test_the_halves_are_those_of_the_fit():
    """A row that is kept out here is never in the fitting half of a split."""
    rows = [JudgedRow((f"text {n}",), f"prompt {n % 40}", shows=True) for n in range(100)]
    fitting = {text for (text,) in split_labels(rows, ["text 3"]).fitting.positives}
    kept_out = {row.texts[0] for row in rows if is_kept_out(row)}
    assert fitting.isdisjoint(kept_out)
    assert len(fitting) > 20
    assert len(kept_out) > 20


def test_rows_that_a_reader_chose_do_not_calibrate(fitted, tmp_path):
    """A promise needs rows that were drawn at random."""
    found = split(fitted, write_labels(tmp_path / "labels.jsonl", picked=True))
    assert (found.labels, found.picked, found.fitted) == ([], ROWS, 0)
    assert list(found.describe_unused()) == [f"{ROWS} labels of rows that a reader chose"]


def test_rows_without_a_known_half_do_not_calibrate(fitted, tmp_path):
    """A row that the run doesn't hold could have been in the fit."""
    found = split(fitted, write_labels(tmp_path / "labels.jsonl", rows=[ROWS + 5]))
    assert (found.labels, found.fitted) == ([], 1)


def test_a_trait_without_labels_uses_all(run, tmp_path):
    """Nothing is kept out if no label was in a fit."""
    assert not has_learnt_from_labels(str(run[0]), "heron")
    lines = [
        json.dumps({"source": "0.jsonl", "row": row, "label": False, "trait": "heron"})
        for row in range(6)
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(lines))
    labels = read_labels(path, "heron")
    found = split_for_calibration(str(run[0]), "heron", TraitCard(id="heron"), labels)
    assert found == LabelSplit(labels)
    assert list(found.describe_unused()) == []


def test_calibrate_says_what_it_leaves_out(fitted, tmp_path):
    """The scores are those of the other labels, and without any it is an error."""
    scored = read_scored_run(fitted)
    found = read_labelled(scored, "bird", write_labels(tmp_path / "labels.jsonl"))
    assert 0 < len(found.scores) < ROWS
    assert found.unused
    path = write_labels(tmp_path / "picked.jsonl", picked=True)
    with pytest.raises(CardError, match="no label of bird that may calibrate it") as caught:
        read_labelled(scored, "bird", path)
    assert "--sample" in str(caught.value.remedy)
