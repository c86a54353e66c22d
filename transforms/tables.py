"""The tables of a decided shard: clean, quarantine, rejects, ledger, scores, swap list; all in a deterministic order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.banks import Bank, TraitModel
from classifiers.signals.exemplars import nearest
from schemas import outputs
from schemas.digests import canonical_json, leaf, merkle_root, sha256_hex
from schemas.policies import PUBLISHED
from transforms.decide import DecidedShard, Reason
from transforms.files.shards import row_mask
from transforms.identify import NOTHING
from transforms.records.segments import prompt_of

NEIGHBOURS_SHOWN = 3
REASON_FIELDS = tuple(item.name for item in outputs.REASON)


class Row(NamedTuple):
    """An input row on its way into the ledger: its source and number, and its place in the shard's table (None: a reject)."""

    source: str
    number: int
    place: int | None
    reject: int | None


@dataclass
class ShardTables:
    """A shard's output tables by folder (only those with rows), the ledger's leaves hashed to a root, and the counts."""

    tables: dict[str, pa.Table]
    ledger_root: str
    decisions: dict[str, int]
    fired: dict[str, int]


def build_tables(
    decided: DecidedShard, bank: Bank, extra_column: bool, vectors: bool = False
) -> ShardTables:
    """Build every output of a shard.

    `extra_column` adds `congener` to the clean rows, for policies that flag or mask; `vectors` adds the rows' vectors.
    """
    shard = decided.scored.identified.shard
    name = f"{shard.plan.name}.parquet"
    published = [place for place, decision in enumerate(decided.decisions) if decision in PUBLISHED]
    held = [place for place, decision in enumerate(decided.decisions) if decision == "quarantine"]
    output_of = {place: (f"clean/{name}", at) for at, place in enumerate(published)} | {
        place: (f"quarantine/{name}", at) for at, place in enumerate(held)
    }
    rows = _rows(decided)
    ledger = _ledger(decided, rows, output_of, f"rejects/{name}")
    tables = {
        "clean": _clean(decided, published, extra_column),
        "quarantine": _quarantine(decided, held, bank),
        "rejects": pa.Table.from_pylist(
            [reject._asdict() for reject in shard.rejects], outputs.REJECTS
        ),
        "swaplist": _swaplist(decided),
        "ledger": ledger,
        "scores": _scores(decided, rows),
    }
    if vectors:
        tables["vectors"] = _vectors(decided, rows)
    counted = Counter(decided.decisions) + Counter({"reject": len(shard.rejects)})
    fired = Counter(
        trait
        for reasons in decided.reasons.values()
        for trait in {reason.trait for reason in reasons}
    )
    present = {folder: table for folder, table in tables.items() if table.num_rows}
    return ShardTables(
        present,
        merkle_root(ledger_leaves(ledger)).hex(),
        dict(sorted(counted.items())),
        dict(sorted(fired.items())),
    )


def _rows(decided: DecidedShard) -> list[Row]:
    """Return good rows and rejects together, in the order of the input."""
    shard = decided.scored.identified.shard
    good = [
        Row(source, number, place, None)
        for place, (source, number) in enumerate(zip(shard.sources, shard.numbers, strict=True))
    ]
    if not shard.rejects:
        return good
    order = {piece.source: at for at, piece in enumerate(shard.plan.pieces)}
    rejects = [Row(reject.source, reject.row, None, at) for at, reject in enumerate(shard.rejects)]
    return sorted(good + rejects, key=lambda row: (order[row.source], row.number))


def _ledger(
    decided: DecidedShard,
    rows: Sequence[Row],
    output_of: Mapping[int, tuple[str, int]],
    rejects: str,
) -> pa.Table:
    identified = decided.scored.identified
    ids, lot_names = identified.record_ids, {lot: lot.name() for lot in set(identified.lots)}
    places = [row.place for row in rows]
    columns: dict[str, list[Any]] = {
        "record_id": [None if place is None else ids[place] for place in places],
        "source": [row.source for row in rows],
        "row": [row.number for row in rows],
        "teacher": [
            None if place is None else _known(identified.lots[place].teacher) for place in places
        ],
        "lot": [None if place is None else lot_names[identified.lots[place]] for place in places],
        "content_digest": [
            sha256_hex(identified.shard.rejects[row.reject or 0].raw)
            if row.place is None
            else identified.digests[row.place]
            for row in rows
        ],
        "decision": ["reject" if place is None else decided.decisions[place] for place in places],
        "reasons": [
            [] if place is None else [_reason(reason) for reason in decided.reasons.get(place, ())]
            for place in places
        ],
        "output": [
            rejects if place is None else output_of.get(place, (None, None))[0] for place in places
        ],
        "output_row": [
            row.reject if row.place is None else output_of.get(row.place, (None, None))[1]
            for row in rows
        ],
    }
    return pa.table(
        [pa.array(columns[item.name], item.type) for item in outputs.LEDGER], schema=outputs.LEDGER
    )


def _known(name: str) -> str | None:
    return None if name == NOTHING else name


def _reason(reason: Reason) -> dict[str, Any]:
    return {name: getattr(reason, name) for name in REASON_FIELDS}


def ledger_leaves(ledger: pa.Table) -> list[bytes]:
    """Hash every ledger row, for the Merkle tree; floats in reasons are written with the scores' decimals."""
    flat = [
        ledger.column(name).cast(pa.string()) for name in outputs.LEDGER.names if name != "reasons"
    ]
    reasons = ledger.column("reasons")
    counts = pc.list_value_length(reasons).to_pylist()
    texts = [
        ""
        if not count
        else canonical_json([_plain(reason) for reason in reasons[at].as_py()]).decode()
        for at, count in enumerate(counts)
    ]
    joined = pc.binary_join_element_wise(
        *flat,
        pa.array(texts, pa.string()),
        "\x1f",
        null_handling="replace",
        null_replacement="\x00",
    )
    return [leaf(row) for row in joined.to_pylist()]


