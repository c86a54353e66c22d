"""The layout of a finished run's rows, restored from its manifest and its score columns."""

from __future__ import annotations

from typing import cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.runs.finished import list_outputs
from schemas.corpora import FormatName
from schemas.manifests import Manifest
from schemas.scores import SIDES, Side, split_side
from transforms.digest_keys import DigestKey
from transforms.files import storage
from transforms.records.formats import Layout
from transforms.records.sides import LABELS


def restore_layout(run: str, manifest: Manifest, key: DigestKey | None = None) -> Layout:
    """Return the layout with which a run's rows can be read and scored again.

    It has no lots, which are in the ledger.
    """
    identity = manifest.identity
    sides = _find_sides(run, manifest)
    labels = LABELS if "rejected" in sides and identity.format not in ("preference", "text") else ()
    return Layout(
        cast("FormatName", identity.format),
        identity.columns,
        {},
        transcripts=identity.transcripts,
        sides=sides,
        labels=tuple(name for name in labels if name not in identity.columns.values()),
        digest_key=key,
    )


def _find_sides(run: str, manifest: Manifest) -> tuple[Side, ...]:
    """Return the sides that the run scored apart, from the columns of its scores."""
    for output in list_outputs(manifest, "scores"):
        data = storage.read_bytes(storage.join(run, output.path))
        names = pq.read_schema(pa.BufferReader(data)).names
        found = {split_side(name)[1] for name in names}
        return tuple(side for side in SIDES if side != "trained" and side in found)
    return ()
