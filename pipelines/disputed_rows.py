"""Findings that a reader labelled false, and that count in a run all the same."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from pipelines.labels import Label, RowKey, choose_label
from pipelines.runs.finished import MISFITS, report_damage, scan_folder
from pipelines.runs.recorded_settings import read_recorded_policy
from schemas.manifests import Manifest
from schemas.notices import Notice, choose_form, format_count
from schemas.policies import Policy
from schemas.scores import is_trained


class DisputedRow(NamedTuple):
    """A row that a finding of a trait holds, drops, masks or flags, though a reader denied it."""

    source: str
    row: int
    decision: str
    trait: str

    @property
    def name(self) -> str:
        """Return the row's name in a policy."""
        return f"{self.source}:{self.row}"


def find_disputed(
    run: str, manifest: Manifest, labels: Sequence[Label], path: str, *, by_place: bool = True
) -> list[DisputedRow]:
    """Return the findings with an action that labels deny, by row, in order.

    `congener release` takes just these back. A label with a record id counts only for a row with
    this id. Without `by_place`, a label without one doesn't count, because its file may be another
    corpus's.

    Raises: CardError: two labels of a row differ. Raises: RunError: the ledger is damaged.
    """
    chosen = _choose_labels([label for label in labels if by_place or label.record_id], path)
    if not any(label.shows is False for label in chosen.values()):
        return []
    columns = ("source", "row", "record_id", "decision", "reasons")
    with report_damage(run, *MISFITS):
        ledger = scan_folder(run, manifest, "ledger").filter(pl.col("reasons").list.len() > 0)
        rows = ledger.select(columns).collect(engine="streaming").to_dicts()
    policy = read_recorded_policy(manifest)
    return [
        DisputedRow(row["source"], row["row"], row["decision"], trait)
        for row in rows
        if row["decision"] not in ("keep", "duplicate")
        for trait in _list_traits(row)
        if _is_denied(row, trait, chosen) and not is_released(policy, row, trait)
    ]


def _choose_labels(labels: Sequence[Label], path: str) -> dict[tuple[RowKey, str | None], Label]:
    """Return the label that counts for each row and trait; a label may be about every trait."""
    found: dict[tuple[RowKey, str | None], Label] = {}
    for label in labels:
        if label.key is not None:
            name = (label.key, label.trait)
            found[name] = choose_label(found.get(name, label), label, path)
    return found


def _list_traits(row: Mapping[str, Any]) -> list[str]:
    """Return the traits that fired on a row's trained text."""
    found = (item["trait"] for item in row["reasons"] if is_trained(item["signal"]))
    return list(dict.fromkeys(found))


def _is_denied(
    row: Mapping[str, Any], trait: str, labels: Mapping[tuple[RowKey, str | None], Label]
) -> bool:
    """Return whether a label denies a trait on a row."""
    keys: tuple[RowKey, ...] = ((row["source"], row["row"]), row["record_id"])
    return any(
        label.shows is False and label.record_id in (None, row["record_id"])
        for key in keys
        for name in (trait, None)
        if (label := labels.get((key, name))) is not None
    )


def is_released(policy: Policy, row: Mapping[str, Any], trait: str) -> bool:
    """Return whether a policy keeps a row in spite of a finding, by an exception that names it.

    A later exception for lots, which may hold for the row, is taken to hold for it.
    """
    names, action = (row["record_id"], f"{row['source']}:{row['row']}"), None
    for item in policy.exceptions:
        is_meant = item.row is None or item.row.key in names
        if is_meant and item.action and item.side == "trained" and item.trait in (trait, "*"):
            action = item.action if item.row is not None or item.action != "keep" else action
    return action == "keep"


def describe_disputed(
    rows: Sequence[DisputedRow], run: str, files: Sequence[str]
) -> Iterator[Notice]:
    """Count the findings that count although a reader denied them, and name their release."""
    if rows:
        reviews = " ".join(f"--reviews {shlex.quote(file)}" for file in files)
        yield Notice(
            f"{format_count(len(rows), 'finding')} that you labelled false "
            f"{choose_form(len(rows), 'counts', 'count')} in this run as before; to take "
            f"{choose_form(len(rows), 'it', 'them')} back: congener release {shlex.quote(run)} "
            f"{reviews} --output RUN2"
        )
