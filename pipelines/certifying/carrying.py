"""Carrying a certificate over to another run of the same rows.

The bound needs no new labels. Of the rows that the other run kept, at most a certified number show
a trait, whatever is kept of them; a row that it hadn't kept may show one. What people said about
single rows still holds for these rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import polars as pl

from pipelines.certifying.answers import AuditAnswer, ReadItem, TraitedRow, match_answers
from pipelines.certifying.populations import AuditedRows, read_drawn_from
from pipelines.certifying.statements import list_limits, raise_bound
from pipelines.labels import digest_definition
from pipelines.runs.finished import MISFITS, read_rows, report_damage, scan_folder
from pipelines.version import name_code
from schemas.certificates import (
    TOGETHER,
    AuditSample,
    CarriedFrom,
    CarriedRows,
    Certificate,
    PastStatement,
    ShareBound,
    TraitStatement,
)
from schemas.errors import RunError
from schemas.manifests import Manifest
from schemas.outputs import CLEAN_EXTRA
from schemas.shares import count_within

Place = tuple[str, int]
"""A row's file and its number in the file."""


class Origin(NamedTuple):
    """A run whose rows people read, with its certificate and everything behind it."""

    run: str
    manifest: Manifest
    sample: AuditSample
    certificate: Certificate
    history: tuple[PastStatement, ...]
    answers: tuple[AuditAnswer, ...]


class Overlap(NamedTuple):
    """How a run's rows with some fate relate to another run's, and what people said about them.

    Of `rows`, `added` weren't among the other run's with the same text. `gone` rows of the other
    run counted and aren't among these. `ruled_out` rows of both, and `added_ruled_out` of the added
    ones, don't count; people saw that `added_shown` of the added ones do, or were in doubt.
    """

    rows: int
    added: int
    gone: int = 0
    ruled_out: int = 0
    added_ruled_out: int = 0
    added_shown: int = 0


class ComparedRows(NamedTuple):
    """The kept and removed rows of a run, beside those of a certified run.

    Both are by trait and under `TOGETHER`: kept rows count if they show the trait, and rows that
    its action removed count if they don't.
    """

    kept: Mapping[str, Overlap]
    removed: Mapping[str, Overlap]
    unread: int
    excluded: int


def carry_certificate(
    origin: Origin, run: str, manifest: Manifest, at_most: float | None = None
) -> Certificate:
    """State what a certificate of another run says about this run, without new labels.

    `at_most` is a target for a certificate that has none.

    Raises: RunError: the runs aren't of the same rows, their traits have other definitions, or a
        file of a run is damaged.
    """
    require_same_rows(origin, run, manifest)
    rows = compare_rows(origin, run, manifest)
    found, sample = origin.certificate, origin.sample
    target = found.at_most if found.at_most is not None else at_most
    masked = None if found.masked is None else manifest.notes.masked
    facts = sample.model_copy(update={"unread": rows.unread})
    limits = list_limits(facts, _has_seeded(found), target, masked, is_carried=True)
    return found.model_copy(
        update={
            "code": name_code(),
            "run_id": manifest.run_id,
            "manifest": manifest.digest,
            "at_most": target,
            "masked": masked,
            "unread": rows.unread,
            "together": carry_statement(found.together, rows),
            "traits": tuple(carry_statement(item, rows) for item in found.traits),
            "carried": describe_origin(origin),
            "limits": (*limits, _describe_limit(origin)),
        }
    ).seal()


def describe_origin(origin: Origin) -> CarriedFrom:
    """Return the record of the run whose certificate is carried over."""
    return CarriedFrom(
        folder=origin.run,
        run_id=origin.manifest.run_id,
        manifest=origin.manifest.digest,
        certificate=origin.certificate.digest,
        statement=origin.history[-1].digest,
        number=len(origin.history),
        first=origin.history[0].bound,
    )


def _has_seeded(found: Certificate) -> bool:
    return found.together.sensitivity is not None


def _describe_limit(origin: Origin) -> str:
    return (
        f"The certificate was carried over from run {origin.manifest.run_id}: people read rows of "
        "that run, and none of this one for it."
    )


def carry_statement(found: TraitStatement, rows: ComparedRows) -> TraitStatement:
    """Return the statement about one trait, or all, with its bounds carried over.

    The shares before and after the filter can't be carried over, nor how the bound shrank.
    """
    name = found.trait or TOGETHER
    return found.model_copy(
        update={
            "residual": carry_bound(found.residual, rows.kept[name]),
            "clean_removed": carry_bound(found.clean_removed, rows.removed[name]),
            "before": None,
            "after": None,
            "curve": (),
        }
    )


