"""Globs and hidden names, which determine a corpus's files on disks and stores."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import NamedTuple

GLOB_SIGNS = "*?["

SYSTEM_FOLDER = re.compile(r"lost\+found|\$recycle\.bin|system volume information", re.IGNORECASE)
"""Names of the folders in which systems keep files of their own, and which nobody else may list."""


class FoundFile(NamedTuple):
    """A file that a pattern matches, with its size in bytes."""

    uri: str
    size: int


def find_glob_sign(name: str) -> str | None:
    """Return the first of `GLOB_SIGNS` that a name contains, or None."""
    return next((sign for sign in GLOB_SIGNS if sign in name), None)


def is_hidden_name(name: str) -> bool:
    """Return whether a file or folder is hidden because its name starts with `.` or `_`."""
    return name.startswith((".", "_"))


def is_hidden(path: PurePath, root: PurePath) -> bool:
    """Return whether a file, or a folder between it and `root`, is hidden."""
    return any(is_hidden_name(part) for part in path.relative_to(root).parts)
