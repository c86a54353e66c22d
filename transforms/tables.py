"""The output tables of a decided shard, with rows in a deterministic order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.banks import Bank, TraitModel
from classifiers.signals.exemplars import find_nearest
from schemas import outputs
from schemas.digests import RECORD_ID_HEX, compute_merkle_root, digest_bytes
from schemas.errors import InputError, RowError
from schemas.ledgers import hash_ledger_rows
from schemas.lots import LOT_FIELDS, UNKNOWN, Lot
from schemas.policies import PUBLISHED
from schemas.receipts import NearestExemplars
from schemas.runs import PARQUET, shard_path
from schemas.scores import SCORE_DECIMALS, split_side
from transforms.decide import DecidedShard
from transforms.decisions import Reason
from transforms.files.compression import WRITTEN, Compression
from transforms.files.json_lines import SUFFIX_OF_COMPRESSION, JsonLines
from transforms.files.shards import build_row_mask
from transforms.identify import read_record
from transforms.named_removals import BY_PERSON
from transforms.notes import merge_notes, read_line_note, read_note, replace_line_note
from transforms.records.prompts import Prompt, build_prompt, describe_content
from transforms.spans import encode_spans

NEIGHBOURS_SHOWN = 3
REASON_FIELDS = tuple(item.name for item in outputs.REASON)


class InputRow(NamedTuple):
    """An input row, with its index in the shard's table or its rejects."""

    source: str
    number: int
    row: int | None
    reject: int | None


@dataclass
class ShardTables:
    """A shard's nonempty tables, keyed by folder, and the ledger's Merkle root.

    `nearest` counts each trait's quarantined rows by their nearest exemplars.
    For JSON Lines, `clean` and `quarantine` are JSON Lines too.
    """

    tables: dict[str, pa.Table | JsonLines]
    ledger_root: str
    nearest: dict[str, NearestExemplars]


def build_tables(
    shard: DecidedShard, bank: Bank, extra_column: bool, vectors: bool = False
) -> ShardTables:
    """Build every table of a shard.

    `extra_column` adds the `congener` column to the clean rows. `vectors` adds a table of the rows'
    vectors.
    """
    rows, own = _order_rows(shard), build_row_tables(shard, bank, extra_column)
    ledger = _build_ledger(shard, rows, own.places)
    rejects = [reject._asdict() for reject in shard.rejects]
    tables: dict[str, pa.Table | JsonLines] = {
        "clean": own.clean,
        "quarantine": own.quarantine,
        "rejects": pa.Table.from_pylist(rejects, outputs.REJECTS),
        "swaplist": own.swaplist,
        "ledger": ledger,
        "scores": _build_scores(shard, rows),
        "spans": _build_spans(shard, rows),
    }
    if vectors:
        tables["vectors"] = _build_vectors(shard, rows)
    return ShardTables(
        {folder: table for folder, table in tables.items() if table.num_rows},
        compute_merkle_root(hash_ledger_rows(ledger)).hex(),
        own.nearest,
    )


class RowTables(NamedTuple):
    """The tables that hold a shard's rows, and where each row is.

    `places` maps rows to the path and the index in `clean/` or `quarantine/`. `nearest` counts each
    trait's quarantined rows by their nearest exemplars.
    """

    clean: pa.Table | JsonLines
    quarantine: pa.Table | JsonLines
    swaplist: pa.Table
    places: dict[int, tuple[str, int]]
    nearest: dict[str, NearestExemplars]


def build_row_tables(shard: DecidedShard, bank: Bank, extra_column: bool) -> RowTables:
    """Build the tables with a shard's rows, as `build_tables` does."""
    decisions = shard.decided.decisions
    published = [row for row, decision in enumerate(decisions) if decision in PUBLISHED]
    held = [row for row, decision in enumerate(decisions) if decision == "quarantine"]
    notes = [_describe_held(shard, row, bank) for row in held]
    return RowTables(
        _build_clean(shard, published, extra_column),
        _build_quarantine(shard, held, notes),
        _build_swaplist(shard),
        _assign_outputs(shard, published, held),
        count_nearest(notes),
    )


def _assign_outputs(
    shard: DecidedShard, published: Sequence[int], held: Sequence[int]
) -> dict[int, tuple[str, int]]:
    """Return the file and the index of each row in `clean/` or `quarantine/`."""
    folders = {"clean": published, "quarantine": held}
    suffix = PARQUET if shard.lines is None else SUFFIX_OF_COMPRESSION[_choose_compression(shard)]
    plan = shard.plan
    paths = {folder: shard_path(folder, plan.name, suffix, plan.stem) for folder in folders}
    return {
        row: (paths[folder], index)
        for folder, rows in folders.items()
        for index, row in enumerate(rows)
    }


