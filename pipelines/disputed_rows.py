"""Rows that a reader labelled false for a trait, and that a run holds or masks all the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from pipelines.labels import Label, RowKey, choose_label
from pipelines.row_exceptions import write_exception
from pipelines.runs.finished import MISFITS, report_damage, scan_folder
from schemas.manifests import Manifest
from schemas.notices import Notice, choose_form, format_count
from schemas.scores import is_trained

PLACES = {"quarantine": "in quarantine", "drop": "dropped", "mask": "masked"}
"""What has become of a disputed row, by its decision."""

SHOWN = 3


class DisputedRow(NamedTuple):
    """A row on which only traits fired that a reader denied: `trait`, unless there are several."""

    source: str
    row: int
    decision: str
    trait: str | None = None

    @property
    def name(self) -> str:
        """Return the row's name in a policy."""
        return f"{self.source}:{self.row}"


def find_disputed(
    run: str, manifest: Manifest, labels: Sequence[Label], path: str, *, by_place: bool = True
) -> list[DisputedRow]:
    """Return the rows that are held, dropped or masked for traits that labels deny, in order.

    A label with a record id counts only for a row with this id. Without `by_place`, a label without
    one doesn't count, because its file may be another corpus's.

    Raises: CardError: two labels of a row differ. Raises: RunError: the ledger is damaged.
    """
    chosen = _choose_labels([label for label in labels if by_place or label.record_id], path)
    if not any(label.shows is False for label in chosen.values()):
        return []
    keys = {key for key, _ in chosen}
    columns = ("source", "row", "record_id", "decision", "reasons")
    with report_damage(run, *MISFITS):
        ledger = scan_folder(run, manifest, "ledger").filter(pl.col("decision").is_in(PLACES))
        rows = ledger.select(columns).collect(engine="streaming").to_dicts()
    return [
        DisputedRow(row["source"], row["row"], row["decision"], _find_only_trait(row))
        for row in rows
        if keys & {(row["source"], row["row"]), row["record_id"]} and _is_denied(row, chosen)
    ]


def _choose_labels(labels: Sequence[Label], path: str) -> dict[tuple[RowKey, str | None], Label]:
    """Return the label that counts for each row and trait; a label may be about every trait."""
    found: dict[tuple[RowKey, str | None], Label] = {}
    for label in labels:
        if label.key is not None:
            name = (label.key, label.trait)
            found[name] = choose_label(found.get(name, label), label, path)
    return found


def _list_traits(row: Mapping[str, Any]) -> set[str]:
    """Return the traits that fired on a row's trained text."""
    return {item["trait"] for item in row["reasons"] if is_trained(item["signal"])}


def _find_only_trait(row: Mapping[str, Any]) -> str | None:
    """Return the trait that fired on a row, or None if several did."""
    traits = _list_traits(row)
    return traits.pop() if len(traits) == 1 else None


def _is_denied(row: Mapping[str, Any], labels: Mapping[tuple[RowKey, str | None], Label]) -> bool:
    """Return whether labels deny every trait that fired on a row's trained text."""
    traits = _list_traits(row)
    keys: tuple[RowKey, ...] = ((row["source"], row["row"]), row["record_id"])
    return bool(traits) and all(
        any(
            label.shows is False and label.record_id in (None, row["record_id"])
            for key in keys
            for name in (trait, None)
            if (label := labels.get((key, name))) is not None
        )
        for trait in traits
    )


def describe_disputed(rows: Sequence[DisputedRow]) -> Iterator[Notice]:
    """Say which rows stay held although a reader denies it, and how a policy releases them."""
    for decision, place in PLACES.items():
        if held := [row for row in rows if row.decision == decision]:
            own = [row.name for row in held]
            more = f" and {len(own) - SHOWN:,} more" if len(own) > SHOWN else ""
            lines = ", ".join(write_exception(row.name, row.trait) for row in held[:SHOWN])
            yield Notice(
                f"{format_count(len(own), 'row')} that you labelled false "
                f"{choose_form(len(own), 'is', 'are')} still {place}: "
                f"{', '.join(own[:SHOWN])}{more}; to release "
                f"{choose_form(len(own), 'it', 'them')}, decide again with a policy that has "
                f"`exceptions: [{lines}{', …' if more else ''}]`"
            )
