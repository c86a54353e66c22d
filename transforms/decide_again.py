"""Decide the rows of a finished run's shards again, and write them, from stored scores."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from classifiers.banks import Bank, TraitModel, read_bank
from classifiers.scoring import Scores
from schemas import outputs
from schemas.digests import compute_merkle_root, digest_bytes
from schemas.errors import RunError
from schemas.events import ShardWritten
from schemas.ledgers import hash_ledger_rows, read_lots
from schemas.lots import Lot
from schemas.policies import LotException, list_row_names
from schemas.receipts import ExceptionEffect, NearMisses, Output, Receipt
from schemas.runs import is_json_lines, parse_path, receipt_path
from schemas.scores import SIDES, Side, score_column, split_side
from transforms.decide import DecidedShard
from transforms.decisions import Decisions, Evidence, Reason, decide
from transforms.exception_effects import measure_effects
from transforms.files import storage
from transforms.files.json_lines import JsonLines, decode_lines, parse_line
from transforms.files.shards import Shard
from transforms.identify import IdentifiedShard, find_companions
from transforms.listeners import emit
from transforms.named_removals import BY_PERSON
from transforms.near_misses import find_near_misses
from transforms.note_counts import count_notes
from transforms.poison import keep_rows
from transforms.records.formats import Layout
from transforms.records.json_columns import project_rows
from transforms.records.segments import Segments, extract_segments
from transforms.records.sides import assign_sides
from transforms.rules import Rule
from transforms.score import ScoringConfig, get_scorer, score
from transforms.spans import raise_floor
from transforms.tables import build_row_tables, describe_reason
from transforms.write import (
    Destination,
    convert_rows,
    count_decisions,
    count_fired,
    count_prompts,
    write_tables,
)

Neighbours = dict[tuple[int, str, Side], list[dict[str, Any]]]
"""The nearest exemplars of findings, by row, trait and side."""

Repeats = Mapping[int, Sequence[Lot]]
"""The rows that repeat earlier rows, and the lots of those (see `decide`)."""

NOWHERE = (None, None)
"""The place of a row in no file."""

IDENTIFIED = fields(IdentifiedShard)
"""The fields of a shard before it is scored."""

EXTRA = outputs.QUARANTINE_EXTRA.name

COPIED = ("rejects", "scores", "spans", "vectors")
"""The folders that don't depend on the policy, unless the floor of the spans rises."""

WRITTEN_ORDER = (
    *("clean", "quarantine", "rejects", "swaplist"),
    *("ledger", "scores", "spans", "vectors"),
)
"""The order in which `filter` lists the files of a shard."""


class ShardFiles(NamedTuple):
    """The files that a finished run has for a shard, by folder."""

    run: str
    name: str
    files: dict[str, Output]

    def read_bytes(self, folder: str) -> bytes:
        """Return the bytes of a file.

        Raises: RunError: the file isn't the one that the run wrote.
        """
        output = self.files[folder]
        data = storage.read_bytes(storage.join(self.run, output.path))
        if digest_bytes(data) != output.sha256:
            raise RunError(
                "isn't the file that the run wrote",
                where=storage.join(self.run, output.path),
                remedy="filter the corpus again, or restore the run from a copy",
            )
        return data

    def read_table(self, folder: str, columns: Sequence[str] | None = None) -> pa.Table:
        """Read a Parquet file."""
        return pq.read_table(io.BytesIO(self.read_bytes(folder)), columns=columns)


