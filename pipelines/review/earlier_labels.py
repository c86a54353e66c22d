"""Labels that a reviewer gave on another run, such as one of an earlier version of a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from pipelines.label_files import is_chained, read_entries, report_mixed
from pipelines.labels import digest_definition
from pipelines.review.judgements import LabelBook, Verdict
from schemas.errors import CardError
from schemas.notices import format_count

KEPT = ("reason", "picked", "blind", "definition", "time")
"""The fields of a label that are carried over as they are."""

REASONS = {
    "known": "already labelled here",
    "trait": "of traits that this run doesn't have",
    "row": "of rows that this run doesn't have, or has with another text",
    "definition": "given by another definition of the trait",
}
"""Why a label isn't carried over."""


class CarriedLabels(NamedTuple):
    """How many labels were carried over, and how many weren't, by reason."""

    carried: int
    left: Counter[str]

    def describe(self) -> str:
        """Say how many labels of an earlier run count here, and why others don't."""
        reasons = [f"{count:,} {REASONS[name]}" for name, count in self.left.items()]
        rest = f"; left out: {', '.join(reasons)}" if reasons else ""
        return f"{format_count(self.carried, 'label')} carried over{rest}"


def carry_labels(
    book: LabelBook, path: Path, cards: Mapping[str, Mapping[str, Any]], rows: pl.LazyFrame
) -> CarriedLabels:
    """Add a reviewer's labels of another run to the book, in their order, with their times.

    A label is carried over if the run has its row with the same text, if the card's title and
    description are those by which it was given, and if the book has no label for the row and the
    trait. The new line names the digest of the old one, as `carried_from`. The file stays as it is.

    Raises: CardError: the file isn't one of this reviewer's, or was changed.
    Raises: StorageError: the book can't be written.
    """
    lines = _read_own(path, book.reviewer)
    known = set(book.list_labels())
    there = _find_rows(rows, lines)
    left, carried = Counter[str](), 0
    definitions = {trait: digest_definition(card) for trait, card in cards.items()}
    for line in lines:
        trait = line["trait"]
        reason = None
        if (line["source"], line["row"], trait) in known:
            reason = "known"
        elif trait not in cards:
            reason = "trait"
        elif there.get((line["source"], line["row"])) != line["record_id"]:
            reason = "row"
        elif line.get("definition") not in (None, definitions[trait]):
            reason = "definition"
        if reason is not None:
            left[reason] += 1
            continue
        more = {name: line[name] for name in KEPT if name in line}
        book.add(line, trait, _name_verdict(line["label"]), carried_from=line["digest"], **more)
        carried += 1
    return CarriedLabels(carried, left)


def _read_own(path: Path, reviewer: str) -> list[dict[str, Any]]:
    """Read the lines of a file that this reviewer's review wrote, after comparing their digests.

    Raises: CardError: a line wasn't written by a review of rows, or by another reviewer's.
    """
    if not path.is_file():
        raise CardError("doesn't exist", where=str(path), remedy="name a file of a review")
    lines, entries = [], list(read_entries(path))
    if mixed := report_mixed(path, entries):
        raise mixed
    for place, fields in entries:
        if not is_chained(fields) or "row" not in fields:
            raise CardError(
                "isn't a label that a review of rows wrote",
                where=f"{path} {place}",
                remedy="name a file such as RUN.review/labels-NAME.jsonl",
            )
        if fields["reviewer"] != reviewer:
            raise CardError(
                f"is a label of {fields['reviewer']}, not of {reviewer}",
                where=f"{path} {place}",
                remedy="each reviewer carries their own labels over: --reviewer NAME",
            )
        lines.append(fields)
    return lines


def _find_rows(rows: pl.LazyFrame, lines: list[dict[str, Any]]) -> dict[tuple[str, int], str]:
    """Return the record ids of the named rows that the run has, by place."""
    places = {(line["source"], line["row"]) for line in lines}
    if not places:
        return {}
    schema = {"source": pl.String, "row": pl.Int64}
    named = pl.DataFrame(sorted(places), schema=schema, orient="row").lazy()
    own = rows.select(
        pl.col("source").cast(pl.String),
        pl.col("row").cast(pl.Int64),
        pl.col("record_id").cast(pl.String),
    )
    found = own.join(named, on=["source", "row"]).collect()
    return {(source, row): record for source, row, record in found.iter_rows()}


def _name_verdict(label: bool | str) -> Verdict:
    """Return the verdict that a line says."""
    names: dict[bool | str, Verdict] = {True: "yes", False: "no", "unsure": "unsure"}
    return names[label]
