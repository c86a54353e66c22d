"""The files of an audit."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.auditing.findings import AuditFinding
from schemas.audits import FINDINGS, FINDINGS_FILE, PAGE, SUMMARY
from schemas.errors import RunError
from schemas.runs import MANIFEST
from transforms.files import storage

OWN_FILES = (SUMMARY, FINDINGS_FILE, PAGE)


def require_free(output: str) -> None:
    """Refuse a folder that holds anything but an earlier audit, which is replaced.

    Raises: RunError: the folder holds a run or other files.
    """
    if storage.exists(storage.join(output, MANIFEST)):
        raise RunError("is a run", where=output, remedy="choose another --output")
    if storage.exists(storage.join(output, SUMMARY)):
        return
    if storage.has_files(output):
        raise RunError(
            "isn't empty and holds no audit",
            where=output,
            remedy="choose another --output, or empty it",
        )


def encode_findings(findings: Sequence[AuditFinding]) -> bytes:
    """Return findings as Parquet, in their order."""
    table = pa.Table.from_pylist([item.to_json() for item in findings], schema=FINDINGS)
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()
