"""Labels of the review page as answers: which count, and why the others don't."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines.certifying.answers import AuditAnswer
from pipelines.certifying.reviews import (
    INCOMPLETE,
    NOT_AUDITED,
    NOT_BLIND,
    NOT_DRAWN,
    SEEN_BEFORE,
    ReviewCount,
    gather_answers,
    is_review,
    read_review,
)
from pipelines.review.judgements import ITEM_NAMES, LabelBook
from schemas.certificates import AuditItem, AuditSample
from schemas.errors import CardError
from tests.support.certificates import draw_small, fill_sheet, tell_truth

LABELS = "labels-ada.jsonl"


@pytest.fixture
def sample(run, tmp_path) -> AuditSample:
    """Draw a sample from the small run."""
    return draw_small(run[0], tmp_path).sample


@pytest.fixture
def rows(sample) -> list[AuditItem]:
    """Return the items that are rows of the run."""
    return [item for item in sample.items if item.kind != "seeded"]


@pytest.fixture
def book(run, tmp_path) -> LabelBook:
    """Return a reviewer's empty book of rows."""
    return LabelBook(tmp_path / LABELS, "ada", run[1].digest)


def add(book: LabelBook, item: AuditItem, verdict: str = "no", trait: str = "heron", **more):
    """Label an item's row, blind unless told otherwise."""
    names = {"source": item.source, "row": item.row, "record_id": "0" * 32}
    return book.add(names, trait, verdict, **{"blind": True, **more})


def widen(sample: AuditSample) -> AuditSample:
    """Return the sample as one of two traits."""
    return sample.model_copy(update={"traits": ("heron", "owl")})


def test_blind_labels_of_drawn_rows_count(run, sample, rows, book):
    """Each is an answer about its item, by the reviewer who gave it."""
    add(book, rows[0], "yes")
    add(book, rows[1], "no")
    add(book, rows[2], "unsure")
    answers, count = read_review(book.path, run[1], sample)
    names = [item.id for item in rows[:3]]
    shown = [("heron",), (), None]
    assert [(answer.id, answer.shows) for answer in answers] == [*zip(names, shown, strict=True)]
    assert count == ReviewCount(str(book.path), "ada", 3, 3, 3, {})


def test_labels_in_sight_of_the_decision_do_not_count(run, sample, rows, book):
    """A reviewer who sees the filter's finding isn't an independent witness."""
    book.add({"source": rows[0].source, "row": rows[0].row, "record_id": "0" * 32}, "heron", "no")
    answers, count = read_review(book.path, run[1], sample)
    assert answers == []
    assert count.unused == {NOT_BLIND: 1}


def test_a_blind_label_after_a_look_does_not_count(run, sample, rows, book):
    """Whoever has labelled a row in sight of its decision can't be blind about it afterwards."""
    names = {"source": rows[0].source, "row": rows[0].row, "record_id": "0" * 32}
    book.add(names, "heron", "no")
    add(book, rows[0], "yes")
    assert read_review(book.path, run[1], sample)[1].unused == {SEEN_BEFORE: 1}


def test_a_blind_label_before_a_look_counts(run, sample, rows, book):
    """What was said in sight of the decision later changes nothing."""
    names = {"source": rows[0].source, "row": rows[0].row, "record_id": "0" * 32}
    add(book, rows[0], "yes")
    book.add(names, "heron", "no")
    answers, count = read_review(book.path, run[1], sample)
    assert answers == [AuditAnswer(rows[0].id, "ada", ("heron",))]
    assert (count.labels, count.counted, count.unused) == (1, 1, {})


def test_rows_that_were_not_drawn_do_not_count(run, sample, rows, book):
    """A row that a reviewer found isn't a random one."""
    drawn = {(item.source, item.row) for item in rows}
    other = next(row for row in range(20) if (rows[0].source, row) not in drawn)
    add(book, rows[0].model_copy(update={"row": other}), "yes")
    assert read_review(book.path, run[1], sample)[1].unused == {NOT_DRAWN: 1}


def test_another_trait_does_not_count(run, sample, rows, book):
    """The audit is about its own traits."""
    add(book, rows[0], trait="owl")
    assert read_review(book.path, run[1], sample)[1].unused == {NOT_AUDITED: 1}


def test_an_item_needs_a_label_for_every_trait(run, sample, rows, book):
    """Without one, nobody knows whether the row shows any of the traits."""
    add(book, rows[0], "no")
    add(book, rows[1], "no")
    add(book, rows[1], "yes", "owl")
    answers, count = read_review(book.path, run[1], widen(sample))
    assert answers == [AuditAnswer(rows[1].id, "ada", ("owl",))]
    assert (count.counted, count.items, count.unused) == (2, 1, {INCOMPLETE: 1})