def _plain(reason: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: f"{value:.{outputs.SCORE_DECIMALS}f}" if isinstance(value, float) else value
        for name, value in reason.items()
    }


def _scores(decided: DecidedShard, rows: Sequence[Row]) -> pa.Table:
    columns = decided.scored.scores.columns()
    schema = outputs.scores_schema(list(columns))
    places = np.array([-1 if row.place is None else row.place for row in rows], np.int64)
    arrays = [
        pa.array([row.source for row in rows], pa.string()),
        pa.array([row.number for row in rows], pa.int64()),
    ]
    for values in columns.values():
        padded = np.append(values, np.float32(np.nan))[places]
        arrays.append(pa.array(padded, pa.float32(), mask=np.isnan(padded)))
    return pa.table(arrays, schema=schema)


def _vectors(decided: DecidedShard, rows: Sequence[Row]) -> pa.Table:
    """Return the rows' vectors, aligned with the ledger; zeros for rejects (Parquet readers stumble over null lists of fixed size)."""
    found = decided.scored.scores.row_vectors()
    places = [row.place for row in rows]
    values = np.concatenate([found, np.zeros((1, found.shape[1]), np.float16)])[
        [-1 if place is None else place for place in places]
    ]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), found.shape[1])
    return pa.table(
        {
            "source": [row.source for row in rows],
            "row": pa.array([row.number for row in rows], pa.int64()),
            "vector": lists,
        }
    )


def _clean(decided: DecidedShard, published: Sequence[int], extra_column: bool) -> pa.Table:
    table = decided.scored.identified.shard.table
    table = (
        table
        if len(published) == table.num_rows
        else table.filter(row_mask(table.num_rows, published))
    )
    if not extra_column:
        return table
    kind = outputs.CLEAN_EXTRA.type
    decisions = pa.array(
        [decided.decisions[place] for place in published], kind.field("decision").type
    )
    weights = pa.array(np.ones(len(published), np.float32))
    held = [decided.masks.get(place, ()) for place in published]
    bounds = np.cumsum([0, *map(len, held)], dtype=np.int32)
    values = pa.array([mask._asdict() for masks in held for mask in masks], outputs.MASK)
    masks = pa.ListArray.from_arrays(pa.array(bounds), values, kind.field("masks").type)
    return table.append_column(
        outputs.CLEAN_EXTRA,
        pa.StructArray.from_arrays([decisions, weights, masks], fields=list(kind)),
    )


def _quarantine(decided: DecidedShard, held: Sequence[int], bank: Bank) -> pa.Table:
    identified = decided.scored.identified
    ids = identified.record_ids
    table = identified.shard.table.filter(row_mask(identified.shard.table.num_rows, held))
    notes = [
        {
            "record_id": ids[place],
            "source": identified.shard.sources[place],
            "row": identified.shard.numbers[place],
            "teacher": _known(identified.lots[place].teacher),
            "lot": identified.lots[place].name(),
            "decision": decided.decisions[place],
            "reasons": [
                _evidence(decided, reason, place, bank.traits[reason.trait])
                for reason in decided.reasons[place]
            ],
        }
        for place in held
    ]
    return table.append_column(
        outputs.QUARANTINE_EXTRA, pa.array(notes, outputs.QUARANTINE_EXTRA.type)
    )


def _evidence(
    decided: DecidedShard, reason: Reason, place: int, trait: TraitModel
) -> dict[str, Any]:
    return {
        **_reason(reason),
        "action": reason.action,
        "neighbours": _neighbours(decided, reason, place, trait),
    }


def _neighbours(
    decided: DecidedShard, reason: Reason, place: int, trait: TraitModel
) -> list[dict[str, Any]]:
    """Return the exemplars nearest to the window that scored highest, positives and hard negatives."""
    scores = decided.scored.scores
    dense = scores.signals[reason.trait].get("exemplars")
    if dense is None or dense.window is None or scores.vectors is None or dense.window[place] < 0:
        return []
    vector = scores.vectors[dense.window[place]]
    found = []
    for polarity, index, texts in (
        ("positive", trait.positive_index, trait.positives),
        ("negative", trait.negative_index, trait.negatives),
    ):
        for near in nearest(vector, index, NEIGHBOURS_SHOWN) if index is not None else ():
            name = f"{reason.trait}/{polarity}/{near.place}"
            found.append(
                {
                    "exemplar": name,
                    "polarity": polarity,
                    "similarity": round(near.similarity, outputs.SCORE_DECIMALS),
                    "text": texts[near.place],
                }
            )
    return found


def _swaplist(decided: DecidedShard) -> pa.Table:
    identified = decided.scored.identified
    ids = identified.record_ids
    rows = [
        {
            "record_id": ids[row],
            "source": identified.shard.sources[row],
            "row": identified.shard.numbers[row],
            "teacher": _known(identified.lots[row].teacher),
            "lot": identified.lots[row].name(),
            "traits": sorted(
                {reason.trait for reason in decided.reasons[row] if reason.action == "swap"}
            ),
            "prompt": prompt_of(identified.segments, identified.segments.of_row(row)),
        }
        for row in sorted(decided.swaps)
    ]
    return pa.Table.from_pylist(rows, outputs.SWAPLIST)
