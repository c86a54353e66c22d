"""Files wherever Beam's filesystems reach: matching, reading, and writes that appear whole or not at all."""

from __future__ import annotations

import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from schemas.errors import InputError, StorageError
from transforms.files import object_stores
from transforms.files.object_stores import GLOB_SIGNS, FoundFile

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
"""The name under which a file is written before it is whole."""

REACH = "check bucket, region and rights; docs/operations.md says how stores are reached"
MEND = "make room, or see to the rights; the same command goes on where it stopped"


def is_local(uri: str) -> bool:
    """Say whether `uri` is a path on this machine."""
    return "://" not in uri


def join(root: str, *names: str) -> str:
    """Append path components to a directory, local or remote."""
    return "/".join([root.rstrip("/"), *names])


def find(pattern: str) -> list[FoundFile]:
    """List the files that a path, folder or glob names, sorted by URI; a folder means every file below it.

    Raises: InputError: Nothing matches, or the filesystem isn't known.
    """
    try:
        found = _find_local(pattern) if is_local(pattern) else _find_remote(pattern)
    except OSError as error:
        raise InputError(
            f"can't be listed: {error}",
            where=pattern,
            remedy="check the URI's scheme, and that its extra (gcp, aws) is installed",
        ) from error
    if not found and is_local(pattern) and Path(pattern).is_dir():
        raise InputError(
            "is a folder without a file",
            where=pattern,
            remedy="hidden files, and what lies in folders that begin with . or _, don't count",
        )
    if not found:
        raise InputError(
            "matches no file",
            where=pattern,
            remedy="check the path; quote a glob so that the shell leaves it alone",
        )
    return sorted(found)


def _find_local(pattern: str) -> list[FoundFile]:
    path = Path(pattern)
    if path.is_dir():
        return [_found(item) for item in _within(path)]
    return [_found(path)] if path.exists() or path.is_symlink() else object_stores.matched(pattern)


def _within(root: Path) -> Iterator[Path]:
    """Yield what isn't hidden below a folder, but for the folders themselves; links to folders are yielded, not followed.

    Raises: OSError: A folder can't be listed.
    """

    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, names in os.walk(root, onerror=refuse):
        folders[:] = [name for name in folders if not name.startswith((".", "_"))]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (
            Path(folder, name) for name in (*names, *links) if not name.startswith((".", "_"))
        )


