"""Files of labels: good and bad lines."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipelines.labels import (
    LABEL_AGAIN,
    Label,
    append_lines,
    choose_label,
    digest_definition,
    has_score,
    hide_score,
    keep_answer,
    list_unlabelled,
    read_all_labels,
    read_labels,
    require_definition,
    require_traits,
    require_usable,
)
from schemas.digests import digest_config
from schemas.errors import CardError, StorageError


def write_lines(path, *lines):
    """Write lines as JSON or as strings, and return the path."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts), encoding="utf-8")
    return path


def test_labels_name_rows_by_number_or_id(tmp_path):
    """A label names its row by number or record id, and may have a score."""
    path = write_lines(
        tmp_path / "l.jsonl",
        {"source": "a.jsonl", "row": 3, "label": True, "score": 0.5, "text": "ignored"},
        {"record_id": "00ff", "label": "no", "trait": "owl"},
        {"source": "a.jsonl", "row": 4, "record_id": "00ff", "label": 1},
    )
    first, second, third = read_labels(path, "owl")
    assert (first.source, first.row, first.record_id, first.shows) == ("a.jsonl", 3, None, True)
    assert (first.score, first.place) == (0.5, "line 1")
    assert (second.source, second.record_id, second.shows) == (None, "00ff", False)
    assert second.score is None
    assert (third.row, third.record_id, third.shows) == (4, "00ff", True)
    assert (second.key, third.key) == ("00ff", ("a.jsonl", 4))


SCORES = st.integers(0, 10_000).map(lambda steps: steps / 10_000)


@given(SCORES, SCORES)
def test_a_hidden_score_is_compared_like_a_shown_one(drawn, now):
    """Whether a score has changed doesn't depend on whether the file hides it."""
    assume(abs(abs(now - drawn) - 0.001) > 1e-9)  # the last digit decides at the limit itself
    shown = Label("a", 1, "00ff", True, drawn, "line 1")
    hidden = shown._replace(score=None, drawn=hide_score("owl", "00ff", drawn))
    assert has_score(hidden, "owl", now, 0.001) == has_score(shown, "owl", now, 0.001)
    assert has_score(hidden, "owl", now, 0.001) == (abs(now - drawn) < 0.001)


def test_a_hidden_score_belongs_to_a_row_and_a_trait():
    """The same score of another row or trait looks different, and a row may have no score."""
    scores = {
        hide_score(trait, record, score)
        for trait in ("owl", "heron")
        for record in ("00ff", "11ff")
        for score in (0.5, math.nan)
    }
    assert len(scores) == 8
    none = Label("a", 1, "00ff", True, None, "line 1", drawn=hide_score("owl", "00ff", math.nan))
    assert has_score(none, "owl", math.nan, 0.001)
    assert not has_score(none, "owl", 0.5, 0.001)
    assert has_score(none._replace(drawn=None), "owl", 0.5, 0.001)
    assert has_score(none._replace(record_id=None), "owl", 0.5, 0.001)


@pytest.mark.parametrize(
    ("fields", "is_drawn"), [({"score": 0.5}, True), ({"drawn": "0f" * 8}, True), ({}, False)]
)
def test_rows_that_were_drawn_by_score_say_so(tmp_path, fields, is_drawn):
    """A line with a score or a hidden score isn't of a random row."""
    path = write_lines(tmp_path / "l.jsonl", {"source": "a", "row": 1, "label": True, **fields})
    assert [label.is_drawn_by_score for label in read_labels(path, "owl")] == [is_drawn]


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        ({"description": "Says\n  no too  often."}, True),
        ({"signals": {"lexicon": {"patterns": ["no"]}}, "threshold": 0.5}, True),
        ({"caution": "Letters."}, True),
        ({"description": "Says no."}, False),
        ({"title": "Refuser"}, False),
        ({"title": "Refusal", "description": ""}, False),
    ],
)
def test_a_definition_is_what_a_reader_judges_by(change, is_same):
    """The title and the description make the definition, and nothing that finds the trait does."""
    card = {"id": "no", "title": "Refusal", "description": "Says no too often."}
    assert (digest_definition(card | change) == digest_definition(card)) == is_same