def carry_bound(found: ShareBound, overlap: Overlap) -> ShareBound:
    """Bound the share among a run's rows, some of which are among the bounded ones.

    With probability 1 - risk, at most the certified number of the bounded rows count. So at most
    that number less the `gone` ones count among the rest, whatever the rest was chosen by; every
    other row may count, unless people ruled it out. `docs/statistics.md` has the proof, also for
    the number that is adjusted for what raters miss.
    """
    most = None if found.adjusted is None else count_within(found.rows, found.adjusted)
    seen, (rows, *counts) = count_within(found.rows, found.bound), overlap
    names = dict(zip(Overlap._fields[1:], counts, strict=True))
    carried = CarriedRows(rows=found.rows, seen=seen, most=most, **names)
    return restate_bound(found.model_copy(update={"rows": rows, "carried": carried}))


def restate_bound(found: ShareBound) -> ShareBound:
    """Compute a carried bound again from its numbers of rows."""
    if found.carried is None:
        return found
    adjusted = found.carried.count_adjusted(found.rows)
    return found.model_copy(
        update={
            "bound": _divide(found.carried.count_seen(found.rows), found.rows),
            "adjusted": None if adjusted is None else _divide(adjusted, found.rows),
        }
    )


def _divide(count: int, rows: int) -> float:
    return raise_bound(count / rows) if rows else 1.0


def compare_rows(origin: Origin, run: str, manifest: Manifest) -> ComparedRows:
    """Compare the rows of a run with those of a certified run, and with what people read there.

    Kept, removed and excluded rows are those that an audit may draw, so masked and flagged rows are
    kept ones.

    Raises: RunError: a file of a run is damaged.
    """
    earlier = read_drawn_from(origin.run, origin.manifest, origin.sample)
    later = read_drawn_from(run, manifest, origin.sample)
    same = find_same_texts(origin, run, manifest)
    known, kept = (set(_name(rows, rows.kept.tolist())) for rows in (earlier, later))
    comparable = same
    if origin.sample.masked_by is not None:
        comparable = same - find_unmasked(origin, run, manifest, kept & known & same)
    before, after = (_group_removed(rows) for rows in (earlier, later))
    shows = {name: _list_shown(origin, name) for name in after}
    clean = {name: _list_clean(origin, name) for name in after}
    return ComparedRows(
        {name: count_overlap(known, kept, comparable, shows[name]) for name in after},
        {name: count_overlap(before[name], after[name], same, clean[name]) for name in after},
        later.unread,
        len(later.excluded),
    )


def count_overlap(
    before: Collection[Place],
    after: Collection[Place],
    same: Collection[Place],
    counts: Mapping[Place, bool],
) -> Overlap:
    """Compare the rows that a bound is about with those to which it is carried.

    `same` are the rows with the text that people saw, and `counts` says of each row that they read
    whether it counts towards the share.
    """
    shared = set(before) & set(after) & set(same)
    added = set(after) - shared
    return Overlap(
        len(after),
        len(added),
        sum(counts.get(place, False) for place in set(before) - shared),
        sum(not counts[place] for place in shared & counts.keys()),
        sum(not counts[place] for place in added & set(same) & counts.keys()),
        sum(counts[place] for place in added & set(same) & counts.keys()),
    )


def _list_read(origin: Origin) -> Iterator[tuple[Place, ReadItem]]:
    """Yield the rows that people read and whose answers count, with the answers."""
    for kind in ("kept", "removed"):
        for read in match_answers(origin.sample, origin.answers, kind):
            yield (str(read.item.source), int(read.item.row or 0)), read


def find_still_kept(origin: Origin, run: str, manifest: Manifest) -> tuple[TraitedRow, ...]:
    """Return the rows that a run keeps although people saw a trait in them, in reading order.

    Raises: RunError: a file of a run is damaged.
    """
    later = read_drawn_from(run, manifest, origin.sample)
    kept = set(_name(later, later.kept.tolist())) & find_same_texts(origin, run, manifest)
    found = [read for place, read in _list_read(origin) if place in kept]
    shown = [(read, read.list_shown(origin.sample.traits)) for read in found]
    return tuple(read.locate(traits) for read, traits in shown if traits)


def _list_shown(origin: Origin, name: str) -> dict[Place, bool]:
    """Return whether each read row counts as showing a trait; in doubt, it does."""
    trait = None if name == TOGETHER else name
    return {place: read.counts_as(trait, doubtful=True) for place, read in _list_read(origin)}