def _order_rows(shard: DecidedShard) -> list[InputRow]:
    """Return good rows and rejects together, in input order."""
    good = [
        InputRow(source, number, row, None)
        for row, (source, number) in enumerate(zip(shard.sources, shard.numbers, strict=True))
    ]
    if not shard.rejects:
        return good
    order = {piece.source: index for index, piece in enumerate(shard.plan.pieces)}
    rejects = [
        InputRow(reject.source, reject.row, None, index)
        for index, reject in enumerate(shard.rejects)
    ]
    return sorted(good + rejects, key=lambda row: (order[row.source], row.number))


def _build_ledger(
    shard: DecidedShard, rows: Sequence[InputRow], output_of: Mapping[int, tuple[str, int]]
) -> pa.Table:
    ids, reasons = shard.record_ids, shard.decided.reasons
    rejects = shard_path("rejects", shard.plan.name)
    no_file: tuple[None, None] = (None, None)
    files = [
        (rejects, item.reject) if item.row is None else output_of.get(item.row, no_file)
        for item in rows
    ]
    indexes = [item.row for item in rows]
    columns: dict[str, list[Any]] = {
        "record_id": [None if row is None else ids[row] for row in indexes],
        "source": [item.source for item in rows],
        "row": [item.number for item in rows],
        **_build_lot_columns([None if row is None else shard.lots[row] for row in indexes]),
        "content_digest": [_digest_row(shard, item) for item in rows],
        "decision": ["reject" if row is None else shard.decided.decisions[row] for row in indexes],
        "reasons": [
            [] if row is None else [describe_reason(item) for item in reasons.get(row, ())]
            for row in indexes
        ],
        "output": [path for path, _ in files],
        "output_row": [index for _, index in files],
    }
    schema = outputs.LEDGER
    if shard.names_rejected_teachers:
        schema, lots = outputs.LEDGER_OF_PAIRS, shard.lots
        columns[outputs.REJECTED_TEACHER] = [
            _replace_unknown(None if row is None else lots[row].rejected_teacher) for row in indexes
        ]
    arrays = [pa.array(columns[item.name], item.type) for item in schema]
    return pa.table(arrays, schema=schema)


def _build_lot_columns(lots: Sequence[Lot | None]) -> dict[str, list[str | None]]:
    return {
        name: [_replace_unknown(None if lot is None else lot[index]) for lot in lots]
        for index, name in enumerate(LOT_FIELDS)
    }


def _describe_lot(lot: Lot) -> dict[str, str | None]:
    return {name: _replace_unknown(getattr(lot, name)) for name in LOT_FIELDS}


def _replace_unknown(value: str | None) -> str | None:
    return None if value == UNKNOWN else value


def _digest_row(shard: DecidedShard, item: InputRow) -> str:
    """Return the digest of a row's content or of a reject's bytes."""
    if item.row is None:
        key = None if shard.digest_key is None else shard.digest_key.read()
        return digest_bytes(shard.rejects[item.reject or 0].raw, key)
    return shard.digests[item.row]


def describe_reason(reason: Reason) -> dict[str, Any]:
    """Return a reason as the ledger holds it."""
    return {name: getattr(reason, name) for name in REASON_FIELDS}


def _build_key_columns(rows: Sequence[InputRow]) -> list[pa.Array]:
    return [
        pa.array([row.source for row in rows], pa.string()),
        pa.array([row.number for row in rows], pa.int64()),
    ]


def _build_scores(shard: DecidedShard, rows: Sequence[InputRow]) -> pa.Table:
    columns = shard.build_score_columns()
    indexes = np.array([-1 if item.row is None else item.row for item in rows], np.int64)
    arrays = _build_key_columns(rows)
    for values in columns.values():
        padded = np.append(values, np.float32(np.nan))[indexes]
        arrays.append(pa.array(padded, pa.float32(), mask=np.isnan(padded)))
    return pa.table(arrays, schema=outputs.build_scores_schema(list(columns)))


