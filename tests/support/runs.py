"""Reading a run directory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder, keyed by path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if not path.is_dir()
    }


def mask_circumstances(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Remove circumstances, digest and input paths from the manifest."""
    manifest = json.loads(files["manifest.json"])
    for name in ("circumstances", "digest"):
        del manifest[name]
    for source in manifest["inputs"]:
        del source["uri"]
    return {**files, "manifest.json": json.dumps(manifest, sort_keys=True).encode()}


def comparable_files(run: Path) -> dict[str, bytes]:
    """Return a run's files without what may differ between equal runs.

    The files of an unfinished run are unchanged.
    """
    files = read_files(run)
    return mask_circumstances(files) if "manifest.json" in files else files


def read_lines(run: str | Path, folder: str) -> list[bytes]:
    """Return the lines of a folder's JSON Lines files, in corpus order."""
    paths = sorted(Path(run, folder).rglob("*.jsonl"), key=str)
    return [line for path in paths for line in path.read_bytes().split(b"\n")[:-1]]


def read_ledger(run: str | Path) -> list[dict[str, Any]]:
    """Return a run's ledger rows, in corpus order."""
    paths = sorted(Path(run, "ledger").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]
