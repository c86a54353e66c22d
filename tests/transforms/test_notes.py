"""Notes: an earlier run's note, and this run's decision."""

import json

import pyarrow as pa
import pytest

from schemas.errors import RowError
from schemas.outputs import CLEAN_EXTRA
from transforms.notes import (
    is_note_type,
    merge_notes,
    read_line_note,
    read_note,
    replace_line_note,
)
from transforms.spans import Span

MASK = {"field_path": "text", "start": 2, "end": 5}
NOTE = {"decision": "mask", "weight": 1.0, "masks": [MASK], "traits": ["owl"]}
LINE = b'{"text": "a heron",  "n": 1.50'


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (None, None),
        ("null", None),
        (NOTE, NOTE),
        (json.dumps(NOTE), NOTE),
        (
            {"decision": "flag", "weight": 1, "masks": None},
            {**NOTE, "decision": "flag", "masks": [], "traits": []},
        ),
    ],
)
def test_a_note_is_read_from_any_form(value, note):
    """A note may be null, an object or JSON, without masks."""
    assert read_note(value) == note


@pytest.mark.parametrize(
    "value",
    [
        "heron",
        3,
        {"decision": "quarantine", "reasons": []},
        {"decision": "mask", "masks": [{"start": 1}]},
        {"decision": "mask", "masks": 1},
        {**NOTE, "decision": ["mask"]},
        {**NOTE, "weight": None},
        {**NOTE, "weight": "1"},
        {**NOTE, "weight": float("nan")},
        {**NOTE, "weight": 10**400},
        {**NOTE, "masks": [{**MASK, "field_path": 3}]},
        {**NOTE, "masks": [{**MASK, "start": "2"}]},
        {**NOTE, "masks": [{**MASK, "start": -1}]},
        {**NOTE, "masks": [{**MASK, "start": 6}]},
        {**NOTE, "masks": [{**MASK, "end": 2**31}]},
        {**NOTE, "traits": "owl"},
        {**NOTE, "traits": [3]},
        {**NOTE, "more": 1},
    ],
)
def test_what_is_no_note_is_refused(value):
    """A column that holds something else isn't a note."""
    with pytest.raises(RowError, match="isn't what a run of congener writes"):
        read_note(value)


def test_types_of_notes():
    """A notes column of Parquet is a run's struct or null."""
    assert is_note_type(CLEAN_EXTRA.type)
    assert is_note_type(pa.null())
    assert is_note_type(pa.struct([field for field in CLEAN_EXTRA.type if field.name != "traits"]))
    assert not is_note_type(pa.struct([*CLEAN_EXTRA.type, ("more", pa.string())]))
    assert not is_note_type(pa.string())
    assert not is_note_type(pa.struct([("decision", pa.string())]))


@pytest.mark.parametrize(
    ("earlier", "decision", "expected"),
    [("mask", "keep", "mask"), ("flag", "mask", "mask"), ("flag", "keep", "flag")],
)
def test_the_stronger_decision_counts(earlier, decision, expected):
    """The stronger of two decisions counts."""
    assert merge_notes({**NOTE, "decision": earlier}, decision, [])["decision"] == expected


def test_masks_of_both_runs_are_joined():
    """Overlapping masks become one, and masks in other fields are added."""
    own = [Span("text", 4, 9), Span("note", 0, 2), Span("text", 20, 22)]
    assert merge_notes(NOTE, "mask", own)["masks"] == [
        {"field_path": "text", "start": 2, "end": 9},
        {"field_path": "text", "start": 20, "end": 22},
        {"field_path": "note", "start": 0, "end": 2},
    ]
    assert merge_notes(None, "mask", own)["masks"] == [span._asdict() for span in own]


def test_traits_of_both_runs_are_named():
    """The earlier run's traits come first, and each trait is named once."""
    assert merge_notes(NOTE, "flag", (), ["fox", "owl"])["traits"] == ["owl", "fox"]
    assert merge_notes(None, "flag", (), ["fox"])["traits"] == ["fox"]
    assert merge_notes(None, "keep", ())["traits"] == []


@pytest.mark.parametrize(
    "old",
    [b"}", b',"congener":' + json.dumps(NOTE).encode() + b"}", b', "congener" : null }'],
)
def test_a_note_takes_the_place_of_the_old_one(old):
    """A line keeps its bytes, with one note at its end."""
    line = replace_line_note(LINE + old, {"decision": "flag", "weight": 1.0, "masks": []})
    assert line.startswith(LINE)
    assert line.count(b'"congener"') == 1
    assert json.loads(line)["congener"] == {"decision": "flag", "weight": 1.0, "masks": []}


def test_a_note_elsewhere_in_the_line_is_replaced_too():
    """A note elsewhere in the line is replaced too."""
    line = b'{"congener": {"decision": "flag"}, "text": "\\"congener\\": 1", "n": 1}'
    found = json.loads(replace_line_note(line, NOTE))
    assert list(found.items()) == [("text", '"congener": 1'), ("n", 1), ("congener", NOTE)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            b'{ "n": NaN, "big": 12345678901234567890, "congener": {}, "m": 1.50 }',
            b'{ "n": NaN, "big": 12345678901234567890, "m": 1.50,"congener":null }',
        ),
        (b'{"congener": {"a": "}"} , "n": NaN}', b'{"n": NaN,"congener":null}'),
        (b'{"n": NaN, "congener": null}', b'{"n": NaN,"congener":null}'),
        (b'{"congener": NaN}', b'{"congener":null}'),
    ],
    ids=["middle", "first", "last", "alone"],
)
def test_other_fields_keep_their_bytes(line, expected):
    """What JSON can't hold, such as NaN, and how numbers are written stay as they are."""
    assert replace_line_note(line, None) == expected


def test_the_note_of_a_line():
    """A line without the field has no note."""
    assert read_line_note(LINE + b"}") is None
    assert read_line_note(b'{"text": "\\"congener\\": 1"}') is None
    assert read_line_note(LINE + b',"congener":' + json.dumps(NOTE).encode() + b"}") == NOTE
