"""Find changed files in a finished run by their digests."""

from __future__ import annotations

import shlex
from pathlib import Path

from pipelines.runs.finished import list_outputs
from schemas.digests import digest_bytes
from schemas.errors import InputError, RunError
from schemas.manifests import Manifest
from schemas.receipts import Output
from schemas.runs import MANIFEST, WITHDRAWN, parse_path
from transforms.files import storage

MOST_DIGESTED = 1 << 28
"""How many bytes of a ledger are digested before a page of rows is shown."""


def find_change(uri: str, output: Output) -> str | None:
    """Describe how a file differs from the manifest, or return None."""
    if not storage.exists(uri):
        return "is missing"
    try:
        data = storage.read_bytes(uri)
    except InputError as error:
        return error.problem
    if (digest_bytes(data), len(data)) != (output.sha256, output.bytes):
        return "was changed: its SHA-256 or size differs from the manifest's"
    return None


def require_unaltered(run: str, manifest: Manifest, folder: str | None = None) -> None:
    """Refuse a run with a changed manifest or a changed file.

    With `folder`, only the files in one of the run's folders are compared.

    Raises: RunError: a file was changed or is missing.
    """
    require_own_digest(run, manifest)
    for output in manifest.outputs:
        if folder in (None, parse_path(output.path).folder):
            require_unchanged(run, manifest, output)


def require_sound_ledger(run: str, manifest: Manifest) -> None:
    """Refuse a run whose manifest or ledger was changed, without reading a very large ledger.

    Once `MOST_DIGESTED` bytes are digested, only the sizes of the ledger's other files are
    compared. On a store, files are checked when they are copied to the cache.

    Raises: RunError: a file was changed or is missing.
    """
    require_own_digest(run, manifest)
    if not storage.is_local(run):
        return
    digested = 0
    for output in list_outputs(manifest, "ledger"):
        digested += output.bytes
        uri = storage.join(run, output.path)
        if digested <= MOST_DIGESTED or not storage.exists(uri):
            require_unchanged(run, manifest, output)
        elif Path(uri).stat().st_size != output.bytes:
            raise _report_change(run, manifest, f"{output.path} was changed: its size differs")


def require_own_digest(run: str, manifest: Manifest) -> None:
    """Refuse a run whose manifest was edited.

    Raises: RunError: the manifest doesn't match its own digest.
    """
    if manifest.compute_digest() != manifest.digest:
        name = MANIFEST if manifest.withdrawn is None else WITHDRAWN
        raise _report_change(run, manifest, f"{name} doesn't match its own digest: it was edited")


def require_unchanged(run: str, manifest: Manifest, output: Output) -> None:
    """Refuse a run one of whose files was changed.

    Raises: RunError: the file was changed or is missing.
    """
    if problem := find_change(storage.join(run, output.path), output):
        raise _report_change(run, manifest, f"{output.path} {problem}")


def _report_change(run: str, manifest: Manifest, change: str) -> RunError:
    again = f"congener verify {shlex.quote(run)} lists all differences"
    if manifest.withdrawn is not None:
        again = "run the same congener filter command again"
    return RunError(f"doesn't match its manifest: {change}", where=run, remedy=again)
