"""Read rows of a finished run for a person: text, reasons, scores, masks, question."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, groupby
from typing import Any, NamedTuple, cast

import polars as pl
import pyarrow.parquet as pq

from classifiers.phrase_weights import WeighedPhrase
from pipelines.runs.alterations import require_unchanged
from pipelines.runs.finished import list_outputs, read_rows, require_file, scan_folder
from pipelines.runs.negatives import find_owner
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_rules
from pipelines.runs.shown_swaps import ShownSwap, read_swap
from schemas.corpora import FormatName
from schemas.lots import LOT_FIELDS, UNKNOWN, Lot
from schemas.manifests import Manifest
from schemas.outputs import CLEAN_EXTRA, QUARANTINE_EXTRA, REJECTED_TEACHER
from schemas.policies import PUBLISHED, list_row_names
from schemas.row_names import name_lots
from schemas.runs import is_json_lines, parse_path, shard_path
from schemas.scores import NEAR_MISS, SCORE_DECIMALS, TIE_ORDER, name_side, score_column, split_side
from transforms.exception_effects import ChangedRow, explain_row
from transforms.files import storage
from transforms.records.columns import find_column
from transforms.records.field_paths import get_field_text
from transforms.records.formats import Layout
from transforms.records.questions import Exchange, SpokenText, find_last_exchange, find_question
from transforms.rules import Rule

NEAR_MISSES = 2
"""How many near misses are shown for a row on which no trait fired.

The nearest one is shown at any distance, and others within `NEAR_MISS`.
"""


TABLES = ("ledger", "scores", "spans")
"""The folders from which the decision on a row is read."""

NO_SPAN: Mapping[str, Any] = {"field_path": "", "start": 0, "end": 0}
"""The span of a score below the span floor."""


class FoundPhrase(NamedTuple):
    """A phrase of a trait's lexicon in a row."""

    field_path: str
    start: int
    end: int
    text: str


class TraitFinding(NamedTuple):
    """A trait's score on a row, its threshold, and its best span.

    `action` is the trait's action, or None if the trait didn't fire. `text` is the field's text, or
    None. `signals` holds the scores of the trait's signals. `neighbours` holds the nearest
    exemplars of a quarantined row, and whose each negative is (`owner`). `hits` are all phrases of
    the lexicon on which a reason's score is based, and `words` what made a wording score.
    """

    trait: str
    signal: str
    score: float
    threshold: float
    action: str | None
    field_path: str
    start: int
    end: int
    text: str | None
    question: SpokenText | None
    signals: dict[str, float | None]
    neighbours: list[dict[str, Any]]
    hits: tuple[FoundPhrase, ...] = ()
    words: tuple[WeighedPhrase, ...] = ()


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

    `reasons` are the traits that fired, or else `near` holds the nearest misses. `masks` are the
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


class _Stored(NamedTuple):
    """A row's data from all of the run's tables."""

    ledger: Mapping[str, Any]
    scores: Mapping[str, Any]
    spans: Sequence[Mapping[str, Any]]
    record: dict[str, Any] | None
    note: Mapping[str, Any]
    copy_of: tuple[str, int] | None


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
        stored = _Stored(ledger, scores, spans, record, note, copy_of)
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


def _describe_row(stored: _Stored, settings: _Settings) -> ShownRow:
    ledger, layout, rules = stored.ledger, settings.layout, settings.rules
    is_reject = ledger["decision"] == "reject"
    lot = Lot(*(ledger[name] or UNKNOWN for name in LOT_FIELDS))
    lot = lot._replace(rejected_teacher=ledger.get(REJECTED_TEACHER) or UNKNOWN)
    place = (ledger["source"], ledger["row"])
    (lot,) = name_lots([lot], settings.row_names, [ledger["record_id"]], [place])
    record = None if is_reject else stored.record
    reasons = tuple(
        _describe_reason(item, stored, lot, rules[item["trait"]], record, layout)
        for item in ledger["reasons"]
    )
    found = () if reasons or is_reject else _find_near_misses(stored, lot, rules, settings.trait)
    near = tuple(_read_text(item, record, layout) for item in found)
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


def _list_masks(stored: _Stored) -> Iterator[MaskedSpan]:
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


