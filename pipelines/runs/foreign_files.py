"""Find foreign files in a run's folder; readers would mistake some of them for part of the run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from schemas.errors import RunError
from schemas.receipts import Output
from schemas.runs import (
    BANK,
    CALIBRATION_FILES,
    CLEAN_CARD,
    FOLDERS,
    MANIFEST,
    RATES_TABLE,
    REPORT,
    REPORT_PAGE,
    SHARD_NAME,
    WORK,
    is_bank_file,
    parse_path,
)
from transforms.files import storage
from transforms.files.kinds import is_data_file
from transforms.files.patterns import SYSTEM_FOLDER, is_hidden_name
from transforms.files.removals import is_deleted_name

LITTER = re.compile(r"(?:eh)?thumbs\.db|desktop\.ini|icon\r|.*~|#.*#", re.IGNORECASE)
"""Names of junk files that systems and editors leave behind, except hidden ones."""

REPORT_FILES = (REPORT_PAGE, RATES_TABLE)
"""The files that `congener report` adds to a finished run; the manifest doesn't list them."""

FEW = 5
"""How many files are named; any others are only counted."""


class ForeignFile(NamedTuple):
    """A file that isn't part of the run.

    `is_read` says whether readers of one of the run's folders would read the file too.
    """

    path: str
    problem: str
    is_read: bool


def list_foreign_files(run: str, outputs: Collection[Output]) -> list[ForeignFile]:
    """List the files in a run's folder that aren't outputs of the run, ordered by path."""
    known = {MANIFEST, *REPORT_FILES, *(output.path for output in outputs)}
    paths = (path for path in storage.list_tree(run) if path.split("/")[0] != WORK)
    return [describe_foreign_file(path) for path in paths if path not in known]


def describe_foreign_file(path: str) -> ForeignFile:
    """Describe a file in a run's folder that isn't one of the run's outputs."""
    *folders, name = path.split("/")
    if is_deleted_name(name):
        return ForeignFile(path, "is deleted, but a program still has it open", is_read=False)
    if storage.TEMPORARY.fullmatch(name):
        return ForeignFile(path, "is a temporary file of an interrupted write", is_read=False)
    if not folders or folders[0] not in FOLDERS:
        return ForeignFile(path, "isn't the run's, and is in none of its folders", is_read=False)
    if folders[0] == REPORT:
        return ForeignFile(path, "isn't the run's, and is beside its report", is_read=False)
    parts = (*folders[1:], name)
    aside = any(
        is_hidden_name(part) or LITTER.fullmatch(part) or SYSTEM_FOLDER.fullmatch(part)
        for part in parts
    )
    if aside and not is_data_file(name):
        return ForeignFile(path, "isn't the run's, and holds no data", is_read=False)
    problem = f"isn't in the manifest: who reads {folders[0]}/ reads it too"
    return ForeignFile(path, problem, is_read=True)


def remove_strays(run: str, outputs: Collection[Output]) -> list[str]:
    """Remove from a run's folders what earlier attempts left, and return the files' paths."""
    strays = [found.path for found in list_foreign_files(run, outputs) if _is_attempt(found.path)]
    for path in strays:
        storage.remove_tree(storage.join(run, path))
    return strays


def _is_attempt(path: str) -> bool:
    """Return whether a file is named like an output: an earlier attempt may have left it."""
    if storage.TEMPORARY.fullmatch(path.rpartition("/")[2]) or path in {
        *CALIBRATION_FILES,
        CLEAN_CARD,
    }:
        return True
    folder, shard, suffix, _ = parse_path(path)
    if folder == BANK:
        return is_bank_file(path)
    return bool(folder in FOLDERS and suffix and SHARD_NAME.fullmatch(shard))


def require_no_foreign_data(run: str, outputs: Collection[Output] = ()) -> None:
    """Refuse a run whose folders hold foreign data that readers would mistake for part of the run.

    A file that is named like an output isn't foreign data: an earlier attempt may have left it.

    Raises: RunError: a folder holds foreign data.
    """
    found = [file for file in list_foreign_files(run, outputs) if file.is_read]
    others = [file.path for file in found if not _is_attempt(file.path)]
    if others:
        folder = others[0].split("/")[0]
        raise RunError(
            f"{_name_few(others)}: not the run's, but who reads {folder}/ reads it too",
            where=run,
            remedy="move it out of the run's folder; the same command then continues",
        )


def summarise_foreign_files(files: Sequence[ForeignFile]) -> Iterator[str]:
    """Name the foreign files that a check leaves aside, in one line per problem."""
    problems = Counter(file.problem for file in files)
    for problem in problems:
        paths = [file.path for file in files if file.problem == problem]
        yield f"left aside: {_name_few(paths)}: {problem}"


def _name_few(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - FEW:,} more" if len(paths) > FEW else ""
    return ", ".join(paths[:FEW]) + more
