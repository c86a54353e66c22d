"""Partitions: columns in folder names, as in `teacher=NAME/date=2025-08-01/`."""

from __future__ import annotations

import re
from urllib.parse import unquote

from transforms.files.splits import find_split

NULL = "__HIVE_DEFAULT_PARTITION__"
"""The value that Hive, Spark and others write for null."""

_FOLDER = re.compile(r"([^\W_][\w.-]*)=(.*)", re.DOTALL)


def parse_folder(folder: str) -> tuple[str, str | None] | None:
    """Return the key and the value in a folder's name, or None without `KEY=VALUE`."""
    found = _FOLDER.fullmatch(folder)
    if not found:
        return None
    value = unquote(found[2])
    return found[1], None if value in ("", NULL) else value


FOLDER = "folder"
"""The column in which `read_folder_columns` gives the name of a file's folder."""


def read_partitions(source: str) -> dict[str, str | None]:
    """Return the keys and values in a source's folders. The innermost folder wins."""
    return dict(filter(None, map(parse_folder, source.split("/")[:-1])))


def read_folder_columns(source: str) -> dict[str, str | None]:
    """Return the partition keys and values of a source, and the name of its folder.

    The folder is the innermost one that is neither a partition nor a split, if there is one.
    """
    folders = source.split("/")[:-1]
    plain = (name for name in reversed(folders) if not parse_folder(name) and not _is_split(name))
    own = next(plain, None)
    return read_partitions(source) if own is None else {FOLDER: own, **read_partitions(source)}


def _is_split(folder: str) -> bool:
    return find_split(f"{folder}/x") is not None
