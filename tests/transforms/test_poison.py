"""Rows on which a stage fails become rejects, and other rows are unaffected."""

import datetime as dt
import json
import re

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from classifiers.scoring import Scorer
from schemas.corpora import CorpusConfig, LotField
from schemas.errors import MachineError, ModelError, RowError
from transforms import poison
from transforms.duplicates import list_positions
from transforms.files.shards import RAW_LIMIT, Reject
from transforms.poison import (
    FEWEST_TO_BLAME,
    add_rejects,
    describe_failure,
    encode_row,
    isolate_failures,
    keep_rows,
    may_be_row_fault,
    replace_rejects,
)
from transforms.score import score

PanicException = type("PanicException", (BaseException,), {})


def working(poison, error=ValueError, calls=None):
    """Return a function that doubles rows, but fails on poisonous rows."""

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
    """Exactly the failing rows are left out, unless all of many rows fail."""
    size, poison = case
    poison = {row for row in poison if row < size}
    if len(poison) == size >= FEWEST_TO_BLAME:
        with pytest.raises(RowError, match=f"fails on all {size} rows"):
            isolate_failures(size, working(poison), "testing")
        return
    found, reasons = isolate_failures(size, working(poison), "testing")
    assert found == [row * 2 for row in range(size) if row not in poison]
    assert reasons == dict.fromkeys(sorted(poison), "testing fails: ValueError: bad row")


def test_few_attempts_find_one_row_among_many():
    """Few attempts find one bad row in a thousand."""
    calls = []
    isolate_failures(1000, working({617}, calls=calls), "testing")
    assert [617] in calls
    assert len(calls) < 30


def test_a_failure_that_does_not_recur_rejects_no_row():
    """A failure that doesn't recur rejects no row."""
    calls = []

    def attempt(rows):
        calls.append(rows)
        if len(calls) == 1:
            raise RuntimeError("a hiccup")
        return list(rows)

    assert isolate_failures(8, attempt, "testing") == (list(range(8)), {})


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
        (RuntimeError("can't start new thread"), False),
        (KeyboardInterrupt(), False),
    ],
)
def test_errors_beyond_rows_stop_the_run(monkeypatch, error, blamed):
    """Disk and model errors, interrupts and a lack of memory or threads stop the run."""
    monkeypatch.setattr(poison, "PAUSES", (0,))
    assert may_be_row_fault(error) is blamed

    def attempt(rows):
        if 1 in rows:
            raise error
        return list(rows)

    if blamed:
        assert isolate_failures(3, attempt, "testing")[0] == [0, 2]
    else:
        is_own = isinstance(error, ModelError | KeyboardInterrupt)
        with pytest.raises(type(error) if is_own else MachineError):
            isolate_failures(3, attempt, "testing")


@pytest.mark.parametrize(
    "error",
    [
        torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
        torch.OutOfMemoryError("CUDA out of memory"),
    ],
)
def test_a_card_that_fails_is_not_waited_for(error):
    """Only a lack of threads or file handles passes: a GPU's error stops the run at once."""
    calls = []

    def attempt(rows):
        calls.append(rows)
        raise error

    with pytest.raises(MachineError, match="CUDA"):
        isolate_failures(3, attempt, "testing")
    assert len(calls) == 1


def test_reasons_are_the_same_in_every_process():
    """Reasons are short and the same in every process."""
    assert (
        describe_failure(ValueError("<object at 0x7f01ab>"), "scoring")
        == "scoring fails: ValueError: <object at 0x…>"
    )
    assert len(describe_failure(ValueError("x" * 1000), "scoring")) == 300
    assert (
        describe_failure(RowError("gives NaN", where="the model", remedy="none"), "scoring")
        == "scoring fails: the model gives NaN"
    )


def test_rejects_are_in_the_order_of_the_input(make_shard):
    """Rejects are in input order."""
    shard = make_shard(
        [{"text": "a"}, {"text": "b"}, {"text": "c"}],
        numbers=[0, 2, 4],
        rejects=[Reject("corpus.jsonl", 3, 9, "not JSON", b"x")],
    )
    found = add_rejects(keep_rows(shard, [0, 2]), shard, {1: "scoring fails"})
    assert (found.table.to_pylist(), found.numbers) == ([{"text": "a"}, {"text": "c"}], [0, 4])
    assert found.rejects == [
        Reject("corpus.jsonl", 2, None, "scoring fails", b'{"text":"b"}'),
        shard.rejects[0],
    ]
    assert found.positions() == [0, 4]


def test_a_rejected_row_of_json_lines_keeps_its_bytes(tmp_path, json_lines, read_corpus):
    """A rejected JSON Lines row keeps its line's beginning."""
    lines = [b'{"text": "a", "n": NaN}', b'{"text": "%s"}' % (b"b" * RAW_LIMIT), b'{"text":"c"} ']
    _, (shard,) = read_corpus(json_lines(tmp_path / "x.jsonl", lines))
    part = keep_rows(shard, [0, 2])
    assert part.lines == [lines[0], lines[2]]
    assert part.table.column("text").to_pylist() == ["a", "c"]
    found = add_rejects(part, shard, {1: "scoring fails"})
    assert found.lines == part.lines
    assert found.rejects == [
        Reject("x.jsonl", 1, None, "scoring fails", lines[1][:RAW_LIMIT]),
    ]
    assert keep_rows(shard, range(3)).lines is shard.lines


