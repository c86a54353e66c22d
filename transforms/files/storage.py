"""Files on disks and object stores: finding, reading, and writing them atomically.

Local paths are handled without Beam, except globs. `object_stores` handles URIs such as `gs://` and
is imported on first use.
"""

from __future__ import annotations

import errno
import math
import os
import re
import time
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any

from schemas.errors import InputError, StorageError
from transforms.files import downloads, hub, removals
from transforms.files.locations import HUB, STDIN, is_read_only, is_repository, refuse_scheme
from transforms.files.locations import is_local as is_local  # noqa: PLC0414 - re-exported
from transforms.files.patterns import (
    SYSTEM_FOLDER,
    FoundFile,
    find_glob_sign,
    is_hidden,
    is_hidden_name,
)

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
"""The name of a file while it is being written."""

UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS)
"""Errors of file systems that can't sync folders."""

UNKNOWN_SCHEME = "Unable to get filesystem"
"""Part of Beam's message for an unknown scheme or a missing extra."""

READ_REMEDY = "check that the file exists and that you may read it"
STORE_REMEDY = (
    "check bucket, region and credentials; docs/operations.md explains how to reach stores"
)
WRITE_REMEDY = (
    "free some space or check the permissions; the same command then continues where it stopped"
)


def _load_stores() -> Any:
    """Import the object store module, which needs Beam."""
    from transforms.files import object_stores  # noqa: PLC0415 - Beam takes a second to import

    return object_stores


def join(root: str, *names: str) -> str:
    """Append path components to a directory, local or remote."""
    return "/".join([root.rstrip("/"), *names])


def find(pattern: str) -> list[FoundFile]:
    """Return the files that a path, folder or glob matches, sorted by URI.

    A folder matches every file below it that isn't hidden.

    Raises: InputError: nothing matches, or the filesystem is unknown or can't be listed.
    """
    try:
        found = _find_local(pattern) if is_local(pattern) else _find_remote(pattern)
    except OSError as error:
        unknown = UNKNOWN_SCHEME in str(error)
        raise (refuse_scheme(pattern) if unknown else None) or InputError(
            f"can't be listed: {error}",
            where=pattern,
            remedy="check the permissions or, for a URI, its scheme and that the extra for it "
            "(gcp, aws) is installed",
        ) from error
    if not found and is_local(pattern) and Path(pattern).is_dir():
        raise InputError(
            "is a folder without files",
            where=pattern,
            remedy="add files to it; files and folders whose names start with . or _ are ignored",
        )
    if not found:
        raise InputError(
            "matches no file",
            where=pattern,
            remedy=suggest_path(pattern),
        )
    return sorted(found)


def suggest_path(pattern: str) -> str:
    """Return a remedy for a pattern that matches nothing."""
    text = "check the path; quote a glob so that the shell doesn't expand it"
    if is_repository(pattern):
        return f"{text}; a data set of the hub is hf://datasets/{pattern}"
    return text


def _find_local(pattern: str) -> list[FoundFile]:
    path = Path(pattern)
    if path.is_dir():
        return [_describe_file(item) for item in _walk_visible(path)]
    if path.exists() or path.is_symlink():
        return [_describe_file(path)]
    if not find_glob_sign(pattern):
        return []
    found: list[FoundFile] = _load_stores().match_files(pattern)
    return found


def _walk_visible(root: Path) -> Iterator[Path]:
    """Yield the visible files below a folder, visiting each folder once.

    Links to folders are followed last. A link to an already listed folder, or to a folder above
    one, is yielded as a file. So is a system folder that can't be listed.

    Raises: OSError: another folder can't be listed.
    """
    unlisted: list[Path] = []

    def refuse(error: OSError) -> None:
        folder = Path(error.filename)
        if folder == root.resolve() or not SYSTEM_FOLDER.fullmatch(folder.name):
            raise error
        unlisted.append(folder)

    waiting, listed, above = deque([root]), set[Path](), set[Path]()
    while waiting:
        start = waiting.popleft()
        target = start.resolve()
        if target in listed or target in above:
            yield start
            continue
        above.update(target.parents)
        for folder, folders, names in os.walk(target, onerror=refuse):
            here, shown = Path(folder), start / Path(folder).relative_to(target)
            listed.add(here)
            visible = [here / name for name in sorted(folders) if not is_hidden_name(name)]
            waiting += [shown / path.name for path in visible if path.is_symlink()]
            folders[:] = [path.name for path in visible if path not in listed]
            yield from (shown / name for name in names if not is_hidden_name(name))
    yield from unlisted