def _explain_exceptions(stored: _Stored, lot: Lot, settings: _Settings) -> tuple[ChangedRow, ...]:
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


def _describe_reason(
    reason: Mapping[str, Any],
    stored: _Stored,
    lot: Lot,
    rule: Rule,
    record: Mapping[str, Any] | None,
    layout: Layout,
) -> TraitFinding:
    side = split_side(reason["signal"])[1]
    near = [
        near
        for item in stored.note.get("reasons") or ()
        if (item["trait"], item["signal"]) == (reason["trait"], reason["signal"])
        for near in item["neighbours"]
    ]
    found = TraitFinding(
        rule.trait,
        reason["signal"],
        _round_score(reason["score"]),
        _round_score(reason["threshold"]),
        rule.apply_exceptions(lot, side)[1],
        reason["field_path"],
        reason["start"],
        reason["end"],
        None,
        None,
        _list_signals(rule.trait, stored.scores, side),
        [_describe_neighbour(item, rule.trait) for item in near],
        tuple(_list_hits(stored, rule.trait, name_side("lexicon", side), record, layout)),
    )
    return _read_text(found, record, layout)


def _list_hits(
    stored: _Stored, trait: str, signal: str, record: Mapping[str, Any] | None, layout: Layout
) -> Iterator[FoundPhrase]:
    for span in stored.spans if record is not None else ():
        if (span["trait"], span["signal"]) == (trait, signal):
            for hit in span["hits"] or ():
                path, start, end = hit["field_path"], hit["start"], hit["end"]
                text = get_field_text(record or {}, path, layout.columns.values()) or ""
                yield FoundPhrase(path, start, end, text[start:end])


def _describe_neighbour(item: Mapping[str, Any], trait: str) -> dict[str, Any]:
    """Return a neighbour with a rounded similarity and, if it is a negative, its owner."""
    found = {**item, "similarity": _round_score(item["similarity"])}
    if item["polarity"] == "negative":
        found["owner"] = find_owner(item["text"], trait)
    return found


def _read_text(
    finding: TraitFinding, record: Mapping[str, Any] | None, layout: Layout
) -> TraitFinding:
    """Add the field's text, and the turn before it."""
    if record is None or not finding.field_path:
        return finding
    text = get_field_text(record, finding.field_path, layout.columns.values())
    asked = find_question(record, finding.field_path, finding.start, layout)
    return finding._replace(text=text, question=asked)


def _list_signals(
    trait: str, scores: Mapping[str, float | None], side: Any
) -> dict[str, float | None]:
    columns = {score_column(trait, signal, side): signal for signal in TIE_ORDER}
    return {
        columns[name]: None if score is None else _round_score(score)
        for name, score in scores.items()
        if name in columns
    }


def _find_near_misses(
    stored: _Stored, lot: Lot, rules: Mapping[str, Rule], trait: str | None
) -> Sequence[TraitFinding]:
    """Return the traits whose scores are nearest to their thresholds."""
    own = [rules[trait]] if trait else list(rules.values())
    found = sorted(_score_traits(stored, lot, own), key=lambda item: item.threshold - item.score)
    return [
        item
        for rank, item in enumerate(found[:NEAR_MISSES])
        if not rank or item.threshold - item.score <= NEAR_MISS
    ]


def _score_traits(stored: _Stored, lot: Lot, rules: Sequence[Rule]) -> Iterator[TraitFinding]:
    for rule in rules:
        score = stored.scores[score_column(rule.trait, rule.signal)]
        if not score:
            continue
        signals = _list_signals(rule.trait, stored.scores, "trained")
        own = [
            span
            for span in stored.spans
            if span["trait"] == rule.trait and span["signal"] in signals
        ]
        best = max(own, key=lambda span: span["score"], default=NO_SPAN)
        threshold, _ = rule.apply_exceptions(lot)
        yield TraitFinding(
            rule.trait,
            rule.signal,
            _round_score(score),
            threshold,
            None,
            best["field_path"],
            best["start"],
            best["end"],
            None,
            None,
            signals,
            [],
        )


def _round_score(score: float) -> float:
    """Return a float32 score as a float64 without spurious decimals."""
    return round(score, SCORE_DECIMALS)
