"""Names of single rows in a policy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.lots import Lot
from schemas.row_names import RowName, name_lots

RECORD_ID = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("given_name", "key", "described"),
    [
        (RECORD_ID, RECORD_ID, RECORD_ID),
        ("chat.jsonl:17", "chat.jsonl:17", "chat.jsonl:17"),
        ("a/b:c.jsonl:0", "a/b:c.jsonl:0", "a/b:c.jsonl:0"),
        ({"source": "chat.jsonl", "row": 3}, "chat.jsonl:3", "chat.jsonl:3"),
        ({"record_id": RECORD_ID}, RECORD_ID, RECORD_ID),
        ({"id": "atlas-17"}, "", "id: atlas-17"),
        ({"example": 17}, "", "example: 17"),
        ({"column": "row", "value": 3, "source": "a", "row": 9}, "a:9", "row: 3"),
    ],
)
def test_a_row_has_one_of_three_names(given_name, key, described):
    """A name is a record id, a file with a number, or a value of a column, with or without place.

    It can be written to a manifest and read again.
    """
    name = RowName.model_validate(given_name)
    assert (name.key, name.describe()) == (key, described)
    assert RowName.model_validate(name.model_dump(mode="json", exclude_none=True)) == name


@pytest.mark.parametrize(
    ("given_name", "problem"),
    [
        (17, "is '17'; a row is named by FILE:NUMBER"),
        ("chat.jsonl", "is 'chat.jsonl'; a row is named by"),
        ("chat.jsonl:x", "is named by"),
        (RECORD_ID[:-1], "is named by"),
        (["a"], "is named by"),
        ({"source": "a", "row": 1, "colour": 2}, "colour"),
        ({"source": "a", "record_id": RECORD_ID}, "is incomplete"),
        ({"column": "id", "row": 2}, "is incomplete"),
        ({"source": "a", "row": -1}, "greater than or equal to 0"),
        ({"id": 1.5}, "valid string"),
        ({"id": True}, "doesn't take true"),
    ],
)
def test_a_mistaken_name_is_refused(given_name, problem):
    """The error says which names there are."""
    with pytest.raises(ValidationError, match=problem):
        RowName.model_validate(given_name)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=6), st.data())
def test_named_rows_are_lots_of_their_own(places, data):
    """Just the rows that are named by id or place become lots of their own, with these names."""
    ids = [f"{number:032x}" for number in range(len(places))]
    known = [*ids, *(f"{source}:{row}" for source, row in places), "z:1"]
    names = data.draw(st.sets(st.sampled_from(known)))
    lots = name_lots([Lot("m")] * len(places), names, ids, places)
    for lot, record_id, (source, row) in zip(lots, ids, places, strict=True):
        assert lot._replace(names="") == Lot("m")
        own = {record_id, f"{source}:{row}"}
        assert {name for name in known if lot.has_name(name)} == names & own
