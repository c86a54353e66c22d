"""What `review --agreement` prints, and what `--merge` writes."""

import json
from pathlib import Path

import pytest

from pipelines.cli.reviewer_agreement import ReviewerAgreement
from pipelines.review.agreement import ReviewerPair
from pipelines.review.session import ReviewSession


@pytest.fixture
def folder(run) -> str:
    """Return the folder of a run whose first held rows two reviewers labelled."""
    for name, verdicts in (("ada", ("yes", "no", "no")), ("ben", ("yes", "no", "yes"))):
        session = ReviewSession(str(run[0]), Path(f"{run[0]}.review"), name)
        rows = session.list_rows({})["rows"]
        for index, verdict in zip(rows, verdicts, strict=False):
            session.add_label({"index": index, "trait": "heron", "label": verdict})
    return str(run[0])


def test_agreement_is_printed(congener, folder, tmp_path):
    """The table has the rows that both labelled, the share that agrees, and kappa."""
    merged = tmp_path / "both.jsonl"
    code, out, err = congener("review", folder, "--agreement", "--merge", str(merged))
    assert (code, err) == (0, "")
    assert "labels: ada 3, ben 3" in out
    assert "67%" in out
    assert "0.40" in out
    assert f"{merged} (1 label unsure" in out
    labels = [json.loads(line)["label"] for line in merged.read_text().splitlines()]
    assert sorted(map(str, labels)) == ["False", "True", "unsure"]


def test_agreement_in_json(congener_json, folder):
    """--json gives the pairs."""
    found = congener_json("review", folder, "--agreement")
    (pair,) = found["pairs"]
    assert (pair["rows"], pair["agreed"], pair["blind"]) == (3, 2, 0)
    assert pair["kappa"] == pytest.approx(0.4)
    assert (found["merged"], found["differing"]) == (None, 1)


def test_without_common_rows_there_is_no_table():
    """Reviewers without a common row aren't compared, and a kappa may be missing."""
    lines = list(ReviewerAgreement({"ada": 1, "ben": 2}, [], None, 0).render())
    assert lines[-1] == "No row has labels of two reviewers for the same trait."
    pair = ReviewerPair("heron", "ada", "ben", 4, 4, None, 4)
    _, table = ReviewerAgreement({"ada": 4, "ben": 4}, [pair], None, 0).render()
    assert table.row_count == 1


def test_without_labels_there_is_an_error(congener, run, tmp_path):
    """A run that nobody labelled, and a file that can't be written, are errors."""
    code, _, err = congener("review", str(run[0]), "--agreement")
    assert (code, "no file of labels" in err) == (2, True)
    code, _, err = congener("review", str(run[0]), "--merge", str(tmp_path))
    assert (code, "is a folder" in err) == (6, True)
