"""Folders of a run that somebody names as a corpus by mistake, and what to name instead."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from schemas.errors import InputError
from schemas.runs import BANK, BEGUN, CERTIFICATE, DONORS, FOLDERS, MANIFEST, REPORT, WITHDRAWN
from transforms.files import storage

CLEAN = "clean"

CONTENTS = {
    "quarantine": "the rows that the run held back from the corpus",
    "rejects": "the rows that the run couldn't read",
    "swaplist": "the prompts that wait for another teacher's answers",
    "ledger": "what was decided about each row, without its text",
    "scores": "the scores of the rows, without their text",
    "spans": "the places of findings, without the text around them",
    "vectors": "the vectors of the rows, without their text",
    "calibration": "the scores of the calibration texts",
    BANK: "the fitted traits",
    REPORT: "the report",
    CERTIFICATE: "the certificate and its sample",
    DONORS: "runs of its donors",
}
"""What is in each folder of a run but `clean/`."""

ADVICE = {
    "quarantine": "to take back rows that are held wrongly, label them and release them: "
    "congener release {run} --reviews LABELS -o RUN2; or decide again with another policy: "
    "congener decide {run} --policy POLICY -o RUN2",
    "rejects": "repair these rows in the corpus, and filter it again",
    "swaplist": "congener swap puts other answers to these prompts into a new run",
}
"""What to do about the rows of a folder, apart from filtering the clean ones."""


def require_corpus(inputs: Iterable[str]) -> None:
    """Refuse local inputs that are a run, or a folder of one other than its clean rows.

    Raises: InputError: an input is one of these. It says what the folder holds.
    """
    for given in filter(storage.is_local, inputs):
        path, below = _split_glob(given)
        run = next((item for item in (path, *path.parents) if _is_run(item)), None)
        if run is not None:
            _require_clean(given, run, (*path.relative_to(run).parts, *below))


def _split_glob(given: str) -> tuple[Path, tuple[str, ...]]:
    """Return the folder above the first wildcard, and the parts from there on."""
    parts = Path(os.path.abspath(given)).parts  # noqa: PTH100 - resolves .. but no links
    signs = [number for number, part in enumerate(parts) if any(sign in part for sign in "*?[")]
    end = signs[0] if signs else len(parts)
    return Path(*parts[:end]), parts[end:]


def _is_run(folder: Path) -> bool:
    if (folder / MANIFEST).is_file() and (folder / "ledger").is_dir():
        return True
    return (folder / BEGUN).is_file() or (folder / WITHDRAWN).is_file()


def _require_clean(given: str, run: Path, parts: tuple[str, ...]) -> None:
    """Refuse an input whose path below a run isn't in the clean rows of a finished one."""
    name = parts[0] if parts else ""
    known = [folder for folder in (*FOLDERS, DONORS) if fnmatchcase(folder, name)]
    if not (run / MANIFEST).is_file():
        raise _refuse_unfinished(given, run, known)
    if known == [CLEAN] or (name and not known):
        return  # clean rows, or a file of somebody else
    shown = shlex.quote(str(_shorten(run)))
    clean = f"to filter the rows that the run kept: --input {shown}/{CLEAN}"
    if len(known) == 1:
        folder = known[0]
        advice = ADVICE.get(folder)
        raise InputError(
            f"is {folder}/ of the finished run {shown}: {CONTENTS[folder]}",
            where=given,
            remedy=f"{advice.format(run=shown)}; {clean}" if advice else clean,
        )
    raise InputError(
        f"is the finished run {shown}: several folders with the same rows, their scores and their "
        "decisions"
        if not parts
        else f"leads into several folders of the finished run {shown}",
        where=given,
        remedy=f"{clean}; to decide about its rows again, without a model: congener decide {shown} "
        "--policy POLICY -o RUN2",
    )


def _refuse_unfinished(given: str, run: Path, known: list[str]) -> InputError:
    """Return the error for a folder of a run that is unfinished, or that a budget stopped."""
    shown = shlex.quote(str(_shorten(run)))
    inside = f"is {known[0]}/ of" if len(known) == 1 else "is"
    if (run / WITHDRAWN).is_file():
        return InputError(
            f"{inside} the run {shown}, which a budget stopped: it has no clean rows",
            where=given,
            remedy="filter its corpus with another policy, and name clean/ of that run",
        )
    return InputError(
        f"{inside} the run {shown}, which isn't finished, so rows are missing",
        where=given,
        remedy=f"finish it with the command that began it, and then name {shown}/{CLEAN}",
    )


def _shorten(run: Path) -> Path:
    """Return a folder as it is written from the current folder, if it is below that."""
    here = Path.cwd()
    return run.relative_to(here) if run.is_relative_to(here) and run != here else run
