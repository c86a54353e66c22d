"""Check that a finished run's input files are still those that the run read."""

from __future__ import annotations

from collections.abc import Iterator

from pipelines.runs.shard_checks import Finding
from schemas.errors import InputError
from schemas.manifests import Manifest
from transforms.files import storage
from transforms.files.sources import digest_stream


def check_inputs(manifest: Manifest, folder: str | None = None) -> Iterator[Finding]:
    """Digest the input files again, a part at a time.

    The files are at the manifest's paths. With `folder`, they are below that folder, under the
    names that they have in the manifest.
    """
    for source in manifest.inputs:
        uri = source.uri if folder is None else storage.join(folder, source.name)
        if not storage.exists(uri):
            problem = "this input no longer exists" if folder is None else "isn't in this folder"
            yield Finding(uri, problem)
            continue
        try:
            with storage.open_raw(uri) as stream:
                digest, _ = digest_stream(stream)
        except (OSError, InputError) as error:
            reason = error.problem if isinstance(error, InputError) else error.strerror or error
            yield Finding(uri, f"this input can't be read: {reason}")
            continue
        if digest != source.sha256:
            yield Finding(
                uri,
                "this input was changed after the run"
                if folder is None
                else "differs from the input of the run",
            )