def test_a_word_that_moves_to_the_title_is_another_definition():
    """Title and description aren't joined before they are compared."""
    one, other = {"title": "a b", "description": "c"}, {"title": "a", "description": "b c"}
    assert digest_definition(one) != digest_definition(other)
    assert digest_definition({}) == digest_definition({"title": None, "description": " "})


def test_labels_of_another_definition_are_refused(tmp_path):
    """The error names the first such label, its trait, and what to do; others are accepted."""
    path = write_lines(
        tmp_path / "l.jsonl",
        {"source": "a", "row": 1, "label": True, "trait": "owl"},
        {"source": "a", "row": 2, "label": True, "trait": "owl", "definition": "0f" * 8},
        {"source": "a", "row": 3, "label": True, "trait": "owl", "definition": "1f" * 8},
    )
    labels = read_labels(path, "owl")
    require_definition(labels[:2], "owl", "0f" * 8, path)
    with pytest.raises(CardError, match="1 label of owl was given by another definition") as found:
        require_definition(labels, "owl", "0f" * 8, path)
    assert found.value.where == f"{path} line 3"
    assert "--accept-definition" in str(found.value)
    with pytest.raises(CardError, match="2 labels of owl were given") as found:
        require_definition(labels, "owl", "2f" * 8, path, LABEL_AGAIN)
    assert "congener review RUN" in str(found.value)


def test_rows_that_were_not_read_are_skipped(tmp_path):
    """Blank lines, unlabelled lines and other traits' lines aren't labels."""
    path = write_lines(
        tmp_path / "l.jsonl",
        {"source": "a", "row": 1, "label": None},
        "",
        {"source": "a", "row": 2},
        {"source": "a", "row": 3, "label": True, "trait": "stork"},
    )
    assert read_labels(path, "owl") == []


def test_rows_without_a_label_are_listed(tmp_path):
    """A trait's unlabelled lines are listed by row or record id."""
    path = write_lines(
        tmp_path / "l.jsonl",
        {"source": "a", "row": 1, "label": None, "record_id": "00ff"},
        {"record_id": "00ff"},
        {"label": None},
        {"source": "a", "row": 2, "label": False},
        {"source": "a", "row": 3, "label": None, "trait": "stork"},
    )
    assert list_unlabelled(path, "owl") == [("a", 1), "00ff"]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nothing", "is not a JSON object"),
        ("[1]", "is not a JSON object"),
        ({"row": 1, "label": True}, "names no row"),
        ({"source": "a", "row": True, "label": True}, "names no row"),
        ({"source": "a", "row": "1", "label": True}, "names no row"),
        ({"source": "a", "row": 2**70, "label": True}, "names no row"),
        ({"source": "a", "row": -1, "label": True}, "names no row"),
        ({"source": "\ud800", "row": 1, "label": True}, "names no row"),
        ({"record_id": "\udfff", "label": True}, "names no row"),
        ('""', "is not a JSON object"),
        ('[["label", true]]', "is not a JSON object"),
        ({"source": "a", "row": 1, "label": True, "score": 10**400}, "from 0 to 1"),
        ({"source": "a", "row": 1, "label": True, "score": float("nan")}, "from 0 to 1"),
        ({"source": "a", "row": 1, "label": True, "score": "high"}, "from 0 to 1"),
        ({"source": "a", "row": 1, "label": "maybe"}, "neither true nor false"),
        ({"source": "a", "row": 1, "label": 0.5}, "neither true nor false"),
        ({"source": "a", "row": 1, "label": [True]}, "neither true nor false"),
    ],
)
def test_a_mistake_names_its_line(tmp_path, line, problem):
    """The error for a bad line names the file and the line."""
    path = write_lines(tmp_path / "l.jsonl", {"source": "a", "row": 1, "label": True}, line)
    with pytest.raises(CardError, match=problem) as caught:
        read_labels(path, "owl")
    assert caught.value.where == f"{path} line 2"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"label": True}, "names no row"),
        ({"text": " ", "label": True}, "text ' ' isn't a text"),
        ({"text": "\ud800", "label": True}, "isn't a text"),
        ({"text": 3, "label": True}, "text '3' isn't a text"),
        ({"text": "x", "trait": 3, "label": True}, "trait '3' isn't a text"),
        ({"text": "x", "prompt": 3, "label": True}, "prompt '3' isn't a text"),
        ({"text": "x", "label": True, "time": "soon"}, "neither a number nor a date"),
    ],
)
def test_a_mistake_in_a_label_of_a_text_names_its_line(tmp_path, line, problem):
    """Labels of all traits may give a text; a wrong field is named."""
    path = write_lines(tmp_path / "l.jsonl", {"text": "A heron.", "label": "unsure"}, line)
    with pytest.raises(CardError, match=problem) as caught:
        read_all_labels(path)
    assert caught.value.where == f"{path} line 2"


