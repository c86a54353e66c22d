"""Inputs that are first copied to this machine: single web files, and standard input."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import threading
import urllib.error
import urllib.request
from functools import cache
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from schemas.errors import InputError
from transforms.files.locations import HUB, STDIN

LARGEST = 64 << 30
"""The largest copied input, in bytes."""

TIMEOUT = 60.0
"""How long a server may be silent, in seconds."""

BLOCK = 1 << 20

HUB_PAGE = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/datasets/([^/?#]+/[^/?#]+)"
    r"(?:/(?:blob|tree|viewer)/([^/?#]+)(/[^?#]*)?)?/?(?:[?#].*)?\Z"
)

GITHUB_PAGE = re.compile(r"https?://(?:www\.)?github\.com/([^/]+/[^/]+)/blob/([^?#]+)")

SPOOLED = "CONGENER_STDIN"
"""The environment variable that gives worker processes the path of saved standard input."""

LOCK = threading.Lock()


class Download(NamedTuple):
    """A local copy of an input, with its size and its SHA-256."""

    path: str
    size: int
    sha256: str


def fetch(uri: str) -> Download:
    """Return the local copy of an input, which this process makes only once.

    Raises: InputError: the server refuses the request or closes the connection early, the file is
    too large, or there is no standard input.
    """
    with LOCK:
        return _fetch(uri)


@cache
def _fetch(uri: str) -> Download:
    if uri == STDIN:
        return _spool_input()
    _refuse_page(uri)
    try:
        with urllib.request.urlopen(uri, timeout=TIMEOUT) as answer:  # noqa: S310 - a web scheme
            _require_encrypted(uri, answer.geturl())
            expected = answer.headers.get("Content-Length")
            found = _copy(answer, uri)
    except (OSError, HTTPException, ValueError) as error:
        raise InputError(
            f"can't be downloaded: {_describe(error)}",
            where=uri,
            remedy="check the address in a browser, or download the file and give its path",
        ) from error
    if expected is not None and int(expected) != found.size:
        raise InputError(
            f"can't be downloaded: the connection ended after {found.size:,} of "
            f"{int(expected):,} bytes",
            where=uri,
            remedy="try again, or download the file and give its path",
        )
    return found


def _refuse_page(uri: str) -> None:
    """Refuse a web page about a data set or a file.

    Raises: InputError: the address is a page on the hub or on GitHub.
    """
    if found := HUB_PAGE.match(uri):
        repository, revision, path = found.groups()
        address = f"{repository}{f'@{revision}' if revision else ''}{path or ''}"
        raise InputError(
            "is a page of the hub, not a file", where=uri, remedy=f"name {HUB}datasets/{address}"
        )
    if found := GITHUB_PAGE.match(uri):
        raise InputError(
            "is a page of GitHub, not a file",
            where=uri,
            remedy=f"name https://raw.githubusercontent.com/{found[1]}/{found[2]}",
        )


def _require_encrypted(uri: str, final: str) -> None:
    if uri.startswith("https:") and not final.startswith("https:"):
        raise OSError(f"it redirects to {final}, which isn't encrypted")


def _describe(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        error.close()
        return f"the server answers {error.code} {error.reason}"
    return str(getattr(error, "reason", None) or error)


def _copy(stream: Any, uri: str) -> Download:
    """Copy a stream to this process's folder."""
    state, size = hashlib.sha256(), 0
    path = Path(_make_folder().name, hashlib.sha256(uri.encode()).hexdigest())
    with path.open("wb") as file:
        while block := stream.read(BLOCK):
            size += len(block)
            if size > LARGEST:
                raise OSError(f"it is larger than {LARGEST >> 30} GiB")
            state.update(block)
            file.write(block)
    return Download(str(path), size, state.hexdigest())


@cache
def _make_folder() -> TemporaryDirectory[str]:
    """Create the folder for this process's copies. Python removes it when the process ends."""
    return TemporaryDirectory(prefix="congener-input-", ignore_cleanup_errors=True)


def _spool_input() -> Download:
    """Save standard input to a file, or find the file that the launching process saved."""
    if path := os.environ.get(SPOOLED):
        with Path(path).open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return Download(path, Path(path).stat().st_size, digest)
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError(
            "standard input is a terminal, not a file or a pipe",
            remedy="pipe the corpus: zcat a.jsonl.gz | congener filter --input - --output RUN",
        )
    found = _copy(sys.stdin.buffer, STDIN)
    os.environ[SPOOLED] = found.path
    return found
