"""A reviewer's session: what the page may ask for, blind and not."""

import pytest

from pipelines.calibrate import read_labelled, read_scored_run
from pipelines.labels import digest_definition, read_all_labels
from pipelines.review.index import name_fired
from pipelines.review.session import FEWEST_OTHERS, ROWS_LISTED
from schemas.errors import CardError, RunError


def find_fired(session, trait):
    """Return the indexes of the rows on which a trait fired."""
    fired = session.facts.collect()[name_fired(trait)]
    return {index for index, value in enumerate(fired) if value}


def test_the_page_learns_about_the_run(session):
    """The page gets the traits, the values of the filters, and who reviews."""
    found = session.describe_run()
    assert (found["run"], found["reviewer"], found["rows"]) == ("answers", "ada", 24)
    assert found["traits"] == ["heron", "owl"]
    assert found["values"]["teacher"] == {"atlas": 12, "borealis": 12}
    assert found["progress"]["ready"] is True
    assert found["labels"] == 0


def test_a_blind_page_learns_no_decisions(open_session):
    """Values of filters count decisions, so a blind page doesn't get them."""
    found = open_session(blind=True).describe_run()
    assert found["blind"] is True
    assert "values" not in found


def test_rows_are_listed_in_parts(session, monkeypatch):
    """A reply has the total and a part of the indexes."""
    every = session.list_rows({"decision": "any", "order": "row"})
    assert every == {"total": 24, "start": 0, "rows": [*range(24)]}
    monkeypatch.setattr("pipelines.review.session.ROWS_LISTED", 10)
    part = session.list_rows({"decision": "any", "order": "row", "start": "20"})
    assert part == {"total": 24, "start": 20, "rows": [20, 21, 22, 23]}
    assert ROWS_LISTED >= 100


def test_a_selection_is_made_once(session):
    """The same filters give the same array until a label changes what they select."""
    given = {"trait": "heron", "labelled": "no"}
    first = session.list_rows(given)
    session.add_label({"index": first["rows"][0], "trait": "heron", "label": "yes"})
    second = session.list_rows(given)
    assert second["rows"] == first["rows"][1:]
    assert session.list_rows({"trait": "heron", "labelled": "yes"})["total"] == 1
    assert session.list_rows({"trait": "owl", "labelled": "yes"})["total"] == 0
    session.undo()
    assert session.list_rows(given) == first


def test_labels_are_kept_and_shown(session):
    """A label is in the file, in the count and beside its row."""
    answer = session.add_label({"index": 3, "trait": "owl", "label": "no", "reason": "quoted"})
    assert answer == {"index": 3, "trait": "owl", "label": False, "labels": 1}
    (label,) = session.describe_row(3, None)["labels"]
    assert (label["trait"], label["label"], label["reason"]) == ("owl", False, "quoted")
    assert session.describe_row(15, None)["labels"] == [], "another file's row 3"
    (kept,) = read_all_labels(session.book.path)
    row = session.reader.read(3)
    assert (kept.source, kept.row, kept.record_id) == (row.source, row.row, row.record_id)


def test_questions_of_a_row_become_labels(session):
    """A label answers a question, the others stay, and a label that is taken back asks again."""
    assert session.list_questions(3) == ["heron", "owl"]
    session.add_label({"index": 3, "trait": "heron", "label": "unsure"})
    assert session.list_questions(3) == ["owl"]
    session.add_label({"index": 3, "trait": "owl", "label": "no"})
    assert session.list_questions(3) == []
    session.undo()
    assert session.list_questions(3) == ["owl"]


def test_undo_names_the_row(session):
    """Taking back says which row it was; without a label it is an error."""
    session.add_label({"index": 15, "trait": "owl", "label": "unsure"})
    assert session.undo() == {"index": 15, "trait": "owl", "labels": 0}
    with pytest.raises(CardError, match="no label"):
        session.undo()


