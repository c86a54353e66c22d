"""A run directory while it is being made: one process at a time, resumed only as the same run."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipelines.runs import MANIFEST
from schemas.digests import canonical_json, sha256_hex
from schemas.errors import RunError
from transforms import storage
from transforms.write import RECEIPTS, OutputFile, Receipt, receipt_from_bytes

FOLDERS = ("clean", "quarantine", "rejects", "ledger", "scores", "swaplist", "vectors", "report")
WORK = ".work"
BANK = ".work/bank"


@contextmanager
def claimed(run: str) -> Iterator[None]:
    """Hold a local run directory for this process alone.

    Raises: RunError: Another process holds it.
    """
    if not storage.is_local(run):
        yield
        return
    path = Path(run) / WORK / "lock"
    fresh = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunError("another process is writing this run", where=run, remedy="wait for it, or choose another --output") from error
        try:
            yield
        finally:
            if fresh and [item.name for item in path.parent.glob("*")] == [path.name]:  # nothing was begun
                storage.remove_tree(str(path.parent))


def open_run(run: str, identity: dict[str, object], restart: bool) -> None:
    """Begin or resume a run.

    Raises: RunError: The run is finished, was begun with other input, configuration, bank or code, or is no run at all.
    """
    note = storage.join(run, WORK, "run.json")
    if restart:
        clear(run)
    if storage.exists(storage.join(run, MANIFEST)):
        raise RunError(
            "the run is finished", where=run, remedy="congener inspect or verify it; --restart replaces it, another --output keeps it"
        )
    if storage.exists(note):
        begun = json.loads(storage.read_bytes(note))
        differing = [name for name in identity if canonical_json(begun.get(name)) != canonical_json(identity[name])]
        if differing:
            raise RunError(
                f"was begun with another {', '.join(differing)}", where=run, remedy="run it as it was begun, or start over with --restart"
            )
        return
    if any(storage.exists(storage.join(run, folder)) for folder in FOLDERS):
        raise RunError(
            "holds folders of the same names that are no unfinished run",
            where=run,
            remedy="choose an empty --output, or replace them with --restart",
        )
    storage.write_bytes(note, canonical_json(identity))


def clear(run: str) -> None:
    """Remove what a run has written, finished or not; the manifest first, so that nothing half-removed looks whole."""
    storage.remove_tree(storage.join(run, MANIFEST))
    for folder in FOLDERS:
        storage.remove_tree(storage.join(run, folder))
    for inside in ("run.json", "receipts", "bank"):
        storage.remove_tree(storage.join(run, WORK, inside))


def receipts(run: str) -> dict[str, Receipt]:
    """Return the receipts of the shards that are done, checked against the files they speak of."""
    found = (receipt_from_bytes(storage.read_bytes(uri)) for uri in storage.listing(storage.join(run, RECEIPTS), ".json"))
    return {receipt.shard: receipt for receipt in found if all(_as_written(run, output) for output in receipt.outputs)}


def _as_written(run: str, output: OutputFile) -> bool:
    uri = storage.join(run, output.path)
    return storage.exists(uri) and sha256_hex(storage.read_bytes(uri)) == output.sha256
