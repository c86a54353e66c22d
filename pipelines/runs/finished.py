"""Read a finished run: list its files, scan its tables lazily, and read single rows.

Nothing here needs torch, so commands that look at a run start quickly.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runs.cache import fetch_file
from pipelines.runs.json_tables import scan_json_lines
from schemas.errors import RunError
from schemas.manifests import Manifest
from schemas.outputs import LEDGER
from schemas.receipts import Output
from schemas.runs import FOLDERS, is_beside_shards, is_json_lines, parse_path
from transforms.files import storage
from transforms.files.json_lines import decode_lines, parse_line
from transforms.records.plain_values import list_rows

LONGEST_REASON = 300
"""How many characters of a read error are shown."""

MISFITS = (AttributeError, LookupError, OverflowError, TypeError, ValueError)
"""The errors raised by files that can be read but don't fit together, or by an edited manifest."""

BATCH_ROWS = 1024
PARALLEL_FETCHES = 4
"""How many remote files are fetched at once."""


def list_outputs(manifest: Manifest, folder: str) -> list[Output]:
    """Return the outputs in one of a run's folders, in corpus order."""
    return [
        output
        for output in manifest.outputs
        if parse_path(output.path).folder == folder and not is_beside_shards(output.path)
    ]


def scan_folder(
    run: str, manifest: Manifest, folder: str, row_index: str | None = None
) -> pl.LazyFrame:
    """Scan the files in a run's folder, in corpus order.

    Remote files are fetched first, and JSON Lines are read once to find their schema.

    Raises: RunError: a file is missing, or JSON Lines can't be read as a table.
    """
    wanted = list_outputs(manifest, folder)
    with ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
        paths = list(pool.map(lambda output: get_local_path(run, output), wanted))
    if not paths:
        frame = pl.from_arrow(LEDGER.empty_table())
        return frame.lazy().with_row_index(row_index or "index")  # type: ignore[union-attr]
    if is_json_lines(wanted[0].path):
        files = {output.path: path for output, path in zip(wanted, paths, strict=True)}
        with report_damage(run, ValueError):
            return scan_json_lines(files, row_index)
    return pl.scan_parquet(paths, glob=False, row_index_name=row_index)


def get_local_path(run: str, output: Output) -> str:
    """Return the local path of a run's file, after fetching it if it is remote.

    Raises: RunError: the file is missing, or doesn't match the manifest.
    """
    uri = storage.join(run, output.path)
    require_file(run, uri)
    return fetch_file(uri, output.sha256, output.bytes, parse_path(output.path).suffix)


def require_file(run: str, uri: str) -> None:
    """Check that a file of a local run exists.

    A store reports a missing file when the file is read.

    Raises: RunError: the file doesn't exist.
    """
    if storage.is_local(uri) and not storage.exists(uri):
        raise RunError(
            "is missing, but the manifest lists it",
            where=uri,
            remedy=f"congener verify {shlex.quote(run)}",
        )


def read_json_lines(run: str, path: str) -> list[dict[str, Any]]:
    """Read the rows of a run's JSON Lines file.

    Raises: ValueError: a line isn't a JSON object, or the last line has no line break.
    """
    return [_parse_row(*numbered) for numbered in enumerate(_read_lines(run, path))]


def _read_lines(run: str, path: str) -> list[bytes]:
    data = storage.read_bytes(storage.join(run, path))
    return decode_lines(data, parse_path(path).suffix)


def _parse_row(number: int, line: bytes) -> dict[str, Any]:
    value, error = parse_line(line, math.inf)  # a note may make a line longer than its input
    if error is not None:
        raise ValueError(f"row {number}: {error}")
    return value


def read_table(run: str, output: Output, columns: list[str] | None = None) -> pa.Table:
    """Read all or some columns of a run's Parquet file."""
    data = storage.read_bytes(storage.join(run, output.path))
    return pq.read_table(pa.BufferReader(data), columns=columns)


def read_folder(run: str, manifest: Manifest, folder: str) -> pa.Table:
    """Read all files in a run's folder, in corpus order.

    Raises: RunError: the manifest lists no file in the folder, a file is missing or damaged, or
    JSON Lines can't be read as a table.
    """
    outputs = list_outputs(manifest, folder)
    if not outputs:
        raise RunError(
            f"has no rows in {folder}/",
            where=run,
            remedy=f"the folders of a run are {', '.join(FOLDERS)}; one without rows has no file",
        )
    with report_damage(run):
        if is_json_lines(outputs[0].path):
            frame = scan_folder(run, manifest, folder).collect()
            return frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        return pa.concat_tables([read_table(run, output) for output in outputs])


def read_rows(
    run: str, path: str, indexes: Sequence[int], columns: Sequence[str] | None = None
) -> dict[int, dict[str, Any]]:
    """Read single rows of a run's file, and return them, keyed by index.

    Parquet is decoded only up to the last row. For JSON Lines, `columns` is ignored.

    Raises: RunError: the file is missing, or a row is missing or damaged.
    """
    uri = storage.join(run, path)
    require_file(run, uri)
    if is_json_lines(path):
        return _read_json_rows(run, path, sorted(set(indexes)))
    wanted, found, first = sorted(set(indexes)), dict[int, dict[str, Any]](), 0
    with storage.open_raw(uri) as stream:
        for batch in pq.ParquetFile(stream, pre_buffer=False).iter_batches(
            BATCH_ROWS, columns=columns
        ):
            inside = (index for index in wanted if first <= index < first + batch.num_rows)
            found |= {index: list_rows(batch.slice(index - first, 1))[0] for index in inside}
            first += batch.num_rows
            if len(found) == len(wanted):
                break
    return found


def _read_json_rows(run: str, path: str, indexes: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Read single rows of a JSON Lines file.

    Raises: RunError: the file is damaged, or lacks one of the rows.
    """
    with report_damage(run, ValueError):
        lines = _read_lines(run, path)
        if indexes and indexes[-1] >= len(lines):
            raise ValueError(f"row {indexes[-1]} of {path} is missing")
        return {index: _parse_row(index, lines[index]) for index in indexes}


@contextmanager
def report_damage(run: str, *more: type[Exception]) -> Iterator[None]:
    """Turn any library's error about a damaged file into a `RunError`.

    `more` are further errors to catch.

    Raises: RunError: a file can't be read.
    """
    try:
        yield
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, *more) as error:
        # an OSError means that Parquet pages can't be decoded
        reason = str(error).split("\n", 1)[0][:LONGEST_REASON]
        raise RunError(
            f"a file of the run can't be read: {reason}",
            where=run,
            remedy=f"congener verify {shlex.quote(run)} names the file",
        ) from error
