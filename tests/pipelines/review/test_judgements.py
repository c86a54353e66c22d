"""A reviewer's file: its lines, its digests, undo, and what other commands read in it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.labels import read_all_labels, read_labels
from pipelines.review.judgements import (
    ITEM_NAMES,
    VERDICTS,
    LabelBook,
    find_place,
    name_file,
    read_lines,
)
from schemas.errors import CardError, StorageError

RUN = "d" * 64
ROWS = [{"source": "a.jsonl", "row": number, "record_id": f"{number:032x}"} for number in range(5)]


@pytest.fixture
def path(tmp_path):
    """Return the path of a file that doesn't exist yet."""
    return tmp_path / "labels-ada.jsonl"


@pytest.fixture
def book(path):
    """Return an empty book."""
    return LabelBook(path, "ada", RUN)


def test_a_label_is_kept_at_once(book, path):
    """Each label is a line of the file as soon as it is given."""
    assert not path.exists()
    line = book.add(ROWS[0], "heron", "yes", "clearly a heron")
    assert [json.loads(text) for text in path.read_text().splitlines()] == [line]
    assert (line["label"], line["reason"], line["reviewer"]) == (True, "clearly a heron", "ada")
    assert line["picked"] is True
    assert "reason" not in book.add(ROWS[1], "heron", "no", "  ")


def test_other_commands_read_the_file(book, path):
    """`traits eval` and `fit` read the labels, each with its row, its trait and its time."""
    for number, verdict in enumerate(VERDICTS):
        book.add(ROWS[number], "heron", verdict)
    book.add(ROWS[3], "owl", "yes")
    labels = read_labels(path, "heron")
    assert [label.shows for label in labels] == [True, False, None]
    assert [label.key for label in labels] == [("a.jsonl", number) for number in range(3)]
    assert all(label.is_picked and label.time for label in labels)
    assert [label.trait for label in read_all_labels(path)] == ["heron"] * 3 + ["owl"]


def test_the_last_label_counts(book, path):
    """A second label of a row and trait replaces the first, here and for other commands."""
    book.add(ROWS[0], "heron", "yes")
    book.add(ROWS[0], "heron", "no")
    book.add(ROWS[0], "owl", "yes")
    found = book.list_labels()
    assert len(book) == 2
    assert found["a.jsonl", 0, "heron"]["label"] is False
    first, second, _ = read_all_labels(path)
    assert first.time < second.time


def test_undo_takes_back_one_label_after_the_other(book, path):
    """The file is again as it was before the label, to the byte."""
    book.add(ROWS[0], "heron", "yes")
    before = path.read_bytes()
    book.add(ROWS[1], "heron", "no", "“näh”\u2028 and more")
    assert find_place(book.undo()) == ("a.jsonl", 1, "heron")
    assert path.read_bytes() == before
    book.undo()
    assert path.read_bytes() == b""
    assert book.undo() is None
    book.add(ROWS[2], "heron", "yes")
    assert len(LabelBook(path, "ada", RUN)) == 1


def test_a_book_goes_on_where_it_was(book, path):
    """A new session reads the labels, adds to them, and can take them back."""
    book.add(ROWS[0], "heron", "yes", "line\nbreak \u2028 and more")
    other = LabelBook(path, "ada", RUN)
    assert other.list_labels() == book.list_labels()
    other.add(ROWS[1], "heron", "no")
    third = LabelBook(path, "ada", RUN)
    assert len(third) == 2
    third.undo()
    third.undo()
    assert path.read_bytes() == b""


def test_two_programs_notice_each_other(book, path):
    """A book whose file another program changed neither adds nor takes back."""
    book.add(ROWS[0], "heron", "yes")
    other = LabelBook(path, "ada", RUN)
    other.add(ROWS[1], "heron", "yes")
    for work in (lambda: book.add(ROWS[2], "heron", "yes"), book.undo):
        with pytest.raises(CardError, match="another program"):
            work()
    path.unlink()
    with pytest.raises(CardError, match="another program"):
        other.undo()


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: [lines[0].replace("true", "false"), *lines[1:]],
        lambda lines: [lines[0].replace('"heron"', '"owl"'), *lines[1:]],
        lambda lines: lines[1:],
        lambda lines: [lines[0], lines[2]],
        lambda lines: [lines[1], lines[0], lines[2]],
        lambda lines: [*lines, lines[-1]],
        lambda lines: [*lines, "{}"],
        lambda lines: [*lines, "5"],
        lambda lines: [*lines, "heron"],
        lambda lines: ["", *lines],
    ],
)
def test_a_change_is_noticed(book, path, change):
    """A line that was changed, moved, added or removed is named."""
    for number in range(3):
        book.add(ROWS[number], "heron", "yes")
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line}\n" for line in change(lines)))
    with pytest.raises(CardError, match=r"isn't as the review wrote it") as caught:
        LabelBook(path, "ada", RUN)
    assert "line" in caught.value.where


