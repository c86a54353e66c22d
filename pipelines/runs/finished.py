"""A finished run: its manifest, its tables scanned lazily, and single rows of its files.

Nothing here needs torch, so that looking at a run starts quickly.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runs.cache import fetch_file
from schemas.errors import RunError
from schemas.manifests import Manifest
from schemas.outputs import LEDGER
from schemas.receipts import Output
from schemas.runs import FOLDERS, parse_path
from transforms.files import storage

LONGEST_REASON = 300
"""Characters shown of the reason why a file can't be read."""

BATCH_ROWS = 1024
PARALLEL_FETCHES = 4
"""Files of a remote run that are fetched at the same time."""


def list_outputs(manifest: Manifest, folder: str) -> list[Output]:
    """Return the outputs in one of a run's folders, in the order of the corpus."""
    return [output for output in manifest.outputs if parse_path(output.path).folder == folder]


def scan_folder(
    run: str, manifest: Manifest, folder: str, row_index: str | None = None
) -> pl.LazyFrame:
    """Scan the files of one of a run's folders, in the order of the corpus.

    Remote files are fetched first.

    Raises: RunError: a file is missing.
    """
    wanted = list_outputs(manifest, folder)
    with ThreadPoolExecutor(PARALLEL_FETCHES) as pool:
        paths = list(pool.map(lambda output: get_local_path(run, output), wanted))
    if not paths:
        frame = pl.from_arrow(LEDGER.empty_table())
        return frame.lazy().with_row_index(row_index or "index")  # type: ignore[union-attr]
    return pl.scan_parquet(paths, glob=False, row_index_name=row_index)


def get_local_path(run: str, output: Output) -> str:
    """Return the path of one of a run's files on this machine's disk. A remote file is fetched.

    Raises: RunError: the file is missing, or doesn't match the manifest.
    """
    uri = storage.join(run, output.path)
    require_file(run, uri)
    return fetch_file(uri, output.sha256, output.bytes)


def require_file(run: str, uri: str) -> None:
    """Check that a run's file exists. On remote stores the reader will report it.

    Raises: RunError: it doesn't.
    """
    if storage.is_local(uri) and not storage.exists(uri):
        raise RunError(
            "is missing, but the manifest lists it",
            where=uri,
            remedy=f"congener verify {shlex.quote(run)}",
        )


def read_table(run: str, output: Output) -> pa.Table:
    """Read one of a run's files whole."""
    return pq.read_table(pa.BufferReader(storage.read_bytes(storage.join(run, output.path))))


def read_folder(run: str, manifest: Manifest, folder: str) -> pa.Table:
    """Read all files of one of a run's folders, in the order of the corpus.

    Raises: RunError: the manifest lists no file in the folder, or a file is missing or damaged.
    """
    outputs = list_outputs(manifest, folder)
    if not outputs:
        raise RunError(
            f"has no rows in {folder}/",
            where=run,
            remedy=f"the folders of a run are {', '.join(FOLDERS)}; one without rows has no file",
        )
    with report_damage(run):
        return pa.concat_tables([read_table(run, output) for output in outputs])


def read_rows(
    run: str, path: str, indexes: Sequence[int], columns: Sequence[str] | None = None
) -> dict[int, dict[str, Any]]:
    """Read single rows of one of a run's Parquet files, by their index in the file.

    Nothing after the last row is decoded.

    Raises: RunError: the file is missing.
    """
    uri = storage.join(run, path)
    require_file(run, uri)
    wanted, found, first = sorted(set(indexes)), dict[int, dict[str, Any]](), 0
    with storage.open_raw(uri) as stream:
        for batch in pq.ParquetFile(stream, pre_buffer=False).iter_batches(
            BATCH_ROWS, columns=columns
        ):
            inside = (index for index in wanted if first <= index < first + batch.num_rows)
            found |= {index: batch.slice(index - first, 1).to_pylist()[0] for index in inside}
            first += batch.num_rows
            if len(found) == len(wanted):
                break
    return found


@contextmanager
def report_damage(run: str) -> Iterator[None]:
    """Turn the error of whichever library fails on a damaged file of a run into a `RunError`.

    Raises: RunError: a file can't be read.
    """
    try:
        yield
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        # an OSError means that pages of a Parquet file can't be decoded
        reason = str(error).split("\n", 1)[0][:LONGEST_REASON]
        raise RunError(
            f"a file of the run can't be read: {reason}",
            where=run,
            remedy=f"congener verify {shlex.quote(run)} names the file",
        ) from error
