"""The masks and flags in a run's clean rows that only an earlier run made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl
import pyarrow.parquet as pq

from pipelines.runs.finished import list_outputs, require_file
from schemas.errors import RowError
from schemas.manifests import Manifest
from schemas.notices import choose_form, format_count
from schemas.outputs import CLEAN_EXTRA
from schemas.runs import is_json_lines, parse_path
from transforms.files import storage
from transforms.files.json_lines import NOTE_SIGN, decode_lines
from transforms.notes import read_line_note, read_note

PLACE = ("output", "output_row")
"""The columns of the ledger that say where a row is written."""

SCHEMA = {"output": pl.String, "output_row": pl.Int64, "noted": pl.String, "by": pl.String}
"""A note's place, its decision, and its traits joined by blanks."""

BATCH_ROWS = 10_000


def has_earlier_notes(manifest: Manifest) -> bool:
    """Return whether a clean row is masked or flagged beyond what the run itself decided."""
    notes = manifest.notes
    return bool(notes.masked_before or notes.flagged_before or notes.still_masked)


def describe_earlier_notes(manifest: Manifest, which: str) -> Iterator[str]:
    """Say that masks and flags of an earlier run are counted, if the run has any."""
    count = manifest.notes.masked_before + manifest.notes.flagged_before
    if has_earlier_notes(manifest):
        rows, verb = format_count(count, "row"), choose_form(count, "has", "have")
        yield (
            f"in the {which} run, {rows} {verb} a mask or a flag only from an earlier run, which "
            "counts here"
        )


def read_earlier_notes(run: str, manifest: Manifest) -> pl.DataFrame:
    """Return the notes of clean rows that flag or mask (`SCHEMA`), none if all are the run's own.

    Raises: RunError: a file is missing.
    Raises: ValueError, pyarrow.ArrowException: a file is damaged.
    """
    found = [
        {"output": output.path, "output_row": row, "noted": note["decision"], "by": by}
        for output in (list_outputs(manifest, "clean") if has_earlier_notes(manifest) else ())
        for row, note in _list_notes(run, output.path)
        if (by := " ".join(sorted(note["traits"]))) or note["decision"] in ("flag", "mask")
    ]
    return pl.DataFrame(found, schema=SCHEMA, orient="row")


def _list_notes(run: str, path: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the notes in a clean file, each with the number of its row."""
    uri = storage.join(run, path)
    require_file(run, uri)
    if is_json_lines(path):
        lines = decode_lines(storage.read_bytes(uri), parse_path(path).suffix)
        for row, line in enumerate(lines):
            if NOTE_SIGN in line and (note := _read_line(line)) is not None:
                yield row, note
        return
    row = 0
    with storage.open_raw(uri) as stream:
        file = pq.ParquetFile(stream, pre_buffer=False)
        for batch in file.iter_batches(BATCH_ROWS, columns=[CLEAN_EXTRA.name]):
            for value in batch.column(0).to_pylist():
                if (note := read_note(value)) is not None:
                    yield row, note
                row += 1


def _read_line(line: bytes) -> dict[str, Any] | None:
    """Return a line's note, or None for a field `congener` of another program."""
    try:
        return read_line_note(line)
    except RowError:
        return None
