"""How many rows of a finished run another policy would decide how, without writing a run."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import polars as pl

from pipelines.decide import decide_run
from pipelines.runs.finished import MISFITS, report_damage, scan_folder
from pipelines.runs.manifest_file import load_manifest
from schemas.manifests import Manifest
from schemas.policies import Policy, list_row_names


class DecisionCounts(NamedTuple):
    """The rows by decision, in the run and with the policy.

    `unmatched` are the policy's exceptions, as numbers from 1, that name a row that the run doesn't
    have.
    """

    before: dict[str, int]
    now: dict[str, int]
    unmatched: list[tuple[int, str]]


def count_decisions(run: str, policy: Policy) -> DecisionCounts:
    """Count the rows by decision with another policy. Rejects stay rejects.

    Raises: CardError: the policy can't be applied to the run.
    Raises: RunError: the run isn't finished, is damaged, or lacks what the policy needs.
    """
    manifest = load_manifest(run)
    before = dict(manifest.conservation.by_decision)
    counts: Counter[str] = Counter()
    for shard in decide_run(run, policy):
        counts.update(shard.decided.decisions)
    if rejects := before.get("reject"):
        counts["reject"] = rejects
    return DecisionCounts(before, dict(counts), _list_unmatched(run, manifest, policy))


def _list_unmatched(run: str, manifest: Manifest, policy: Policy) -> list[tuple[int, str]]:
    names = list_row_names(policy.exceptions)
    if not names:
        return []
    place = pl.concat_str("source", pl.lit(":"), "row")
    with report_damage(run, *MISFITS):
        rows = scan_folder(run, manifest, "ledger").select("record_id", place.alias("place"))
        named = rows.filter(pl.any_horizontal(pl.col("record_id", "place").is_in(list(names))))
        found = named.collect(engine="streaming")
    known = {*found["record_id"], *found["place"]}
    return [
        (number, item.describe())
        for number, item in enumerate(policy.exceptions, 1)
        if item.row is not None and item.row.key and item.row.key not in known
    ]