def _build_spans(shard: DecidedShard, rows: Sequence[InputRow]) -> pa.Table:
    """Return the rows' spans, aligned with the ledger. A reject has no spans."""
    spans = shard.spans
    if len(rows) != len(spans):
        taken = spans.take(pa.array([item.row for item in rows], pa.int64()))
        spans = pc.coalesce(taken, pa.scalar([], spans.type))
    return pa.table([*_build_key_columns(rows), spans], schema=outputs.SPANS)


def _build_vectors(shard: DecidedShard, rows: Sequence[InputRow]) -> pa.Table:
    """Return the rows' vectors, aligned with the ledger.

    A reject's vector is zero, because Parquet readers fail on null lists of fixed size.
    """
    found = shard.scores.average_vectors()
    padded = np.concatenate([found, np.zeros((1, found.shape[1]), np.float16)])
    values = padded[[-1 if item.row is None else item.row for item in rows]]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), found.shape[1])
    return pa.table([*_build_key_columns(rows), lists], names=["source", "row", "vector"])


def _choose_compression(shard: DecidedShard) -> Compression:
    """Return the sources' compression, or `none` if the sources differ."""
    found = {WRITTEN.get(piece.compression, piece.compression) for piece in shard.plan.pieces}
    return found.pop() if len(found) == 1 else "none"


def _build_lines(
    shard: DecidedShard, lines: Sequence[bytes], notes: Mapping[int, Mapping[str, Any] | None]
) -> JsonLines:
    """Return the original lines of the rows in `notes`, with their notes added."""
    noted = [
        lines[row] if note is None else replace_line_note(lines[row], note)
        for row, note in notes.items()
    ]
    return JsonLines(noted, _choose_compression(shard))


def _build_clean(
    shard: DecidedShard, published: Sequence[int], extra_column: bool
) -> pa.Table | JsonLines:
    """Return the published rows.

    An earlier run's notes still hold.
    """
    if shard.lines is not None:
        notes = {row: _describe_change(shard, row) if extra_column else None for row in published}
        return _build_lines(shard, shard.lines, notes)
    table = shard.table
    if len(published) != table.num_rows:
        table = table.filter(build_row_mask(table.num_rows, published))
    table, earlier = _take_notes(table)
    if not extra_column and earlier is None:
        return table
    return table.append_column(outputs.CLEAN_EXTRA, _build_extra(shard, published, earlier))


def _build_extra(
    shard: DecidedShard, published: Sequence[int], earlier: Sequence[Any] | None
) -> pa.StructArray:
    """Return the `congener` column of the published rows."""
    kind = outputs.CLEAN_EXTRA.type
    if earlier is not None:
        return pa.array(
            [
                _merge_note(shard, row, note, read_note)
                for row, note in zip(published, earlier, strict=True)
            ],
            kind,
        )
    decisions = [shard.decided.decisions[row] for row in published]
    columns = [
        pa.array(decisions, kind.field("decision").type),
        pa.array(np.ones(len(published), np.float32)),
        encode_spans([shard.decided.masks.get(row, ()) for row in published]),
        pa.array(map(shard.decided.list_noted, published), kind.field("traits").type),
    ]
    return pa.StructArray.from_arrays(columns, fields=list(kind))


def _take_notes(table: pa.Table) -> tuple[pa.Table, list[Any] | None]:
    """Return a table without an earlier run's notes, and the notes (None without any)."""
    name = outputs.CLEAN_EXTRA.name
    if name not in table.column_names:
        return table, None
    return table.drop_columns([name]), table.column(name).to_pylist()


def _describe_change(shard: DecidedShard, row: int) -> dict[str, Any] | None:
    """Return the note for a flagged or masked row, or None for a kept row."""
    if shard.decided.decisions[row] == "keep" or shard.lines is None:
        return None
    return _merge_note(shard, row, shard.lines[row], read_line_note)


def _merge_note(
    shard: DecidedShard, row: int, value: Any, read: Callable[[Any], dict[str, Any] | None]
) -> dict[str, Any]:
    """Return a published row's note, merged with an earlier run's note.

    Raises: InputError: the `congener` column holds something else in this row.
    """
    try:
        earlier = read(value)
    except RowError as error:
        where = f"{shard.sources[row]} row {shard.numbers[row]}"
        raise InputError(error.problem, where=where, remedy=error.remedy) from error
    decided = shard.decided
    masks = decided.masks.get(row, ())
    return merge_notes(earlier, decided.decisions[row], masks, decided.list_noted(row))


