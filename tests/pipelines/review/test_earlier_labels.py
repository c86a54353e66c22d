"""Labels of an earlier run: which are carried over to a run with a changed card."""

import json
import shutil

import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.labels import read_all_labels
from pipelines.review.earlier_labels import CarriedLabels
from pipelines.review.judgements import LabelBook
from pipelines.review.session import ReviewSession
from schemas.errors import CardError


@pytest.fixture
def label_all(open_session):
    """Return a function that labels four rows of the first run for both traits."""

    def label(reviewer="ada", **options):
        session = open_session(reviewer, **options)
        verdicts = ("yes", "no", "unsure", "no")
        for index, verdict in enumerate(verdicts):
            session.add_label({"index": index, "trait": "heron", "label": verdict, "reason": "r"})
        session.add_label({"index": 3, "trait": "owl", "label": "yes"})
        return session.book.path

    return label


@pytest.fixture
def open_changed(answers_once, tmp_path):
    """Return a function that filters the corpus with changed cards and opens its review."""

    def open_it(heron="", owl="", answer=None, reviewer="ada"):
        folder = answers_once.parent
        for name in ("corpus", "heron", "owl"):
            shutil.copytree(folder / name, tmp_path / "changed" / name)
        for name, more in (("heron", heron), ("owl", owl)):
            card = tmp_path / "changed" / name / "card.yaml"
            lines = [
                line for line in card.read_text().splitlines() if line.split(":")[0] not in more
            ]
            card.write_text("\n".join([*lines, more]) + "\n")
        if answer:
            file = tmp_path / "changed" / "corpus" / "atlas.jsonl"
            file.write_text(file.read_text().replace(*answer))
        config = {
            "input": (str(tmp_path / "changed" / "corpus"),),
            "output": str(tmp_path / "changed" / "run"),
            "traits": tuple(str(tmp_path / "changed" / name) for name in ("heron", "owl")),
        }
        run_filter(FilterConfig.model_validate(config))
        return ReviewSession(config["output"], tmp_path / "changed" / "review", reviewer)

    return open_it


def read_lines(path):
    """Return the lines of a label file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_changed_patterns_keep_every_label(label_all, open_changed):
    """Labels keep their verdict, reason and time, and name the lines that they were."""
    earlier = label_all()
    before = earlier.read_bytes()
    session = open_changed(heron='signals: {lexicon: {patterns: ["herons?", "egrets?"]}}')
    assert session.carry_labels(earlier) == CarriedLabels(5, {})
    same = (
        "source",
        "row",
        "record_id",
        "trait",
        "label",
        "time",
        "picked",
        "reason",
        "definition",
    )
    old, new = read_lines(earlier), read_lines(session.book.path)
    assert [[line.get(name) for name in same] for line in new] == [
        [line.get(name) for name in same] for line in old
    ]
    assert [line["carried_from"] for line in new] == [line["digest"] for line in old]
    assert new[0]["before"] == session.manifest.digest
    assert earlier.read_bytes() == before
    assert len(read_all_labels(session.book.path)) == 5
    assert LabelBook(session.book.path, "ada", session.manifest.digest).list_labels()
    again = session.carry_labels(earlier)
    assert (again.carried, again.left) == (0, {"known": 5})


def test_changed_words_and_texts_leave_labels_behind(label_all, open_changed):
    """Labels of another definition or text are left out, with their number and the reason."""
    earlier = label_all()
    session = open_changed(
        owl="description: An owl that is awake.", answer=("A heron by the river. Day 1.", "Gone.")
    )
    found = session.carry_labels(earlier)
    assert found == CarriedLabels(3, {"row": 1, "definition": 1})
    assert found.describe() == (
        "3 labels carried over; left out: 1 of rows that this run doesn't have, or has with "
        "another text, 1 given by another definition of the trait"
    )
    assert {line["trait"] for line in read_lines(session.book.path)} == {"heron"}


def test_blind_labels_stay_blind(label_all, open_changed):
    """Whether a label was given without sight of the decision is carried over, too."""
    earlier = label_all(blind=True)
    session = open_changed(heron="threshold: 0.4")
    session.carry_labels(earlier)
    assert [line["blind"] for line in read_lines(session.book.path)] == [True] * 5


def test_only_own_and_unchanged_labels_are_carried_over(label_all, open_changed, tmp_path):
    """Another reviewer's file, a changed file, a plain file and a missing one are errors."""
    session = open_changed(heron="threshold: 0.4")
    grace = label_all("grace")
    with pytest.raises(CardError, match="is a label of grace, not of ada"):
        session.carry_labels(grace)
    earlier = label_all()
    changed = tmp_path / "changed.jsonl"
    changed.write_text(earlier.read_text().replace('"label": false', '"label": true'))
    with pytest.raises(CardError, match="its digest doesn't fit"):
        session.carry_labels(changed)
    changed.write_text('{"source": "atlas.jsonl", "row": 1, "trait": "heron", "label": true}\n')
    with pytest.raises(CardError, match="isn't a label that a review of rows wrote"):
        session.carry_labels(changed)
    row = '{"source": "atlas.jsonl", "row": 1, "trait": "heron", "label": null}\n'
    changed.write_text(earlier.read_text() + row)
    with pytest.raises(CardError, match="1 line has no digest"):
        session.carry_labels(changed)
    with pytest.raises(CardError, match="doesn't exist"):
        session.carry_labels(tmp_path / "none.jsonl")
    assert len(session.book) == 0