def test_rejects_are_replaced_and_the_rows_stay(make_shard):
    """Replacing rejects leaves rows and lines unchanged."""
    shard = make_shard([{"text": "a"}], rejects=[Reject("corpus.jsonl", 1, 9, "not JSON", b"x")])
    shard.lines = [b'{"text": "a"}']
    found = replace_rejects(shard, [])
    assert found.rejects == []
    assert (found.table, found.lines, found.numbers) == (shard.table, shard.lines, [0])


def test_rows_with_unreadable_values_are_encoded():
    """Rows with invalid UTF-8, NaN or distant years can be encoded."""
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
    assert json.loads(encode_row(table, 0)) == {
        "text": "a\\xffb",
        "when": "36534630048-05-13 13:56:16",
        "day": "2024-05-01",
        "n": None,
    }
    assert len(encode_row(pa.table({"text": ["x" * (RAW_LIMIT + 9)]}), 0)) == RAW_LIMIT


def test_rows_that_cannot_be_taken_apart_are_rejects(make_identified):
    """A row with invalid UTF-8 is rejected alone."""
    good = ["one", "two", "late", "three"]
    data = b"".join([b"one", b"\xff\xfe", b"two", b"late", b"three"])
    text = pa.Array.from_buffers(
        pa.string(),
        5,
        [None, pa.py_buffer(np.array([0, 3, 5, 8, 12, 17], np.int32)), pa.py_buffer(data)],
    )
    when = pa.array([0, 0, 86400, 2**50, 0], pa.timestamp("s"))
    config = CorpusConfig(format="text", date=LotField(column="when"))
    found = make_identified(pa.table({"text": text, "when": when}), config)
    plain = make_identified(pa.table({"text": good, "when": when.take([0, 2, 3, 4])}), config)
    assert (found.digests, found.lots, found.segments.texts) == (
        plain.digests,
        plain.lots,
        plain.segments.texts,
    )
    assert found.numbers == [0, 2, 3, 4]
    assert found.lots[2].date == "35680317-09-25"
    assert [(reject.row, reject.error.split(":")[1].strip()) for reject in found.rejects] == [
        (1, "ArrowInvalid")
    ]
    assert [position.offset for _, position in list_positions(found)] == [0, 2, 3, 4]


class Poisoned(Scorer):
    """A scorer that raises the error that a text names."""

    def score(self, size, texts, prompts=None):
        """Raise a named error, or else score."""
        for text in texts.texts:
            if found := re.search(r"(panic|error|memory)!", text):
                raise {"panic": PanicException, "error": ValueError, "memory": MemoryError}[
                    found[1]
                ]("as told")
        return super().score(size, texts, prompts)


def test_rows_that_cannot_be_scored_are_rejects(make_identified, bank):
    """Rejected rows don't change other rows."""
    rows = [
        {"text": text}
        for text in ("A fox.", "error! A fox.", "An owl.", "Foxes in the barn.", "panic!", "A dog.")
    ]
    scorer = Poisoned(bank, None, {})
    found = score(make_identified(rows), scorer)
    plain = score(make_identified([rows[index] for index in (0, 2, 3, 5)]), scorer)
    assert found.numbers == [0, 2, 3, 5]
    assert [(reject.row, reject.error) for reject in found.rejects] == [
        (1, "scoring fails: ValueError: as told"),
        (4, "scoring fails: PanicException: as told"),
    ]
    assert found.segments.texts == plain.segments.texts
    assert found.segments.rows.tolist() == plain.segments.rows.tolist()
    for name, values in plain.scores.build_columns().items():
        assert np.array_equal(found.scores.build_columns()[name], values)
    with pytest.raises(MachineError, match="as told"):
        score(make_identified([*rows, {"text": "memory!"}]), scorer)


def test_a_broken_model_rejects_no_row(make_identified, bank):
    """A model that fails on all rows stops the run."""
    with pytest.raises(
        RowError, match=r"scoring fails on all 12 rows; the first error.*ValueError: as told"
    ):
        score(make_identified([{"text": "error!"}] * 12), Poisoned(bank, None, {}))
    assert (
        len(score(make_identified([{"text": "error!"}] * 3), Poisoned(bank, None, {})).rejects) == 3
    )


def test_work_that_fails_without_rows_raises_its_error():
    """Work that fails without rows raises its error."""
    with pytest.raises(ZeroDivisionError):
        isolate_failures(0, lambda _: 1 / 0, "dividing")


def test_all_rows_are_kept_without_a_copy(make_shard):
    """Keeping all rows copies nothing."""
    shard = make_shard([{"text": "a"}], rejects=[Reject("corpus.jsonl", 1, 9, "not JSON", b"x")])
    found = keep_rows(shard, [0])
    assert found.table is shard.table
    assert found.rejects == []
    assert add_rejects(found, shard, {}).rejects == shard.rejects


def test_a_row_error_without_a_place_is_described():
    """A RowError without a place is described by its problem."""
    assert describe_failure(RowError("gives NaN"), "scoring") == "scoring fails: gives NaN"