def _describe_held(shard: DecidedShard, row: int, bank: Bank) -> dict[str, Any]:
    """Return the note of a quarantined row."""
    return {
        **_describe_row(shard, row),
        "decision": shard.decided.decisions[row],
        "reasons": [
            _describe_evidence(shard, reason, row, bank.traits[reason.trait])
            for reason in shard.decided.reasons[row]
        ],
    }


def count_nearest(notes: Iterable[Mapping[str, Any]]) -> dict[str, NearestExemplars]:
    """Count each trait's quarantined rows by whether a negative is their nearest exemplar.

    Findings in rejected answers and untrained turns don't count.
    """
    found: dict[str, NearestExemplars] = {}
    for reason in (reason for note in notes for reason in note["reasons"]):
        if reason["neighbours"] and split_side(reason["signal"])[1] == "trained":
            nearest = max(reason["neighbours"], key=lambda near: near["similarity"])
            own = NearestExemplars(rows=1, negative=int(nearest["polarity"] == "negative"))
            found[reason["trait"]] = found.get(reason["trait"], NearestExemplars()).add(own)
    return found


def _build_quarantine(
    shard: DecidedShard, held: Sequence[int], notes: Sequence[Mapping[str, Any]]
) -> pa.Table | JsonLines:
    if shard.lines is not None:
        return _build_lines(shard, shard.lines, dict(zip(held, notes, strict=True)))
    table, _ = _take_notes(shard.table.filter(build_row_mask(shard.table.num_rows, held)))
    extra = pa.array(notes, outputs.QUARANTINE_EXTRA.type)
    return table.append_column(outputs.QUARANTINE_EXTRA, extra)


def _describe_row(shard: DecidedShard, row: int) -> dict[str, Any]:
    """Return the columns that identify a row and its lot."""
    return {
        "record_id": shard.digests[row][:RECORD_ID_HEX],
        "source": shard.sources[row],
        "row": shard.numbers[row],
        **_describe_lot(shard.lots[row]),
    }


def _describe_evidence(
    shard: DecidedShard, reason: Reason, row: int, trait: TraitModel
) -> dict[str, Any]:
    return {
        **describe_reason(reason),
        "action": reason.action,
        "neighbours": _describe_neighbours(shard, reason, row, trait),
    }


def _describe_neighbours(
    shard: DecidedShard, reason: Reason, row: int, trait: TraitModel
) -> list[dict[str, Any]]:
    """Return the positives and hard negatives nearest to the best window.

    A person's decision compares nothing.
    """
    if reason.evidence == BY_PERSON:
        return []
    if shard.neighbours is not None:
        return shard.neighbours.get((row, reason.trait, split_side(reason.signal)[1]), [])
    scores = shard.scores
    if (side := split_side(reason.signal)[1]) != "trained":
        scores = shard.other_scores[side]
    dense = scores.signals[reason.trait].get("exemplars")
    if dense is None or dense.window is None or scores.vectors is None or dense.window[row] < 0:
        return []
    vector = scores.vectors[dense.window[row]]
    exemplars = {
        "positive": (trait.positive_index, trait.positives),
        "negative": (trait.negative_index, trait.negatives),
    }
    return [
        {
            "exemplar": f"{reason.trait}/{polarity}/{near.row}",
            "polarity": polarity,
            "similarity": round(near.similarity, SCORE_DECIMALS),
            "text": texts[near.row],
        }
        for polarity, (index, texts) in exemplars.items()
        for near in (find_nearest(vector, index, NEIGHBOURS_SHOWN) if index is not None else ())
    ]


def _build_swaplist(shard: DecidedShard) -> pa.Table:
    """Return a table of the prompts for another teacher.

    A row is omitted if its prompt has no text.
    """
    rows = [
        {
            **_describe_row(shard, row),
            "traits": sorted(
                {item.trait for item in shard.decided.reasons[row] if item.action == "swap"}
            ),
            "prompt": [
                {"role": message["role"], "content": describe_content(message)}
                for message in prompt.messages
            ],
            "request": prompt.encode(),
            "complete": not prompt.missing,
            "missing": prompt.missing,
        }
        for row in sorted(shard.decided.swaps)
        if (prompt := _build_prompt(shard, row)).messages
    ]
    return pa.Table.from_pylist(rows, outputs.SWAPLIST)


def _build_prompt(shard: DecidedShard, row: int) -> Prompt:
    indices = shard.segments.find_in_row(row)
    return build_prompt(shard.segments, indices, read_record(shard, row), shard.columns)
