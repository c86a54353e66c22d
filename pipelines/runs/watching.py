"""Watch a run: count finished rows from receipts while other machines do the work."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from schemas.events import Listener, RowsFinished, RowsPlanned
from schemas.receipts import Receipt
from schemas.runs import RECEIPTS, receipt_shard
from transforms.files import storage
from transforms.files.planning import PlannedShard

PAUSE_SECONDS = 2.0
"""The seconds between listings of the receipts, which may be on a store."""


def plan_rows(
    shards: Sequence[PlannedShard], done: Mapping[str, Receipt], todo: Iterable[PlannedShard]
) -> RowsPlanned:
    """Return the event for the beginning of the work on the shards `todo`.

    `done` are the shards that an earlier attempt finished.
    """
    again = tuple((shard.name, shard.rows) for shard in todo if shard.name in done)
    rows_done = sum(receipt.rows for receipt in done.values())
    return RowsPlanned(sum(shard.rows for shard in shards), rows_done, again)


@contextmanager
def watch_receipts(
    run: str, shards: Sequence[PlannedShard], listener: Listener, done: Collection[str] = ()
) -> Iterator[None]:
    """Report the finished rows from a background thread until the block ends.

    `done` are the shards that are finished already. Other receipts that are there at the beginning
    are damaged or belong to another run, so they don't count.
    """
    stop, unsound = threading.Event(), _list_receipts(run) - set(done)

    def watch() -> None:
        while not stop.wait(PAUSE_SECONDS):
            listener(RowsFinished(count_finished_rows(run, shards, unsound)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def count_finished_rows(
    run: str, shards: Sequence[PlannedShard], unsound: Collection[str] = ()
) -> int:
    """Count the rows of the shards with a receipt, except those with an unsound one."""
    rows = {shard.name: shard.rows for shard in shards if shard.name not in unsound}
    return sum(rows.get(name, 0) for name in _list_receipts(run))


def _list_receipts(run: str) -> set[str]:
    """Return the names of the shards with a receipt, sound or not."""
    receipts = storage.list_folder(storage.join(run, RECEIPTS), ".json")
    return {receipt_shard(uri) for uri in receipts}