@dataclass(frozen=True)
class StoredEvidence:
    """A shard's evidence as a run stored it.

    `good` holds the ledger indexes of the rows that aren't rejects, and `evidence` is about these
    rows.
    """

    files: ShardFiles
    ledger: pa.Table
    good: np.ndarray
    evidence: Evidence

    def take(self, name: str) -> list[Any]:
        """Return a ledger column's values for the good rows."""
        values: list[Any] = self.ledger.column(name).take(pa.array(self.good)).to_pylist()
        return values

    def find_neighbours(self) -> Neighbours:
        """Return the nearest exemplars that are stored with the quarantined rows."""
        if "quarantine" not in self.files.files:
            return {}
        notes, held = read_notes(self.files), self.take("decision")
        rows = [row for row, decision in enumerate(held) if decision == "quarantine"]
        return {
            (row, reason["trait"], split_side(reason["signal"])[1]): reason["neighbours"]
            for row, note in zip(rows, notes, strict=True)
            for reason in note["reasons"]
            if reason["field_path"]  # a person's decision has no passage to compare
        }


def read_notes(files: ShardFiles) -> list[dict[str, Any]]:
    """Return the notes of a shard's quarantined rows."""
    path = files.files["quarantine"].path
    if is_json_lines(path):
        lines = decode_lines(files.read_bytes("quarantine"), parse_path(path).suffix)
        return [parse_line(line, np.inf)[0][EXTRA] for line in lines]
    notes: list[dict[str, Any]] = files.read_table("quarantine", [EXTRA]).column(EXTRA).to_pylist()
    return notes


def read_stored_shard(files: ShardFiles, names: Collection[str] = ()) -> StoredEvidence:
    """Read a shard's ledger, scores and spans; rows with one of the names are lots of their own.

    Raises: RunError: a file isn't the one that the run wrote.
    """
    ledger = files.read_table("ledger")
    good = np.flatnonzero(np.array(ledger.column("decision").to_pylist(), object) != "reject")
    scores, spans = (
        files.read_table(folder).take(pa.array(good)) for folder in ("scores", "spans")
    )
    evidence = Evidence(
        {name: scores.column(name).to_numpy().astype(np.float32) for name in _list_scores(scores)},
        spans.column("spans").combine_chunks(),
        read_lots(ledger.take(pa.array(good)), names),
    )
    return StoredEvidence(files, ledger, good, evidence)


def _list_scores(scores: pa.Table) -> list[str]:
    names: list[str] = scores.column_names
    return names[len(outputs.ROW_KEY) :]


def list_unknown_neighbours(
    stored: StoredEvidence, decided: Decisions, traits: Mapping[str, TraitModel]
) -> list[Reason]:
    """Return the findings on held rows whose nearest exemplars a run has to show but didn't store.

    Only a row in quarantine has them, and only if the trait compares texts with exemplars.
    """
    wanted = [
        (row, reason)
        for row, reasons in decided.reasons.items()
        if decided.decisions[row] == "quarantine"
        for reason in reasons
        if _compares(stored.evidence, row, reason, traits[reason.trait])
    ]
    if not wanted:
        return []
    known = stored.find_neighbours()
    return [
        reason
        for row, reason in wanted
        if (row, reason.trait, split_side(reason.signal)[1]) not in known
    ]


def _compares(evidence: Evidence, row: int, reason: Reason, trait: TraitModel) -> bool:
    """Return whether a finding's text was compared with exemplars."""
    is_bare = trait.positive_index is None and trait.negative_index is None
    if is_bare or reason.evidence == BY_PERSON:
        return False
    column = score_column(reason.trait, "exemplars", split_side(reason.signal)[1])
    return column in evidence.scores and not np.isnan(evidence.scores[column][row])


@dataclass(frozen=True)
class AgainSettings:
    """The old run, where shards are written, the schema of their rows, and the new rules.

    `exceptions` are the policy's. `floor` is the lowest score whose spans the new run stores, and
    `stored_floor` that of the old run. `repeats` has the repeated rows of each shard.
    `scoring` is how models find nearest exemplars that weren't stored, or None if they may not.
    """

    run: str
    to: Destination
    layout: Layout
    schema: pa.Schema
    rules: tuple[Rule, ...]
    exceptions: tuple[LotException, ...] = ()
    floor: float = 0.0
    stored_floor: float = 0.0
    repeats: Mapping[str, Repeats] = field(default_factory=dict)
    scoring: ScoringConfig | None = None


