"""Source names: paths below the given folders, and files given more than once."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from schemas.notices import Notice, limit_notices, list_names, warn
from transforms.files.locations import WEB
from transforms.files.partitions import parse_folder, read_partitions
from transforms.files.patterns import find_glob_sign
from transforms.files.splits import find_split

FILES_NAMED = 5

QUERY = re.compile(r"[?#].*", re.DOTALL)


class NamedFile(NamedTuple):
    """An input file with the name that the ledger gives it."""

    uri: str
    name: str


def name_files(found: Mapping[str, Sequence[str]]) -> list[NamedFile]:
    """Return the patterns' files, each named by its path below the common folder.

    For the pattern `in/`, names leave out `in/` but keep a folder such as `test/` below it, even if
    all files are in there. Names also keep folders such as `teacher=NAME` at the end of the common
    folder.
    """
    roots = [_find_root(pattern, uris).split("/") for pattern, uris in found.items()]
    shared = [parts[0] for parts in takewhile(_are_equal, zip(*roots, strict=False))]
    while shared and parse_folder(shared[-1]):
        shared.pop()
    uris = dict.fromkeys(uri for uris in found.values() for uri in uris)
    paths = Counter(_make_full(uri) for uri in uris)
    return [NamedFile(uri, _name_file(uri, len(shared), paths)) for uri in uris]


def _name_file(uri: str, shared: int, paths: Mapping[str, int]) -> str:
    """Return a file's path without the `shared` folders.

    A web address keeps its query only if the query distinguishes two files.
    """
    path = _make_full(uri)
    query = _find_query(uri).replace("/", "%2F") if paths[path] > 1 else ""
    return "/".join(path.split("/")[shared:]) + query


def _are_equal(parts: Sequence[str]) -> bool:
    return len(set(parts)) == 1


def _find_root(pattern: str, uris: Sequence[str]) -> str:
    """Return the folder that a pattern's names are relative to, without a trailing slash."""
    full, found = _make_full(pattern), [_make_full(uri) for uri in uris]
    if found == [full]:
        return full.rpartition("/")[0]
    folder = full.rstrip("/")
    if all(uri.startswith(f"{folder}/") for uri in found):
        return folder
    sign = find_glob_sign(full)
    return full[: full.index(sign) if sign else None].rpartition("/")[0]


def _make_full(uri: str) -> str:
    """Return a local path as an absolute path, or a URI without its query."""
    if "://" in uri:
        return uri.removesuffix(_find_query(uri))
    return os.path.normpath(Path(uri).absolute())


def _find_query(uri: str) -> str:
    """Return a web address's query and fragment, or an empty string."""
    found = QUERY.search(uri) if uri.startswith(WEB) else None
    return found[0] if found else ""


def leave_out_repeats(files: Sequence[NamedFile]) -> tuple[list[NamedFile], list[Notice]]:
    """Return the files without repeats of the same file, and notices about the repeats.

    A file in two splits or partitions is read for each of them.
    """
    groups: dict[object, list[NamedFile]] = {}
    for file in files:
        groups.setdefault(_identify_file(file.uri), []).append(file)
    left_out: set[str] = set()
    notices: list[Notice] = []
    for same in groups.values():
        for notice, repeats in _compare_same(same):
            notices.append(notice)
            left_out.update(repeats)
    kinds = ([item for item in notices if item.severity == kind] for kind in ("info", "warning"))
    shown = [notice for kind in kinds for notice in limit_notices(kind, FILES_NAMED)]
    return [file for file in files if file.uri not in left_out], shown


def _identify_file(uri: str) -> object:
    """Return a key that all paths of a file share.

    Some network file systems have no inode numbers. The key therefore includes the size and the
    time.
    """
    try:
        found = Path(uri).stat()
    except (OSError, ValueError):  # the file is on a store, or is a dangling link
        return uri
    if not found.st_ino:
        return str(Path(uri).resolve())
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _compare_same(same: Sequence[NamedFile]) -> Iterator[tuple[Notice, list[str]]]:
    """Yield a notice about each file with several paths, and the URIs that aren't read."""
    if len(same) == 1:
        return
    kept: dict[object, NamedFile] = {}
    for file in sorted(same, key=lambda file: (_is_link(file.uri), file.uri)):
        first = kept.setdefault((find_split(file.name), str(read_partitions(file.name))), file)
        if first is not file:
            text = f"{file.uri} is the same file as {first.uri}, and is read once"
            yield Notice(text), [file.uri]
    if len(kept) > 1:
        names = list_names([file.uri for file in kept.values()], FILES_NAMED)
        text = f"{names} are the same file in different splits or partitions, so each is read"
        yield warn(text), []


def _is_link(uri: str) -> bool:
    return str(Path(uri).resolve()) != _make_full(uri)