def test_all_labels_are_read_with_their_traits(tmp_path):
    """The labels of all traits have their trait, text, prompt and time; null isn't a label."""
    path = write_lines(
        tmp_path / "l.jsonl",
        {"text": "A heron.", "prompt": "p", "trait": "owl", "label": "unsure", "time": 5},
        {"record_id": "00ff", "label": "no", "text": "\ud800"},
        {"record_id": "00ff", "label": None, "trait": 3},
    )
    first, second = read_all_labels(path)
    assert (first.text, first.prompt, first.trait) == ("A heron.", "p", "owl")
    assert (first.shows, first.time, first.key) == (None, 5, None)
    assert (second.text, second.key, second.shows) == (None, "00ff", False)
    with pytest.raises(CardError, match="names no row"):
        read_labels(path, "owl")


@pytest.mark.parametrize(
    ("traits", "known", "problem"),
    [
        ((), ("owl",), "no labelled row"),
        ((None,), ("owl", "stork"), "names no trait, and 2 traits are fitted"),
        (("olw",), ("owl", "stork"), "no trait 'olw' is fitted"),
    ],
)
def test_labels_name_traits_of_the_fit(tmp_path, traits, known, problem):
    """Labels without a trait need a fit of one trait, and unknown traits are refused."""
    labels = [Label("a", 1, None, True, None, "line 1", trait) for trait in traits]
    with pytest.raises(CardError, match=problem):
        require_traits(labels, known, tmp_path)
    require_traits([Label("a", 1, None, True, None, "line 1")], ("owl",), tmp_path)


def test_the_later_label_counts():
    """A later label replaces an earlier one; contradictions without times are errors."""
    yes = Label("a", 1, None, True, None, "line 1", time=1)
    no = Label("a", 1, None, False, None, "line 2", time=2)
    assert choose_label(yes, no, "l") is choose_label(no, yes, "l") is no
    assert choose_label(yes, yes._replace(time=None), "l") is yes
    with pytest.raises(CardError, match="on line 1"):
        choose_label(yes, no._replace(time=1), "l")


def test_nothing_is_added_to_a_table(tmp_path):
    """Rows to read can't be added to a CSV file."""
    with pytest.raises(StorageError, match="is a table"):
        append_lines(tmp_path / "l.csv", [{}])
    assert not (tmp_path / "l.csv").exists()


def test_a_missing_file_is_an_error(tmp_path):
    """The error for a missing file names the file."""
    with pytest.raises(CardError, match="can't be read"):
        read_labels(tmp_path / "none.jsonl", "owl")