def decide_stored(
    stored: StoredEvidence, rules: Sequence[Rule], repeats: Mapping[str, Repeats]
) -> Decisions:
    """Decide a stored shard's good rows; `repeats` has the repeated rows of each shard."""
    return decide(stored.evidence, rules, repeats.get(stored.files.name))


def restore_shard(
    rows: Shard, stored: StoredEvidence, settings: AgainSettings, bank: Bank
) -> DecidedShard:
    """Return a shard as `filter` would have decided it, without scoring it.

    Only the rows that wait for a swap have segments, which their prompts need. If a row that wasn't
    held has to show its nearest exemplars, and the settings allow it, the models read the whole
    shard again to find them.

    Raises: RunError: the shard that was read has other rows than the stored one, or nearest
        exemplars are missing.
    """
    kept = _keep_good(rows, stored)
    decided, evidence = decide_stored(stored, settings.rules, settings.repeats), stored.evidence
    shard = DecidedShard(
        **{**vars(kept), "rejects": []},
        segments=_extract_prompts(kept, settings, sorted(decided.swaps)),
        digests=stored.take("content_digest"),
        lots=list(evidence.lots),
        columns=settings.layout.columns,
        scores=Scores(len(stored.good)),
        spans=evidence.spans,
        decided=decided,
        near=find_near_misses(evidence.scores, settings.rules),
        exceptions=measure_effects(
            evidence.scores, evidence.lots, decided.decisions, settings.rules, settings.exceptions
        ),
        neighbours={},
    )
    return _add_neighbours(shard, stored, settings, bank)


def _add_neighbours(
    shard: DecidedShard, stored: StoredEvidence, settings: AgainSettings, bank: Bank
) -> DecidedShard:
    """Return a shard with the stored neighbours, or with the vectors that give them.

    Raises: RunError: a row that wasn't held before has to show some, and no model may be used.
    """
    decided = shard.decided
    held = (row for row, name in enumerate(decided.decisions) if name == "quarantine")
    traits = {reason.trait for row in held for reason in decided.reasons[row]}
    if all(bank.traits[name].positive_index is None for name in traits):
        return shard
    unknown = list_unknown_neighbours(stored, decided, bank.traits)
    if not unknown:
        return replace(shard, neighbours=stored.find_neighbours())
    if settings.scoring is None:
        raise refuse_unknown(stored.files.run, Counter(reason.trait for reason in unknown))
    every = range(len(stored.good))
    whole = replace(shard, segments=_extract_prompts(shard, settings, every), neighbours=None)
    plain = IdentifiedShard(**{item.name: getattr(whole, item.name) for item in IDENTIFIED})
    scored = score(plain, get_scorer(settings.scoring), settings.scoring.span_floor)
    if scored.table.num_rows != len(stored.good):  # a row fails that didn't fail before
        raise refuse_other_rows(stored.files.name, stored.files.run)
    return replace(whole, scores=scored.scores, other_scores=scored.other_scores)


def refuse_unknown(run: str, counts: Mapping[str, int]) -> RunError:
    """Return the error for rows whose nearest exemplars aren't stored, counted by trait."""
    listed = ", ".join(f"{trait} {count:,}" for trait, count in counts.items())
    return RunError(
        "the policy holds rows that the run didn't hold, and to show their nearest exemplars, the "
        f"encoder has to read them again ({listed})",
        where=run,
        remedy="allow that with --encode; or keep the traits' thresholds, or let them flag, mask "
        "or drop rows, which shows no exemplars",
    )


def _keep_good(rows: Shard, stored: StoredEvidence) -> Shard:
    """Return the rows that the run didn't reject.

    Raises: RunError: other rows were read.
    """
    sources, numbers = stored.take("source"), stored.take("row")
    if rows.sources == sources and rows.numbers == numbers:  # no row was rejected
        return keep_rows(rows, range(len(numbers)))
    wanted = list(zip(sources, numbers, strict=True))
    keys = zip(rows.sources, rows.numbers, strict=True)
    places = {key: place for place, key in enumerate(keys)}
    if not all(key in places for key in wanted):
        raise refuse_other_rows(stored.files.name, stored.files.run)
    return keep_rows(rows, [places[key] for key in wanted])


