"""Partitions: columns in folder names, as in `teacher=NAME/date=2025-08-01/`."""

from __future__ import annotations

import re
from urllib.parse import unquote

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


def read_partitions(source: str) -> dict[str, str | None]:
    """Return the keys and values in a source's folders. The innermost folder wins."""
    return dict(filter(None, map(parse_folder, source.split("/")[:-1])))