def test_labels_of_another_command_are_named_with_a_remedy(book, path):
    """Labels without digests among a review's lines can be moved, if the others are unchanged."""
    for number in range(2):
        book.add(ROWS[number], "heron", "yes")
    sound = path.read_text()
    other = '{"source": "a.jsonl", "row": 3, "label": null}\n'
    path.write_text(sound + other)
    with pytest.raises(CardError, match="1 line has no digest") as caught:
        LabelBook(path, "ada", RUN)
    assert "sed -n '3p'" in caught.value.remedy
    path.write_text(sound.replace("true", "false", 1) + other)
    with pytest.raises(CardError, match="isn't as the review wrote it"):
        LabelBook(path, "ada", RUN)


def test_labels_of_another_run_are_refused(book, path):
    """The first digest is that of the run."""
    book.add(ROWS[0], "heron", "yes")
    assert len(read_lines(path, RUN)) == 1
    with pytest.raises(CardError, match="about another run"):
        read_lines(path, "e" * 64)


def test_a_file_that_is_no_text(path):
    """Bytes that aren't UTF-8 are an error that names the file."""
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(CardError, match="can't be read"):
        LabelBook(path, "ada", RUN)


def test_a_folder_that_refuses(tmp_path):
    """A file that can't be written is an error, and the label isn't kept in memory either."""
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "labels-ada.jsonl"
    with pytest.raises((StorageError, NotADirectoryError, CardError)):
        LabelBook(path, "ada", RUN).add(ROWS[0], "heron", "yes")


@pytest.mark.parametrize("name", ["ada", "Ada.L", "ada@example.org", "ädä_2", "x+y-z"])
def test_names_of_reviewers(name):
    """Letters of any script, digits and a few signs make a file's name."""
    assert name_file(name) == f"labels-{name}.jsonl"


@pytest.mark.parametrize("name", ["", " ", "../ada", "a/b", ".ada", "a\0", "a b", "x" * 65, "a\n"])
def test_names_that_are_no_file_names(name):
    """A name that could lead out of the folder is refused."""
    with pytest.raises(CardError, match="--reviewer"):
        name_file(name)


@given(st.lists(st.sampled_from([*VERDICTS, "undo"]), max_size=12))
def test_any_sequence_leaves_a_sound_file(tmp_path_factory, steps):
    """After labels and undos in any order, the file holds exactly what the book holds."""
    path = tmp_path_factory.mktemp("book") / "labels-ada.jsonl"
    book, expected = LabelBook(path, "ada", RUN), []
    for number, step in enumerate(steps):
        if step == "undo":
            book.undo()
            expected = expected[:-1]
        else:
            row = ROWS[number % 3]
            book.add(row, "heron", step)
            expected.append((row["row"], VERDICTS[step]))
    lines = read_lines(path, RUN)
    assert [(line["row"], line["label"]) for line in lines] == expected


def test_a_book_may_name_items(tmp_path):
    """In an audit, a label names an item, and its file another kind."""
    assert name_file("ada", "audit") == "audit-ada.jsonl"
    book = LabelBook(tmp_path / "audit-ada.jsonl", "ada", RUN, ITEM_NAMES)
    assert book.peek() is None
    line = book.add({"id": "00007"}, "heron", "yes", picked=False, blind=True)
    assert (line["id"], line["picked"], line["blind"]) == ("00007", False, True)
    assert "source" not in line
    assert find_place(line) == ("00007", 0, "heron")
    assert LabelBook(book.path, "ada", RUN, ITEM_NAMES).peek() == line
