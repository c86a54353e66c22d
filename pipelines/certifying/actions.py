"""Which traits' actions masked or removed the rows of a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from pipelines.runs.recorded_settings import read_recorded_rules
from schemas.lots import LOT_FIELDS, UNKNOWN, Lot
from schemas.manifests import Manifest
from schemas.policies import list_row_names
from schemas.row_names import name_lots
from schemas.scores import split_side

DECIDING = ("mask", "quarantine", "drop")
"""The decisions of which the traits behind them are found."""


def find_deciding_rows(
    ledger: pl.DataFrame, manifest: Manifest, traits: Sequence[str]
) -> dict[str, np.ndarray]:
    """Return the masked and removed rows that each trait's own action masked or removed.

    A trait may fire on a row that another one removed, and only flag it itself. `ledger` has the
    rows' ids, places, lots, decisions and `findings`. The arrays are boolean, of the ledger's
    length. A held row that waits for another answer counts as removed.

    Raises: ValueError: the manifest's policy is invalid.
    """
    rules = {rule.trait: rule for rule in read_recorded_rules(manifest) if rule.trait in traits}
    names = list_row_names(item for rule in rules.values() for item in rule.exceptions)
    found = {trait: np.zeros(len(ledger), bool) for trait in traits}
    rows = ledger.with_row_index("index").filter(pl.col("decision").is_in(DECIDING))
    fields = rows.select(pl.col(name).fill_null(UNKNOWN) for name in LOT_FIELDS)
    places = list(zip(rows["source"].to_list(), rows["row"].to_list(), strict=True))
    lots = [Lot(*values) for values in fields.iter_rows()]
    lots = name_lots(lots, names, rows["record_id"].to_list(), places)
    columns = rows.select("index", "decision", "findings").iter_rows()
    for lot, (index, decision, findings) in zip(lots, columns, strict=True):
        for trait, side in map(split_side, findings):
            if trait in rules:
                action = rules[trait].apply_exceptions(lot, side)[1]
                found[trait][index] |= decision == ("quarantine" if action == "swap" else action)
    return found
