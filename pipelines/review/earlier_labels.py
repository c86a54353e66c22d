"""Labels that a reviewer gave on another run, such as one of an earlier version of a card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from pipelines.label_files import is_chained, read_entries, report_mixed
from pipelines.labels import digest_definition
from pipelines.moved_labels import NamedRow, Place, find_places
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
    """How many labels were carried over, and how many weren't, by reason.

    `moved` labels are of rows that have another file or number here, and `copies` counts the rows
    with the same text that they label besides the first one.
    """

    carried: int
    left: Counter[str]
    moved: int = 0
    copies: int = 0

    def describe(self) -> str:
        """Say how many labels of an earlier run count here, and why others don't."""
        reasons = [f"{count:,} {REASONS[name]}" for name, count in self.left.items()]
        rest = f"; left out: {', '.join(reasons)}" if reasons else ""
        moved = f", {self.moved:,} of them to another file or number with the same text"
        copies = f" and to {format_count(self.copies, 'copy', 'copies')} of these rows"
        where = f"{moved if self.moved else ''}{copies if self.copies else ''}"
        return f"{format_count(self.carried, 'label')} carried over{where}{rest}"


def carry_labels(
    book: LabelBook, path: Path, cards: Mapping[str, Mapping[str, Any]], rows: pl.LazyFrame
) -> CarriedLabels:
    """Add a reviewer's labels of another run to the book, in their order, with their times.

    A label is carried over if the run has its row with the same text, if the card's title and
    description are those by which it was given, and if the book has no label for the row and the
    trait. A row that isn't in its place is found by its text, and the label then counts for each
    row that has the text and no label of its own. A new line names the digest of the old one, as
    `carried_from`. The file stays as it is.

    Raises: CardError: the file isn't one of this reviewer's, or was changed.
    Raises: StorageError: the book can't be written.
    """
    lines = _read_own(path, book.reviewer)
    places = find_places(rows, {_name_row(line) for line in lines})
    known = set(book.list_labels())
    taken = {(*place, line["trait"]) for line in lines for place in _find_own(line, places)}
    left, carried, moved, copies = Counter[str](), 0, 0, 0
    definitions = {trait: digest_definition(card) for trait, card in cards.items()}
    for line in lines:
        own = _find_own(line, places)
        free = own or [
            place
            for place in places.get(_name_row(line), ())
            if (*place, line["trait"]) not in taken
        ]
        reason = _find_reason(line, free, known, definitions, places)
        if reason is not None:
            left[reason] += 1
            continue
        free = [place for place in free if (*place, line["trait"]) not in known]
        _add_lines(book, line, free)
        carried, moved, copies = carried + 1, moved + (not own), copies + len(free) - 1
    return CarriedLabels(carried, left, moved, copies)


def _name_row(line: Mapping[str, Any]) -> NamedRow:
    return NamedRow(line["source"], line["row"], line["record_id"])


def _find_own(line: Mapping[str, Any], places: Mapping[NamedRow, list[Place]]) -> list[Place]:
    """Return a line's own place if the run has its row there, with the same text."""
    own = (line["source"], line["row"])
    return [own] if own in places.get(_name_row(line), ()) else []


def _find_reason(
    line: Mapping[str, Any],
    free: Sequence[Place],
    known: Collection[tuple[str, int, str]],
    definitions: Mapping[str, str],
    places: Mapping[NamedRow, list[Place]],
) -> str | None:
    """Return why a label isn't carried over, or None. `free` are the rows that it may label."""
    trait, own = line["trait"], (line["source"], line["row"])
    if (*own, trait) in known and own in free:
        return "known"
    if trait not in definitions:
        return "trait"
    if _name_row(line) not in places:
        return "row"
    if line.get("definition") not in (None, definitions[trait]):
        return "definition"
    return "known" if all((*place, trait) in known for place in free) else None


def _add_lines(book: LabelBook, line: Mapping[str, Any], places: Sequence[Place]) -> None:
    """Add a label to the book for each place."""
    more = {name: line[name] for name in KEPT if name in line}
    for source, row in places:
        there = {**line, "source": source, "row": row}
        verdict = _name_verdict(line["label"])
        book.add(there, line["trait"], verdict, carried_from=line["digest"], **more)


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


def _name_verdict(label: bool | str) -> Verdict:
    """Return the verdict that a line says."""
    names: dict[bool | str, Verdict] = {True: "yes", False: "no", "unsure": "unsure"}
    return names[label]