def test_an_empty_file_carries_nothing(open_session, tmp_path):
    """A review in which nothing was labelled has nothing to take over."""
    path = tmp_path / "labels-ada.jsonl"
    path.write_text("")
    assert open_session().carry_labels(path).describe() == "0 labels carried over"


@pytest.fixture
def open_filtered(answers_once, tmp_path):
    """Return a function that filters rows of a run's clean corpus, and opens the new review."""

    def open_it(copies=0):
        folder, corpus = answers_once.parent, tmp_path / "kept"
        lines = [
            line
            for path in sorted((answers_once / "clean").rglob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        corpus.mkdir()
        (corpus / "kept.jsonl").write_text(
            "".join(f"{line}\n" for line in (*lines[:1] * copies, *lines))
        )
        config = {
            "input": (str(corpus),),
            "output": str(tmp_path / "again"),
            "traits": tuple(str(folder / name) for name in ("heron", "owl")),
        }
        run_filter(FilterConfig.model_validate(config))
        return ReviewSession(config["output"], tmp_path / "again.review", "ada")

    return open_it


def test_labels_follow_their_rows_into_a_run_of_clean_rows(open_session, open_filtered):
    """Rows are found by their text in other files and numbers, and copies get the label too."""
    session = open_session("ada")
    rows = list(session.facts.collect().iter_rows(named=True))
    kept = [row for row in rows if row["decision"] in ("keep", "flag", "mask")]
    held = next(row for row in rows if row["decision"] == "quarantine")
    for row, verdict in ((kept[0], "no"), (kept[-1], "yes"), (held, "no")):
        session.book.add(row, "heron", verdict)
    filtered = open_filtered()
    found = filtered.carry_labels(session.book.path)
    assert found == CarriedLabels(2, {"row": 1}, moved=2)
    assert found.describe() == (
        "2 labels carried over, 2 of them to another file or number with the same text; left out: "
        "1 of rows that this run doesn't have, or has with another text"
    )
    lines = read_lines(filtered.book.path)
    assert [line["record_id"] for line in lines] == [kept[0]["record_id"], kept[-1]["record_id"]]
    assert {line["source"] for line in lines} == {"kept.jsonl"}
    places = {(line["source"], line["row"], line["record_id"]) for line in lines}
    assert places <= set(filtered.facts.select("source", "row", "record_id").collect().iter_rows())
    assert filtered.carry_labels(session.book.path).left == {"known": 2, "row": 1}


def test_a_label_counts_for_every_copy_of_its_row(open_session, open_filtered):
    """If several rows have the text, each of them gets the label, and the copies are counted."""
    session = open_session("ada")
    rows = session.facts.collect().iter_rows(named=True)
    first = next(row for row in rows if row["decision"] in ("keep", "flag", "mask"))
    session.book.add(first, "heron", "no")
    filtered = open_filtered(copies=2)
    found = filtered.carry_labels(session.book.path)
    assert found == CarriedLabels(1, {}, moved=1, copies=2)
    assert "with the same text and to 2 copies of these rows" in found.describe()
    lines = read_lines(filtered.book.path)
    assert [line["row"] for line in lines] == [0, 1, 2]
    assert len({line["carried_from"] for line in lines}) == 1
    assert filtered.carry_labels(session.book.path).left == {"known": 1}
