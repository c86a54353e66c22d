"""The lock on a run directory, so that only one process at a time writes a run."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from schemas.errors import RunError, StorageError
from schemas.runs import WORK
from transforms.files import storage
from transforms.files.removals import is_deleted_name

CHOOSE_ANOTHER = "choose an --output where you may write, or change its permissions"
NO_LOCKS = "choose an --output on a disk whose filesystem has file locks"
HELD = (errno.EAGAIN, errno.EACCES)

LOCK = "lock"

TRIES = 100
"""How often to retry when the last holder removes the lock file before this process locks it.

Without a limit, a vanished mount would cause an endless loop.
"""


@contextmanager
def lock_run(run: str) -> Iterator[None]:
    """Lock a local run directory for this process.

    Folders that were created for the lock are removed again.

    Raises: RunError: another process holds the lock, or the path isn't a folder.
    """
    if not storage.is_local(run):
        yield
        return
    require_folder(Path(run))
    made = not Path(run).exists()
    stream = _acquire(Path(run) / WORK / LOCK)
    try:
        yield
    finally:
        _release(Path(run), stream, made)


def _release(run: Path, stream: IO[str], made: bool) -> None:
    """Release a lock, and remove the lock file and its folders if no run was begun.

    Errors are ignored, because they would hide the run's own outcome. The file is deleted before it
    is unlocked, so that no other process can lock it in between. The folders are removed last,
    because some file systems keep a deleted file in its folder until it is closed.
    """
    folder = run / WORK
    with suppress(OSError):
        if {item.name for item in folder.iterdir() if not is_deleted_name(item.name)} <= {LOCK}:
            (folder / LOCK).unlink(missing_ok=True)
    with suppress(OSError):
        stream.close()
    for empty in (folder, run) if made else (folder,):
        with suppress(OSError):  # the folder holds a run or other files
            empty.rmdir()


def require_folder(run: Path) -> None:
    """Refuse a path that can't be a run's folder.

    Raises: RunError: the path is a file or a broken link.
    """
    if os.path.lexists(run) and not run.is_dir():
        kind = "is a file" if run.exists() else f"is a broken link to {run.readlink()}"
        raise RunError(
            f"{kind}, but a run is a folder", where=str(run), remedy="choose another --output"
        )


def _acquire(path: Path) -> IO[str]:
    """Open and lock a file. If the previous holder removes the file first, start over."""
    for _ in range(TRIES):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("a+")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StorageError(
                f"can't be created or locked: {error.strerror}",
                where=str(path),
                remedy=CHOOSE_ANOTHER,
            ) from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_same(stream, path):
                return _sign(stream)
        except OSError as error:
            raise _refuse(error, path, stream) from error
        stream.close()
    raise StorageError("can't be created", where=str(path), remedy=CHOOSE_ANOTHER)


def _is_same(stream: IO[str], path: Path) -> bool:
    return path.exists() and os.path.samestat(os.fstat(stream.fileno()), path.stat())


def _sign(stream: IO[str]) -> IO[str]:
    """Write the process and the machine into the lock file, for a second process's error."""
    stream.truncate(0)
    stream.write(f"process {os.getpid()} on {platform.node()}")
    stream.flush()
    return stream


def _refuse(error: OSError, path: Path, stream: IO[str]) -> RunError | StorageError:
    with stream:
        if error.errno not in HELD:
            return StorageError(
                f"can't be locked: {error.strerror}", where=str(path), remedy=NO_LOCKS
            )
        stream.seek(0)
        holder = stream.read() or "unknown"
    return RunError(
        f"another process is writing this run ({holder})",
        where=str(path.parents[1]),
        remedy="wait until it ends, or choose another --output",
    )
