"""Read drawn rows of donors, and give them the columns of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from schemas import outputs
from schemas.errors import InputError
from schemas.lots import LOT_FIELDS
from schemas.mixes import MIX
from schemas.notices import list_names
from schemas.runs import DONORS, parse_path, shard_path
from transforms.files import storage
from transforms.files.json_lines import parse_line
from transforms.files.shared_schemas import (
    TypeConflictError,
    convert_columns,
    join_tables,
    merge_types,
)
from transforms.notes import merge_notes, replace_line_note
from transforms.records.formats import Layout
from transforms.records.segments import digest_rows
from transforms.stored_rows import (
    StoredRows,
    arrange_lines,
    arrange_table,
    read_stored_rows,
    read_table,
)
from transforms.swap_offers import DonorFile

NOTE = merge_notes(None, MIX, ())
"""The field `congener` of an added row."""

KEPT = ("record_id", "row", *LOT_FIELDS, "content_digest")
"""The ledger columns that an added row has from its donor."""


class CleanForm(NamedTuple):
    """The form of a run's clean rows, which added rows have too.

    `schema` is that of Parquet without notes, and `keys` are those of JSON Lines with the kinds of
    their values; the other one is None. `noted` says whether changed rows have notes.
    """

    layout: Layout
    schema: pa.Schema | None
    keys: Mapping[str, frozenset[str]] | None
    noted: bool


class DrawnFile(NamedTuple):
    """A donor's file, and the table of the rows that were drawn from it, in the new run."""

    file: DonorFile
    run: str
    path: str


@dataclass(frozen=True)
class AddedRows:
    """Rows of one donor's file that are added to one shard, in the order of the file.

    `rows` is a table or JSON lines. `ledger` has the rows' ledger in the donor's run, and `lots`
    the lots to which they are added. `vectors` is None without vectors.
    """

    key: str
    donor: str
    rows: pa.Table | list[bytes]
    ledger: pa.Table
    lots: list[str]
    scores: pa.Table
    spans: pa.Table
    vectors: pa.Table | None


