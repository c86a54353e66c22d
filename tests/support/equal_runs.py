"""Two runs, compared byte for byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipelines.runs.manifest_file import load_manifest
from schemas.runs import MANIFEST


def list_differences(one: str, two: str) -> list[str]:
    """Return what differs between two runs: files, and fields of their manifests.

    The circumstances of the runs may differ, and with them the seals of the manifests.
    """
    files, others = _list_files(one), _list_files(two)
    differing = [name for name in files | others if files.get(name) != others.get(name)]
    fields, more = _read_manifest(one), _read_manifest(two)
    return differing + [name for name in fields | more if fields.get(name) != more.get(name)]


def _list_files(run: str) -> dict[str, bytes]:
    found = (path for path in Path(run).rglob("*") if path.is_file())
    files = {path.relative_to(run).as_posix(): path.read_bytes() for path in found}
    del files[MANIFEST]
    return files


def _read_manifest(run: str) -> dict[str, Any]:
    return load_manifest(run).model_dump(mode="json", exclude={"circumstances", "digest"})