@pytest.mark.parametrize(
    ("verdicts", "answer"),
    [
        (("no", "unsure"), ((), ("owl",))),
        (("yes", "unsure"), (("heron",), ("owl",))),
        (("unsure", "yes"), (("owl",), ("heron",))),
        (("unsure", "unsure"), (None, ())),
        (("no", "no"), ((), ())),
    ],
)
def test_doubt_about_one_trait_leaves_the_other_alone(run, sample, rows, book, verdicts, answer):
    """Each trait has its own label, and doubt about all of them is doubt about the item."""
    for trait, verdict in zip(("heron", "owl"), verdicts, strict=True):
        add(book, rows[0], verdict, trait)
    (found,) = read_review(book.path, run[1], widen(sample))[0]
    assert found == AuditAnswer(rows[0].id, "ada", *answer)


def test_the_last_blind_label_counts(run, sample, rows, book):
    """A reviewer may correct a label."""
    add(book, rows[0], "yes")
    add(book, rows[0], "no")
    assert read_review(book.path, run[1], sample)[0] == [AuditAnswer(rows[0].id, "ada", ())]


def test_the_files_of_an_audit_name_items(run, sample, tmp_path):
    """On the audit's page, seeded texts are labelled like rows."""
    book = LabelBook(tmp_path / "audit-ada.jsonl", "ada", sample.origin, ITEM_NAMES)
    for item in sample.items:
        book.add(
            {"id": item.id}, "heron", "yes" if tell_truth(item) else "no", blind=True, picked=False
        )
    answers, count = read_review(book.path, run[1], sample)
    assert [answer.id for answer in answers] == [item.id for item in sample.items]
    assert count.items == len(sample.items)


def test_a_file_of_another_draw_is_refused(run, sample, tmp_path):
    """Its items have the same names, and are other rows."""
    book = LabelBook(tmp_path / "audit-ada.jsonl", "ada", sample.origin, ITEM_NAMES)
    book.add({"id": "00001"}, "heron", "no", blind=True)
    (tmp_path / "audit.jsonl").unlink()
    other = draw_small(run[0], tmp_path, seed="7", restart=True).sample
    with pytest.raises(CardError, match="another draw"):
        read_review(book.path, run[1], other)


def test_a_larger_draw_keeps_the_labels(run, tmp_path):
    """The first items stay the same, so their labels still count."""
    sample = draw_small(run[0], tmp_path, rows=10).sample
    book = LabelBook(tmp_path / "audit-ada.jsonl", "ada", sample.origin, ITEM_NAMES)
    book.add({"id": "00001"}, "heron", "no", blind=True)
    more = draw_small(run[0], tmp_path, rows=25).sample
    assert more.digest != sample.digest
    assert len(read_review(book.path, run[1], more)[0]) == 1


def test_a_changed_line_is_refused(run, sample, rows, book):
    """The digests of the review are compared before any label counts."""
    add(book, rows[0], "yes")
    book.path.write_text(book.path.read_text().replace('"label": true', '"label": false'))
    with pytest.raises(CardError, match="isn't as the review wrote it"):
        gather_answers([book.path], run[1], sample)


def test_sheets_and_reviews_together(run, sample, rows, book, tmp_path):
    """Two raters may use the two ways, and their answers are ordered by item."""
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, tell_truth, tmp_path / "anna.jsonl")
    add(book, rows[0], "no")
    found = gather_answers([sheet, book.path], run[1], sample)
    assert len(found.answers) == len(sample.items) + 1
    assert found.answers == sorted(found.answers, key=lambda item: (item.id, item.rater))
    assert {answer.rater for answer in found.answers} == {"ada", "anna"}
    assert [review.items for review in found.reviews] == [1]


def test_a_reviewer_who_contradicts_a_sheet(run, sample, rows, book, tmp_path):
    """One rater can't have two labels for an item."""
    sheet = fill_sheet(tmp_path / "audit.jsonl", sample, lambda _: True, tmp_path / "ada.jsonl")
    add(book, rows[0], "no")
    with pytest.raises(CardError, match="ada has another label for item"):
        gather_answers([sheet, book.path], run[1], sample)


def test_the_two_kinds_of_files_are_told_apart(sample, rows, book, tmp_path):
    """A label file of the draw has no digests, and a table is never one of the review."""
    add(book, rows[0])
    assert is_review(book.path)
    assert not is_review(tmp_path / "audit.jsonl")
    assert not is_review(Path("labels.csv"))
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    assert not is_review(empty)


def test_a_sentence_says_what_counts():
    """Every label is accounted for."""
    found = ReviewCount("a.jsonl", "ada", 9, 4, 4, {NOT_BLIND: 3, NOT_DRAWN: 2})
    assert found.describe() == (
        "a.jsonl: 4 of 9 labels by ada count, about 4 items; not 3 given with scores and decisions "
        "in sight; not 2 on rows that the sample didn't draw"
    )


def test_merged_reviews_are_no_answers(run, sample, tmp_path):
    """A merged file doesn't say which label was blind."""
    path = tmp_path / "both.jsonl"
    path.write_text(json.dumps({"source": "a", "row": 0, "trait": "heron", "label": True}) + "\n")
    with pytest.raises(CardError, match="has no `id`"):
        gather_answers([path], run[1], sample)