def find_kinds(rows: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """Return the keys of JSON objects, each with the kinds of its values apart from null."""
    found: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.items():
            kinds = found.setdefault(name, set())
            if value is not None:
                kinds.add(_name_kind(value))
    return {name: frozenset(kinds) for name, kinds in found.items()}


def _name_kind(value: object) -> str:
    names = {str: "text", bool: "true or false", dict: "an object", list: "a list"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "a number")


class Comparison(NamedTuple):
    """How a donor's columns differ from a run's: those left out, those left empty, and a misfit."""

    surplus: list[str]
    lacking: list[str]
    misfit: str | None


def compare_tables(own: pa.Schema, donor: pa.Schema) -> Comparison:
    """Compare a donor's schema with a run's. A misfit is a column whose values don't fit."""
    lacking = [name for name in own.names if name not in donor.names]
    surplus = [name for name in donor.names if name not in own.names]
    for name in own.names:
        kind = own.field(name).type
        if name in lacking:
            if not own.field(name).nullable:
                return Comparison(surplus, lacking, f"column {name!r} is missing")
        elif not _holds(kind, other := donor.field(name).type):
            problem = f"column {name!r} is {other}, and {kind} in the run"
            return Comparison(surplus, lacking, problem)
    return Comparison(surplus, lacking, None)


def _holds(kind: pa.DataType, other: pa.DataType) -> bool:
    try:
        return bool(merge_types(kind, other).equals(kind))
    except TypeConflictError:
        return False


def compare_keys(
    own: Mapping[str, frozenset[str]], donor: Mapping[str, frozenset[str]]
) -> Comparison:
    """Compare the keys of a donor's JSON Lines with those of a run."""
    lacking = [name for name in own if name not in donor]
    surplus = [name for name in donor if name not in own]
    for name, kinds in donor.items():
        known = own.get(name)
        if known and not kinds <= known:
            one, other = (list_names(sorted(item)) for item in (kinds, known))
            return Comparison(surplus, lacking, f"{name!r} is {one}, and {other} in the run")
    return Comparison(surplus, lacking, None)


def read_added(drawn: DrawnFile, form: CleanForm) -> Iterator[tuple[str, AddedRows]]:
    """Yield the drawn rows of a donor's file, shard by shard.

    Raises: InputError: a row means something else without the columns that the run doesn't have.
    """
    file, table = drawn.file, read_table(drawn.run, drawn.path)
    shards = table.column("shard").to_pylist()
    places, lots = table.column("place").to_numpy(), table.column("lot").to_pylist()
    stored = read_stored_rows(file.run, file.path, file.layout)
    ledger = read_table(file.run, file.ledger)
    positions = np.flatnonzero(np.array(ledger.column("output").to_pylist(), object) == file.path)
    shard = parse_path(file.path).shard
    aligned = {
        folder: read_table(file.run, path)
        for folder in ("scores", "spans", "vectors")
        if storage.exists(storage.join(file.run, path := shard_path(folder, shard)))
    }
    for name in sorted(set(shards)):
        chosen = [index for index, own in enumerate(shards) if own == name]
        rows = places[chosen].tolist()
        own = pa.array(positions[rows])
        yield (
            name,
            AddedRows(
                file.key,
                file.name,
                _shape_rows(stored, rows, ledger.take(own), form, file),
                ledger.take(own),
                [lots[index] for index in chosen],
                aligned["scores"].take(own),
                aligned["spans"].take(own),
                aligned["vectors"].take(own) if "vectors" in aligned else None,
            ),
        )


def _shape_rows(
    stored: StoredRows, rows: Sequence[int], ledger: pa.Table, form: CleanForm, file: DonorFile
) -> pa.Table | list[bytes]:
    """Return rows in the form of the run, after checking that they still mean the same."""
    if form.schema is not None:
        table = shape_table(stored.table.take(pa.array(rows, pa.int64())), form.schema)
        shaped = arrange_table(table, form.layout)
    else:
        lines = [shape_line((stored.lines or [])[row], form.keys or {}) for row in rows]
        shaped = arrange_lines(lines, [parse_line(line)[0] for line in lines], form.layout)
    digests = digest_rows(
        shaped.table,
        shaped.segments,
        form.layout,
        shaped.companions,
        shaped.records.__getitem__,
        form.layout.read_key(),
    )
    for row, (digest, own) in enumerate(zip(digests, ledger.to_pylist(), strict=True)):
        if digest != own["content_digest"]:
            raise InputError(
                f"row {own['row']} of {own['source']} would be another example with only the "
                f"columns of the run (record {own['record_id']}, index {row})",
                where=f"donor {file.name}",
                remedy="leave the column out of the donor that trainers read, or give the run's "
                "corpus the same column",
            )
    return shaped.table if shaped.lines is None else shaped.lines


def shape_table(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return a table with the columns of a schema. A column that the table lacks is null."""
    common = [name for name in schema.names if name in table.column_names]
    return join_tables([convert_columns(table.select(common), schema)], schema)


def shape_line(line: bytes, keys: Mapping[str, object]) -> bytes:
    """Return a JSON line without the keys that the run doesn't have."""
    record = parse_line(line)[0]
    if record.keys() <= keys.keys():
        return line
    return orjson.dumps({name: value for name, value in record.items() if name in keys})


def note_rows(rows: pa.Table | list[bytes], noted: bool) -> pa.Table | list[bytes]:
    """Return added rows with their notes, if the run's changed rows have notes."""
    if not noted:
        return rows
    if isinstance(rows, list):
        return [replace_line_note(line, NOTE) for line in rows]
    notes = pa.array([NOTE] * rows.num_rows, outputs.CLEAN_EXTRA.type)
    return rows.append_column(outputs.CLEAN_EXTRA, notes)


def build_added_ledger(added: AddedRows, schema: pa.Schema, path: str, first: int) -> pa.Table:
    """Return the ledger of added rows, which are in a file of `clean/` from index `first` on."""
    size, own = added.ledger.num_rows, added.ledger
    columns: dict[str, list[Any]] = {name: own.column(name).to_pylist() for name in KEPT}
    columns["source"] = [
        name_source(added.donor, name) for name in own.column("source").to_pylist()
    ]
    columns["teacher"] = [name or added.donor for name in columns["teacher"]]
    columns |= {
        "decision": [MIX] * size,
        "reasons": [[]] * size,
        "output": [path] * size,
        "output_row": list(range(first, first + size)),
        "mix": [added.donor] * size,
        "mix_lot": added.lots,
    }
    if outputs.REJECTED_TEACHER in own.column_names:
        columns[outputs.REJECTED_TEACHER] = own.column(outputs.REJECTED_TEACHER).to_pylist()
    arrays = [pa.array(columns.get(item.name, [None] * size), item.type) for item in schema]
    return pa.table(arrays, schema=schema)


def name_source(donor: str, source: str) -> str:
    """Return an added row's source in the ledger of the run."""
    return f"{DONORS}/{donor}/{source}"


def join_keyed(own: pa.Table, added: Sequence[pa.Table], sources: Sequence[list[str]]) -> pa.Table:
    """Join tables that are aligned with a ledger. `sources` are those of the added rows.

    A score column that a table lacks is null there.
    """
    parts = [
        table.set_column(0, table.schema.field(0), pa.array(names, pa.string()))
        for table, names in zip(added, sources, strict=True)
    ]
    schema = reduce(_extend, (table.schema for table in parts), own.schema)
    return join_tables([own, *parts], schema)


def _extend(schema: pa.Schema, other: pa.Schema) -> pa.Schema:
    for item in other:
        if item.name not in schema.names:
            schema = schema.append(item)
    return schema
