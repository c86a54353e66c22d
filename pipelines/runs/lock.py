"""The lock of a run directory: one process at a time writes a run; a second one is refused."""

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

CHOOSE_ANOTHER = "choose an --output where you may write, or change its permissions"
NO_LOCKS = "choose an --output on a disk whose filesystem has file locks"
HELD = (errno.EAGAIN, errno.EACCES)

TRIES = 100
"""How often to try again when the last holder removes the file between opening and locking it.

The limit matters if a mount has vanished, since the folder is then missing every time.
"""


@contextmanager
def lock_run(run: str) -> Iterator[None]:
    """Lock a local run directory for this process.

    Folders that were created only for the lock are removed again.

    Raises: RunError: another process holds the directory, or it isn't a folder.
    """
    if not storage.is_local(run):
        yield
        return
    require_folder(Path(run))
    folder = Path(run) / WORK
    made = not Path(run).exists()
    stream = _acquire(folder / "lock")
    try:
        yield
    finally:
        if [item.name for item in folder.glob("*")] == ["lock"]:  # no run was begun
            storage.remove_tree(str(folder))
            with suppress(OSError):  # the folder isn't empty, so somebody uses it
                if made:
                    Path(run).rmdir()
        stream.close()


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
    """Open and lock a file; try again if the last holder has removed it in the meantime."""
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
    """Write who holds the lock, for the message to a second process."""
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
