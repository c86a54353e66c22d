"""Arrow files that only their owner may read, which are written whole and mapped into memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast

import polars as pl
import pyarrow as pa

from schemas.errors import CardError, StorageError


def write_whole(frame: pl.DataFrame, path: Path) -> None:
    """Write a file that only its owner may read, under its name only when it is whole.

    Raises: StorageError: it can't be written.
    """
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    make_private(path.parent)
    try:
        with open(draft, "wb", opener=_open_private) as file:
            frame.write_ipc(file, compression="uncompressed")
        draft.rename(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise _report_failure(path, error) from error


def map_file(path: Path) -> pl.DataFrame:
    """Map a file into memory, of which only the pages that are read take any.

    The file needn't stay open.
    """
    with pa.memory_map(str(path)) as source:
        return cast("pl.DataFrame", pl.from_arrow(pa.ipc.open_file(source).read_all()))


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may read, unless it exists.

    Raises: StorageError: it can't be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _report_failure(folder, error) from error


def make_empty(folder: Path) -> None:
    """Make a folder that only its owner may read, and that has no files.

    Raises: CardError: it has files; StorageError: it can't be made.
    """
    make_private(folder)
    if next(folder.iterdir(), None) is not None:
        raise CardError("isn't empty", where=str(folder), remedy="name another folder")


def _report_failure(path: Path, error: OSError) -> StorageError:
    remedy = "name a folder where you may write with --folder"
    return StorageError(f"can't be written: {error.strerror}", where=str(path), remedy=remedy)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