def _describe_file(path: Path) -> FoundFile:
    """Return a file with its size. A dangling link has size 0, and opening it fails later.

    Raises: InputError: the path is a pipe, a socket or a device, which might never end.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise InputError(
            "is a pipe, a socket or a device, not a file",
            where=str(path),
            remedy="write its content to a file, or pipe it into --input -",
        )
    return FoundFile(str(path), path.stat().st_size if path.exists() else 0)


def pin(pattern: str) -> str:
    """Return a hub pattern at its current commit, or any other pattern unchanged.

    Raises: InputError: the hub can't be reached.
    """
    return hub.pin(pattern) if pattern.startswith(HUB) else pattern


def _fetch(uri: str) -> str | None:
    """Return the local copy's path for a web or hub file, or None for other files."""
    if uri.startswith(HUB):
        return hub.fetch(uri)
    return downloads.fetch(uri).path if is_read_only(uri) else None


def _find_remote(pattern: str) -> list[FoundFile]:
    if pattern.startswith(HUB):
        return hub.find(pattern)
    if is_read_only(pattern):
        return [FoundFile(pattern, downloads.fetch(pattern).size)]
    stores = _load_stores()
    in_bucket = pattern.rstrip("/").count("/") > 2
    found: list[FoundFile] = stores.find_object(pattern) if in_bucket else []
    if not found and find_glob_sign(pattern):
        found = stores.match_files(pattern)
    elif not found:
        root = PurePosixPath(pattern)
        below: list[FoundFile] = stores.list_below(pattern)
        found = [item for item in below if not is_hidden(PurePosixPath(item.uri), root)]
    return found


def open_raw(uri: str) -> Any:
    """Open a file for reading its raw bytes.

    Raises: InputError: the file can't be opened.
    """
    try:
        if local := _fetch(uri):
            return open(local, "rb")
        return open(uri, "rb") if is_local(uri) else _load_stores().open_object(uri)
    except OSError as error:
        raise InputError(
            describe_failure(uri, error),
            where=uri,
            remedy=READ_REMEDY if is_local(uri) else STORE_REMEDY,
        ) from error


def describe_failure(uri: str, error: OSError) -> str:
    """Describe why a file can't be opened."""
    reason = error.strerror or error
    if is_local(uri) and Path(uri).is_symlink() and not Path(uri).exists():
        return f"is a broken link to {Path(uri).readlink()}: {reason}"
    return f"can't be opened: {reason}"


def take_fingerprint(uri: str) -> str:
    """Return a text that changes whenever a file is written or replaced.

    A local file's text holds the size, mtime and ctime; no program can set the ctime back. A link's
    text also holds its target, because files that are written together may have the same times. An
    object's text holds the size and the store's checksum.

    Raises: OSError: the file can't be reached.
    """
    if uri.startswith(HUB):
        return uri  # the URI contains the commit
    if is_read_only(uri):
        return downloads.fetch(uri).sha256
    if not is_local(uri):
        fingerprint: str = _load_stores().take_fingerprint(uri)
        return fingerprint
    path = Path(uri)
    status, target = path.stat(), f" {path.readlink()}" if path.is_symlink() else ""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}{target}"


def read_bytes(uri: str) -> bytes:
    """Return the content of a file.

    Raises: InputError: the file can't be opened or read to its end.
    """
    with open_raw(uri) as stream:
        try:
            return bytes(stream.read())
        except OSError as error:
            raise InputError(
                f"can't be read: {error.strerror or error}",
                where=uri,
                remedy=READ_REMEDY if is_local(uri) else STORE_REMEDY,
            ) from error


