"""How many rows of a finished run another policy would decide how, without writing a run."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import pyarrow.compute as pc

from pipelines.decide import decide_run, find_stored_places
from pipelines.runs.finished import MISFITS, list_outputs, read_table, report_damage
from pipelines.runs.idle_exceptions import list_idle_exceptions
from pipelines.runs.manifest_file import load_manifest
from schemas.ledgers import read_lots
from schemas.lots import Lot
from schemas.manifests import Manifest
from schemas.policies import Policy, list_row_names


class DecisionCounts(NamedTuple):
    """The rows by decision, in the run and with the policy.

    `unmatched` are the policy's exceptions, as numbers from 1, that match no row of the run, and
    `idle` those that change nothing on their row.
    """

    before: dict[str, int]
    now: dict[str, int]
    unmatched: list[tuple[int, str]]
    idle: list[tuple[int, str]]


def count_decisions(run: str, policy: Policy, folder: str | None = None) -> DecisionCounts:
    """Count the rows by decision with another policy. Rejects stay rejects.

    If the policy names a row by a column, the run's input is read, in `folder` if it has moved.

    Raises: CardError: the policy can't be applied to the run.
    Raises: RunError: the run isn't finished, is damaged, or lacks what the policy needs.
    Raises: InputError: the input is needed, and is missing or was changed.
    """
    manifest = load_manifest(run)
    policy = find_stored_places(run, manifest, policy, folder)
    before = dict(manifest.conservation.by_decision)
    counts: Counter[str] = Counter()
    for shard in decide_run(run, _leave_out_unfound(policy)):
        counts.update(shard.decided.decisions)
    if rejects := before.get("reject"):
        counts["reject"] = rejects
    unmatched = _list_unmatched(run, manifest, policy)
    idle = list_idle_exceptions(run, manifest, policy)
    return DecisionCounts(before, dict(counts), unmatched, idle)


def _leave_out_unfound(policy: Policy) -> Policy:
    """Return a policy without exceptions for rows whose own ids the corpus doesn't have."""
    known = tuple(item for item in policy.exceptions if item.row is None or item.row.key)
    return policy.model_copy(update={"exceptions": known})


def _list_unmatched(run: str, manifest: Manifest, policy: Policy) -> list[tuple[int, str]]:
    """Return the exceptions that match the lot or the name of no row, except rejects."""
    names, lots = list_row_names(policy.exceptions), set[Lot]()
    with report_damage(run, *MISFITS):
        for output in list_outputs(manifest, "ledger") if policy.exceptions else ():
            ledger = read_table(run, output)
            lots.update(read_lots(ledger.filter(pc.field("decision") != "reject"), names))
    return [
        (number, item.describe())
        for number, item in enumerate(policy.exceptions, 1)
        if not any(item.matches(lot.for_side(item.side)) for lot in lots)
    ]
