"""Read rows of a finished run for a person: text, reasons, scores, masks, question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any, NamedTuple, cast

import polars as pl
import pyarrow.parquet as pq

from pipelines.runs.alterations import require_unchanged
from pipelines.runs.finished import list_outputs, read_rows, require_file, scan_folder
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_rules
from pipelines.runs.shown_findings import (
    RecordedRow,
    TraitFinding,
    add_text,
    describe_reason,
    find_near_misses,
    sort_findings,
)
from pipelines.runs.shown_swaps import ShownSwap, read_swap
from schemas.corpora import FormatName
from schemas.lots import LOT_FIELDS, UNKNOWN, Lot
from schemas.manifests import Manifest
from schemas.outputs import CLEAN_EXTRA, QUARANTINE_EXTRA, REJECTED_TEACHER
from schemas.policies import PUBLISHED, list_row_names
from schemas.row_names import name_lots
from schemas.runs import is_json_lines, parse_path, shard_path
from transforms.exception_effects import ChangedRow, explain_row
from transforms.files import storage
from transforms.records.columns import find_column
from transforms.records.formats import Layout
from transforms.records.questions import Exchange, SpokenText, find_last_exchange

TABLES = ("ledger", "scores", "spans")
"""The folders from which the decision on a row is read."""


class MaskedSpan(NamedTuple):
    """A stretch of a field that is left out of the loss, in characters.

    `is_earlier` is true if only an earlier run masked it.
    """

    field_path: str
    start: int
    end: int
    is_earlier: bool = False


class ShownRow(NamedTuple):
    """A row: its origin, its decision, the findings, and the unchanged record.

    `reasons` are the traits that fired, those that decided first, or else `near` holds the nearest
    misses. `masks` are the
    stretches that are left out of the loss. `record` is None if the run doesn't contain the row.
    For a duplicate, `copy_of` is the repeated row, whose record is given. `answer` is the last
    answer, if no finding has a text, and `question` is its question. `error` is the reason of a
    reject, and `raw` its content. `exceptions` are those of the policy that changed the row's
    strongest action. `swap` says what a swap did to the row.
    """

    source: str
    row: int
    record_id: str | None
    lot: Lot
    decision: str
    reasons: tuple[TraitFinding, ...]
    near: tuple[TraitFinding, ...]
    masks: tuple[MaskedSpan, ...]
    record: dict[str, Any] | None
    copy_of: tuple[str, int] | None = None
    answer: SpokenText | None = None
    error: str | None = None
    raw: bytes | None = None
    exceptions: tuple[ChangedRow, ...] = ()
    question: SpokenText | None = None
    swap: ShownSwap | None = None


class _LedgerPlace(NamedTuple):
    """A row of the ledger: its shard, and its index in the shard's ledger."""

    shard: str
    row: int


class _Settings:
    """What a run's manifest says about all of its rows; `trait` restricts near misses to one."""

    def __init__(self, manifest: Manifest, trait: str | None) -> None:
        self.trait = trait
        self.layout = build_layout(manifest)
        self.rules = {rule.trait: rule for rule in read_recorded_rules(manifest)}
        self.exceptions = read_recorded_policy(manifest).exceptions
        self.row_names = list_row_names(self.exceptions)


