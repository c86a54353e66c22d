"""Reading rows on a terminal, and the lines that are written about them."""

import io
import json
import math
import sys

import pytest

from pipelines.cli.reading_rows import (
    SHOWN_CHARACTERS,
    SHOWN_PROMPT,
    ask_about_rows,
    choose_answers,
    describe_line,
    find_listed,
    find_unsure,
    read_run_labels,
)
from pipelines.evaluation import RowText, divide_rows
from pipelines.labels import hide_score
from schemas.errors import CardError

KEYS = {"source": "0.jsonl", "row": 1, "record_id": "0" * 32}


def build_row(text="A heron stood.", score=0.75, **fields):
    """Return a row to read."""
    keys = {**KEYS, **fields}
    return RowText(keys, score, "What is it?", text, 2, 7)


@pytest.fixture
def answer(monkeypatch):
    """Return a function that prepares a person's answers."""
    return lambda *lines: monkeypatch.setattr(
        sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines))
    )


def read_file(path):
    """Return the lines of a label file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_has_the_text_only_until_it_is_labelled():
    """A row to read has its prompt and text, and a labelled one has neither."""
    line = describe_line(build_row(), "heron", None)
    assert line == KEYS | {
        "trait": "heron",
        "label": None,
        "drawn": hide_score("heron", "0" * 32, 0.75),
        "prompt": "What is it?",
        "text": "A heron stood.",
    }
    line = describe_line(build_row(), "heron", True)
    drawn = hide_score("heron", "0" * 32, 0.75)
    assert line == KEYS | {"trait": "heron", "label": True, "drawn": drawn}


def test_whoever_labels_a_file_sees_no_score():
    """A line to label has neither the score nor anything that orders rows by it."""
    low, high = (describe_line(build_row(score=score), "heron", None) for score in (0.0301, 0.9702))
    assert "score" not in low
    assert "0.03" not in json.dumps(low)
    assert "0.97" not in json.dumps(high)
    assert low.keys() == high.keys()
    assert low["drawn"] != high["drawn"]


def test_a_line_names_the_card_and_the_definition():
    """A line has the digests of the card that drew its row and of the words it is judged by."""
    row = build_row()._replace(card="0a" * 8, definition="0b" * 8)
    for label in (None, True):
        line = describe_line(row, "heron", label)
        assert (line["card"], line["definition"]) == ("0a" * 8, "0b" * 8)


def test_a_line_of_a_chosen_row_says_so():
    """A chosen row is marked, and a row without a score has none."""
    line = describe_line(build_row(score=math.nan), "heron", "unsure", picked=True)
    drawn = hide_score("heron", "0" * 32, math.nan)
    assert line == KEYS | {"trait": "heron", "label": "unsure", "drawn": drawn, "picked": True}


def test_answers_are_kept_and_the_last_one_is_returned(tmp_path, answer, capsys):
    """Wrong answers are asked again, skipped rows have no line, and quitting ends the questions."""
    path = tmp_path / "l.jsonl"
    rows = [build_row(row=number) for number in range(4)]
    answer("maybe", "T", "s", "no", "q")
    assert ask_about_rows("heron", rows, path) == "no"
    assert [(line["row"], line["label"]) for line in read_file(path)] == [(0, True), (2, False)]
    shown = capsys.readouterr().err
    assert shown.count("Does it show heron?") == 5
    assert "4 of 4: 0.jsonl row 3" in shown
    answer()
    assert ask_about_rows("heron", rows, path) is None
    answer("unsure", "u", "q")
    assert ask_about_rows("heron", [build_row(row=7), build_row(row=8)], path) == "unsure"
    assert [line["label"] for line in read_file(path)][2:] == ["unsure", "unsure"]
    assert "[t]rue, [f]alse, [u]nsure, [s]kip, [q]uit" in shown


def test_a_chosen_rows_new_answer_replaces_the_old_one(tmp_path, answer):
    """A chosen row keeps one line, and a drawn row's line stays a drawn one."""
    path = tmp_path / "l.jsonl"
    path.write_text(json.dumps(describe_line(build_row(), "heron", True)) + "\n", "utf-8")
    answer("n", "y")
    ask_about_rows("heron", [build_row(), build_row(row=2)], path, picked=True)
    assert [(line["label"], line.get("picked")) for line in read_file(path)] == [
        (False, None),
        (True, True),
    ]


def test_long_rows_are_cut_around_their_span(tmp_path, answer, capsys):
    """A long prompt loses its end, and a long text both ends, but not its span."""
    text = f"{'before ' * 900}HERON{' after' * 900}"
    row = RowText(KEYS, 0.5, "why " * 200, text, 6300, 6305)
    answer("q")
    ask_about_rows("heron", [row], tmp_path / "l.jsonl")
    shown = capsys.readouterr().err
    assert "HERON" in shown
    assert shown.count("…") == 3
    assert len(shown) < SHOWN_CHARACTERS + SHOWN_PROMPT + 200


def test_a_files_rows_are_sorted_by_whether_they_are_labelled(run, tmp_path, capsys):
    """Labelled rows are read, unlabelled ones listed, and unsure ones warned of."""
    population = divide_rows(str(run[0]), "heron")
    path = tmp_path / "l.jsonl"
    assert (read_run_labels(population, [path]), find_listed(population, [path])) == ({}, set())
    assert find_unsure(population, [path]) == set()
    answers = (True, "unsure", None, False)
    lines = ({"source": "0.jsonl", "row": n, "label": a} for n, a in enumerate(answers))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    found = read_run_labels(population, [path])
    assert {row: label.shows for row, label in found.items()} == {0: True, 3: False}
    assert find_listed(population, [path]) == {2}
    assert find_unsure(population, [path]) == {1}
    assert "1 row labelled unsure counts as not read" in " ".join(capsys.readouterr().err.split())


def test_a_review_has_its_answers_beside_it(tmp_path):
    """Only a review's labels need a second file, unless one is given."""
    review, plain = tmp_path / "labels-ada.jsonl", tmp_path / "l.jsonl"
    review.write_text(json.dumps({"before": "0" * 64, "digest": "1" * 64, "label": True}))
    assert choose_answers(review, "heron") == (review, tmp_path / "heron.labels-ada.jsonl")
    assert choose_answers(plain, "heron") == (plain,)
    assert choose_answers(plain, "heron", str(review)) == (plain, review)
    assert choose_answers(plain, "heron", str(plain)) == (plain,)


def test_labels_of_two_files_are_joined(run, tmp_path):
    """The later label counts, a drawn row stays drawn, and labels without times must agree."""
    population = divide_rows(str(run[0]), "heron")
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    line = {"source": "0.jsonl", "row": 1, "label": True}
    first.write_text(json.dumps(line | {"picked": True, "time": 1}))
    for own, shows in (({"label": True}, True), ({"label": False, "time": 2}, False)):
        second.write_text(json.dumps(line | own))
        (label,) = read_run_labels(population, [first, second]).values()
        assert (label.shows, label.is_picked) == (shows, False)
    second.write_text(json.dumps(line | {"label": False}))
    with pytest.raises(CardError, match="contradicts") as found:
        read_run_labels(population, [first, second])
    assert "a.jsonl line 1" in str(found.value)
    assert "b.jsonl line 1" in str(found.value)


def test_a_timed_answer_has_its_time():
    """An answer that may change one in another file says when it was given."""
    assert "time" in describe_line(build_row(), "heron", True, timed=True)
    assert "time" not in describe_line(build_row(), "heron", True)