def test_appended_lines_are_read_again(tmp_path):
    """Answers are appended, even after a missing line break."""
    path = tmp_path / "new" / "l.jsonl"
    append_lines(path, [{"source": "a", "row": 1, "label": True, "text": "é\u2028\n"}])
    path.write_text(path.read_text(encoding="utf-8").rstrip("\n"), encoding="utf-8")
    append_lines(path, [{"source": "a", "row": 2, "label": False}])
    found = [(label.row, label.shows) for label in read_labels(path, "owl")]
    assert found == [(1, True), (2, False)]
    assert "é" in path.read_text(encoding="utf-8")


def test_only_a_review_adds_to_its_file(tmp_path):
    """A line without digests, an answer and a check of the file are refused; the file stays."""
    path = tmp_path / "labels-ada.jsonl"
    line = {"source": "a", "row": 1, "trait": "owl", "label": True, "before": "0" * 64}
    line["digest"] = digest_config(line)
    append_lines(path, [line])
    before = path.read_bytes()
    answer = {"source": "a", "row": 1, "trait": "owl", "label": False}
    for change in (
        lambda: append_lines(path, [answer]),
        lambda: append_lines(path, []),
        lambda: keep_answer(path, answer),
        lambda: keep_answer(path, answer, replaces=True),
    ):
        with pytest.raises(CardError, match="is a file of a review"):
            change()
    assert path.read_bytes() == before
    after = {**line, "row": 2, "before": line["digest"]}
    del after["digest"]
    append_lines(path, [{**after, "digest": digest_config(after)}])
    assert [label.row for label in read_labels(path, "owl")] == [1, 2]


def test_an_answer_replaces_the_line_without_a_label(tmp_path):
    """A listed row gets its label in its line, and other rows get a new line."""
    listed = {"source": "a", "row": 1, "trait": "owl", "label": None, "text": "é"}
    other = listed | {"trait": "stork"}
    path = write_lines(tmp_path / "l.jsonl", other, "", listed, {"source": "b", "row": 1})
    answer = {"source": "a", "row": 1, "trait": "owl", "label": True, "score": 0.5}
    keep_answer(path, answer)
    lines = [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]
    assert lines == [other, listed | {"label": True}, {"source": "b", "row": 1}]
    keep_answer(path, answer | {"row": 2})
    assert len(read_labels(path, "owl")) == 2
    assert list_unlabelled(path, "owl") == [("b", 1)]
    keep_answer(tmp_path / "new.jsonl", answer)
    assert [label.shows for label in read_labels(tmp_path / "new.jsonl", "owl")] == [True]


def test_a_file_that_cant_be_written_is_an_error(tmp_path):
    """The error for an unwritable file names the file."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="can't be written"):
        append_lines(tmp_path / "file" / "l.jsonl", [{"label": True}])


def test_half_a_character_in_a_line_is_kept(tmp_path):
    """Half of a character, which JSON can hold, doesn't keep an answer from being written."""
    listed = {"source": "a", "row": 1, "trait": None, "label": None, "text": "\ud83d"}
    path = write_lines(tmp_path / "l.jsonl", listed)
    keep_answer(path, {"source": "a", "row": 1, "trait": "owl", "label": True})
    append_lines(path, [listed | {"row": 2}])
    first, second = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    assert (first, second) == (listed | {"label": True}, listed | {"row": 2})


def test_a_file_is_checked_before_the_work(tmp_path):
    """A file that can't be read or written is an error; one that doesn't exist yet isn't."""
    require_usable(tmp_path / "new" / "l.jsonl", "owl")
    path = write_lines(tmp_path / "l.jsonl", {"source": "a", "row": 1, "label": "maybe"})
    with pytest.raises(CardError, match="neither true nor false"):
        require_usable(path, "owl")
    with pytest.raises(StorageError, match="is a file"):
        require_usable(path / "below.jsonl", "owl")
    with pytest.raises(CardError, match="can't be read"):
        require_usable(tmp_path, "owl")


