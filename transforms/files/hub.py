"""Data sets on the Hugging Face hub, read at a pinned commit through the hub's own client.

The client takes seconds to import, so it is imported when the first `hf://` URI is read.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from schemas.errors import InputError
from transforms.files.patterns import FoundFile, is_hidden_name

ADDRESS = re.compile(
    r"hf://datasets/([^/@]+/[^/@]+)(?:@(refs/convert/[^/]+|refs/pr/\d+|[^/]+))?(?:/(.*))?\Z",
    re.DOTALL,
)

PARQUET, PARQUET_REVISION = "~parquet", "refs/convert/parquet"
"""The short name and the full name of the branch with the hub's Parquet conversions."""

GLOBS = {r"\*\*": ".*", r"\*": "[^/]*", r"\?": "[^/]"}
"""The regular expression for each escaped glob."""

REMEDY = (
    "check the name, the revision and the network; private and gated data sets need a token: "
    "set HF_TOKEN, or run `hf auth login`"
)


class HubPath(NamedTuple):
    """A path in a data set on the hub. A revision of None means the default branch."""

    repository: str
    revision: str | None
    path: str

    def __str__(self) -> str:
        revision = f"@{quote(self.revision, safe='')}" if self.revision else ""
        return f"hf://datasets/{self.repository}{revision}/{self.path}".rstrip("/")


def parse_address(uri: str) -> HubPath:
    """Split an address into its parts.

    Raises: InputError: the address doesn't name a data set.
    """
    found = ADDRESS.fullmatch(uri)
    if found is None:
        raise InputError(
            "isn't the address of a data set",
            where=uri,
            remedy="write hf://datasets/OWNER/NAME@REVISION/PATH; revision and path may be absent",
        )
    repository, revision, path = found.groups()
    revision = PARQUET_REVISION if revision == PARQUET else revision and unquote(revision)
    return HubPath(repository, revision, (path or "").strip("/"))


def pin(uri: str) -> str:
    """Return an address with the current commit as its revision.

    Raises: InputError: the hub can't be reached, or has no such data set or revision.
    """
    address = parse_address(uri)
    commit, _ = _read_repository(address.repository, address.revision, uri)
    return str(address._replace(revision=commit))


def find(uri: str) -> list[FoundFile]:
    """Return the files that an address matches at the pinned commit.

    The address is a file, a folder or a glob.

    Raises: InputError: the hub can't be reached, or has no such data set or revision.
    """
    address = parse_address(uri)
    commit, files = _read_repository(address.repository, address.revision, uri)
    wanted = re.escape(address.path)
    for sign, expression in GLOBS.items():
        wanted = wanted.replace(sign, expression)
    exact = re.compile(wanted, re.DOTALL)
    folder = f"{address.path}/" if address.path else ""
    return [
        FoundFile(str(HubPath(address.repository, commit, name)), size)
        for name, size in files
        if exact.fullmatch(name)
        or (
            name.startswith(folder)
            and not any(map(is_hidden_name, name.removeprefix(folder).split("/")))
        )
    ]


@cache
def _read_repository(
    repository: str, revision: str | None, uri: str
) -> tuple[str, tuple[tuple[str, int], ...]]:
    """Return a revision's commit, and the commit's file names and sizes."""
    from huggingface_hub import HfApi  # noqa: PLC0415 - slow to import

    try:
        found: Any = HfApi().dataset_info(repository, revision=revision, files_metadata=True)
    except Exception as error:
        raise _refuse(uri, error) from error
    return found.sha, tuple((item.rfilename, item.size or 0) for item in found.siblings)


@cache
def fetch(uri: str) -> str:
    """Return a file's path in the client's cache, after downloading the file if necessary.

    Raises: InputError: the hub can't be reached, or has no such file.
    """
    from huggingface_hub import hf_hub_download  # noqa: PLC0415 - slow to import

    address = parse_address(uri)
    try:
        return str(
            hf_hub_download(
                address.repository, address.path, repo_type="dataset", revision=address.revision
            )
        )
    except Exception as error:
        raise _refuse(uri, error) from error


def _refuse(uri: str, error: Exception) -> InputError:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reason = lines[0] if lines else type(error).__name__
    return InputError(f"can't be read from the hub: {reason}", where=uri, remedy=REMEDY)
