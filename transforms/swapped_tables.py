"""The tables of a shard after a swap: those of the run, with the replaced rows in their places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from schemas import outputs
from schemas.digests import RECORD_ID_HEX, canonicalise_json
from schemas.lots import LOT_FIELDS
from schemas.policies import PUBLISHED
from schemas.runs import is_json_lines, parse_path
from schemas.scores import name_finding, split_side
from schemas.swaps import DECISION_OF_OUTCOME, MASKED, REPLACED, SENTENCES
from transforms.files.json_lines import COMPRESSION_OF_SUFFIX, JsonLines
from transforms.notes import merge_notes, replace_line_note
from transforms.records.counterparts import Counterpart
from transforms.records.prompts import describe_content
from transforms.spans import Span
from transforms.stored_rows import EXTRA, StoredRows, read_lines, read_table
from transforms.swap_matches import Match, Unmatched
from transforms.swap_offers import StoredShard, WaitingRow

COSTS = ("tokens", "padded", "budget_cuts")
"""The fields of a receipt that say what scoring cost."""

ORIGIN_NAMES = tuple(name for name, _ in outputs.ORIGIN)
PIECES = outputs.PIECES[0][0]
EARLIER = outputs.EARLIER[0][0]
SWAP_NAMES = (*ORIGIN_NAMES, PIECES, EARLIER)


class Edit(NamedTuple):
    """What was done to the sentences of a row: those that are masked, and those of a donor.

    `path` is the field of the answer.
    """

    masks: tuple[Span, ...]
    pieces: tuple[Counterpart, ...]
    path: str

    @property
    def outcome(self) -> str:
        """Return the outcome of the row."""
        return MASKED if self.masks else SENTENCES

    def describe_pieces(self) -> str | None:
        """Return where the donor's sentences are, as the ledger has it, or None without any."""
        found = [
            {
                "field_path": self.path,
                "start": piece.start,
                "end": piece.end,
                "donor_start": piece.other_start,
                "donor_end": piece.other_end,
            }
            for piece in self.pieces
        ]
        return canonicalise_json(found).decode() if found else None


class NewRows(NamedTuple):
    """Rows with another answer in place: as they are written, their digests, reasons and scores.

    `scores` maps the columns of `scores/` to float32 arrays, and `vectors` is None if the run has
    none.
    """

    table: pa.Table
    lines: list[bytes] | None
    digests: list[str]
    reasons: list[list[dict[str, Any]]]
    scores: dict[str, np.ndarray]
    spans: pa.Array
    vectors: np.ndarray | None

    def select(self, rows: Sequence[int]) -> NewRows:
        """Return only the given rows."""
        indices = np.array(rows, np.int64)
        return NewRows(
            self.table.take(pa.array(indices)).combine_chunks(),
            None if self.lines is None else [self.lines[row] for row in rows],
            [self.digests[row] for row in rows],
            [self.reasons[row] for row in rows],
            {name: values[indices] for name, values in self.scores.items()},
            self.spans.take(pa.array(indices)),
            None if self.vectors is None else self.vectors[indices],
        )


@dataclass
class SwappedShard:
    """A shard with the rows that were to be replaced, and what became of them.

    `chosen` maps the ledger positions of new rows to the match whose answer is used, or to None, in
    order, and `new` holds the new rows in that order, or is None if there are none. `edits` says
    what was done to rows of which only sentences were replaced or masked. `left` maps positions to
    the reason why a row still waits.
    """

    run: str
    shard: StoredShard
    ledger: pa.Table
    waiting: list[WaitingRow]
    held: StoredRows | None
    only_sentences: bool = False
    """Whether sentences were replaced, and not whole answers."""
    swap_run: str | None = None
    """The run that the parent's own swap made, if the parent has swapped answers."""
    chosen: dict[int, Match | None] = field(default_factory=dict)
    edits: dict[int, Edit] = field(default_factory=dict)
    left: dict[int, Unmatched] = field(default_factory=dict)
    new: NewRows | None = None
    cost: dict[str, int] = field(default_factory=dict)
    """The cost of scoring the rows that were tried, under the names that a receipt uses."""

    def read(self, folder: str) -> pa.Table:
        """Read the shard's table in a folder."""
        return read_table(self.run, self.shard.files[folder])

    def get_outcome(self, position: int) -> str:
        """Return the outcome of a new row."""
        edit = self.edits.get(position)
        return REPLACED if edit is None else edit.outcome

    def build_notes(self) -> list[dict[str, Any]]:
        """Return the field `congener` of every new row."""
        traits = {item.position: item.traits for item in self.waiting}
        return [
            merge_notes(
                None,
                DECISION_OF_OUTCOME[self.get_outcome(position)],
                self.edits[position].masks if position in self.edits else (),
                traits[position],
            )
            for position in self.chosen
        ]

    @property
    def kept(self) -> list[int]:
        """Return the indices of the quarantined rows that stay in quarantine."""
        size = 0 if self.held is None else len(self.held)
        gone = {item.place for item in self.waiting if item.position in self.chosen}
        return [index for index in range(size) if index not in gone]