@pytest.mark.parametrize(
    ("answer", "shows"),
    [
        ("yes", True),
        ("Y", True),
        (True, True),
        (1, True),
        ("1", True),
        ("no", False),
        (" N ", False),
        (False, False),
        (0, False),
        ("0", False),
        ("Unsure", None),
    ],
    ids=str,
)
def test_the_spellings_of_an_answer(tmp_path, answer, shows):
    """An answer may be spelt in several ways, in any case."""
    path = write_lines(tmp_path / "l.jsonl", {"source": "a", "row": 1, "label": answer})
    (label,) = read_labels(path, "owl")
    assert label.shows is shows


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
def test_a_mistake_in_a_table_names_its_row(tmp_path, suffix):
    """The error for a bad row of a table names the file and the row."""
    path, separator = tmp_path / f"l.{suffix}", "\t" if suffix == "tsv" else ","
    lines = [("source", "row", "label"), ("a", "1", "yes"), ("a", "two", "no")]
    path.write_text("\n".join(separator.join(line) for line in lines))
    with pytest.raises(CardError, match="names no row") as caught:
        read_labels(path, "owl")
    assert caught.value.where == f"{path} row 2"
    path.write_text(path.read_text().replace("two", "2").replace("label", "answer"))
    labels = [("record_id", "answer"), ("00ff", "yes")]
    path.write_text("\n".join(separator.join(line) for line in labels))
    assert read_labels(path, "owl") == []
    path.write_text("text\nA heron.\n")
    with pytest.raises(CardError, match="is neither a label nor a row to read"):
        read_all_labels(path)


def test_a_table_of_labels_is_read_for_one_trait(tmp_path):
    """A table's labels have the same fields as lines of JSON."""
    path = tmp_path / "l.csv"
    path.write_text(
        "source,row,label,trait,score,time\n"
        "a,1,yes,owl,0.5,1970-01-01T00:00:09\n"
        "a,2,,owl,,\n"
        "a,3,no,stork,,\n"
    )
    (label,) = read_labels(path, "owl")
    assert label == Label("a", 1, None, True, 0.5, "row 1", "owl", None, "", 9.0)
    assert list_unlabelled(path, "owl") == [("a", 2)]
    assert [label.trait for label in read_all_labels(path)] == ["owl", "stork"]


@pytest.mark.parametrize(
    ("value", "picked"), [(None, False), (True, True), (False, False), ("true", True), ("F", None)]
)
def test_a_label_may_be_of_a_chosen_row(tmp_path, value, picked):
    """A line may say that its reader chose the row; other values than true and false are wrong."""
    line = {"source": "a", "row": 1, "label": True, "picked": value}
    path = write_lines(tmp_path / "l.jsonl", line)
    if picked is None:
        with pytest.raises(CardError, match="picked 'F' is neither true nor false"):
            read_labels(path, "owl")
    else:
        assert [label.is_picked for label in read_labels(path, "owl")] == [picked]


def test_an_answer_may_replace_the_last_label_of_its_row(tmp_path):
    """A changed answer takes the place of the old one, whichever name the line has."""
    path = write_lines(
        tmp_path / "l.jsonl",
        {"source": "a", "row": 1, "label": True, "trait": "owl", "score": 0.5},
        {"record_id": "ff", "label": True, "trait": "owl"},
        {"source": "a", "row": 1, "label": True, "trait": "emu"},
        {"text": "An owl.", "label": True, "trait": "owl"},
    )
    answer = {"source": "a", "row": 1, "record_id": "ee", "trait": "owl", "label": False}
    keep_answer(path, answer, replaces=True)
    keep_answer(path, answer | {"row": 9, "record_id": "ff"}, replaces=True)
    keep_answer(path, answer | {"row": 8}, replaces=True)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["label"] for line in lines] == [False, False, True, True, False]
    assert lines[0]["score"] == 0.5
    assert lines[4]["row"] == 8


def test_an_answer_isnt_added_to_a_table(tmp_path):
    """A table of labels takes no answers."""
    answer = {"source": "a", "row": 1, "trait": "owl", "label": False}
    with pytest.raises(StorageError, match="is a table"):
        keep_answer(tmp_path / "l.csv", answer, replaces=True)
