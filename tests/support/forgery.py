"""Changes to a finished run that adjust the manifest, as a forger would."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.digests import digest_bytes
from schemas.manifests import Manifest
from schemas.runs import MANIFEST, is_json_lines


def edit_manifest(run: Path, **fields: Any) -> None:
    """Replace fields of a run's manifest and seal it again."""
    manifest = json.loads((run / MANIFEST).read_bytes()) | fields
    (run / MANIFEST).write_bytes(Manifest.model_validate(manifest).seal().to_bytes())


def reseal_file(run: Path, path: str) -> None:
    """Adjust the manifest to a changed file's digest and size."""
    outputs = json.loads((run / MANIFEST).read_bytes())["outputs"]
    data = (run / path).read_bytes()
    for output in outputs:
        if output["path"] == path:
            output |= {"sha256": digest_bytes(data), "bytes": len(data)}
    edit_manifest(run, outputs=outputs)


def rewrite_table(run: Path, folder: str, change: Callable[[pa.Table], pa.Table]) -> str:
    """Change the table in a folder's first file, reseal the file, and return its path."""
    path = min((run / folder).iterdir())
    pq.write_table(change(pq.read_table(path)), path)
    reseal_file(run, f"{folder}/{path.name}")
    return f"{folder}/{path.name}"


def rewrite_lines(run: Path, folder: str, change: Callable[[list[bytes]], list[bytes]]) -> str:
    """Change the lines of a folder's first file, reseal the file, and return its path."""
    path = min((run / folder).iterdir())
    path.write_bytes(b"".join(line + b"\n" for line in change(path.read_bytes().split(b"\n")[:-1])))
    reseal_file(run, f"{folder}/{path.name}")
    return f"{folder}/{path.name}"


def reorder_rows(run: Path, folder: str, choose: Callable[[list[int]], list[int]]) -> str:
    """Rewrite a folder's first file with chosen rows."""
    if is_json_lines(f"{folder}/{min((run / folder).iterdir()).name}"):
        return rewrite_lines(
            run, folder, lambda lines: [lines[row] for row in choose(list(range(len(lines))))]
        )
    return rewrite_table(run, folder, lambda table: table.take(choose(list(range(table.num_rows)))))


def replace_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    """Return a table with new values of the same type in a column."""
    field = table.schema.field(name)
    return table.set_column(table.column_names.index(name), field, pa.array(values, field.type))


def reverse_rows(table: pa.Table) -> pa.Table:
    """Return a table with its rows in reverse order."""
    return table.take(list(range(table.num_rows))[::-1])
