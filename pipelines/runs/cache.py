"""The cache: fitted banks, and copies of the files of remote runs."""

from __future__ import annotations

import os
from pathlib import Path

from schemas.digests import digest_bytes
from schemas.errors import RunError
from transforms.files import storage

STALE_SECONDS = 3600.0
"""The age from which a temporary file in the cache must belong to a process that was killed."""


def get_cache_folder() -> Path:
    """Return the cache's folder: CONGENER_CACHE if it is set, else one in the user's cache."""
    named = os.environ.get("CONGENER_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "congener"


def sweep_cache() -> None:
    """Remove temporary files that killed processes left in the cache."""
    storage.sweep(str(get_cache_folder()), STALE_SECONDS)


def fetch_file(uri: str, sha256: str, size: int, suffix: str) -> str:
    """Return the local path of a file: its own path, or that of a copy if the file is remote.

    A copy is named by its digest and the suffix, so a file that several runs or pages share is
    fetched once.

    Raises: RunError: the file doesn't have the digest.
    """
    if storage.is_local(uri):
        return uri
    path = get_cache_folder() / "files" / f"{sha256}{suffix}"
    if not path.is_file() or path.stat().st_size != size:
        data = storage.read_bytes(uri)
        if digest_bytes(data) != sha256:
            raise RunError(
                "doesn't match the manifest",
                where=uri,
                remedy="congener verify lists everything that differs",
            )
        storage.write_bytes(str(path), data)
    return str(path)
