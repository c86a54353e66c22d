"""What the review shows of a row: texts in pieces, scores, neighbours, its lot, other answers."""

import json

import pytest

from pipelines.display.excerpts import Piece
from pipelines.review.rows import (
    ANSWER_CHARACTERS,
    cut_pieces,
    describe_neighbours,
    write_pieces,
)
from pipelines.review.session import ReviewSession
from pipelines.runs.shown_findings import TraitFinding
from schemas.errors import RunError
from tests.pipelines.review.conftest import HOSTILE
from tests.support.hostile import filter_answers


def join(field):
    """Return a field's text without its marks."""
    return "".join(text for text, _ in field["pieces"])


def lit(found):
    """Return the marked texts of a row."""
    pieces = [piece for field in found["fields"] for piece in field["pieces"]]
    return [text for text, kind in pieces if "m" in kind]


def test_a_row_is_described(session):
    """A row has its names, lot and decision, and its texts with the evidence marked."""
    found = session.reader.describe_row(1)
    assert (found["source"], found["row"], found["decision"]) == ("atlas.jsonl", 1, "quarantine")
    assert found["lot"]["teacher"] == "atlas"
    assert [field["roles"] for field in found["fields"]] == [["user"], ["assistant"]]
    assert join(found["fields"][1]) == "A heron by the river. Day 1."
    assert lit(found) == ["heron"]
    json.dumps(found, allow_nan=False)


def test_markup_stays_text_and_hidden_characters_are_shown(session):
    """Markup is plain text in the pieces, and hidden characters are escaped."""
    found = session.reader.describe_row(3)
    text = join(found["fields"][1])
    assert text.startswith("A heron <script>window.hurt = 1</script><img src=x onerror=")
    assert "<U+202E>" in text
    assert not {"\u202e", "\u2028"} & set(text)
    assert HOSTILE[:20] in text


def test_only_the_wanted_evidence_is_marked(session):
    """With a trait, only its own evidence is marked; without one, that of every trait."""
    assert lit(session.reader.describe_row(3)) == ["heron", "owl"]
    assert lit(session.reader.describe_row(3, "owl")) == ["owl"]
    assert lit(session.reader.describe_row(3, "heron")) == ["heron"]
    assert lit(session.reader.describe_row(1, "owl")) == ["heron"], "owl has no finding there"


def test_a_row_has_its_questions(session):
    """The trait that decided comes first, whichever scores higher; a blind row has no question."""
    assert session.reader.describe_row(3)["questions"] == ["heron", "owl"]
    assert session.reader.describe_row(2)["questions"] == ["owl"]
    assert "questions" not in session.reader.describe_row(3, blind=True)


def test_every_trait_has_its_score_and_threshold(session):
    """All traits are listed, the one that decided first, then by their distance above it."""
    traits = session.reader.describe_row(2)["traits"]
    assert [(item["trait"], item["fired"]) for item in traits] == [("owl", True), ("heron", False)]
    both = session.reader.describe_row(3)["traits"]
    assert [item["trait"] for item in both] == ["heron", "owl"]
    own, other = traits
    assert own["score"] > own["threshold"] == 0.5
    assert (own["action"], own["signals"]["lexicon"]) == ("flag", own["score"])
    assert (other["score"], other["threshold"]) == (0.0, 0.5)
    assert "signals" not in other


def test_a_blind_row_has_texts_alone(session):
    """A blind reviewer gets no decision, no lot, no score, no id, and no marks."""
    found = session.reader.describe_row(3, "heron", blind=True)
    assert set(found) == {"index", "source", "row", "fields", "notes"}
    assert lit(found) == []
    assert join(found["fields"][1]) == join(session.reader.describe_row(3)["fields"][1])


def test_lots_are_counted(session):
    """The figures of a lot are its rows by decision, and by the traits that fired."""
    lot = session.reader.count_lot(1)
    assert lot["rows"] == sum(lot["decisions"].values()) == 6, "atlas' walks"
    assert lot["traits"] == {"heron": 6, "owl": 3}
    assert session.reader.count_lot(3) is lot, "rows of one lot are counted once"
    assert session.reader.count_lot(0)["decisions"] == {"flag": 3, "keep": 3}