def _found(path: Path) -> FoundFile:
    """Describe a file; a link that leads nowhere counts as one, so that whoever opens it says why it can't be.

    Raises: InputError: It is a pipe, a socket or a device, which would be read for ever, or once.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(
            "is no file but a pipe, a socket or a device",
            where=str(path),
            remedy="write it to a file first",
        )
    return FoundFile(str(path), path.stat().st_size if path.exists() else 0)


def _hidden(item: PurePath, root: PurePath) -> bool:
    return any(part.startswith((".", "_")) for part in item.relative_to(root).parts)


def _find_remote(pattern: str) -> list[FoundFile]:
    in_bucket = pattern.rstrip("/").count("/") > 2
    if in_bucket and (item := object_stores.found(pattern)):
        return item
    if any(sign in pattern for sign in GLOB_SIGNS):
        return object_stores.matched(pattern)
    root = PurePosixPath(pattern)
    return [
        item for item in object_stores.below(pattern) if not _hidden(PurePosixPath(item.uri), root)
    ]


def open_raw(uri: str) -> Any:
    """Open a file for reading, its bytes as they are (no decompression by extension).

    Raises: InputError: It can't be opened.
    """
    try:
        return open(uri, "rb") if is_local(uri) else object_stores.open_reading(uri)
    except OSError as error:
        raise InputError(f"can't be opened: {error.strerror or error}", where=uri) from error


def read_bytes(uri: str) -> bytes:
    """Read a whole file.

    Raises: InputError: It can't be opened, or read to its end.
    """
    with open_raw(uri) as stream:
        try:
            return bytes(stream.read())
        except OSError as error:
            raise InputError(f"can't be read: {error.strerror or error}", where=uri) from error


def write_bytes(uri: str, data: bytes) -> None:
    """Write a whole file so that a reader sees all of it or none: a temporary name and a rename where the store is a disk.

    Object stores publish an object when its upload completes, so there the final name is written directly.

    Raises: StorageError: The disk or the store refuses; what stood under the name before still does.
    """
    try:
        if is_local(uri):
            _write_local(Path(uri), data)
        else:
            object_stores.write(uri, data)
    except OSError as error:
        raise StorageError(
            f"can't be written: {getattr(error, 'strerror', None) or error}", where=uri, remedy=MEND
        ) from error


def _write_local(path: Path, data: bytes) -> None:
    _make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(
            OSError
        ):  # the first error is what counts; the next attempt sweeps what is left
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it; their names are on the disk before anything relies on them."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def keep_private(folder: str) -> None:
    """Have a local folder, with the files that are in it, for its owner alone; made if it isn't there.

    Raises: StorageError: The disk refuses.
    """
    try:
        path = Path(folder)
        _make_folder(path)
        path.chmod(0o700)
        for file in path.iterdir():
            file.chmod(0o600)
    except OSError as error:
        raise StorageError(
            f"can't be made private: {error.strerror}", where=folder, remedy=MEND
        ) from error


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk: without it, a rename or a removal may come undone when the power fails."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sweep(folder: str, older_than: float = 0) -> list[str]:
    """Remove the temporary files that a killed process left anywhere below a local folder, and return them.

    `older_than` seconds spares those that another process may be writing at this moment.

    Raises: StorageError: One can't be removed.
    """
    if not is_local(folder):
        return []  # object stores know no temporary names
    found = [
        path for path in sorted(Path(folder).rglob(".*.tmp")) if TEMPORARY.fullmatch(path.name)
    ]
    latest = time.time() - older_than
    leftover = [
        str(path) for path in found if (written := _written(path)) is not None and written <= latest
    ]
    for uri in leftover:
        remove_tree(uri)
    return leftover


def _written(path: Path) -> float | None:
    """Return when a file was last written, or None if it is gone: another process may have finished it."""
    with suppress(FileNotFoundError):
        return path.lstat().st_mtime
    return None


def exists(uri: str) -> bool:
    """Say whether a file or folder is there; on an object store a folder is what something lies below.

    Raises: StorageError: The store doesn't say.
    """
    if is_local(uri):
        return Path(uri).exists()
    try:
        return object_stores.exists(uri) or bool(object_stores.below(uri, 1))
    except OSError as error:
        raise StorageError(f"can't be looked up: {error}", where=uri, remedy=REACH) from error


def listing(folder: str, suffix: str) -> Iterator[str]:
    """Yield the URIs directly in `folder` that end with `suffix`, sorted; nothing when the folder isn't there."""
    if is_local(folder):
        path = Path(folder)
        names = (
            sorted(
                item.name
                for item in path.iterdir()
                if item.name.endswith(suffix) and not item.name.startswith(".")
            )
            if path.is_dir()
            else []
        )
        yield from (join(folder, name) for name in names)
    else:
        yield from sorted(
            item.uri
            for item in _below(folder)
            if item.uri.endswith(suffix) and "/" not in item.uri[len(join(folder, "")) :]
        )


def files(folder: str) -> list[str]:
    """Return the paths of all files below a folder, relative to it, sorted; links aren't followed.

    Raises: StorageError: The store can't be listed.
    """
    if is_local(folder):
        found = (path for path in Path(folder).rglob("*") if path.is_symlink() or not path.is_dir())
        return sorted(path.relative_to(folder).as_posix() for path in found)
    return sorted(item.uri[len(join(folder, "")) :] for item in _below(folder))


def _below(folder: str) -> list[FoundFile]:
    try:
        return object_stores.below(folder)
    except OSError as error:
        raise StorageError(f"can't be listed: {error}", where=folder, remedy=REACH) from error


def remove_tree(uri: str) -> None:
    """Delete a file, or a folder and all below it, if it is there; a link goes, what it leads to stays.

    Raises: StorageError: The disk or the store refuses.
    """
    try:
        if is_local(uri):
            _remove_local(Path(uri))
        else:
            object_stores.remove(uri)
    except OSError as error:
        raise StorageError(
            f"can't be removed: {getattr(error, 'strerror', None) or error}", where=uri, remedy=MEND
        ) from error


def _remove_local(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.exists() or path.is_symlink():
        path.unlink()
    else:
        return
    _sync_folder(path.parent)