@pytest.mark.parametrize(
    "change",
    [
        {"index": None},
        {"index": "3"},
        {"index": True},
        {"index": 24},
        {"index": -1},
        {"index": 10**30},
        {"index": 1.5},
        {"trait": "egret"},
        {"trait": None},
        {"label": "maybe"},
        {"label": True},
        {"reason": 5},
        {"reason": "x" * 2_001},
        {"reason": "\ud800"},
    ],
)
def test_wrong_labels_are_refused(session, change):
    """A label needs a row of the run, one of its traits, a verdict, and a text as the reason."""
    given = {"index": 3, "trait": "owl", "label": "yes", "reason": "", **change}
    with pytest.raises(CardError):
        session.add_label(given)
    assert len(session.book) == 0
    assert not session.book.path.exists()


def test_unhashable_values_are_refused(session):
    """A list or an object in place of a name is an error like any other."""
    for name in ("index", "trait", "label", "reason"):
        for value in ([], {}, [["owl"]]):
            given = {"index": 3, "trait": "owl", "label": "yes", "reason": "", name: value}
            with pytest.raises(CardError):
                session.add_label(given)


def test_company_is_shown(session):
    """The figures of the lot and other answers come together; others wait for the texts."""
    found = session.describe_company(1)
    assert found["lot"]["rows"] == 6
    assert [other["teacher"] for other in found["others"]["rows"]] == ["borealis"]
    session.texts = None
    assert session.describe_company(1)["others"] is None
    with pytest.raises(CardError, match="no row 24"):
        session.describe_company(24)


def test_a_blind_session_hides_what_it_must(open_session):
    """A blind session shows texts alone, and marks its labels as blind."""
    session = open_session(blind=True)
    assert "decision" not in session.describe_row(1, "heron")
    with pytest.raises(CardError, match="no decisions"):
        session.describe_company(1)
    session.add_label({"index": 1, "trait": "heron", "label": "yes"})
    (line,) = session.book.list_labels().values()
    assert line["definition"] == digest_definition(session.manifest.cards[line["trait"]])
    assert line["blind"] is True


def test_a_blind_selection_mixes_rows(open_session):
    """Rows with a finding are mixed with others, in an order that says nothing."""
    session = open_session(blind=True)
    rows = session.list_rows({"trait": "heron"})["rows"]
    fired = find_fired(session, "heron")
    assert fired < set(rows), "all findings, and others"
    assert len(rows) == len(set(rows)) == 24
    assert len(fired) < FEWEST_OTHERS
    kinds = [row in fired for row in rows]
    assert kinds not in (sorted(kinds), sorted(kinds, reverse=True))
    session.add_label({"index": rows[0], "trait": "heron", "label": "yes"})
    left = session.list_rows({"trait": "heron", "labelled": "no"})["rows"]
    assert left == rows[1:]
    assert session.list_rows({"trait": "heron", "labelled": "yes"})["rows"] == rows[:1]


@pytest.mark.parametrize(
    "given", [{}, {"trait": "owl", "decision": "keep"}, {"trait": "owl", "teacher": "atlas"}]
)
def test_a_blind_selection_is_by_trait_alone(open_session, given):
    """Other filters would tell what a blind reviewer mustn't know."""
    with pytest.raises(CardError, match="blind"):
        open_session(blind=True).list_rows(given)


def test_reviewers_have_files_of_their_own(open_session):
    """Two reviewers label the same row without seeing each other's labels."""
    ada, ben = open_session("ada"), open_session("ben")
    ada.add_label({"index": 1, "trait": "heron", "label": "yes"})
    ben.add_label({"index": 1, "trait": "heron", "label": "no"})
    assert ada.book.path != ben.book.path
    assert [label["label"] for label in ben.describe_row(1, None)["labels"]] == [False]
    assert len(open_session("ada").book) == 1, "a new session continues"


def test_a_problem_with_the_texts_is_shown(open_session, answers):
    """A file that can't be read ends the search, and the page says why."""
    session = open_session()
    for path in (*(answers / "clean").iterdir(), *(answers / "quarantine").iterdir()):
        path.unlink()
    for path in session.folder.rglob("texts/*"):
        path.unlink()
    session.texts = None
    session.start_reading().join()
    progress = session.describe_progress()
    assert progress["ready"] is False
    assert "can't be opened" in progress["problem"]


