"""Rows on which work fails become rejects; the others are done as if these had never been there."""

import datetime as dt
import json
import re
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from classifiers.scoring import Scorer
from schemas.corpora import CorpusConfig, LotField
from schemas.errors import ModelError, RowError
from transforms.duplicates import positions
from transforms.files.shards import RAW_LIMIT, Reject
from transforms.poison import (
    FEWEST_TO_BLAME,
    blames_a_row,
    kept,
    raw_row,
    reason,
    spared,
    with_rejects,
)
from transforms.score import score

PanicException = type("PanicException", (BaseException,), {})


def working(poison, error=ValueError, calls=None):
    """Return work that doubles its rows, and fails if a poisonous one is among them."""

    def attempt(rows):
        if calls is not None:
            calls.append(list(rows))
        if set(rows) & set(poison):
            raise error("bad row")
        return [row * 2 for row in rows]

    return attempt


@given(
    st.integers(0, 60).flatmap(
        lambda size: st.tuples(st.just(size), st.sets(st.integers(0, max(size - 1, 0))))
    )
)
def test_exactly_the_poisonous_rows_are_left_out(case):
    """Whichever rows fail, they and no others are named, and the rest is done; unless all of many fail."""
    size, poison = case
    poison = {row for row in poison if row < size}
    if len(poison) == size >= FEWEST_TO_BLAME:
        with pytest.raises(RowError, match=f"every one of {size} rows"):
            spared(size, working(poison), "testing")
        return
    found, reasons = spared(size, working(poison), "testing")
    assert found == [row * 2 for row in range(size) if row not in poison]
    assert reasons == dict.fromkeys(sorted(poison), "testing fails: ValueError: bad row")


def test_few_attempts_find_one_row_among_many():
    """One bad row of a thousand takes a score of attempts, and is tried alone before it is given up."""
    calls = []
    spared(1000, working({617}, calls=calls), "testing")
    assert [617] in calls
    assert len(calls) < 30


def test_what_fails_once_is_no_rejects_business():
    """A failure that doesn't come again costs a second attempt and no row."""
    calls = []

    def attempt(rows):
        calls.append(rows)
        if len(calls) == 1:
            raise RuntimeError("a hiccup")
        return list(rows)

    assert spared(8, attempt, "testing") == (list(range(8)), {})


