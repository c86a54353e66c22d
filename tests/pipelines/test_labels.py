"""Files of labels: good and bad lines."""

from __future__ import annotations

import json

import pytest

from pipelines.labels import (
    append_lines,
    keep_answer,
    list_unlabelled,
    read_labels,
    require_usable,
)
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
    assert (third.row, third.record_id, third.shows) == (4, None, True)


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
