"""The files of an audit."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.lots.samples import LotSample
from classifiers.lots.specimens import Specimen
from pipelines.auditing.findings import AuditFinding
from schemas.audits import FINDINGS, FINDINGS_FILE, PAGE, SUMMARY, TEXTS, TEXTS_FILE
from schemas.errors import RunError
from schemas.runs import MANIFEST
from transforms.files import storage
from transforms.lot_records import LOT_NAMES
from transforms.lot_samples import LotKey

OWN_FILES = (SUMMARY, FINDINGS_FILE, TEXTS_FILE, PAGE)

HALVES = ("fit", "heldout")
OTHER_LOT = ("-",) * len(LOT_NAMES)
"""The fields of a lot that wasn't counted one by one."""


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
    return _encode(pa.Table.from_pylist([item.to_json() for item in findings], schema=FINDINGS))


def encode_texts(specimens: Sequence[Specimen], sample: LotSample, lots: Sequence[LotKey]) -> bytes:
    """Return texts for trait cards as Parquet, by finding."""
    confirms = sample.confirms
    rows = [
        {
            "finding": item.finding + 1,
            "half": HALVES[bool(confirms[item.text])],
            "shows": item.shows,
            "origin": item.origin,
            "side": "corpus" if sample.own[item.text] else "reference",
            **dict(zip(LOT_NAMES, _name_lot(int(sample.lots[item.text]), lots), strict=True)),
            "record": f"{int(sample.digests[item.text]):016x}",
            "prompt": f"{int(sample.keys[item.text]):016x}",
            "text": item.excerpt,
        }
        for item in specimens
    ]
    return _encode(pa.Table.from_pylist(rows, schema=TEXTS))


def _name_lot(number: int, lots: Sequence[LotKey]) -> tuple[str, ...]:
    return lots[number].fields if number < len(lots) else OTHER_LOT


def _encode(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd")
    return stream.getvalue()
