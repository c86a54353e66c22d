"""Watch a run: count finished rows from receipts while other processes do the work."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from schemas.events import Listener, RowsFinished
from schemas.runs import RECEIPTS, receipt_shard
from transforms.files import storage
from transforms.files.planning import PlannedShard

PAUSE_SECONDS = 2.0
"""The seconds between listings of the receipts, which may be on a store."""


@contextmanager
def watch_receipts(run: str, shards: Sequence[PlannedShard], listener: Listener) -> Iterator[None]:
    """Report the finished rows from a background thread until the block ends."""
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(PAUSE_SECONDS):
            listener(RowsFinished(count_finished_rows(run, shards)))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def count_finished_rows(run: str, shards: Sequence[PlannedShard]) -> int:
    """Count the rows of the shards with a receipt."""
    rows = {shard.name: shard.rows for shard in shards}
    receipts = storage.list_folder(storage.join(run, RECEIPTS), ".json")
    return sum(rows.get(receipt_shard(uri), 0) for uri in receipts)
