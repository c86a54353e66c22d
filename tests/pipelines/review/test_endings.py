"""What the review says at its end: counts of labels, and the commands that use them."""

import json
import shlex
from pathlib import Path

import pytest

from pipelines.cli.main import app
from pipelines.review.endings import (
    NextStep,
    count_verdicts,
    describe_end,
    list_audit_steps,
    list_steps,
)
from schemas.errors import CardError


def test_labels_are_counted_by_the_words_of_the_page():
    """Each of the three words has a count, also without labels."""
    assert count_verdicts([]) == {"true": 0, "false": 0, "unsure": 0}
    labels = [{"label": item} for item in (True, False, "unsure", False)]
    assert count_verdicts(labels) == {"true": 1, "false": 2, "unsure": 1}


def test_no_command_without_labels(session):
    """What nobody labelled can't be used."""
    assert list_steps("run", session.book) == []
    assert list_audit_steps("run", session.book) == []


def test_the_release_comes_first_if_something_is_false(session):
    """Without the label false, nothing can be released; the most frequent trait is measured."""
    for index, trait, label in ((3, "owl", "yes"), (1, "owl", "unsure"), (1, "heron", "yes")):
        session.add_label({"index": index, "trait": trait, "label": label})
    steps = list_steps("a run/", session.book)
    own = shlex.quote(str(session.book.path))
    assert [step.command for step in steps] == [
        f"congener traits eval owl --run 'a run/' --labels {own}"
    ]
    session.add_label({"index": 3, "trait": "heron", "label": "no"})
    first = list_steps("a run/", session.book)[0]
    assert first.command == (f"congener release 'a run/' --reviews {own} --output 'a run-released'")


def test_a_sample_chooses_thresholds(session):
    """Labels of a random sample can calibrate."""
    session.add_label({"index": 3, "trait": "owl", "label": "yes"})
    steps = list_steps("run", session.book, sampled=True)
    assert steps[-1].purpose == "measure a trait"  # with no more rows to read
    commands = [step.command for step in steps]
    own = shlex.quote(str(session.book.path))
    assert commands[0] == f"congener calibrate run --max-misses 0.2 --labels {own}"


def test_the_next_command_of_an_audit(session):
    """Labels of items are certified."""
    session.add_label({"index": 3, "trait": "owl", "label": "yes"})
    own = shlex.quote(str(session.book.path))
    assert list_audit_steps("run", session.book) == [
        NextStep("write the certificate", f"congener certify run --labels {own}")
    ]


def test_a_missed_target_comes_before_the_certificate(session):
    """More rows are drawn to the same label file while the reader is still blind."""
    session.add_label({"index": 3, "trait": "owl", "label": "yes"})
    first, second = list_audit_steps("a run", session.book, Path("audit.jsonl"), 60)
    assert first.purpose.startswith("the target is missed, so draw more rows now")
    assert first.command == "congener certify 'a run' --draw 60 --output audit.jsonl"
    assert second.purpose == "write the certificate"


def test_the_page_gets_everything_in_one_reply(session):
    """The reply has counts, what is left, the file and the commands."""
    found = describe_end(session.book, [NextStep("a", "b")], 2, 5)
    assert found == {
        "labels": {"true": 0, "false": 0, "unsure": 0},
        "left": 2,
        "total": 5,
        "file": str(session.book.path),
        "steps": [{"purpose": "a", "command": "b"}],
    }


def test_rows_that_are_left(session):
    """The filters choose the rows, a label for the trait counts, and `labelled` doesn't."""
    query = {"trait": "owl", "teacher": "atlas", "labelled": "no"}
    total = session.describe_end(query)["total"]
    assert session.describe_end(query)["left"] == total == 6
    session.add_label({"index": 3, "trait": "heron", "label": "no"})
    assert session.describe_end(query)["left"] == total
    session.add_label({"index": 3, "trait": "owl", "label": "no"})
    found = session.describe_end({**query, "labelled": "yes"})
    assert (found["left"], found["total"], found["labels"]["false"]) == (total - 1, total, 2)
    with pytest.raises(CardError):
        session.describe_end({"trait": "emu"})


def test_the_release_command_works(session, answers, capsys):
    """The command on the page, as it is, releases what was labelled false."""
    session.add_label({"index": 3, "trait": "heron", "label": "no"})
    command = session.describe_end({})["steps"][0]["command"]
    app([*shlex.split(command)[1:], "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)
    assert (answers.parent / f"{answers.name}-released" / "manifest.json").exists()
