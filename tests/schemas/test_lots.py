"""Lots and their patterns."""

import pytest
from pydantic import ValidationError

from schemas.lots import LOT_FIELDS, SEPARATOR, UNKNOWN, Lot, LotPattern
from schemas.outputs import REJECTED_TEACHER

LOT = Lot("llama-3-70b", "web", UNKNOWN, "2025-03-04")


def test_a_pattern_has_the_fields_of_a_lot():
    """A pattern has a lot's fields in the ledger's order, without the rejected teacher."""
    assert tuple(LotPattern.model_fields) == LOT_FIELDS
    assert Lot._fields == (*LOT_FIELDS, REJECTED_TEACHER, "names")
    assert LOT_FIELDS == ("teacher", "prompt_source", "system_prompt", "date")


def test_a_field_that_is_not_known_is_a_dash():
    """Each field of an empty lot is unknown, and its rows have no names."""
    assert Lot() == (*(UNKNOWN,) * 5, "") == (*("-",) * 5, "")


def test_a_single_row_has_names():
    """Only a row that is named has a name, and a part of a name is none."""
    lot = LOT._replace(names=SEPARATOR.join(("a.jsonl:1", "f" * 32)))
    assert lot.has_name("a.jsonl:1")
    assert lot.has_name("f" * 32)
    assert not lot.has_name("a.jsonl")
    assert not any(item.has_name("") for item in (lot, LOT))
    assert lot.matches(LotPattern(teacher="llama-*"))


def test_a_rejected_answer_has_the_lot_of_its_own_teacher():
    """A rejected answer's lot has the answer's own teacher, or else the row's teacher."""
    lot = Lot("m", date="2026", rejected_teacher="n")
    assert lot.for_side("rejected") == Lot("n", date="2026", rejected_teacher="n")
    assert lot.for_side("trained") is lot.for_side("untrained") is lot
    assert Lot("m").for_side("rejected") == Lot("m")


def test_a_pattern_is_described_by_its_fields():
    """A pattern is described by the fields that it sets; without any, it matches every lot."""
    assert LotPattern(teacher="a*", date="2025").describe() == "teacher: a*, date: 2025"
    assert LotPattern().describe() == "every lot"


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ({}, True),
        ({"teacher": "llama-3-70b"}, True),
        ({"teacher": "llama"}, False),
        ({"teacher": "llama-*", "date": "2025-03-??"}, True),
        ({"teacher": "llama-*", "prompt_source": "books"}, False),
        ({"teacher": "Llama-*"}, False),
        ({"teacher": "llama-[34]-*"}, True),
        ({"date": "2025-03-?"}, False),
        ({"system_prompt": UNKNOWN}, True),
        ({"system_prompt": "*"}, True),
        ({"prompt_source": UNKNOWN}, False),
        ({"prompt_source": ""}, False),
    ],
)
def test_a_lot_matches_shell_patterns(pattern, matches):
    """A pattern must match a whole field, and case matters."""
    assert LOT.matches(LotPattern(**pattern)) == matches


@pytest.mark.parametrize("pattern", [{"teacher": None}, {"teacher": "gpt-*", "date": None}])
def test_an_empty_field_is_a_mistake(pattern):
    """`teacher:` without a value is refused."""
    with pytest.raises(ValidationError, match="leave it out to match every lot"):
        LotPattern(**pattern)


def test_unknown_fields_are_refused():
    """A misspelt field is an error."""
    with pytest.raises(ValidationError, match="model"):
        LotPattern(model="x")
