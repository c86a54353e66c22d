"""Watching a run: receipts show the finished rows."""

import threading
from pathlib import Path

import pytest

from pipelines.runs import watching
from pipelines.runs.watching import count_finished_rows, plan_rows, watch_receipts
from schemas.events import RowsFinished, RowsPlanned
from schemas.receipts import Receipt
from schemas.runs import RECEIPTS
from transforms.files.planning import ShardPlan, SourcePiece
from transforms.files.sources import Cut


def plan_shard(number: int, rows: int) -> ShardPlan:
    """Return a shard's plan with some rows."""
    piece = SourcePiece("a", "a", "ff", "jsonl", "none", Cut(0, 0, 0), Cut(rows, 1, 0))
    return ShardPlan(f"part-{number}", (piece,))


SHARDS = [plan_shard(0, 7), plan_shard(1, 5)]


def write_receipt(run: Path, shard: str) -> None:
    """Write a receipt of any content."""
    folder = run / RECEIPTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{shard}.json").write_text("{}")


def test_rows_are_counted_by_receipts(tmp_path):
    """A planned shard's rows count with its receipt, and other receipts add none."""
    assert count_finished_rows(str(tmp_path), SHARDS) == 0
    for shard in ("part-0", "part-of-another-run"):
        write_receipt(tmp_path, shard)
    assert count_finished_rows(str(tmp_path), SHARDS) == 7
    write_receipt(tmp_path, "part-1")
    assert count_finished_rows(str(tmp_path), SHARDS) == 12


def test_a_listener_hears_of_finished_rows(tmp_path, monkeypatch):
    """Finished rows are reported repeatedly until the block ends."""
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.01)
    heard, complete, before = [], threading.Event(), threading.active_count()

    def listen(event: RowsFinished) -> None:
        heard.append(event)
        if event.rows == 12:
            complete.set()
        else:
            write_receipt(tmp_path, f"part-{min(len(heard), 2) - 1}")

    with watch_receipts(str(tmp_path), SHARDS, listen):
        assert complete.wait(10)
    assert [event.rows for event in heard[:3]] == [0, 7, 12]
    assert threading.active_count() == before


def test_the_watch_ends_with_an_error(tmp_path, monkeypatch):
    """An error ends the watching thread and is passed on."""
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.01)
    before = threading.active_count()
    with (
        pytest.raises(RuntimeError, match="the engine failed"),
        watch_receipts(str(tmp_path), SHARDS, lambda _: None),
    ):
        raise RuntimeError("the engine failed")
    assert threading.active_count() == before


def test_receipts_of_another_run_do_not_count(tmp_path, monkeypatch):
    """A receipt that was there before, of no finished shard, adds no rows."""
    monkeypatch.setattr(watching, "PAUSE_SECONDS", 0.01)
    write_receipt(tmp_path, "part-0")
    write_receipt(tmp_path, "part-1")
    heard, enough = [], threading.Event()

    def listen(event: RowsFinished) -> None:
        heard.append(event.rows)
        enough.set()

    with watch_receipts(str(tmp_path), SHARDS, listen, done=["part-1"]):
        assert enough.wait(10)
    assert set(heard) == {5}


def test_shards_that_are_processed_again_are_named():
    """The event at the beginning has all rows, those that are done, and those done again."""
    counts = {"decisions": {}, "fired": {}, "tokens": 0, "padded": 0}
    receipt = Receipt(shard="part-1", rows=5, outputs=(), ledger_root="", **counts)
    planned = plan_rows(SHARDS, {"part-1": receipt}, SHARDS)
    assert planned == RowsPlanned(12, 5, (("part-1", 5),))
    assert plan_rows(SHARDS, {"part-1": receipt}, SHARDS[:1]).again == ()
