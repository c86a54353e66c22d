"""Find changed files in a finished run by their digests."""

from __future__ import annotations

import shlex

from schemas.digests import digest_bytes
from schemas.errors import InputError, RunError
from schemas.manifests import Manifest
from schemas.receipts import Output
from schemas.runs import MANIFEST, parse_path
from transforms.files import storage


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
    if manifest.compute_digest() != manifest.digest:
        raise _report_change(run, f"{MANIFEST} doesn't match its own digest: it was edited")
    for output in manifest.outputs:
        if folder not in (None, parse_path(output.path).folder):
            continue
        if problem := find_change(storage.join(run, output.path), output):
            raise _report_change(run, f"{output.path} {problem}")


def _report_change(run: str, change: str) -> RunError:
    return RunError(
        f"has changed since it was published: {change}",
        where=run,
        remedy=f"congener verify {shlex.quote(run)} lists all differences",
    )
