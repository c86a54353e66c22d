"""The rows that a run takes from the student because of traits that are often wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import TypeAlias

import polars as pl

from pipelines.runs.queries import FINDINGS, SIGNALLED, ActionTable, scan_ledger
from schemas.manifests import Manifest

ACTED_ON = ("quarantine", "mask", "drop")
"""The decisions that take a row or a part of it away from the student."""

DoubtfulRows: TypeAlias = dict[tuple[str, int, str], str]
"""The decision on each row, by its file, its number and the trait that decided."""


def list_doubtful_rows(run: str, manifest: Manifest, traits: Collection[str]) -> DoubtfulRows:
    """Return the rows that these traits hold, mask or drop because of trained text.

    Rows that exceptions take out by name aren't among them. They are in the order of the traits
    and, for each trait, in the ledger's order.

    Raises: RunError: the run's ledger is missing or damaged.
    """
    if not traits:
        return {}
    actions = ActionTable(manifest)
    wanted = FINDINGS.list.eval(pl.element().is_in(list(traits))).list.any()
    lines = (
        scan_ledger(run, manifest)
        .with_columns(reasons=SIGNALLED)
        .filter(pl.col("decision").is_in(ACTED_ON), wanted)
        .select("source", "row", "decision", "teacher", *actions.list_keys(), found=FINDINGS)
        .collect(engine="streaming")
        .to_dicts()
    )
    return {
        (line["source"], line["row"], trait): line["decision"]
        for trait in traits
        for line in lines
        if trait in line["found"] and actions.decides(trait, "trained", line)
    }


def count_new(rows: DoubtfulRows, known: DoubtfulRows) -> Mapping[tuple[str, str], int]:
    """Count the rows on which an earlier run didn't decide the same, by trait and decision."""
    new = ((key[2], decision) for key, decision in rows.items() if known.get(key) != decision)
    return Counter(new)