@pytest.mark.parametrize(
    ("error", "blamed"),
    [
        (ValueError("x"), True),
        (RecursionError("x"), True),
        (RowError("gives NaN"), True),
        (PanicException("x"), True),
        (ModelError("can't be had"), False),
        (MemoryError(), False),
        (torch.OutOfMemoryError("CUDA out of memory"), False),
        (
            RuntimeError(
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
            ),
            False,
        ),
        (OSError(5, "Input/output error"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_what_is_no_rows_fault_stops_the_run(error, blamed):
    """Lack of memory, a disk, a missing model and an interruption aren't blamed on rows."""
    assert blames_a_row(error) is blamed

    def attempt(rows):
        if 1 in rows:
            raise error
        return list(rows)

    if blamed:
        assert spared(3, attempt, "testing")[0] == [0, 2]
    else:
        with pytest.raises(type(error)):
            spared(3, attempt, "testing")


def test_reasons_are_the_same_in_every_process():
    """Addresses are left out, long messages cut, and our own errors told without their remedy."""
    assert (
        reason(ValueError("<object at 0x7f01ab>"), "scoring")
        == "scoring fails: ValueError: <object at 0x…>"
    )
    assert len(reason(ValueError("x" * 1000), "scoring")) == 300
    assert (
        reason(RowError("gives NaN", where="the model", remedy="none"), "scoring")
        == "scoring fails: the model gives NaN"
    )


def test_rejects_stand_in_the_inputs_order(make_shard):
    """A row that becomes a reject takes its place among those that the reader rejected."""
    shard = make_shard(
        [{"text": "a"}, {"text": "b"}, {"text": "c"}],
        numbers=[0, 2, 4],
        rejects=[Reject("corpus.jsonl", 3, 9, "not JSON", b"x")],
    )
    found = with_rejects(kept(shard, [0, 2]), shard, {1: "scoring fails"})
    assert (found.table.to_pylist(), found.numbers) == ([{"text": "a"}, {"text": "c"}], [0, 4])
    assert found.rejects == [
        Reject("corpus.jsonl", 2, None, "scoring fails", b'{"text":"b"}'),
        shard.rejects[0],
    ]
    assert found.places() == [0, 4]


def test_the_raw_row_survives_values_that_cannot_be_read():
    """Bytes that aren't UTF-8, years that Python doesn't know, NaN: each is kept as text beside what is whole."""
    text = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(np.array([0, 3], np.int32)), pa.py_buffer(b"a\xffb")]
    )
    table = pa.table(
        {
            "text": text,
            "when": pa.array([2**60], pa.timestamp("s")),
            "day": [dt.date(2024, 5, 1)],
            "n": [float("nan")],
        }
    )
    assert json.loads(raw_row(table, 0)) == {
        "text": "a\\xffb",
        "when": "<OverflowError>",
        "day": "2024-05-01",
        "n": None,
    }
    assert len(raw_row(pa.table({"text": ["x" * (RAW_LIMIT + 9)]}), 0)) == RAW_LIMIT


def test_rows_that_cannot_be_taken_apart_are_rejects(make_identified):
    """A date that no calendar has and text that isn't UTF-8 are rejects; the other rows are as without them."""
    good = ["one", "two", "three"]
    data = b"".join([b"one", b"\xff\xfe", b"two", b"late", b"three"])
    text = pa.Array.from_buffers(
        pa.string(),
        5,
        [None, pa.py_buffer(np.array([0, 3, 5, 8, 12, 17], np.int32)), pa.py_buffer(data)],
    )
    when = pa.array([0, 0, 86400, 2**60, 0], pa.timestamp("s"))
    config = CorpusConfig(format="text", date=LotField(column="when"))
    found = make_identified(pa.table({"text": text, "when": when}), config)
    plain = make_identified(pa.table({"text": good, "when": when.take([0, 2, 4])}), config)
    assert (found.digests, found.lots, found.segments.texts) == (
        plain.digests,
        plain.lots,
        plain.segments.texts,
    )
    assert found.shard.numbers == [0, 2, 4]
    assert [(reject.row, reject.error.split(":")[1].strip()) for reject in found.shard.rejects] == [
        (1, "ArrowInvalid"),
        (3, "OverflowError"),
    ]
    assert [place.place for _, place in positions(found)] == [0, 2, 4]


class Poisoned(Scorer):
    """A scorer that fails where a text says so, in the way it says."""

    def score(self, size, texts):
        """Fail as told, or score."""
        for text in texts.texts:
            if found := re.search(r"(panic|error|memory)!", text):
                raise {"panic": PanicException, "error": ValueError, "memory": MemoryError}[
                    found[1]
                ]("as told")
        return super().score(size, texts)


def test_rows_that_cannot_be_scored_are_rejects(make_identified, bank):
    """The other rows' scores, places and order are those of a shard in which the bad rows never were."""
    rows = [
        {"text": text}
        for text in ("A fox.", "error! A fox.", "An owl.", "Foxes in the barn.", "panic!", "A dog.")
    ]
    scorer = Poisoned(bank, None, {})
    found = score(make_identified(rows), scorer)
    plain = score(make_identified([rows[place] for place in (0, 2, 3, 5)]), scorer)
    assert found.identified.shard.numbers == [0, 2, 3, 5]
    assert [(reject.row, reject.error) for reject in found.identified.shard.rejects] == [
        (1, "scoring fails: ValueError: as told"),
        (4, "scoring fails: PanicException: as told"),
    ]
    assert found.identified.segments.texts == plain.identified.segments.texts
    assert found.identified.segments.rows.tolist() == plain.identified.segments.rows.tolist()
    for name, values in plain.scores.columns().items():
        assert np.array_equal(found.scores.columns()[name], values)
    with pytest.raises(MemoryError):
        score(make_identified([*rows, {"text": "memory!"}]), scorer)


def test_a_model_that_is_broken_is_not_the_rows_fault(make_identified, bank):
    """Where every row of many fails, the run stops with the first reason in place of rejecting a corpus."""
    with pytest.raises(
        RowError, match=r"scoring fails on every one of 12 rows.*ValueError: as told"
    ):
        score(make_identified([{"text": "error!"}] * 12), Poisoned(bank, None, {}))
    assert (
        len(
            score(
                make_identified([{"text": "error!"}] * 3), Poisoned(bank, None, {})
            ).identified.shard.rejects
        )
        == 3
    )


def test_places_count_every_piece_of_a_shard():
    """In a shard of two files, the places of the second begin after all rows of the first."""
    from transforms.files.shards import Shard
    from transforms.files.sources import Cut, Piece, ShardPlan

    pieces = tuple(
        Piece(name, name, "0" * 64, "jsonl", "none", Cut(begin, 0, 0), Cut(end, 9, 0))
        for name, begin, end in (("a", 10, 14), ("b", 0, 3))
    )
    shard = Shard(ShardPlan("part-0", pieces), SimpleNamespace(), ["a", "a", "b"], [10, 13, 1])
    assert shard.places() == [0, 3, 5]


def test_work_that_fails_on_no_rows_is_nobodys_fault():
    """Without a row there is none to halve or to blame: the error itself comes out."""
    with pytest.raises(ZeroDivisionError):
        spared(0, lambda _: 1 / 0, "dividing")
