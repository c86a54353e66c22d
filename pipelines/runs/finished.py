"""A finished run, read back: its manifest, its ledger and scores scanned lazily, single rows of its files.

Nothing here needs torch, so that looking at a run starts quickly.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from pipelines.runs.cache import fetched
from schemas.errors import InputError, RunError
from schemas.manifests import MANIFEST_FORMAT, Manifest, Output
from schemas.outputs import LEDGER
from schemas.problems import problems
from transforms.files import storage

MANIFEST = "manifest.json"
WORK = ".work"
"""The folder of a run that is being made."""

DAMAGED = "take it from a copy of the run, or make the run again (--restart)"
PROBLEM = 300
"""Characters told of what is wrong with a manifest."""

BATCH_ROWS = 1024
FETCHES = 4
"""Files of a remote run that are fetched at a time."""


def load_run(run: str) -> Manifest:
    """Read the manifest of a finished run.

    Raises: RunError: There is none, or it can't be read.
    """
    uri = storage.join(run, MANIFEST)
    if not storage.exists(uri):
        raise _unfinished(run)
    try:
        manifest = Manifest.model_validate_json(storage.read_bytes(uri))
    except InputError as error:
        raise RunError(f"{MANIFEST} {error.problem}", where=run, remedy=DAMAGED) from error
    except ValidationError as error:
        raise RunError(
            f"{MANIFEST} is none of congener's: {problems(error)[:PROBLEM]}",
            where=run,
            remedy=DAMAGED,
        ) from error
    if manifest.format != MANIFEST_FORMAT:
        raise RunError(
            f"{MANIFEST} has format {manifest.format}, this version reads {MANIFEST_FORMAT}",
            where=run,
            remedy=f"look at it with the version that wrote it, {manifest.identity.code_version} of its day",
        )
    return manifest


def _unfinished(run: str) -> RunError:
    """Say what is there instead of a finished run."""
    if not storage.exists(run):
        return RunError(
            "is not there",
            where=run,
            remedy="check the path: a run is the folder that was given to congener filter as --output",
        )
    if storage.is_local(run) and not Path(run).is_dir():
        return RunError(
            "is a file, and a run is a folder",
            where=run,
            remedy="name the folder that was given to congener filter as --output",
        )
    if storage.exists(storage.join(run, WORK)):
        return RunError(
            "is an unfinished run: it has no manifest.json yet",
            where=run,
            remedy="the same congener filter command resumes it",
        )
    return RunError(
        "is no run: it has no manifest.json",
        where=run,
        remedy="name the folder that was given to congener filter as --output",
    )


def scan(run: str, manifest: Manifest, folder: str, row_index: str | None = None) -> pl.LazyFrame:
    """Scan the files of one of a run's folders, in corpus order, as far as the manifest names them; remote ones are fetched first.

    Raises: RunError: One of them isn't there.
    """
    wanted = [output for output in manifest.outputs if output.path.startswith(f"{folder}/")]
    with ThreadPoolExecutor(FETCHES) as pool:
        paths = list(pool.map(lambda output: scannable(run, output), wanted))
    if not paths:
        frame = pl.from_arrow(LEDGER.empty_table())
        return frame.lazy().with_row_index(row_index or "index")  # type: ignore[union-attr]
    return pl.scan_parquet(paths, glob=False, row_index_name=row_index)


def scannable(run: str, output: Output) -> str:
    """Return the path of one of a run's files as polars can scan it: its own, or that of a copy that is fetched.

    Raises: RunError: It isn't there, or not as the manifest says.
    """
    uri = storage.join(run, output.path)
    require_there(run, uri)
    return fetched(uri, output.sha256, output.bytes)


def require_there(run: str, uri: str) -> None:
    """Check that a file of a run is there; of remote stores the reader will say so.

    Raises: RunError: It isn't.
    """
    if storage.is_local(uri) and not storage.exists(uri):
        raise RunError(
            "is missing, though the manifest names it",
            where=uri,
            remedy=f"congener verify {shlex.quote(run)}",
        )


def rows_at(
    run: str, path: str, places: Sequence[int], columns: Sequence[str] | None = None
) -> dict[int, dict[str, Any]]:
    """Read single rows of one of a run's Parquet files, by their place in it; nothing behind the last one is decoded.

    Raises: RunError: The file isn't there.
    """
    uri = storage.join(run, path)
    require_there(run, uri)
    wanted, found, at = sorted(set(places)), dict[int, dict[str, Any]](), 0
    with storage.open_raw(uri) as stream:
        for batch in pq.ParquetFile(stream, pre_buffer=False).iter_batches(
            BATCH_ROWS, columns=columns
        ):
            inside = (place for place in wanted if at <= place < at + batch.num_rows)
            found |= {place: batch.slice(place - at, 1).to_pylist()[0] for place in inside}
            at += batch.num_rows
            if len(found) == len(wanted):
                break
    return found


@contextmanager
def readable(run: str) -> Iterator[None]:
    """Tell a damaged file of a run for what it is, whichever library stumbles over it.

    Raises: RunError: One can't be read.
    """
    try:
        yield
    except (
        pa.ArrowException,
        pl.exceptions.PolarsError,
        OSError,
    ) as error:  # OSError: pages that can't be decoded
        said = str(error).split("\n", 1)[0][:PROBLEM]
        raise RunError(
            f"a file of the run can't be read: {said}",
            where=run,
            remedy=f"congener verify {shlex.quote(run)} names it",
        ) from error
