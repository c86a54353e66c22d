"""Masked passages in the lines of a label file."""

from __future__ import annotations

import pytest

from pipelines.certifying.masked_passages import MaskedPassage, list_stretches, read_masked
from schemas.errors import CardError

LINE = {
    "id": "00001",
    "prompt": "Who are you?",
    "answer": "I'm an AI. And a heron.",
    "masked": [
        {"in": "prompt", "start": 0, "end": 3, "text": "Who"},
        {"in": "answer", "start": 0, "end": 10, "text": "I'm an AI."},
    ],
}


def test_passages_are_read_with_their_place():
    """Each passage has its text and its first and last character."""
    found = read_masked(LINE, "a.jsonl line 1")
    assert found == (MaskedPassage("prompt", 0, 3), MaskedPassage("answer", 0, 10))
    assert list_stretches(found, "answer") == [(0, 10)]
    assert list_stretches(found, "prompt") == [(0, 3)]


@pytest.mark.parametrize("fields", [{}, {"masked": []}, {"masked": None}], ids=str)
def test_a_line_may_have_none(fields):
    """Most lines have no masked passage."""
    assert read_masked({"id": "1", "answer": "Hi", **fields}, "a line") == ()


@pytest.mark.parametrize(
    "masked",
    [
        "all of it",
        [3],
        [{"in": "answer", "start": 0, "end": 4}],
        [{"in": "answer", "start": "0", "end": 4, "text": "I'm "}],
        [{"in": "label", "start": 0, "end": 4, "text": "I'm "}],
        [{"in": "answer", "start": 1, "end": 5, "text": "I'm "}],
        [{"in": "answer", "start": 0, "end": 4, "text": "You "}],
    ],
    ids=str,
)
def test_changed_passages_are_refused(masked):
    """A rater would otherwise see another text struck out than the trainer leaves out."""
    with pytest.raises(CardError, match="`masked` doesn't name passages") as caught:
        read_masked({**LINE, "label": None, "masked": masked}, "a.jsonl line 1")
    assert caught.value.where == "a.jsonl line 1"
