"""The cache of fitted banks and of copies of remote files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from schemas.digests import digest_bytes
from schemas.errors import RunError, StorageError
from transforms.files import storage
from transforms.files.locations import expand_home

CACHE_REMEDY = "set CONGENER_CACHE to a folder where you may write"

STALE_SECONDS = 3600.0
"""The age at which a temporary file in the cache counts as abandoned."""


def get_cache_folder() -> Path | None:
    """Return the cache's folder, or None without a home folder.

    CONGENER_CACHE overrides the user's cache folder. XDG_CACHE_HOME counts only as an absolute
    path, as its specification demands.
    """
    if named := os.environ.get("CONGENER_CACHE"):
        return Path(expand_home(named))
    user_cache = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(user_cache):  # noqa: PTH117 - Path("") is the current folder
        return Path(user_cache) / "congener"
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home raises without a home folder
    return Path(home) / ".cache" / "congener" if os.path.isabs(home) else None  # noqa: PTH117


def sweep_cache() -> None:
    """Remove killed processes' temporary files from the cache."""
    if (folder := get_cache_folder()) is not None:
        with suppress(OSError, StorageError):
            storage.sweep(str(folder), STALE_SECONDS)


def fetch_file(uri: str, sha256: str, size: int, suffix: str) -> str:
    """Return the local path of a file or of a remote file's copy.

    A copy's name consists of its digest and the suffix, so a shared file is fetched once.

    Raises: RunError: the file doesn't have the digest. StorageError: there is no cache, or it can't
    be written.
    """
    if storage.is_local(uri):
        return uri
    folder = get_cache_folder()
    if folder is None:
        raise StorageError(
            "can't be copied: this user has no home folder", where=uri, remedy=CACHE_REMEDY
        )
    path = folder / "files" / f"{sha256}{suffix}"
    if not path.is_file() or path.stat().st_size != size:
        data = storage.read_bytes(uri)
        if digest_bytes(data) != sha256:
            raise RunError(
                "doesn't match the manifest",
                where=uri,
                remedy="congener verify lists everything that differs",
            )
        _write_copy(path, data)
    return str(path)


def _write_copy(path: Path, data: bytes) -> None:
    try:
        storage.write_bytes(str(path), data)
    except StorageError as error:
        raise StorageError(error.problem, where=error.where, remedy=CACHE_REMEDY) from error
