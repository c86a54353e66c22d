"""Check the origins in a run that `congener swap` wrote against its filtered donors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.runs.finished import list_outputs, read_table
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.request_files import find_changed_batches
from pipelines.runs.shard_checks import READ_ERRORS, Finding
from pipelines.runs.swap_counts import count_ledgers
from schemas.errors import RunError
from schemas.manifests import Manifest
from schemas.mixes import MixRecord
from schemas.outputs import EARLIER, ORIGIN
from schemas.receipts import Output
from schemas.runs import DONORS, MANIFEST
from schemas.swaps import (
    DECISION_OF_OUTCOME,
    OUTCOMES,
    REPLACED,
    SENTENCES,
    Donor,
    SwapCounts,
    SwapRecord,
    describe_options,
)
from transforms.files import storage


def check_swap(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check that ledgers have origins only after a swap, recount them, and look each one up.

    The origins of an ancestor's swap aren't looked up, because its donors are in its own folder.
    The donors' own runs are assumed to be whole.
    """
    ledgers = list_outputs(manifest, "ledger")
    is_swapped = [ORIGIN[0][0] in read_table(run, output).column_names for output in ledgers]
    if manifest.swap is None:
        if any(is_swapped):
            yield Finding(MANIFEST, "has no swap, but a ledger has the columns of one")
        return
    if not all(is_swapped):
        yield Finding(ledgers[is_swapped.index(False)].path, "doesn't have the columns of a swap")
        return
    yield from _check_record(run, manifest, manifest.swap)
    known = None
    if manifest.is_own(manifest.swap):
        known = {donor.name: read_usable(run, donor) for donor in manifest.swap.donors}
        for path, problem in find_changed_batches(run, manifest, manifest.swap.requests):
            yield Finding(path, problem)
    for output in ledgers:
        yield from _check_origins(run, output, known)


def list_donor_runs(run: str, manifest: Manifest) -> dict[str, str]:
    """Return the folders of the donors of a run by their paths in the run, or nothing."""
    names = [f"{DONORS}/{donor.name}" for donor in list_own_donors(manifest)]
    return {name: storage.join(run, name) for name in names}


def was_made_later(manifest: Manifest, record: SwapRecord | MixRecord) -> bool:
    """Return whether another swap or mix in the manifest made the run."""
    others = [item for item in (manifest.swap, manifest.mix) if item not in (None, record)]
    return any(item is not None and manifest.is_own(item) for item in others)


def list_own_donors(manifest: Manifest) -> tuple[Donor, ...]:
    """Return the donors of the swap or the mix that made a run, whose runs are in its folder."""
    records = [record for record in (manifest.swap, manifest.mix) if record is not None]
    return next((record.donors for record in records if manifest.is_own(record)), ())


def check_donors(run: str, manifest: Manifest) -> Iterator[Finding]:
    """Check that every donor's run is there, and is the run that the manifest names."""
    for donor in list_own_donors(manifest):
        path = f"{DONORS}/{donor.name}"
        try:
            own = load_manifest(storage.join(run, path))
        except RunError as error:
            yield Finding(path, error.problem)
            continue
        if (own.run_id, own.ledger_root) != (donor.run_id, donor.ledger_root):
            yield Finding(path, "isn't the run that the manifest names as a donor")


def _check_record(run: str, manifest: Manifest, swap: SwapRecord) -> Iterator[Finding]:
    counts = count_ledgers(run, manifest)
    if counts.pop(None, SwapCounts()) != swap.counts:
        yield Finding(MANIFEST, "counts other outcomes of the swap than the ledger has")
    if counts != {item.run_id: item.counts for item in swap.earlier}:
        yield Finding(MANIFEST, "counts other rows of earlier swaps than the ledger has")
    for item in swap.earlier:
        if not set(item.counts.by_donor) <= {donor.name for donor in item.donors}:
            yield Finding(MANIFEST, f"has answers of a donor that swap {item.run_id} didn't have")
        if not set(item.counts.outcomes) <= set(DECISION_OF_OUTCOME):
            yield Finding(MANIFEST, f"has rows that still wait for swap {item.run_id}")
    parents = (swap.parent, *(donor.run_id for donor in swap.donors))
    if manifest.parents != parents and not was_made_later(manifest, swap):
        yield Finding(MANIFEST, "parents aren't the run and the donors of the swap")
    recorded: Any = manifest.config.get("swap")
    stated = {
        "parent": swap.parent,
        "parent_root": swap.parent_root,
        "donors": [donor.model_dump(mode="json") for donor in swap.donors],
        "replace": list(swap.replace),
        "near": swap.near,
        **describe_options(swap.spans, swap.requests, swap.shares),
    }
    if recorded != stated:
        yield Finding(MANIFEST, "swap doesn't match the settings in the config")


def read_usable(run: str, donor: Donor) -> dict[tuple[str, int], str]:
    """Return the record ids of the rows of a donor on which no trait fires."""
    folder = storage.join(run, f"{DONORS}/{donor.name}")
    columns = ["record_id", "source", "row", "decision", "reasons"]
    return {
        (row["source"], row["row"]): row["record_id"]
        for output in list_outputs(load_manifest(folder), "ledger")
        for row in read_table(folder, output, columns).to_pylist()
        if row["decision"] == "keep" and not row["reasons"]
    }


def _check_origins(
    run: str, output: Output, known: Mapping[str, Mapping[tuple[str, int], str]] | None
) -> Iterator[Finding]:
    """Check that every replacement is a clean row of a donor.

    The origin of a row that an earlier swap replaced is a row of that swap's donors, whose runs are
    in another folder. Only the swap and the donor's name are compared, with the manifest.
    """
    try:
        rows = read_table(run, output).to_pylist()
    except READ_ERRORS as error:
        yield Finding(output.path, f"can't be read as a ledger: {error!r}")
        return
    for number, row in enumerate(rows):
        if row["swap"] not in (None, *OUTCOMES):
            yield Finding(output.path, f"row {number} has the unknown outcome {row['swap']!r}")
        elif row["swap"] and row["decision"] != DECISION_OF_OUTCOME.get(row["swap"], "quarantine"):
            yield Finding(output.path, f"row {number} has a decision that isn't its outcome")
        elif row.get(EARLIER[0][0]) is not None:
            continue
        elif known is not None and (row["donor"] or row["swap"] in (REPLACED, SENTENCES)):
            place = row["donor_source"], row["donor_row"]
            if known.get(row["donor"], {}).get(place) != row["donor_record"]:
                problem = "names an origin that isn't a clean row of that donor"
                yield Finding(output.path, f"row {number} {problem}")