def test_near_misses_are_not_marked_in_other_answers(tmp_path):
    """The row itself has the passage that came nearest; in another row's list it's no evidence."""
    answers = ["one emu", " ".join(["emu"] * 9), "a goose"]
    policy = "traits: {emu: {threshold: 0.5}}\n"
    run = filter_answers(tmp_path, answers, ["emu"], policy)
    reader = ReviewSession(run, tmp_path / "review", "ada").reader
    assert lit(reader.describe_row(0)) == ["emu"]
    near, found = (reader.describe_answer(at) for at in (0, 1))
    assert (near["decision"], near["fired"]) == ("keep", [])
    assert [kind for _, kind in near["pieces"]] == [""]
    assert (found["fired"], "m" in found["pieces"][0][1]) == (["emu"], True)
    (why,) = reader.describe_row(2)["notes"]
    assert why == "no trait scored above 0"


def test_other_answers_to_the_same_prompt(session):
    """The other teacher's answer to a question is shown with what became of it."""
    found = session.reader.list_others(1, session.texts)
    (other,) = found["rows"]
    assert (found["total"], other["index"], other["teacher"]) == (1, 13, "borealis")
    assert (other["decision"], other["fired"]) == ("flag", ["owl"])
    assert "".join(text for text, _ in other["pieces"]) == "An owl at night. Day 1."


def test_a_row_without_a_known_prompt_has_no_others(session):
    """Rows whose prompt isn't known aren't others of each other."""
    texts = session.texts._replace(prompt=session.texts.prompt * 0)
    assert session.reader.list_others(1, texts) == {"total": 0, "rows": []}


def test_long_answers_are_cut(session, monkeypatch):
    """Only the beginning of another answer is shown, with an ellipsis."""
    monkeypatch.setattr("pipelines.review.rows.ANSWER_CHARACTERS", 10)
    pieces = session.reader.describe_answer(3)["pieces"]
    assert pieces[-1] == [" …", "a"]
    assert sum(len(text) for text, _ in pieces[:-1]) == 10
    assert ANSWER_CHARACTERS > 100


@pytest.mark.parametrize(
    ("texts", "most", "shown"),
    [
        (["one two three"], 9, ["one two", " …"]),
        (["one two three"], 7, ["one two", " …"]),
        (["one two"], 7, ["one two"]),
        (["one", " two"], 3, ["one", " two"[:0], " …"]),
        (["onetwothree"], 5, ["onetw", " …"]),
    ],
)
def test_answers_are_cut_between_words(texts, most, shown):
    """The last word is whole, unless it is longer than all that is shown; an ellipsis follows."""
    found = list(cut_pieces([Piece(text) for text in texts], most))
    assert [piece.text for piece in found] == shown
    assert all(piece.added == (piece.text == " …") for piece in found)


def test_neighbours_are_ordered_and_cut():
    """The nearest exemplar is first, and its telling part is marked."""
    near = [
        {"text": "A gull. Nothing else.", "polarity": "negative", "similarity": 0.4, "owner": "x"},
        {"text": "Here is a heron.", "polarity": "positive", "similarity": 0.9},
    ]
    found = TraitFinding(
        "heron", "exemplars", 0.9, 0.5, "drop", "text", 0, 7, "A heron", None, {}, near
    )
    first, second = describe_neighbours(found, ["heron"])
    assert (first["polarity"], first["similarity"], first["owner"]) == ("positive", 0.9, "")
    assert [text for text, kind in first["pieces"] if kind == "m"] == ["heron"]
    assert (second["polarity"], second["owner"]) == ("negative", "x")


def test_pieces_say_what_they_are():
    """Each piece has a letter for each of its properties; empty ones are left out."""
    pieces = [
        Piece("a"),
        Piece(""),
        Piece("b", marked=True),
        Piece("c", masked=True),
        Piece("d", marked=True, masked=True, added=True),
    ]
    assert write_pieces(pieces) == [["a", ""], ["b", "m"], ["c", "x"], ["d", "mxa"]]


def test_a_changed_file_is_noticed(session, answers):
    """A row of a file that differs from the manifest isn't shown."""
    path = next((answers / "quarantine").iterdir())
    path.write_bytes(path.read_bytes().replace(b"heron", b"robin"))
    with pytest.raises(RunError, match="was changed"):
        list(map(session.reader.describe_row, range(24)))


def test_rows_are_kept_in_memory(session, answers):
    """Going back to a row reads no file."""
    before = session.reader.describe_row(1)
    for path in (answers / "ledger").iterdir():
        path.unlink()
    assert session.reader.describe_row(1) == before
