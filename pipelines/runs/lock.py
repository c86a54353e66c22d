"""The lock on a run directory, which lets only one process at a time write a run."""

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
"""How many times to retry if the last holder removes the lock file before this process locks it.

There is a limit because every attempt fails in this way if a mount has vanished.
"""


@contextmanager
def lock_run(run: str) -> Iterator[None]:
    """Lock a local run directory for this process.

    Folders that were created only for the lock are removed again.

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

    Nothing is raised, because an error here would hide why a run failed, or make a finished run
    fail. The file is deleted before it is unlocked, because otherwise it could be deleted after
    another process has locked it. The folders are removed after that, because some file systems
    keep a deleted file in its folder until it is closed.
    """
    folder = run / WORK
    with suppress(OSError):
        if {item.name for item in folder.iterdir() if not is_deleted_name(item.name)} <= {LOCK}:
            (folder / LOCK).unlink(missing_ok=True)
    with suppress(OSError):
        stream.close()
    for empty in (folder, run) if made else (folder,):
        with suppress(OSError):  # the folder isn't empty: it holds a run or somebody's files
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
    """Open and lock a file; start over if the previous holder removes it before it is locked."""
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
    """Write into the lock file who holds it, for the error that a second process reports."""
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
