"""Read the manifest of a finished run.

This module needs neither polars nor Arrow, so a wrong path is reported at once.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from schemas.errors import InputError, RunError
from schemas.manifests import MANIFEST_FORMAT, Manifest
from schemas.problems import describe_problems
from schemas.runs import MANIFEST, WITHDRAWN, WORK
from transforms.files import storage

DAMAGED = "restore it from a copy of the run, or make the run again with --restart"
IS_AN_OUTPUT = "name the folder that was given to congener filter as --output"
LONGEST_PROBLEM = 300
"""How many characters of a manifest's problems are shown."""


def load_manifest(run: str) -> Manifest:
    """Read the manifest of a finished run.

    Raises: RunError: the run isn't finished, or its manifest can't be read.
    """
    if not storage.exists(storage.join(run, MANIFEST)):
        raise _explain_absence(run)
    return _read_manifest(run, MANIFEST)


def load_decided(run: str) -> Manifest:
    """Read the manifest of a finished run, or that of a run that a budget stopped.

    Raises: RunError: the run is neither, or its manifest can't be read.
    """
    if is_withdrawn(run):
        return _read_manifest(run, WITHDRAWN)
    return load_manifest(run)


def is_withdrawn(run: str) -> bool:
    """Return whether a folder holds a run that a budget stopped."""
    names = MANIFEST, WITHDRAWN
    return [storage.exists(storage.join(run, name)) for name in names] == [False, True]


def _read_manifest(run: str, name: str) -> Manifest:
    uri = storage.join(run, name)
    try:
        manifest = Manifest.model_validate_json(storage.read_bytes(uri))
    except InputError as error:
        raise RunError(f"{name} {error.problem}", where=run, remedy=DAMAGED) from error
    except ValidationError as error:
        _require_format(run, storage.read_bytes(uri))
        raise RunError(
            f"{name} is not a manifest of congener: {describe_problems(error)[:LONGEST_PROBLEM]}",
            where=run,
            remedy=DAMAGED,
        ) from error
    if manifest.format != MANIFEST_FORMAT:
        raise _refuse_format(run, manifest.format, manifest.identity.code_version)
    return manifest


def _require_format(run: str, data: bytes) -> None:
    """Refuse a manifest with another format version.

    Raises: RunError: the manifest has another format version.
    """
    try:
        fields = dict(json.loads(data))
        version, code = int(fields["format"]), str(fields["identity"]["code_version"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return
    if version != MANIFEST_FORMAT:
        raise _refuse_format(run, version, code)


def _refuse_format(run: str, version: int, code: str) -> RunError:
    return RunError(
        f"{MANIFEST} has format {version}, but this version of congener reads format "
        f"{MANIFEST_FORMAT}",
        where=run,
        remedy=f"read the run with the congener of its time (version {code}), or make the run "
        "again with --restart",
    )


def _explain_absence(run: str) -> RunError:
    """Return an error that describes what is at the path instead of a finished run."""
    if not storage.exists(run):
        return RunError("doesn't exist", where=run, remedy=f"check the path: {IS_AN_OUTPUT}")
    if storage.is_local(run) and not Path(run).is_dir():
        return RunError("is a file, but a run is a folder", where=run, remedy=IS_AN_OUTPUT)
    if storage.exists(storage.join(run, WORK)):
        return RunError(
            f"is an unfinished run: it has no {MANIFEST} yet",
            where=run,
            remedy="run the same congener filter command again: it resumes",
        )
    if storage.exists(storage.join(run, WITHDRAWN)):
        return RunError(
            "wasn't published, because it exceeded a budget",
            where=run,
            remedy="congener inspect and congener report show what it found; change the policy, "
            "and run the same congener filter command again",
        )
    whole = run.rstrip("/").rpartition("/")[0]
    if whole and storage.exists(storage.join(whole, MANIFEST)):
        return RunError("is a folder of a run", where=run, remedy=f"name the run: {whole}")
    return RunError(f"is not a run: it has no {MANIFEST}", where=run, remedy=IS_AN_OUTPUT)