def read_shown_rows(
    run: str,
    manifest: Manifest,
    indexes: Sequence[int],
    trait: str | None = None,
    whole: bool = True,
    check: bool = False,
) -> list[ShownRow]:
    """Read rows by their ledger indexes, in the given order.

    Only files with such a row are opened. `trait` restricts near misses to one trait. Unless
    `whole` is set, Parquet records have only the columns that the run read. With `check`, each of
    a local run's files is compared with its digest before it is opened.

    Raises: RunError: a file is missing, damaged or changed.
    """
    places = _locate_rows(manifest, sorted(set(indexes)))
    if check:
        shards = {place.shard for place in places.values()}
        paths = [shard_path(folder, shard) for shard in shards for folder in TABLES]
        _require_unchanged(run, manifest, paths)
    tables = _read_tables(run, places)
    copies = _find_copies(run, manifest, [ledger for ledger, _, _ in tables.values()])
    wanted = {
        index: copies.get(ledger["content_digest"], ledger)
        if ledger["decision"] == "duplicate"
        else ledger
        for index, (ledger, _, _) in tables.items()
    }
    if check and manifest.withdrawn is None:
        _require_unchanged(run, manifest, {row["output"] for row in wanted.values()} - {None})
    records = _read_records(run, manifest, wanted, whole)
    settings = _Settings(manifest, trait)
    shown = {}
    for index, (ledger, scores, spans) in tables.items():
        other = wanted[index]
        copy_of = None if other is ledger else (other["source"], other["row"])
        record = records.get(index)
        note = _take_note(record, other["decision"])
        stored = RecordedRow(ledger, scores, spans, record, note, copy_of)
        shown[index] = _describe_row(stored, settings)
    return [shown[index] for index in indexes]


def _require_unchanged(run: str, manifest: Manifest, paths: Iterable[str]) -> None:
    """Compare some of a local run's files with their digests.

    Raises: RunError: a file was changed or is missing.
    """
    if storage.is_local(run):
        wanted = set(paths)
        for output in manifest.outputs:
            if output.path in wanted:
                require_unchanged(run, manifest, output)


def _locate_rows(manifest: Manifest, indexes: Sequence[int]) -> dict[int, _LedgerPlace]:
    """Return each row's place in a shard's ledger, from the files' row counts."""
    files = list_outputs(manifest, "ledger")
    ends = list(accumulate(output.rows for output in files))
    found, number = {}, 0
    for index in indexes:
        while index >= ends[number]:
            number += 1
        first = ends[number] - files[number].rows
        found[index] = _LedgerPlace(parse_path(files[number].path).shard, index - first)
    return found


def _read_tables(
    run: str, places: Mapping[int, _LedgerPlace]
) -> dict[int, tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]]:
    """Return each row's ledger line, scores and spans."""
    found: dict[int, tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]] = {}
    for shard, indexes in groupby(places, key=lambda index: places[index].shard):
        own = {index: places[index].row for index in indexes}
        ledger, scores, spans = (
            read_rows(run, shard_path(folder, shard), list(own.values())) for folder in TABLES
        )
        found |= {
            index: (ledger[row], scores[row], spans[row]["spans"]) for index, row in own.items()
        }
    return found