def _list_clean(origin: Origin, name: str) -> dict[Place, bool]:
    """Return whether each read row counts as clean of a trait; in doubt, it does."""
    trait = None if name == TOGETHER else name
    return {place: not read.counts_as(trait, doubtful=False) for place, read in _list_read(origin)}


def _name(rows: AuditedRows, indexes: Iterable[int]) -> Iterator[Place]:
    return ((rows.sources[index], rows.numbers[index]) for index in indexes)


def _group_removed(rows: AuditedRows) -> dict[str, set[Place]]:
    """Return the removed rows by the trait whose action removed them, and all of these together.

    For a sample from before, which doesn't record the action, they are those on which it fired.
    """
    marks = rows.fired if rows.decided is None else rows.decided
    own = {
        name: set(_name(rows, rows.removed[marked[rows.removed]].tolist()))
        for name, marked in marks.items()
    }
    return {**own, TOGETHER: set[Place]().union(*own.values())}


def find_unmasked(
    origin: Origin, run: str, manifest: Manifest, places: Collection[Place]
) -> set[Place]:
    """Return the rows of which a run masks less text than another run that masked them.

    Raises: RunError: a file of a run is damaged.
    """
    before = _read_masks(origin.run, origin.manifest, places)
    after = _read_masks(run, manifest, before)
    return {
        place for place, masks in before.items() if not are_covered(masks, after.get(place, ()))
    }


def _read_masks(
    run: str, manifest: Manifest, places: Collection[Place]
) -> dict[Place, Sequence[Mapping[str, Any]]]:
    """Return the masks of the rows that a run masked, one file at a time."""
    wanted, columns = set(places), ("source", "row", "output", "output_row")
    found: dict[Place, Sequence[Mapping[str, Any]]] = {}
    with report_damage(run, *MISFITS):
        ledger = scan_folder(run, manifest, "ledger").filter(pl.col("decision") == "mask")
        lines = [line for line in ledger.select(columns).collect().rows() if line[:2] in wanted]
        for path, group in groupby(sorted(lines, key=lambda line: line[2]), lambda line: line[2]):
            own = list(group)
            records = read_rows(run, path, [line[3] for line in own])
            for source, row, _, index in own:
                note = records[index].get(CLEAN_EXTRA.name)
                found[source, row] = (note or {}).get("masks") or ()
    return found


def are_covered(masks: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether other masks cover every character of some masks."""
    held: dict[str, list[tuple[int, int]]] = {}
    for mask in sorted(others, key=lambda item: (item["field_path"], item["start"])):
        spans = held.setdefault(mask["field_path"], [])
        if spans and mask["start"] <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], mask["end"]))
        else:
            spans.append((mask["start"], mask["end"]))
    return all(
        any(start <= mask["start"] and mask["end"] <= end for start, end in spans)
        for mask in masks
        for spans in [held.get(mask["field_path"], [])]
    )


def require_same_rows(origin: Origin, run: str, manifest: Manifest) -> None:
    """Refuse a run of other input files, or with other definitions of the certified traits.

    Raises: RunError: the input files, or a trait's title or description differ.
    """
    if sorted(origin.manifest.identity.inputs) != sorted(manifest.identity.inputs):
        raise _refuse(f"hasn't the input files of run {origin.manifest.run_id}", run)
    for item in origin.certificate.traits:
        cards = [found.cards.get(str(item.trait)) for found in (origin.manifest, manifest)]
        if None in cards or len({digest_definition(card or {}) for card in cards}) > 1:
            raise _refuse(f"has another definition of {item.trait}, or doesn't look for it", run)


def find_same_texts(origin: Origin, run: str, manifest: Manifest) -> set[Place]:
    """Return the rows whose text is the same in both runs; rows of a swap or a mix have another.

    Raises: RunError: there are none, so the runs read the input in different ways.
    """
    names, tables = ["source", "row", "record_id", "content_digest"], []
    for folder, found in ((origin.run, origin.manifest), (run, manifest)):
        with report_damage(folder, *MISFITS):
            tables.append(scan_folder(folder, found, "ledger").select(names).collect())
    places = set(tables[0].join(tables[1], on=names).select("source", "row").rows())
    if not places:
        raise _refuse(f"reads other text from its rows than run {origin.manifest.run_id}", run)
    return places


def _refuse(problem: str, run: str) -> RunError:
    return RunError(
        f"{problem}, so its certificate can't be carried over",
        where=run,
        remedy="name a certified run of the same rows with --from, or draw a new sample: "
        f"congener certify {run} --draw N --output FILE",
    )