def build_swapped_tables(swapped: SwappedShard) -> dict[str, pa.Table | JsonLines]:
    """Return the shard's nonempty tables by folder, in a deterministic order.

    Rejects aren't among them, because they don't change.
    """
    tables: dict[str, pa.Table | JsonLines] = {
        "clean": _build_clean(swapped),
        "quarantine": _build_quarantine(swapped),
        "swaplist": _build_swaplist(swapped),
        "ledger": build_ledger(swapped),
        "scores": _build_scores(swapped),
        "spans": _build_spans(swapped),
    }
    if "vectors" in swapped.shard.files:
        tables["vectors"] = _build_vectors(swapped)
    return {folder: table for folder, table in tables.items() if table.num_rows}


def _list_decisions(swapped: SwappedShard) -> list[str]:
    decisions: list[str] = swapped.ledger.column("decision").to_pylist()
    for row in swapped.chosen:
        decisions[row] = DECISION_OF_OUTCOME[swapped.get_outcome(row)]
    return decisions


def _order_clean(swapped: SwappedShard) -> list[int]:
    """Return, for every clean row, its index among the old clean rows followed by the new ones."""
    decisions = swapped.ledger.column("decision").to_pylist()
    size = sum(name in PUBLISHED for name in decisions)
    new = {position: size + number for number, position in enumerate(swapped.chosen)}
    order, old = [], 0
    for position, name in enumerate(decisions):
        if name in PUBLISHED:
            order.append(old)
            old += 1
        elif position in new:
            order.append(new[position])
    return order


def _build_clean(swapped: SwappedShard) -> pa.Table | JsonLines:
    files = swapped.shard.files
    path = files.get("clean") or files.get("quarantine")
    if path is None:
        return pa.table({})
    order = _order_clean(swapped)
    if is_json_lines(path):
        old = read_lines(swapped.run, files["clean"]) if "clean" in files else []
        new = swapped.new.lines if swapped.new else None
        noted = zip(new or (), swapped.build_notes(), strict=True)
        lines = [*old, *(replace_line_note(line, note) for line, note in noted)]
        suffix = parse_path(path).suffix
        return JsonLines([lines[index] for index in order], COMPRESSION_OF_SUFFIX[suffix])
    parts = [_read_clean_table(swapped)] if "clean" in files else []
    if swapped.new is not None:
        notes = pa.array(swapped.build_notes(), outputs.CLEAN_EXTRA.type)
        parts.append(swapped.new.table.append_column(outputs.CLEAN_EXTRA, notes))
    if not parts:
        return pa.table({})
    parts = [part.cast(parts[0].schema) for part in parts]
    return pa.concat_tables(parts).take(pa.array(order, pa.int64())).combine_chunks()


def _read_clean_table(swapped: SwappedShard) -> pa.Table:
    """Return the clean rows with the column `congener`, which some runs don't have."""
    table = swapped.read("clean")
    if EXTRA in table.column_names:
        return table
    notes = pa.array([merge_notes(None, "keep", ())] * table.num_rows, outputs.CLEAN_EXTRA.type)
    return table.append_column(outputs.CLEAN_EXTRA, notes)