def write_bytes(uri: str, data: bytes) -> None:
    """Write a file atomically: readers see either the old or the new content.

    On a disk, the file has a temporary name until it is complete. A store publishes an object only
    when its upload completes.

    Raises: StorageError: the disk or the store refuses. An old file stays unchanged.
    """
    try:
        if is_local(uri):
            _write_local(Path(uri), data)
        else:
            _load_stores().write(uri, data)
    except OSError as error:
        raise StorageError(
            f"can't be written: {getattr(error, 'strerror', None) or error}",
            where=uri,
            remedy=WRITE_REMEDY,
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
        with suppress(OSError):  # report the first error; the next attempt removes the file
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, and sync each new name."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def keep_private(folder: str) -> None:
    """Restrict a local folder and its content to its owner, creating the folder if necessary.

    Link targets aren't changed.

    Raises: StorageError: the disk refuses, or the folder is a link.
    """
    path = Path(folder)
    if path.is_symlink():
        raise StorageError(
            "is a link, so the text in it can't be made private",
            where=folder,
            remedy="put a folder in its place, or choose another --output",
        )
    try:
        _make_folder(path)
        path.chmod(0o700)
        for below in path.rglob("*"):
            if not below.is_symlink():
                below.chmod(0o700 if below.is_dir() else 0o600)
    except OSError as error:
        raise StorageError(
            f"can't be made private: {error.strerror}", where=folder, remedy=WRITE_REMEDY
        ) from error


def _sync_folder(folder: Path) -> None:
    """Sync the names in a folder, so that a power failure can't undo a rename or a removal.

    Some network and user-space file systems don't support this; the error is ignored.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
    finally:
        os.close(handle)


def sweep(folder: str, older_than: float = 0) -> list[str]:
    """Remove interrupted processes' temporary files in a local folder; return their paths.

    With `older_than`, files younger than that many seconds are kept, because another process may be
    writing them. So are files dated in the future.

    Raises: StorageError: a file can't be removed.
    """
    if not is_local(folder):
        return []  # object stores have no temporary names
    found = [
        path for path in sorted(Path(folder).rglob(".*.tmp")) if TEMPORARY.fullmatch(path.name)
    ]
    latest = time.time() - older_than if older_than else math.inf
    leftover = [
        str(path)
        for path in found
        if (written := _read_mtime(path)) is not None and written <= latest
    ]
    for uri in leftover:
        remove_tree(uri)
    return leftover


def _read_mtime(path: Path) -> float | None:
    """Return when a file was last written, or None if another process has renamed the file."""
    with suppress(FileNotFoundError):
        return path.lstat().st_mtime
    return None


def exists(uri: str) -> bool:
    """Return whether a file or folder exists. On an object store, a folder is a name prefix.

    Raises: StorageError: the store doesn't answer.
    """
    if is_local(uri):
        return Path(uri).exists()
    if is_read_only(uri):
        return uri != STDIN  # a pipe can't be read again; other inputs are checked when opened
    stores = _load_stores()
    try:
        return bool(stores.exists(uri) or stores.list_below(uri, 1))
    except OSError as error:
        raise StorageError(
            f"can't be looked up: {error}", where=uri, remedy=STORE_REMEDY
        ) from error


def has_files(folder: str) -> bool:
    """Return whether a folder has files at any depth, apart from deleted files still open.

    Raises: StorageError: the folder can't be listed.
    """
    if not is_local(folder):
        return exists(folder)
    try:
        return not removals.is_emptied(Path(folder))
    except OSError as error:
        raise StorageError(
            f"can't be listed: {error.strerror}", where=folder, remedy=READ_REMEDY
        ) from error


def list_folder(folder: str, suffix: str) -> Iterator[str]:
    """Yield the sorted URIs in a folder that end with `suffix`.

    A missing folder yields nothing.

    Raises: StorageError: the store can't be listed.
    """
    if is_local(folder):
        path = Path(folder)
        names = [item.name for item in path.iterdir()] if path.is_dir() else []
        visible = (name for name in names if name.endswith(suffix) and not name.startswith("."))
        yield from (join(folder, name) for name in sorted(visible))
    else:
        start = len(join(folder, ""))
        uris = (item.uri for item in _list_below(folder) if item.uri.endswith(suffix))
        yield from sorted(uri for uri in uris if "/" not in uri[start:])


def find_link(folder: str, path: str) -> str | None:
    """Return the path of the first link on a relative path below a folder, or None."""
    if not is_local(folder):
        return None
    parts = PurePosixPath(path).parts
    parents = ("/".join(parts[: index + 1]) for index in range(len(parts)))
    return next((name for name in parents if Path(folder, name).is_symlink()), None)


def list_tree(folder: str) -> list[str]:
    """Return the sorted relative paths of all files below a folder.

    Links aren't followed. An unlistable folder counts as a file.

    Raises: StorageError: the store can't be listed.
    """
    if is_local(folder):
        return sorted(path.relative_to(folder).as_posix() for path in _walk_files(Path(folder)))
    return sorted(item.uri[len(join(folder, "")) :] for item in _list_below(folder))


def _walk_files(root: Path) -> Iterator[Path]:
    """Yield the files, links and unlistable folders below a local folder."""
    refused: list[OSError] = []
    for folder, folders, names in os.walk(root, onerror=refused.append):
        here = Path(folder)
        yield from (here / name for name in names)
        yield from (here / name for name in folders if (here / name).is_symlink())
    unlisted = (Path(error.filename) for error in refused)
    yield from (path for path in unlisted if path != root)


def _list_below(folder: str) -> list[FoundFile]:
    try:
        found: list[FoundFile] = _load_stores().list_below(folder)
    except OSError as error:
        raise StorageError(
            f"can't be listed: {error}", where=folder, remedy=STORE_REMEDY
        ) from error
    return found


def remove_tree(uri: str) -> None:
    """Delete a file, or a folder with its content, if it exists.

    A link is deleted without its target. A local folder stays if it holds only deleted files that
    are still open.

    Raises: StorageError: the disk or the store refuses.
    """
    try:
        if is_local(uri):
            _remove_local(Path(uri))
        else:
            _load_stores().remove(uri)
    except OSError as error:
        raise StorageError(
            f"can't be removed: {getattr(error, 'strerror', None) or error}",
            where=uri,
            remedy=WRITE_REMEDY,
        ) from error


def _remove_local(path: Path) -> None:
    if path.exists() or path.is_symlink():
        removals.remove(path)
        _sync_folder(path.parent)
