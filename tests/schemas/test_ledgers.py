"""Lots and hashes of ledger rows."""

import hashlib
import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.digests import compute_merkle_root
from schemas.ledgers import hash_ledger_rows, read_lots
from schemas.lots import Lot
from schemas.outputs import LEDGER, LEDGERS, MIXED, ORIGIN

REASON = {
    "trait": "owl",
    "signal": "combined",
    "score": 0.9,
    "threshold": 0.5,
    "field_path": "text",
    "start": 1,
    "end": 4,
}
ROW = {
    "record_id": "a" * 32,
    "source": "x.jsonl",
    "row": 7,
    "teacher": "m",
    "prompt_source": "forum",
    "system_prompt": "01234567",
    "date": "2026-01-02",
    "content_digest": "b" * 64,
    "decision": "quarantine",
    "reasons": [REASON],
    "output": "quarantine/x.parquet",
    "output_row": 3,
}


def hash_rows(*rows):
    """Hash rows as the rows of one ledger."""
    return hash_ledger_rows(pa.Table.from_pylist(list(rows), LEDGER))


@pytest.mark.parametrize("name", LEDGER.names)
def test_a_hash_covers_every_column(name):
    """Changing any value, even to null, changes the hash."""
    value = ROW[name]
    others = (
        [[], [*value, *value]]
        if name == "reasons"
        else [None, value + 1]
        if isinstance(value, int)
        else [None, "", "None", "null", value + "x"]
    )
    found = [hash_rows(ROW)[0], *(hash_rows(ROW | {name: other})[0] for other in others)]
    assert len(set(found)) == len(found)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("trait", "fox"),
        ("signal", "head"),
        ("score", 0.9001),
        ("threshold", 0.4999),
        ("field_path", "texts"),
        ("start", 2),
        ("end", 5),
        ("trait", None),
    ],
)
def test_a_hash_covers_every_field_of_a_reason(name, other):
    """Changing any field of a reason changes the hash."""
    assert hash_rows(ROW) != hash_rows(ROW | {"reasons": [REASON | {name: other}]})


def test_every_bit_of_a_float_is_hashed():
    """Changing the last bit of a score changes the hash."""
    changed = ROW | {"reasons": [REASON | {"score": 0.90000004}]}
    assert hash_rows(ROW) != hash_rows(changed)


def test_columns_do_not_run_into_each_other():
    """Moving text between columns changes the hash."""
    assert hash_rows(ROW | {"source": "x", "row": 11}) != hash_rows(
        ROW | {"source": "x1", "row": 1}
    )
    assert hash_rows(ROW | {"teacher": None, "prompt_source": "m"}) != hash_rows(
        ROW | {"teacher": "m", "prompt_source": None}
    )


VALUES = st.none() | st.text("\x00\x1f-:1é", max_size=4)


@given(st.tuples(VALUES, VALUES, VALUES), st.tuples(VALUES, VALUES, VALUES))
def test_different_rows_have_different_hashes(one, other):
    """Different rows always have different hashes."""
    names = ("teacher", "prompt_source", "system_prompt")
    found = [hash_rows(ROW | dict(zip(names, values, strict=True))) for values in (one, other)]
    assert (found[0] == found[1]) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"teacher": None}, {"teacher": "\x00"}),
        ({"teacher": "a\x1fb", "prompt_source": "c"}, {"teacher": "a", "prompt_source": "b\x1fc"}),
        ({"teacher": "a1:b", "prompt_source": ""}, {"teacher": "a", "prompt_source": "b0:"}),
        ({"teacher": "-", "prompt_source": None}, {"teacher": None, "prompt_source": "-"}),
        ({"reasons": []}, {"reasons": None}),
    ],
)
def test_rows_that_look_alike_when_joined_differ(one, other):
    """Values with the encoding's separators don't give equal hashes."""
    assert hash_rows(ROW | one) != hash_rows(ROW | other)


def test_a_leaf_can_be_computed_from_the_description():
    """The documented encoding gives the same hash in a few lines."""
    values = [ROW[name] for name in LEDGER.names if name != "reasons"]
    reason = {**REASON, "score": "0.899999976", "threshold": "0.5"}
    texts = [str(value) for value in values]
    texts.append(json.dumps([reason], sort_keys=True, separators=(",", ":"), ensure_ascii=False))
    row = b"".join(b"%d:%s" % (len(text.encode()), text.encode()) for text in texts)
    assert hash_rows(ROW) == [hashlib.sha256(b"\0" + row).digest()]