def _build_quarantine(swapped: SwappedShard) -> pa.Table | JsonLines:
    path = swapped.shard.files.get("quarantine")
    if path is None:
        return pa.table({})
    if is_json_lines(path):
        lines = read_lines(swapped.run, path)
        suffix = parse_path(path).suffix
        return JsonLines([lines[index] for index in swapped.kept], COMPRESSION_OF_SUFFIX[suffix])
    table = swapped.read("quarantine")
    return table.take(pa.array(swapped.kept, pa.int64())).combine_chunks()


def _build_swaplist(swapped: SwappedShard) -> pa.Table:
    """Return a table of the prompts that still wait for an answer."""
    keys = swapped.ledger.select(["record_id", "source", "row", *LOT_FIELDS])
    rows = [
        {
            **keys.slice(item.position, 1).to_pylist()[0],
            "traits": list(item.traits),
            "prompt": [
                {"role": message["role"], "content": describe_content(message)}
                for message in item.prompt.messages
            ],
            "request": item.prompt.encode(),
            "complete": not item.prompt.missing,
            "missing": item.prompt.missing,
        }
        for item in swapped.waiting
        if item.position not in swapped.chosen and item.prompt.messages
    ]
    return pa.Table.from_pylist(rows, outputs.SWAPLIST)


def build_ledger(swapped: SwappedShard) -> pa.Table:
    """Return the ledger with the new rows' identities and the origin of each replacement."""
    ledger, decisions = swapped.ledger, _list_decisions(swapped)
    names = [name for name in ledger.column_names if name not in SWAP_NAMES]
    columns: dict[str, list[Any]] = {name: ledger.column(name).to_pylist() for name in names}
    columns["decision"] = decisions
    digests, reasons = (swapped.new.digests, swapped.new.reasons) if swapped.new else ([], [])
    for number, (position, match) in enumerate(swapped.chosen.items()):
        digest = digests[number]
        columns["content_digest"][position] = digest
        columns["record_id"][position] = digest[:RECORD_ID_HEX]
        if match is not None and position not in swapped.edits:
            columns["teacher"][position] = match.offer.teacher or match.offer.name
        columns["reasons"][position] = reasons[number]
    _number_outputs(swapped, columns)
    columns |= _list_origins(swapped)
    has_pieces = swapped.only_sentences or PIECES in ledger.column_names
    is_second = ORIGIN_NAMES[0] in ledger.column_names
    added = (
        *outputs.ORIGIN,
        *(outputs.PIECES if has_pieces else ()),
        *(outputs.EARLIER if is_second else ()),
    )
    known = [*(ledger.schema.field(name) for name in names), *map(_make_field, added)]
    fields = sorted(known, key=lambda item: outputs.LEDGERS[-1].names.index(item.name))
    arrays = [pa.array(columns[item.name], item.type) for item in fields]
    return pa.table(arrays, schema=pa.schema(fields))


def _make_field(column: tuple[str, pa.DataType]) -> pa.Field:
    return pa.field(*column)


def _number_outputs(swapped: SwappedShard, columns: dict[str, list[Any]]) -> None:
    """Name the file and the index of every row in `clean/` and `quarantine/`."""
    files = swapped.shard.files
    known = files.get("clean") or files.get("quarantine", "")
    next_row: Counter[str] = Counter()
    for position, decision in enumerate(columns["decision"]):
        folder = "clean" if decision in PUBLISHED else decision
        if folder in ("clean", "quarantine"):
            path = files.get(folder) or f"{folder}/{known.partition('/')[2]}"
            columns["output"][position] = path
            columns["output_row"][position] = next_row[path]
            next_row[path] += 1


def _list_origins(swapped: SwappedShard) -> dict[str, list[Any]]:
    """Return the columns of this swap, and of earlier ones in rows that they replaced."""
    columns = _list_earlier(swapped)
    records = swapped.ledger.column("record_id")
    for item in swapped.waiting:
        row: dict[str, Any] = {"swap_traits": ",".join(item.traits)}
        if item.position in swapped.chosen:
            row |= _describe_origin(swapped, item.position)
            row["replaced_record"] = records[item.position].as_py()
        else:
            found = swapped.left[item.position]
            row |= {"swap": found.outcome, "donor_traits": ",".join(found.traits) or None}
        for name, value in row.items():
            columns[name][item.position] = value
    return columns