def test_a_changed_run_is_refused(open_session, answers):
    """A ledger that differs from the manifest isn't reviewed."""
    path = next((answers / "ledger").iterdir())
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(RunError, match="was changed"):
        open_session()


def test_an_area_of_the_map_is_a_filter(session):
    """An area lists all rows in it, and combines with the other filters."""
    area = "0,0 65536,0 65536,65536 0,65536"
    with pytest.raises(CardError, match="still being made"):
        session.list_rows({"area": area})
    session.make_map()
    assert session.list_rows({"area": area})["total"] == 24, "also rows without a finding"
    both = session.list_rows({"area": area, "teacher": "atlas", "decision": "keep"})
    alone = session.list_rows({"teacher": "atlas", "decision": "keep"})
    assert both["rows"] == alone["rows"]
    place = session.corpus_map.x[3], session.corpus_map.y[3]
    corners = [(0, 0), (1, 0), (1, 1), (0, 1)]
    own = " ".join(f"{place[0] + x},{place[1] + y}" for x, y in corners)
    assert 3 in session.list_rows({"area": own, "order": "row"})["rows"]
    assert session.list_rows({"area": own})["total"] < 24


def test_the_map_is_made_after_the_texts(open_session):
    """The background reads the texts and makes the map, and the page hears of both."""
    session = open_session()
    session.texts = None
    with pytest.raises(CardError, match="still being made"):
        session.describe_map({})
    assert session.describe_progress()["map"] == {"done": 0, "of": 0, "problem": "", "ready": False}
    session.start_reading().join()
    assert session.describe_progress()["map"]["ready"] is True
    assert len(session.describe_map({"colour": "score", "trait": "owl"})["codes"]) == 24


def test_a_blind_session_has_no_map(open_session):
    """Colours would show decisions, and places which rows are found, so there is no map."""
    session = open_session(blind=True)
    session.start_reading().join()
    assert session.corpus_map is None
    with pytest.raises(CardError, match="blind"):
        session.describe_map({})
    with pytest.raises(CardError, match="blind"):
        session.list_rows({"trait": "owl", "area": "0,0 9,0 9,9"})


def test_a_problem_with_the_map_is_shown(session):
    """A folder that can't be written ends the map, and the page says why."""
    (session.folder / "map.arrow").mkdir()
    session.corpus_map = None
    session.make_map()
    assert session.describe_progress()["map"]["ready"] is False
    assert session.describe_progress()["map"]["problem"]


def test_a_sample_is_drawn_from_all_rows(open_session):
    """Every row that the run holds can be drawn, whatever was decided on it, and none is chosen."""
    session = open_session(sample=6)
    assert session.blind
    rows = session.list_rows({"trait": "heron"})["rows"]
    assert len(set(rows)) == 6
    assert rows == session.list_rows({"trait": "owl"})["rows"]
    assert open_session("bob", sample=9).list_rows({"trait": "heron"})["rows"][:6] == rows
    assert set(open_session("cy", sample=99).list_rows({"trait": "owl"})["rows"]) == {*range(24)}
    with pytest.raises(CardError, match="trait alone"):
        session.list_rows({"trait": "heron", "decision": "keep"})


def test_labels_of_a_sample_are_not_picked(open_session, answers):
    """So calibrate takes them, and another row's label stays picked."""
    session = open_session(sample=6)
    rows = session.list_rows({"trait": "heron"})["rows"]
    other = next(index for index in range(24) if index not in rows)
    for index in (rows[0], rows[1], other):
        session.add_label({"index": index, "trait": "heron", "label": "no"})
    assert [label.is_picked for label in read_all_labels(session.book.path)] == [False, False, True]
    assert session.list_rows({"trait": "heron", "labelled": "no"})["rows"] == rows[2:]
    labelled = read_labelled(read_scored_run(str(answers)), "heron", session.book.path)
    assert len(labelled.scores) == 2
    assert labelled.unused == ("1 label of rows that a reader chose",)