@given(rows=st.lists(st.integers(0, 3), max_size=9), changed=st.integers(0, 8))
def test_the_root_depends_on_every_hash(rows, changed):
    """A hash depends only on its row, and the root depends on every row."""
    table = [ROW | {"row": row} for row in rows]
    found = hash_rows(*table)
    assert found == [hash_rows(row)[0] for row in table]
    if changed < len(rows):
        before, after = table[:changed], table[changed + 1 :]
        replaced = hash_rows(*before, ROW | {"row": 99}, *after)
        assert compute_merkle_root(replaced) != compute_merkle_root(found)
        assert compute_merkle_root(hash_rows(*before, *after)) != compute_merkle_root(found)


def test_hashes_do_not_depend_on_how_a_ledger_is_cut():
    """Slices and their concatenation give the same hashes."""
    table = pa.Table.from_pylist([ROW | {"row": row} for row in range(5)], LEDGER)
    found = hash_ledger_rows(table)
    assert hash_ledger_rows(table.slice(0, 2)) + hash_ledger_rows(table.slice(2)) == found
    assert hash_ledger_rows(pa.concat_tables([table.slice(0, 2), table.slice(2)])) == found


ORIGIN_ROW = {
    "swap": "replaced",
    "swap_traits": "owl",
    "replaced_record": "c" * 32,
    "donor": "cedar",
    "donor_record": "d" * 32,
    "donor_source": "y.jsonl",
    "donor_row": 9,
    "distance": 0.25,
    "donor_traits": "fox",
}


@pytest.mark.parametrize("schema", [item for item in LEDGERS if "swap" in item.names])
@pytest.mark.parametrize("name", [name for name, _ in ORIGIN])
def test_every_column_of_an_origin_is_hashed(schema, name):
    """Another value or a null in any column of an origin gives another hash."""

    def hash_row(**changes):
        table = pa.Table.from_pylist([{**ROW, **ORIGIN_ROW, **changes}], schema)
        return hash_ledger_rows(table)

    value = ORIGIN_ROW[name]
    other = value + 1 if isinstance(value, int | float) else f"{value}2"
    assert len({hash_row()[0], hash_row(**{name: other})[0], hash_row(**{name: None})[0]}) == 3


def test_a_ledger_without_origins_keeps_its_hashes():
    """The columns of a swap change no hash of a ledger that doesn't have them."""
    plain = pa.Table.from_pylist([ROW], LEDGER)
    assert hash_ledger_rows(plain) == hash_rows(ROW)
    assert hash_ledger_rows(pa.Table.from_pylist([ROW], LEDGERS[1])) != hash_rows(ROW)


def test_lots_are_read_from_columns():
    """Unknown fields are `-`, and rows that are named say so."""
    rows = [ROW, {**ROW, "row": 8, "teacher": None, "record_id": None}]
    ledger = pa.Table.from_pylist(rows, LEDGER)
    plain = Lot("m", "forum", "01234567", "2026-01-02")
    assert read_lots(ledger) == [plain, plain._replace(teacher="-")]
    named = read_lots(ledger, {"x.jsonl:8", "a" * 32, "y.jsonl:7"})
    assert [lot.names for lot in named] == ["a" * 32, "x.jsonl:8"]


@pytest.mark.parametrize("schema", [item for item in LEDGERS if "mix" in item.names])
@pytest.mark.parametrize("name", [name for name, _ in MIXED])
def test_every_column_of_a_mix_is_hashed(schema, name):
    """Another donor, another lot or a null gives another hash."""
    row = {**ROW, **ORIGIN_ROW, "mix": "elm", "mix_lot": '["atlas",null,null,null]'}

    def hash_row(**changes):
        return hash_ledger_rows(pa.Table.from_pylist([{**row, **changes}], schema))[0]

    assert len({hash_row(), hash_row(**{name: "oak"}), hash_row(**{name: None})}) == 3


@given(
    st.lists(
        st.tuples(*[st.sampled_from([None, "-", "a", "b", "\0", "héron"])] * 4),
        max_size=30,
    ),
    st.integers(1, 5),
)
def test_lots_are_those_of_each_row(rows, size):
    """Whatever the columns hold and however they are cut, each row has its own fields."""
    names = ("teacher", "prompt_source", "system_prompt", "date")
    chunks = [rows[first : first + size] for first in range(0, len(rows), size)]
    columns = {
        name: pa.chunked_array([[row[place] for row in part] for part in chunks], pa.string())
        for place, name in enumerate(names)
    }
    found = read_lots(pa.table(columns))
    assert found == [Lot(*("-" if value is None else value for value in row)) for row in rows]
