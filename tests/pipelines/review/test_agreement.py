"""Agreement of reviewers: which rows both labelled, Cohen's kappa, and the merged labels."""

import json

import pytest
from sklearn.metrics import cohen_kappa_score

from pipelines.labels import read_labels
from pipelines.review.agreement import compare_reviewers, merge_reviews, read_reviews
from schemas.errors import CardError

ADA = ("yes", "yes", "no", "unsure", "no", "yes")
BEN = ("yes", "no", "no", "no", "no")


@pytest.fixture
def reviews(open_session, tmp_path):
    """Return the labels of two reviewers: one of the first six rows, and one of five of them."""
    ada, ben = open_session("ada"), open_session("ben", blind=True)
    for session, verdicts in ((ada, ADA), (ben, BEN)):
        for index, verdict in enumerate(verdicts):
            reason = f"because {session.reviewer}" if index == 1 else ""
            given = {"index": index, "trait": "heron", "label": verdict, "reason": reason}
            session.add_label(given)
    ada.add_label({"index": 0, "trait": "owl", "label": "yes"})
    return read_reviews(tmp_path / "review", ada.manifest)


def test_all_files_of_a_run_are_read(reviews):
    """Every reviewer's file is read, by name."""
    assert {name: len(labels) for name, labels in reviews.items()} == {"ada": 7, "ben": 5}


def test_two_reviewers_are_compared(reviews):
    """Only rows that both labelled count, and kappa is that of scikit-learn."""
    (pair,) = compare_reviewers(reviews)
    assert (pair.trait, pair.first, pair.second) == ("heron", "ada", "ben")
    assert (pair.rows, pair.agreed, pair.blind) == (5, 3, 0)
    assert pair.kappa == pytest.approx(cohen_kappa_score(ADA[:5], BEN), abs=1e-12)


def test_blind_pairs_are_counted(open_session, tmp_path):
    """A row is labelled blind if both reviewers saw only its texts."""
    for name in ("ada", "ben", "cleo"):
        session = open_session(name, blind=name != "cleo")
        for index in (1, 5):
            session.add_label({"index": index, "trait": "heron", "label": "yes"})
    pairs = compare_reviewers(read_reviews(tmp_path / "review", session.manifest))
    assert [(pair.first, pair.second, pair.blind) for pair in pairs] == [
        ("ada", "ben", 2),
        ("ada", "cleo", 0),
        ("ben", "cleo", 0),
    ]
    assert all(pair.kappa is None for pair in pairs), "all labels are equal"


def test_merged_labels_are_read_by_other_commands(reviews, tmp_path):
    """Where reviewers differ, the merged label is unsure; reasons and names are kept."""
    lines = list(merge_reviews(reviews))
    path = tmp_path / "merged.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    labels = read_labels(path, "heron")
    assert [label.shows for label in labels] == [True, None, False, None, False, True]
    second = lines[2]
    assert (second["row"], second["label"]) == (1, "unsure")
    assert (second["reviewer"], second["reason"]) == ("ada, ben", "because ada; because ben")
    assert [line["trait"] for line in lines] == ["heron", "owl", *["heron"] * 5]


def test_a_folder_without_labels(tmp_path, session):
    """Without labels there is nothing to compare, and a changed file is named."""
    with pytest.raises(CardError, match="no file of labels"):
        read_reviews(tmp_path, session.manifest)
    session.add_label({"index": 1, "trait": "heron", "label": "yes"})
    path = session.book.path
    path.write_text(path.read_text().replace("true", "false"))
    with pytest.raises(CardError, match="isn't as the review wrote it"):
        read_reviews(path.parent, session.manifest)
