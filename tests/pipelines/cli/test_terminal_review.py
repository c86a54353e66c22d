"""`review --terminal`: rows on a terminal, keys that label, move and take back."""

import io
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.cli.terminal_review import review_in_terminal
from pipelines.labels import read_labels
from pipelines.review.effects import BLIND
from pipelines.review.queries import RowSelection


@pytest.fixture
def review(run, congener, monkeypatch):
    """Return a function that reviews with some keys, and returns the output and the labels."""

    def call(keys, *options):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{key}\n" for key in keys)))
        given = ("review", str(run[0]), "--terminal", "--reviewer", "ada", *options)
        code, out, err = congener(*given)
        assert (code, err) == (0, "")
        path = Path(f"{run[0]}.review/labels-ada.jsonl")
        labels = read_labels(path, "heron") if path.exists() and path.stat().st_size else []
        return out, [(label.source, label.row, label.shows) for label in labels]

    return call


def test_keys_label_and_go_on(review):
    """Each verdict is kept, and the next row is shown; the end of the input ends the review."""
    out, labels = review("tfu")
    assert [shows for *_, shows in labels] == [True, False, None]
    assert len({place[:2] for place in labels}) == 3
    assert "4 of 8" in out
    assert "Does it show heron?" in out
    assert "3 labels in" in out
    assert "true: nothing changes for this row; it stays in quarantine/" in out
    assert "false: `congener release` returns this row to clean/" in out


def test_keys_move_and_take_back(review):
    """Keys move without a label, and z takes the last label back and returns to its row."""
    out, labels = review("jkktzxq")
    assert labels == []
    assert out.count("1 of 8") == 5, "at first, after k and k, after z, and after an unknown key"
    out, labels = review("tjjzfq")
    assert [shows for *_, shows in labels] == [False]
    assert "your label: heron false" not in out
    out, _ = review("q")
    assert "your label: heron false" in out


def test_options_select_rows(review):
    """--trait and --decision choose the rows; after the last one the review ends."""
    out, labels = review("t" * 20, "--trait", "heron", "--decision", "quarantine")
    assert len(labels) == 8
    assert "8 of 8" in out


def test_the_last_label_can_be_corrected(review):
    """After the last row, back shows it again and undo takes its label back; then it ends."""
    out, labels = review("t" * 7 + "tzfq", "--decision", "quarantine")
    assert [shows for *_, shows in labels] == [True] * 7 + [False]
    assert out.count("That was the last of 8 rows. [k] back, [z] undo, [q]uit: ") == 2
    assert out.count("8 of 8") == 2
    out, labels = review("j" * 8 + "kuq", "--decision", "quarantine")
    assert [shows for *_, shows in labels][-1] is None
    assert out.rstrip().splitlines()[-1].startswith("or take back what you labelled false")


def test_no_key_but_three_counts_after_the_last_row(review):
    """A verdict there is no label, and undo without a label returns to no row."""
    out, labels = review("jjjjjjjjtfuzjxq")
    assert labels == []
    assert out.count("That was the last of 8 rows.") == 7


def test_a_blind_review_shows_texts_alone(review):
    """Blind, neither decisions nor scores are printed."""
    out, labels = review("tq", "--blind")
    assert "quarantine" not in out
    assert "score" not in out
    assert "clean/" not in out
    assert BLIND in " ".join(out.split())
    assert len(labels) == 1


def test_every_finding_of_a_row_is_asked_about(open_session, monkeypatch, capsys):
    """The trait that decided comes first, then the row's next one; the row is printed once."""
    session = open_session()
    monkeypatch.setattr(sys, "stdin", io.StringIO("f\nt\nz\nu\nq\n"))
    review_in_terminal(session, RowSelection(text="and an owl"))
    out = capsys.readouterr().out
    asked = re.findall(r"(\d+) of 6|Does it show (\w+)\?", out)
    assert [row or trait for row, trait in asked] == [
        *("1", "heron", "owl"),
        *("2", "heron"),
        *("1", "owl"),  # taken back
        *("2", "heron"),
    ]
    labels = {place[2]: line["label"] for place, line in session.book.list_labels().items()}
    assert labels == {"heron": False, "owl": "unsure"}
    assert "true: `congener release` returns this row to clean/ with the flag of owl" in out


def test_undo_without_a_label_does_nothing(review):
    """Taking back what isn't there shows the same row again."""
    out, labels = review("zq")
    assert (labels, out.count("1 of 8")) == ([], 2)


def test_single_keys_on_a_terminal(run, root):
    """On a terminal, a key counts without Enter."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "congener", "review", str(run[0]), "--terminal"]
    process = subprocess.Popen(
        [*command, "--reviewer", "ada"],
        stdin=terminal,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    try:
        os.write(controller, b"tq")
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
        os.close(controller)
        os.close(terminal)
    assert process.returncode == 0
    assert b"1 label in" in out
