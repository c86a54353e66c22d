"""Vectors of texts in the cache: of limited size, and safe with several processes."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from schemas.errors import InputError, StorageError
from transforms.files import storage

MOST_BYTES = 1 << 30
"""How large all kept vectors together may be; the library's background takes about 10 MB."""

LARGEST_SHARE = 4
"""A group of vectors is kept only if it takes at most one part of this many of `MOST_BYTES`."""

MOST_FILES = 1_000
SUFFIX = ".safetensors"


class VectorCache:
    """Keeps vectors as files in a folder, and removes those that weren't used for longest.

    `version` is that of the code, since another version may compute other vectors. A problem with
    the folder makes the cache forget. Whoever fits a trait is warned of it when the trait itself
    can't be kept.
    """

    def __init__(self, folder: Path, version: str) -> None:
        self._folder, self._suffix = folder, f"-{version}{SUFFIX}"

    def load(self, key: str) -> bytes | None:
        """Return what is kept under a key, or None."""
        path = self._folder / f"{key}{self._suffix}"
        with suppress(OSError, InputError):
            if path.is_file():
                data = storage.read_bytes(str(path))
                os.utime(path)  # the least recently used vectors are removed first
                return data
        return None

    def save(self, key: str, data: bytes) -> None:
        """Keep data under a key, unless it is too large or the folder can't be written."""
        if len(data) * LARGEST_SHARE > MOST_BYTES:
            return
        with suppress(OSError, StorageError):
            storage.write_bytes(str(self._folder / f"{key}{self._suffix}"), data)
            self._make_room()

    def _make_room(self) -> None:
        """Remove the files that weren't used for longest until the rest is small enough."""
        found = []
        for path in self._folder.glob(f"*{SUFFIX}"):
            with suppress(OSError):  # another process has just removed it
                stat = path.stat()
                found.append((stat.st_mtime_ns, path.name, stat.st_size, path))
        size = 0
        for place, (_, _, own, path) in enumerate(sorted(found, reverse=True)):
            size += own
            if size > MOST_BYTES or place >= MOST_FILES:
                with suppress(OSError):
                    path.unlink()