def _find_copies(
    run: str, manifest: Manifest, ledgers: Sequence[Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """For each duplicate's content, return a stored row with the same content."""
    digests = [row["content_digest"] for row in ledgers if row["decision"] == "duplicate"]
    if not digests:
        return {}
    rows = (
        scan_folder(run, manifest, "ledger")
        .filter(pl.col("content_digest").is_in(digests), pl.col("decision") != "duplicate")
        .filter(pl.col("output").is_not_null())
        .unique("content_digest", keep="first", maintain_order=True)
        .collect(engine="streaming")
    )
    return {row["content_digest"]: row for row in rows.to_dicts()}


def _read_records(
    run: str, manifest: Manifest, rows: Mapping[int, Mapping[str, Any]], whole: bool
) -> dict[int, dict[str, Any]]:
    """Read the stored rows' records, file by file.

    A run that a budget stopped holds no records.
    """
    if manifest.withdrawn is not None:
        return {}
    stored = {index: row for index, row in rows.items() if row["output"] is not None}
    found: dict[int, dict[str, Any]] = {}
    for path in sorted({row["output"] for row in stored.values()}):
        own = {index: row["output_row"] for index, row in stored.items() if row["output"] == path}
        columns = None if whole else _choose_columns(run, manifest, path)
        records = read_rows(run, path, list(own.values()), columns)
        found |= {index: dict(records[row]) for index, row in own.items()}
    return found


def _choose_columns(run: str, manifest: Manifest, path: str) -> list[str] | None:
    """Return the Parquet columns that the run read or added, or None for all."""
    if is_json_lines(path) or parse_path(path).folder == "rejects":
        return None
    uri = storage.join(run, path)
    require_file(run, uri)
    with storage.open_raw(uri) as stream:
        names = pq.read_schema(stream).names
    read = {find_column(name, names) for name in manifest.identity.columns.values()}
    return [name for name in names if name in read or name == QUARANTINE_EXTRA.name]


def _take_note(record: dict[str, Any] | None, decision: str) -> Mapping[str, Any]:
    """Remove the run's note from a record, and return it."""
    if record is None:
        return {}
    if decision == "reject":
        return record
    note = record.get(CLEAN_EXTRA.name)
    if (
        isinstance(note, dict)
        and _fits(note.get("decision"), decision)
        and ({"masks", "weight"} <= set(note) or "reasons" in note)
    ):
        del record[CLEAN_EXTRA.name]
        return note
    return {}


def _fits(noted: Any, decision: str) -> bool:
    """Return whether a note may be on a row with this decision.

    An earlier run may have left a stronger decision on a published row.
    """
    return noted == decision or (noted in PUBLISHED and decision in PUBLISHED)


def _describe_row(stored: RecordedRow, settings: _Settings) -> ShownRow:
    ledger, layout, rules = stored.ledger, settings.layout, settings.rules
    is_reject = ledger["decision"] == "reject"
    lot = Lot(*(ledger[name] or UNKNOWN for name in LOT_FIELDS))
    lot = lot._replace(rejected_teacher=ledger.get(REJECTED_TEACHER) or UNKNOWN)
    place = (ledger["source"], ledger["row"])
    (lot,) = name_lots([lot], settings.row_names, [ledger["record_id"]], [place])
    record = None if is_reject else stored.record
    found = [
        describe_reason(item, stored, lot, rules[item["trait"]], record, layout)
        for item in ledger["reasons"]
    ]
    reasons = sort_findings(found, ledger["decision"])
    missed = () if reasons or is_reject else find_near_misses(stored, lot, rules, settings.trait)
    near = tuple(add_text(item, record, layout) for item in missed)
    has_text = any(item.text is not None for item in (*reasons, *near))
    last = Exchange(None, None)
    if record is not None and not has_text:
        last = find_last_exchange(record, layout)
    return ShownRow(
        ledger["source"],
        ledger["row"],
        ledger["record_id"],
        lot,
        ledger["decision"],
        reasons,
        near,
        tuple(_list_masks(stored)),
        record,
        stored.copy_of,
        last.answer,
        stored.note.get("error") if is_reject else None,
        stored.note.get("raw") if is_reject else None,
        _explain_exceptions(stored, lot, settings),
        last.question,
        read_swap(ledger),
    )


def _list_masks(stored: RecordedRow) -> Iterator[MaskedSpan]:
    """Yield a row's masks, each with whether an earlier run made it."""
    masking = {item["trait"] for item in stored.ledger["reasons"]}
    own = [
        mask
        for span in stored.spans
        if stored.ledger["decision"] == "mask" and span["trait"] in masking
        for mask in span["masks"] or [span]
    ]
    for mask in stored.note.get("masks") or ():
        is_own = any(
            span["field_path"] == mask["field_path"]
            and span["start"] < mask["end"]
            and mask["start"] < span["end"]
            for span in own
        )
        yield MaskedSpan(**mask, is_earlier=not is_own)


def _explain_exceptions(
    stored: RecordedRow, lot: Lot, settings: _Settings
) -> tuple[ChangedRow, ...]:
    """Return the exceptions that changed what the traits do to a row."""
    if not settings.exceptions or stored.ledger["decision"] in ("duplicate", "reject"):
        return ()
    scores = {name: score for name, score in stored.scores.items() if name not in ("source", "row")}
    return tuple(explain_row(scores, lot, [*settings.rules.values()], settings.exceptions))


def build_layout(manifest: Manifest) -> Layout:
    """Return the layout of a run's corpus, as far as reading texts needs it."""
    identity = manifest.identity
    name = cast("FormatName", identity.format)
    return Layout(name, identity.columns, {}, transcripts=identity.transcripts)
