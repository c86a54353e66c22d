"""What is kept between runs: fitted banks, and copies of the files of remote runs that are looked into."""

from __future__ import annotations

import os
from pathlib import Path

from schemas.digests import digest_bytes
from schemas.errors import RunError
from transforms.files import storage


def cache_folder() -> Path:
    """Return where fitted banks and fetched files are kept: CONGENER_CACHE, else the user's cache folder."""
    named = os.environ.get("CONGENER_CACHE")
    return (
        Path(named)
        if named
        else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "congener"
    )


def fetched(uri: str, sha256: str, size: int) -> str:
    """Return the path of a file that can be scanned: its own on a disk, else that of a copy, fetched once.

    Copies go by their digest, so that a page further on, or another run with the same file, needs no fetching.

    Raises: RunError: The file isn't the one that the digest names.
    """
    if storage.is_local(uri):
        return uri
    path = cache_folder() / "files" / f"{sha256}.parquet"
    if not path.is_file() or path.stat().st_size != size:
        data = storage.read_bytes(uri)
        if digest_bytes(data) != sha256:
            raise RunError(
                "isn't as the manifest says",
                where=uri,
                remedy="congener verify names all that differs",
            )
        storage.write_bytes(str(path), data)
    return str(path)
