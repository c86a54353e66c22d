"""Receipts: their bytes, their digests and damage."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.digests import digest_config
from schemas.receipts import NearestExemplars, NoteCounts, Output, Receipt, parse_receipt


def build_receipt(**changes):
    """Return a receipt of three rows."""
    fields = {
        "shard": "part-0",
        "rows": 3,
        "outputs": (Output(path="clean/part-0.parquet", rows=2, bytes=100, sha256="d" * 64),),
        "decisions": {"keep": 2, "drop": 1},
        "fired": {"owl": 1},
        "ledger_root": "e" * 64,
        "tokens": 12,
        "padded": 20,
    }
    return Receipt(**{**fields, **changes})


DATA = build_receipt().to_bytes()


def test_a_receipt_is_read_back():
    """A parsed receipt equals the encoded one."""
    receipt = build_receipt(run="run-1", budget_cuts=2, unscored=1)
    assert parse_receipt(receipt.to_bytes()) == receipt
    assert parse_receipt(DATA) == build_receipt()


def test_counts_of_shards_are_added():
    """Counts of notes and of nearest exemplars are added field by field."""
    one, two = NoteCounts(masked=2, flagged=1), NoteCounts(masked=1, still_masked=1)
    assert one.add(two) == NoteCounts(masked=3, flagged=1, still_masked=1)
    near = NearestExemplars(rows=2, negative=1)
    assert near.add(near) == NearestExemplars(rows=4, negative=2)


def test_equal_receipts_have_equal_bytes():
    """Equal receipts have equal bytes."""
    assert build_receipt(decisions={"drop": 1, "keep": 2}).to_bytes() == DATA
    value = json.loads(DATA)
    assert list(value) == sorted(value)
    assert value["outputs"][0]["path"] == "clean/part-0.parquet"
    assert len(value["digest"]) == 64


@pytest.mark.parametrize(
    "damaged",
    [
        DATA[:-1],
        DATA.replace(b'"rows":3', b'"rows":4'),
        DATA.replace(b"clean/", b"Clean/"),
        DATA.replace(b'"digest"', b'"digests"'),
        b"",
        b"[]",
        b"{}",
        b"null",
        b"3",
        b'"text"',
        b"\xff",
        b"[" * 100_000,
    ],
    ids=len,
)
def test_a_damaged_receipt_is_refused(damaged):
    """Truncated, changed and foreign bytes are refused."""
    assert damaged != DATA
    with pytest.raises(ValueError, match="receipt is damaged"):
        parse_receipt(damaged)


@given(st.integers(0, len(DATA) - 1), st.integers(1, 255))
def test_no_byte_can_change(index, change):
    """A receipt with a changed byte is refused, or has the same meaning."""
    damaged = bytearray(DATA)
    damaged[index] ^= change
    try:
        assert parse_receipt(bytes(damaged)) == build_receipt()
    except ValueError as error:
        assert "receipt is damaged" in str(error)  # noqa: PT017 - either outcome is right


@pytest.mark.parametrize("change", [{"mood": "good"}, {"rows": "many"}, {"outputs": [{}]}])
def test_a_receipt_of_another_shape_is_refused(change):
    """A receipt with wrong fields is refused in spite of a right digest."""
    value = {name: item for name, item in json.loads(DATA).items() if name != "digest"} | change
    data = json.dumps(value | {"digest": digest_config(value)}).encode()
    with pytest.raises(ValueError, match="receipt is damaged"):
        parse_receipt(data)


def test_a_receipt_is_frozen():
    """A receipt is immutable."""
    with pytest.raises(ValidationError, match="frozen"):
        build_receipt().rows = 4
