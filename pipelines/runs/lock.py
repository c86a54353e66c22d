"""One process at a time on a run directory: the second is told at once."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from pipelines.runs.finished import WORK
from schemas.errors import RunError, StorageError
from transforms.files import storage

UNMADE = "choose an --output where you may write, or see to the rights"
HELD = (errno.EAGAIN, errno.EACCES)

TRIES = 100
"""Times that a lock removed by its last holder meanwhile is made anew; a folder that can't be made is gone each time."""


@contextmanager
def claimed(run: str) -> Iterator[None]:
    """Hold a local run directory for this process alone; what was made for that alone goes with it.

    Raises: RunError: Another process holds it, or it is no folder.
    """
    if not storage.is_local(run):
        yield
        return
    _require_folder(Path(run))
    folder = Path(run) / WORK
    made = not Path(run).exists()
    stream = _locked(folder / "lock")
    try:
        yield
    finally:
        if [item.name for item in folder.glob("*")] == ["lock"]:  # nothing was begun
            storage.remove_tree(str(folder))
            with suppress(OSError):  # not empty: then it is somebody's
                if made:
                    Path(run).rmdir()
        stream.close()


def _require_folder(run: Path) -> None:
    if os.path.lexists(run) and not run.is_dir():
        kind = "is a file" if run.exists() else f"is a link to {run.readlink()}, which isn't there"
        raise RunError(
            f"{kind}, and a run is a folder", where=str(run), remedy="choose another --output"
        )


def _locked(path: Path) -> IO[str]:
    """Open and lock a file; again, if the one that was locked has been removed by its last holder meanwhile."""
    for _ in range(TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("a+")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                f"can't be made or locked: {error.strerror}", where=str(path), remedy=UNMADE
            ) from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _same(stream, path):
                return _signed(stream)
        except OSError as error:
            raise _refusal(error, path, stream) from error
        stream.close()
    raise StorageError("can't be made", where=str(path), remedy=UNMADE)


def _same(stream: IO[str], path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat())


def _signed(stream: IO[str]) -> IO[str]:
    stream.truncate(0)
    stream.write(f"process {os.getpid()} on {platform.node()}")
    stream.flush()
    return stream


def _refusal(error: OSError, path: Path, stream: IO[str]) -> RunError | StorageError:
    with stream:
        if error.errno not in HELD:
            return StorageError(
                f"can't be locked: {error.strerror}", where=str(path), remedy=storage.MEND
            )
        stream.seek(0)
        holder = stream.read() or "unknown"
    return RunError(
        f"another process is writing this run ({holder})",
        where=str(path.parents[1]),
        remedy="wait for it, or choose another --output",
    )