def _list_earlier(swapped: SwappedShard) -> dict[str, list[Any]]:
    """Return the columns of earlier swaps. Rows that still wait have no outcome of theirs."""
    ledger = swapped.ledger
    none: list[Any] = [None] * ledger.num_rows
    known: dict[str, list[Any]] = {
        name: ledger.column(name).to_pylist() if name in ledger.column_names else list(none)
        for name in SWAP_NAMES
    }
    for position, outcome in enumerate(known[ORIGIN_NAMES[0]]):
        if outcome in DECISION_OF_OUTCOME:
            known[EARLIER][position] = known[EARLIER][position] or swapped.swap_run
        else:
            for name in SWAP_NAMES:
                known[name][position] = None
    return known


def _describe_origin(swapped: SwappedShard, position: int) -> dict[str, Any]:
    """Return the columns about the donor of a new row."""
    match, edit = swapped.chosen[position], swapped.edits.get(position)
    found: dict[str, Any] = {"swap": swapped.get_outcome(position)}
    if edit is not None:
        found[PIECES] = edit.describe_pieces()
    if match is not None:
        offer = match.offer
        found |= {
            "donor": offer.name,
            "donor_record": offer.record,
            "donor_source": offer.source,
            "donor_row": offer.row,
            "distance": offer.distance,
        }
    return found


def _place_new(swapped: SwappedShard) -> np.ndarray:
    """Return each ledger row's index among the old rows followed by the new ones."""
    order = np.arange(swapped.ledger.num_rows)
    order[list(swapped.chosen)] = len(order) + np.arange(len(swapped.chosen))
    return order


def _build_scores(swapped: SwappedShard) -> pa.Table:
    table = swapped.read("scores")
    if swapped.new is None:
        return table
    found, order = swapped.new.scores, _place_new(swapped)
    missing = np.full(len(swapped.chosen), np.nan, np.float32)
    for index, name in enumerate(table.column_names[2:], 2):
        old = table.column(name).to_numpy(zero_copy_only=False).astype(np.float32)
        values = np.concatenate([old, found.get(name, missing)])[order]
        array = pa.array(values, pa.float32(), mask=np.isnan(values))
        table = table.set_column(index, table.schema.field(index), array)
    return table


def _build_spans(swapped: SwappedShard) -> pa.Table:
    table = swapped.read("spans")
    return table if swapped.new is None else _replace_last(swapped, table, swapped.new.spans)


def _build_vectors(swapped: SwappedShard) -> pa.Table:
    table = swapped.read("vectors")
    if swapped.new is None or swapped.new.vectors is None:
        return table
    found = swapped.new.vectors
    lists = pa.FixedSizeListArray.from_arrays(pa.array(found.ravel()), found.shape[1])
    return _replace_last(swapped, table, lists)


def _replace_last(swapped: SwappedShard, table: pa.Table, new: pa.Array) -> pa.Table:
    """Return a table with the new rows' values in its last column."""
    item = table.schema.field(table.num_columns - 1)
    old = table.column(item.name).combine_chunks()
    joined = pa.concat_arrays([old, new.cast(item.type)])
    values = joined.take(pa.array(_place_new(swapped)))
    return table.set_column(table.num_columns - 1, item, values)


def count_fired(ledger: pa.Table) -> dict[str, int]:
    """Count the rows of a ledger on which each trait fired, separately for each side."""
    counts = Counter(
        name
        for reasons in ledger.column("reasons").to_pylist()
        for name in {name_finding(item["trait"], item["signal"]) for item in reasons}
    )
    return dict(sorted(counts.items()))


def count_unscored(scores: pa.Table, traits: Sequence[str], rejects: int) -> int:
    """Return the number of rows without a score of any of these traits, leaving out rejects."""
    own = [name for name in scores.column_names if split_side(name)[0] in traits]
    valid = [scores.column(name).is_valid().to_numpy() for name in own]
    scored = int(np.logical_or.reduce(valid).sum())
    return int(scores.num_rows) - scored - rejects


def list_kept_notes(swapped: SwappedShard) -> list[Mapping[str, Any]]:
    """Return the notes of the rows that stay in quarantine."""
    return [swapped.held.notes[index] for index in swapped.kept] if swapped.held else []
