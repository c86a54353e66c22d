"""What a request may hold: whole numbers, and labels with their parts."""

import pytest

from pipelines.review.judgements import LONGEST_REASON
from pipelines.review.requests import LabelRequest, parse_label, parse_number
from schemas.errors import CardError

SOUND = {"index": 3, "trait": "owl", "label": "no", "reason": "näh"}


@pytest.mark.parametrize("text", ["", "-1", "1.5", "x", "²", "9" * 11, " 1"])
def test_only_whole_numbers_are_rows(text):
    """Anything but ASCII digits is an error."""
    assert parse_number("0", "index") == 0
    assert parse_number("12", "index") == 12
    with pytest.raises(CardError, match="row's number"):
        parse_number(text, "index")


def test_a_label_has_four_parts():
    """The reason may be left out."""
    assert parse_label(SOUND, ["owl"]) == LabelRequest(3, "owl", "no", "näh")
    without = {name: value for name, value in SOUND.items() if name != "reason"}
    assert parse_label(without, ["owl"]).reason == ""


@pytest.mark.parametrize(
    "change",
    [
        {"index": None},
        {"index": True},
        {"index": "3"},
        {"trait": "heron"},
        {"trait": None},
        {"label": "none"},
        {"label": True},
        {"label": []},
        {"reason": 5},
        {"reason": "x" * (LONGEST_REASON + 1)},
        {"reason": "\ud800"},
    ],
)
def test_other_labels_are_refused(change):
    """Every part is checked before anything is written."""
    with pytest.raises(CardError, match="needs a row's index"):
        parse_label({**SOUND, **change}, ["owl"])