def refuse_other_rows(shard: str, run: str) -> RunError:
    """Return the error for a shard whose rows aren't those that the run read."""
    return RunError(
        f"the rows of shard {shard} aren't those in its ledger",
        where=run,
        remedy="filter the corpus again",
    )


def _extract_prompts(shard: Shard, settings: AgainSettings, rows: Sequence[int]) -> Segments:
    """Return the segments of some rows, as segments of the whole shard."""
    part, layout = keep_rows(shard, rows), settings.layout
    if part.lines is not None:
        objects = [parse_line(line)[0] for line in part.lines]
        part = replace(part, table=project_rows(objects, settings.schema).table)
    segments = extract_segments(part.table, layout)
    segments = assign_sides(segments, layout, find_companions(part, layout))
    return replace(segments, rows=np.array(rows, np.int64)[segments.rows])


def write_again(
    rows: Shard, stored: StoredEvidence, bank: Bank, settings: AgainSettings
) -> Receipt:
    """Decide a stored shard again, and write its files and its receipt, as `write_shard` does.

    What no policy changes is copied: rejects, scores, vectors, and spans if the floor is the same.
    """
    to, plan = settings.to, rows.plan
    shard = convert_rows(restore_shard(rows, stored, settings, bank), to)
    own = build_row_tables(shard, bank, to.extra_column)
    ledger = decide_ledger(stored, shard.decided, own.places)
    tables: dict[str, pa.Table | JsonLines] = {
        "clean": own.clean,
        "quarantine": own.quarantine,
        "swaplist": own.swaplist,
        "ledger": ledger,
    }
    if settings.floor > settings.stored_floor:
        tables["spans"] = _raise_span_floor(stored, settings.floor)
    written = {folder: table for folder, table in tables.items() if table.num_rows}
    files = [*write_tables(plan.name, plan.stem, written, to.run)]
    files += _copy_files(stored.files, tables, to.run)
    receipt = Receipt(
        shard=plan.name,
        rows=plan.rows,
        outputs=tuple(sorted(files, key=_rank_output)),
        decisions=_count_with_rejects(shard, stored),
        fired=count_fired(shard),
        near=shard.near,
        exceptions=shard.exceptions,
        ledger_root=compute_merkle_root(hash_ledger_rows(ledger)).hex(),
        tokens=0,
        padded=0,
        run=to.run_id,
        unscored=_count_unscored(stored, bank.traits),
        **count_prompts(len(shard.decided.swaps), written.get("swaplist")),
        nearest=own.nearest,
        notes=count_notes(shard),
    )
    storage.write_bytes(storage.join(to.run, receipt_path(plan.name)), receipt.to_bytes())
    emit(to.run_id, ShardWritten(plan.rows, plan.name))
    return receipt


def write_empty(shard: str, settings: AgainSettings) -> Receipt:
    """Write the receipt of a shard without rows, which has no files."""
    receipt = Receipt(
        shard=shard,
        rows=0,
        outputs=(),
        decisions={},
        fired={},
        near={rule.trait: NearMisses() for rule in settings.rules},
        exceptions=tuple(ExceptionEffect() for _ in settings.exceptions),
        ledger_root=compute_merkle_root([]).hex(),
        tokens=0,
        padded=0,
        run=settings.to.run_id,
    )
    storage.write_bytes(storage.join(settings.to.run, receipt_path(shard)), receipt.to_bytes())
    return receipt


def _rank_output(output: Output) -> int:
    """Return the place of a file among the files of its shard, which `filter` determines."""
    return WRITTEN_ORDER.index(parse_path(output.path).folder)


