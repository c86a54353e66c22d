"""Paths and URIs as people write them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from schemas.errors import InputError

STDIN = "stdin://stdin"
"""The URI of standard input, which people write as `-`."""

WEB, HUB = ("https://", "http://"), "hf://"

FILE = "file://"

READ_ONLY = (STDIN, HUB, *WEB)
"""The prefixes of URIs that can't be written."""

STORES = ("gs://", "s3://", "hdfs://")

REPOSITORY = re.compile(r"[A-Za-z0-9][\w-]*/[\w-][\w.-]*")

UNUSABLE_REMEDY = "write it in UTF-8, without NUL characters"


def is_local(uri: str) -> bool:
    """Return whether `uri` is a path on this machine."""
    return "://" not in uri


def is_read_only(uri: str) -> bool:
    """Return whether a URI can't be written."""
    return uri.startswith(READ_ONLY)


def is_repository(given: str) -> bool:
    """Return whether a path may be the name of a data set on the hub (OWNER/NAME)."""
    return REPOSITORY.fullmatch(given) is not None


def expand_input(given: str) -> str:
    """Return the URI of standard input for `-`, and expand `~` in any other path."""
    return STDIN if given == "-" else expand_home(given)


def expand_home(given: str) -> str:
    """Replace `~` or `~user` at a path's start with the user's home folder.

    A `file://` URI becomes a path. A path stays the same if its first component is an existing file
    or the user doesn't exist.
    """
    if given.startswith(FILE):
        return unquote(given.removeprefix(FILE).removeprefix("localhost"))
    if not given.startswith("~") or os.path.lexists(given.partition("/")[0]):
        return given
    return os.path.expanduser(given)  # noqa: PTH111 - Path.expanduser raises for unknown users


def describe_unusable(text: str) -> str | None:
    """Return why a text can't be a path or a setting, or None."""
    if "\0" in text:
        return "contains a NUL character"
    if any("\ud800" <= char <= "\udfff" for char in text):
        return "isn't UTF-8"
    return None


def refuse_scheme(uri: str) -> InputError | None:
    """Return the error for a URI with an unsupported scheme, or None for other URIs."""
    if is_local(uri) or uri.startswith((*READ_ONLY, *STORES)):
        return None
    known = ", ".join((*STORES, *WEB[:1], HUB))
    return InputError(
        f"has the scheme {uri.partition('://')[0]}://, which isn't read",
        where=uri,
        remedy=f"copy the files to this machine; what is read: paths, - (standard input), {known}",
    )


def require_reachable(path: str) -> None:
    """Refuse a local path that the system can't look up.

    A missing path is accepted.

    Raises: InputError: the path has a NUL character or a name that is too long, or a folder above
    it can't be searched.
    """
    if not is_local(path):
        return
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        raise InputError(
            f"can't be looked up: {getattr(error, 'strerror', None) or error}",
            where=path,
            remedy="check the path, and the permissions of the folders above it",
        ) from error


def ignores_case(folder: str) -> bool:
    """Return whether the disk of a local folder, whose name has letters, ignores case."""
    path = Path(folder)
    try:
        return path.samefile(path.with_name(path.name.swapcase()))
    except OSError:  # there is no such folder
        return False
