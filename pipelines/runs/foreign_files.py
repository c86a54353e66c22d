"""Find foreign files in a run's folder, which readers may mistake for a part of the run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from schemas.errors import RunError
from schemas.receipts import Output
from schemas.runs import (
    AUDIT_FILES,
    BANK,
    CERTIFICATE,
    DONORS,
    FOLDERS,
    MANIFEST,
    PAIRS_TABLE,
    RATES_TABLE,
    REPORT,
    REPORT_PAGE,
    SHARD_NAME,
    WORK,
    is_bank_file,
    is_beside_shards,
    parse_path,
)
from transforms.files import storage
from transforms.files.kinds import is_data_file
from transforms.files.patterns import SYSTEM_FOLDER, is_hidden_name
from transforms.files.removals import is_deleted_name

LITTER = re.compile(
    r"(?:eh)?thumbs\.db|desktop\.ini|icon\r|.*~|#.*#|@eadir|#recycle|#snapshot"
    r"|\.ds_store|\._.*",
    re.IGNORECASE,
)
"""Junk files of systems and editors."""

REPORT_FILES = (REPORT_PAGE, RATES_TABLE, PAIRS_TABLE)
"""The files of `congener report`, which the manifest doesn't list."""

FEW = 5
"""How many files are named. Further files are only counted."""


class ForeignFile(NamedTuple):
    """A file that isn't part of the run.

    `is_read` says whether readers of a run folder would read it.
    """

    path: str
    problem: str
    is_read: bool


def list_foreign_files(run: str, outputs: Collection[Output]) -> list[ForeignFile]:
    """List the files in a run's folder that aren't outputs, ordered by path."""
    known = {MANIFEST, *REPORT_FILES, *AUDIT_FILES, *(output.path for output in outputs)}
    paths = (path for path in storage.list_tree(run) if path.split("/")[0] not in (WORK, DONORS))
    return [describe_foreign_file(path) for path in paths if path not in known]


def describe_foreign_file(path: str) -> ForeignFile:
    """Describe a foreign file in a run's folder."""
    *folders, name = path.split("/")
    if is_deleted_name(name):
        return ForeignFile(path, "is deleted, but a program still has it open", is_read=False)
    if storage.TEMPORARY.fullmatch(name):
        return ForeignFile(path, "is a temporary file of an interrupted write", is_read=False)
    if not folders or folders[0] not in FOLDERS:
        return ForeignFile(path, "isn't the run's, and isn't in its folders", is_read=False)
    if folders[0] in (REPORT, CERTIFICATE):
        problem = f"isn't the run's, and is beside its {folders[0]}"
        return ForeignFile(path, problem, is_read=False)
    parts = (*folders[1:], name)
    aside = any(
        is_hidden_name(part) or LITTER.fullmatch(part) or SYSTEM_FOLDER.fullmatch(part)
        for part in parts
    )
    if aside and not is_data_file(name):
        return ForeignFile(path, "isn't the run's, and holds no data", is_read=False)
    problem = f"isn't in the manifest, but whoever reads {folders[0]}/ reads it too"
    return ForeignFile(path, problem, is_read=True)


def remove_strays(run: str, outputs: Collection[Output]) -> list[str]:
    """Remove earlier attempts' files from a run's folders, and return their paths."""
    strays = [found.path for found in list_foreign_files(run, outputs) if _is_attempt(found.path)]
    for path in strays:
        storage.remove_tree(storage.join(run, path))
    return strays


def _is_attempt(path: str) -> bool:
    """Return whether a file has an output's name, and so may be from an earlier attempt."""
    if storage.TEMPORARY.fullmatch(path.rpartition("/")[2]) or is_beside_shards(path):
        return True
    folder, shard, suffix, _ = parse_path(path)
    if folder == BANK:
        return is_bank_file(path)
    return bool(folder in FOLDERS and suffix and SHARD_NAME.fullmatch(shard))


def require_no_foreign_data(run: str, outputs: Collection[Output] = ()) -> None:
    """Refuse a run whose folders hold foreign data.

    A file with an output's name may be from an earlier attempt, and isn't foreign data.

    Raises: RunError: a folder holds foreign data.
    """
    found = [file for file in list_foreign_files(run, outputs) if file.is_read]
    others = [file.path for file in found if not _is_attempt(file.path)]
    if others:
        folder = others[0].split("/")[0]
        raise RunError(
            f"{_name_few(others)}: not the run's, but whoever reads {folder}/ reads it too",
            where=run,
            remedy="move it out of the run's folder; the same command then continues",
        )


def require_no_foreign_files(run: str) -> None:
    """Refuse to remove a run whose folders hold files that only other programs can have written.

    Raises: RunError: a folder holds such a file.
    """
    if others := list_files_of_others(run):
        raise RunError(
            f"{_name_few(others)}: not the run's, but would be removed with it",
            where=run,
            remedy="move it out of the run's folder; the same command then continues",
        )


def list_files_of_others(run: str) -> list[str]:
    """List the files in a run's folders that aren't named like its own, leaving out litter."""
    return [
        file.path
        for file in list_foreign_files(run, ())
        if "/" in file.path
        and file.path.split("/")[0] in FOLDERS
        and not _is_attempt(file.path)
        and not any(map(_is_litter, file.path.split("/")[1:]))
    ]


def _is_litter(name: str) -> bool:
    return is_deleted_name(name) or LITTER.fullmatch(name) is not None


def summarise_foreign_files(files: Sequence[ForeignFile]) -> Iterator[str]:
    """Name the ignored foreign files, in one line per problem."""
    problems = Counter(file.problem for file in files)
    for problem in problems:
        paths = [file.path for file in files if file.problem == problem]
        yield f"left aside: {_name_few(paths)}: {problem}"


def _name_few(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - FEW:,} more" if len(paths) > FEW else ""
    return ", ".join(paths[:FEW]) + more
