"""Files wherever Beam's filesystems reach: matching, reading, and writes that appear whole or not at all."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from schemas.errors import InputError


class FoundFile(NamedTuple):
    """A file that a pattern matched."""

    uri: str
    size: int


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
    except (ValueError, BeamIOError) as error:
        raise InputError(str(error), where=pattern, remedy="check the URI's scheme, and that its extra (gcp, aws) is installed") from error
    if not found:
        raise InputError("matches no file", where=pattern, remedy="check the path; quote a glob so that the shell leaves it alone")
    return sorted(found)


def _find_local(pattern: str) -> list[FoundFile]:
    path = Path(pattern)
    if path.is_file():
        return [FoundFile(str(path), path.stat().st_size)]
    if path.is_dir():
        files = (item for item in path.rglob("*") if item.is_file() and not _hidden(item, path))
        return [FoundFile(str(item), item.stat().st_size) for item in files]
    return _matched(pattern)


def _hidden(item: Path, root: Path) -> bool:
    return any(part.startswith((".", "_")) for part in item.relative_to(root).parts)


def _find_remote(pattern: str) -> list[FoundFile]:
    if any(sign in pattern for sign in "*?["):
        return _matched(pattern)
    return _matched(pattern) or _matched(join(pattern, "**"))


def _matched(pattern: str) -> list[FoundFile]:
    (result,) = FileSystems.match([pattern])
    return [FoundFile(item.path, item.size_in_bytes) for item in result.metadata_list if not item.path.endswith("/")]


def open_raw(uri: str) -> Any:
    """Open a file for reading, its bytes as they are (no decompression by extension).

    Raises: InputError: It can't be opened.
    """
    try:
        if is_local(uri):
            return open(uri, "rb")
        return FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED)
    except OSError as error:
        raise InputError(f"can't be opened: {error.strerror or error}", where=uri) from error


def read_bytes(uri: str) -> bytes:
    """Read a whole file."""
    with open_raw(uri) as stream:
        return bytes(stream.read())


def write_bytes(uri: str, data: bytes) -> None:
    """Write a whole file so that a reader sees all of it or none: a temporary name and a rename where the store is a disk.

    Object stores publish an object when its upload completes, so there the final name is written directly.
    """
    if not is_local(uri):
        with FileSystems.create(uri, compression_type=CompressionTypes.UNCOMPRESSED) as stream:
            stream.write(data)
        return
    path = Path(uri)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def exists(uri: str) -> bool:
    """Say whether a file or folder is there."""
    return Path(uri).exists() if is_local(uri) else bool(FileSystems.exists(uri))


def listing(folder: str, suffix: str) -> Iterator[str]:
    """Yield the URIs directly in `folder` that end with `suffix`, sorted; nothing when the folder isn't there."""
    if is_local(folder):
        path = Path(folder)
        names = (
            sorted(item.name for item in path.iterdir() if item.name.endswith(suffix) and not item.name.startswith("."))
            if path.is_dir()
            else []
        )
        yield from (join(folder, name) for name in names)
    else:
        yield from sorted(item.uri for item in _matched(join(folder, "*")) if item.uri.endswith(suffix))


def remove_tree(uri: str) -> None:
    """Delete a folder and all below it, if it is there."""
    if exists(uri) or not is_local(uri):
        found = [uri] if is_local(uri) else [item.uri for item in _matched(join(uri, "**"))]
        if found:
            FileSystems.delete(found)