def _count_with_rejects(shard: DecidedShard, stored: StoredEvidence) -> dict[str, int]:
    counts = count_decisions(shard)
    rejects = stored.ledger.num_rows - len(stored.good)
    return dict(sorted((counts | ({"reject": rejects} if rejects else {})).items()))


def _count_unscored(stored: StoredEvidence, traits: Iterable[str]) -> int:
    """Count the good rows without a combined score of any trait, on any side."""
    names = [score_column(trait, side=side) for trait in traits for side in SIDES]
    scores = stored.evidence.scores
    combined = {name: scores[name] for name in names if name in scores}
    return Scores(len(stored.good), combined).count_unscored()


def _copy_files(files: ShardFiles, written: Mapping[str, object], run: str) -> Iterator[Output]:
    """Copy the files that don't depend on the policy."""
    for folder in COPIED:
        if folder in files.files and folder not in written:
            output = files.files[folder]
            storage.write_bytes(storage.join(run, output.path), files.read_bytes(folder))
            yield output


def decide_ledger(
    stored: StoredEvidence, decided: Decisions, places: Mapping[int, tuple[str, int]]
) -> pa.Table:
    """Return a stored ledger with other decisions, reasons and places.

    Rejects keep theirs.
    """
    ledger = stored.ledger
    columns: dict[str, list[Any]] = {
        name: ledger.column(name).to_pylist() for name in ("decision", "output", "output_row")
    }
    columns["reasons"] = [()] * ledger.num_rows
    for row, index in enumerate(stored.good.tolist()):
        columns["decision"][index] = decided.decisions[row]
        columns["output"][index], columns["output_row"][index] = places.get(row, NOWHERE)
    for row, reasons in decided.reasons.items():
        columns["reasons"][int(stored.good[row])] = [describe_reason(item) for item in reasons]
    schema = next(item for item in outputs.LEDGERS if item.names == ledger.column_names)
    arrays = [
        pa.array(columns[item.name], item.type)
        if item.name in columns
        else ledger.column(item.name)
        for item in schema
    ]
    return pa.table(arrays, schema=schema)


def _raise_span_floor(stored: StoredEvidence, floor: float) -> pa.Table:
    """Return the stored spans without those below a floor."""
    table = stored.files.read_table("spans")
    kept = raise_floor(stored.evidence.spans, stored.evidence.scores, floor)
    places = np.full(table.num_rows, -1)
    places[stored.good] = np.arange(len(stored.good))
    spans = kept.take(pa.array(places, mask=places < 0))
    spans = pc.coalesce(spans, pa.scalar([], spans.type))
    return pa.table([*table.columns[:-1], spans], schema=outputs.SPANS)


class _DecideAgain(beam.DoFn):
    def __init__(self, shards: Mapping[str, ShardFiles], settings: AgainSettings) -> None:
        self._shards, self._settings = dict(shards), settings

    def setup(self) -> None:
        uri = self._settings.to.bank_uri
        self._bank = read_bank(lambda name: storage.read_bytes(storage.join(uri, name)), uri)

    def process(self, rows: Shard) -> Iterator[Receipt]:
        files = self._shards.get(rows.plan.name)
        if files is None and not rows.plan.rows:
            yield write_empty(rows.plan.name, self._settings)
        elif files is None:
            raise refuse_other_rows(rows.plan.name, self._settings.run)
        else:
            stored = read_stored_shard(files, list_row_names(self._settings.exceptions))
            yield write_again(rows, stored, self._bank, self._settings)


@dataclass(eq=False)
class DecideAgain(beam.PTransform):
    """Decide and write every shard that is read, from the files that a run has for it."""

    shards: Mapping[str, ShardFiles]
    settings: AgainSettings

    def expand(self, rows: beam.PCollection[Shard]) -> beam.PCollection[Receipt]:
        """Write shard by shard."""
        again = _DecideAgain(self.shards, self.settings)
        return rows | beam.ParDo(again).with_output_types(Receipt)
