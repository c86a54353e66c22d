"""Find the answers that a swap replaced, in the run in which the rows waited for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import polars as pl

from pipelines.runs.finished import scan_folder
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.pages import INDEX
from pipelines.runs.shown_rows import ShownRow, read_shown_rows
from schemas.errors import RunError
from schemas.manifests import Manifest
from schemas.swaps import PARENT_FOLDER, REPLACED, SENTENCES
from transforms.files import storage

Place = tuple[str, int]
"""A row's file and number."""


class OldAnswers(NamedTuple):
    """The rows as they were before the swap, by place, or `missing`: why they can't be shown."""

    rows: Mapping[Place, ShownRow]
    missing: str | None = None


def read_old_answers(
    manifest: Manifest, rows: Sequence[ShownRow], parent: str | None = None, whole: bool = True
) -> OldAnswers:
    """Read the replaced ones of some rows as they are in the swap's parent run.

    The parent is in the folder `parent`, or where it was when the swap was made.

    Raises: RunError: the folder `parent` holds another run, or a file of it is damaged.
    """
    wanted = [(item.source, item.row) for item in rows if item.swap and _is_replaced(item)]
    if manifest.swap is None or not (wanted or parent):
        return OldAnswers({})
    known = manifest.circumstances.get(PARENT_FOLDER)
    folder = parent or (known if isinstance(known, str) else None)
    own = None if folder is None else _load_parent(folder, manifest, parent is not None)
    if own is None or folder is None:
        where = f"isn't in {folder} any more" if folder else "isn't known by its folder"
        return OldAnswers(
            {},
            f"old answers aren't shown, because run {manifest.swap.parent}, which has them, "
            f"{where}; --parent RUN says where it is",
        )
    return OldAnswers(_read_rows(folder, own, wanted, whole))


def _is_replaced(row: ShownRow) -> bool:
    swap = row.swap
    return swap is not None and swap.earlier is None and swap.outcome in (REPLACED, SENTENCES)


def _load_parent(folder: str, manifest: Manifest, is_required: bool) -> Manifest | None:
    """Return the parent's manifest, or None if the folder doesn't hold that run."""
    try:
        found = load_manifest(folder)
    except RunError:
        if is_required:
            raise
        return None
    if manifest.swap and found.digest == manifest.swap.parent_digest:
        return found
    if is_required:
        wanted = manifest.swap.parent if manifest.swap else ""
        raise RunError(
            f"is run {found.run_id}, not {wanted}, whose answers were replaced",
            where=f"--parent {folder}",
            remedy=f"congener inspect {shlex.quote(folder)} shows what is there",
        )
    return None


def _read_rows(
    folder: str, manifest: Manifest, wanted: Sequence[Place], whole: bool
) -> dict[Place, ShownRow]:
    places = pl.LazyFrame(
        {"source": [source for source, _ in wanted], "row": [row for _, row in wanted]},
        {"source": pl.String, "row": pl.Int64},
    )
    found = (
        scan_folder(folder, manifest, "ledger", INDEX)
        .select(INDEX, "source", "row")
        .join(places, on=["source", "row"], how="semi")
        .collect(engine="streaming")
    )
    check = storage.is_local(folder)
    rows = read_shown_rows(folder, manifest, found[INDEX].to_list(), None, whole, check)
    return {(row.source, row.row): row for row in rows}
