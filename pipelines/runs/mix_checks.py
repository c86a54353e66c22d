"""Check the added rows of a run that `congener mix` wrote against its filtered donors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.runs.finished import list_outputs, read_table
from pipelines.runs.mix_counts import count_mix
from pipelines.runs.shard_checks import READ_ERRORS, Finding
from pipelines.runs.swap_checks import read_usable, was_made_later
from schemas.manifests import Manifest
from schemas.mixes import MIX, MixRecord
from schemas.outputs import MIXED
from schemas.receipts import Output
from schemas.runs import MANIFEST
from transforms.mix_rows import name_source


def check_mix(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check that ledgers have added rows only after a mix, recount them, and look each one up.

    The rows of an ancestor's mix are only counted, because its donors are in its own folder. The
    donors' own runs are assumed to be whole.
    """
    ledgers = list_outputs(manifest, "ledger")
    names = [read_table(run, output).column_names for output in ledgers]
    is_mixed = [MIXED[0][0] in own for own in names]
    if manifest.mix is None:
        if any(is_mixed):
            yield Finding(MANIFEST, "has no mix, but a ledger has the columns of one")
        return
    if not all(is_mixed):
        yield Finding(ledgers[is_mixed.index(False)].path, "doesn't have the columns of a mix")
        return
    yield from _check_record(run, manifest, manifest.mix)
    known = None
    if manifest.is_own(manifest.mix):
        usable = {donor.name: read_usable(run, donor) for donor in manifest.mix.donors}
        known = {
            (name, name_source(name, source), row): record
            for name, rows in usable.items()
            for (source, row), record in rows.items()
        }
    for output in ledgers:
        yield from _check_added(run, output, known)


def _check_record(run: str, manifest: Manifest, mix: MixRecord) -> Iterator[Finding]:
    ledgers = list_outputs(manifest, "ledger")
    found = count_mix(run, ledgers, mix.share, manifest.identity.dataset_card)
    is_own = manifest.is_own(mix)
    if found.by_donor != mix.counts.by_donor or (is_own and found != mix.counts):
        yield Finding(MANIFEST, "counts other rows of the mix than the ledger has")
    parents = (mix.parent, *(donor.run_id for donor in mix.donors))
    if manifest.parents != parents and not was_made_later(manifest, mix):
        yield Finding(MANIFEST, "parents aren't the run and the donors of the mix")
    stated = {
        "parent": mix.parent,
        "parent_root": mix.parent_root,
        "donors": [donor.model_dump(mode="json") for donor in mix.donors],
        "share": mix.share,
        "seed": mix.seed,
    }
    if manifest.config.get("mix") != stated:
        yield Finding(MANIFEST, "mix doesn't match the settings in the config")


def _check_added(
    run: str, output: Output, known: Mapping[tuple[str, str, int], str] | None
) -> Iterator[Finding]:
    """Check that every added row is a clean row of its donor, and that it is marked as added."""
    columns = ["record_id", "source", "row", "decision", "reasons", "mix", "mix_lot"]
    try:
        rows: list[dict[str, Any]] = read_table(run, output, columns).to_pylist()
    except READ_ERRORS as error:
        yield Finding(output.path, f"can't be read as a ledger: {error!r}")
        return
    for number, row in enumerate(rows):
        signs = {row["decision"] == MIX, row["mix"] is not None, row["mix_lot"] is not None}
        if len(signs) > 1 or (row["mix"] is not None and row["reasons"]):
            yield Finding(output.path, f"row {number} is added by some columns and not by others")
        elif row["mix"] is not None and known is not None:
            place = row["mix"], row["source"], row["row"]
            if known.get(place) != row["record_id"]:
                problem = "isn't a clean row of the donor that it names"
                yield Finding(output.path, f"row {number} {problem}")
