"""Globs and hidden names in a corpus's paths."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import NamedTuple

GLOB_SIGNS = "*?["

SYSTEM_FOLDER = re.compile(r"lost\+found|\$recycle\.bin|system volume information", re.IGNORECASE)
"""Names of the operating systems' own folders, which users can't list."""


class FoundFile(NamedTuple):
    """A file that a pattern matches, with its size in bytes."""

    uri: str
    size: int


def find_glob_sign(name: str) -> str | None:
    """Return the first of `GLOB_SIGNS` in a name, or None."""
    return next((sign for sign in GLOB_SIGNS if sign in name), None)


def is_hidden_name(name: str) -> bool:
    """Return whether a name starts with `.` or `_`."""
    return name.startswith((".", "_"))


def is_hidden(path: PurePath, root: PurePath) -> bool:
    """Return whether a file, or a folder between `root` and the file, is hidden."""
    return any(is_hidden_name(part) for part in path.relative_to(root).parts)
