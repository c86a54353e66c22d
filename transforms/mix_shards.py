"""Add drawn rows to the shards of a run, and write every shard of the new run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from schemas import outputs
from schemas.digests import compute_merkle_root, digest_bytes
from schemas.events import ShardWritten
from schemas.ledgers import hash_ledger_rows
from schemas.policies import LotException
from schemas.receipts import ExceptionEffect, Output, Receipt
from schemas.runs import SHARD_FOLDERS, is_json_lines, parse_path, receipt_path
from transforms.files import storage
from transforms.files.json_lines import COMPRESSION_OF_SUFFIX, JsonLines
from transforms.files.shared_schemas import join_tables
from transforms.listeners import emit
from transforms.mix_rows import (
    AddedRows,
    CleanForm,
    DrawnFile,
    build_added_ledger,
    join_keyed,
    note_rows,
    read_added,
)
from transforms.rules import Rule
from transforms.stored_rows import EXTRA, read_lines, read_table
from transforms.swap_offers import StoredShard
from transforms.swap_shards import count_decided, find_stem, measure_scores
from transforms.swapped_tables import count_unscored
from transforms.write import write_tables


class MixedShard(NamedTuple):
    """A shard of the run, and how many rows are added to it."""

    stored: StoredShard
    added: int

    @property
    def name(self) -> str:
        """Return the shard's name."""
        return self.stored.name

    @property
    def rows(self) -> int:
        """Return the number of rows with the added ones."""
        return self.stored.rows + self.added


class MixSettings(NamedTuple):
    """The run, the new run, the form of its clean rows, and the rules of the run."""

    run: str
    output: str
    run_id: str
    form: CleanForm
    rules: tuple[Rule, ...]
    exceptions: tuple[LotException, ...] = ()


def write_mixed(shard: MixedShard, added: Iterable[AddedRows], settings: MixSettings) -> Receipt:
    """Write a shard with its added rows, then its receipt. A retry writes the same bytes.

    The receipt's counts of near misses, exceptions and rows without scores are those of the added
    rows alone.

    Raises: ValueError: other rows were read than were drawn.
    """
    parts = sorted(added, key=lambda item: item.key)
    own = read_table(settings.run, shard.stored.files["ledger"])
    old, new = _build_ledgers(shard.stored, own, parts)
    if sum(table.num_rows for table in new) != shard.added:
        raise ValueError(f"shard {shard.name}: {shard.added} rows were drawn, but others were read")
    ledger = pa.concat_tables([old, *new])
    tables: dict[str, pa.Table | JsonLines] = {"ledger": ledger}
    scores = None
    if parts:
        joined = _join_aligned(shard.stored, parts, new, settings.run)
        scores = joined["scores"].slice(own.num_rows)
        tables |= {"clean": _build_clean(shard.stored, parts, settings), **joined}
    files = list(_write(shard.stored, tables, settings))
    receipt = Receipt(
        shard=shard.name,
        rows=shard.rows,
        outputs=tuple(files),
        decisions=count_decided(ledger),
        fired={},
        **_measure(new, scores, settings),
        ledger_root=compute_merkle_root(hash_ledger_rows(ledger)).hex(),
        run=settings.run_id,
        tokens=0,
        padded=0,
    )
    storage.write_bytes(storage.join(settings.output, receipt_path(shard.name)), receipt.to_bytes())
    emit(settings.run_id, ShardWritten(shard.rows, shard.name))
    return receipt


def _build_ledgers(
    shard: StoredShard, own: pa.Table, parts: Sequence[AddedRows]
) -> tuple[pa.Table, list[pa.Table]]:
    """Return the shard's ledger with the columns of a mix, and the ledgers of the added rows."""
    schema = pa.schema([*own.schema, *(pa.field(*column) for column in outputs.MIXED)])
    old = join_tables([own], schema)
    first = sum(name == shard.files.get("clean") for name in own.column("output").to_pylist())
    new = []
    for part in parts:
        new.append(build_added_ledger(part, schema, shard.files["clean"], first))
        first += part.ledger.num_rows
    return old, new


def _join_aligned(
    shard: StoredShard, parts: Sequence[AddedRows], new: Sequence[pa.Table], run: str
) -> dict[str, pa.Table]:
    """Return the tables that are aligned with the ledger, with the added rows at their ends."""
    sources = [table.column("source").to_pylist() for table in new]
    found = {
        folder: join_keyed(
            read_table(run, shard.files[folder]), [getattr(part, folder) for part in parts], sources
        )
        for folder in ("scores", "spans")
    }
    if "vectors" in shard.files:
        vectors = [part.vectors for part in parts if part.vectors is not None]
        found["vectors"] = join_keyed(read_table(run, shard.files["vectors"]), vectors, sources)
    return found


def _build_clean(
    shard: StoredShard, parts: Sequence[AddedRows], settings: MixSettings
) -> pa.Table | JsonLines:
    """Return the clean rows as they were, and the added rows after them."""
    path = shard.files["clean"]
    if is_json_lines(path):
        noted = [note_rows(part.rows, settings.form.noted) for part in parts]
        lines = [*read_lines(settings.run, path), *(line for rows in noted for line in rows)]
        return JsonLines(lines, COMPRESSION_OF_SUFFIX[parse_path(path).suffix])
    own = read_table(settings.run, path)
    tables = [note_rows(part.rows, EXTRA in own.column_names) for part in parts]
    return join_tables([own, *tables], own.schema)


def _write(
    shard: StoredShard, tables: Mapping[str, pa.Table | JsonLines], settings: MixSettings
) -> Iterator[Output]:
    """Write the tables, and copy the shard's other files byte for byte."""
    written = write_tables(shard.name, find_stem(shard), tables, settings.output)
    files = {parse_path(file.path).folder: file for file in written}
    for folder in SHARD_FOLDERS:
        if folder in files:
            yield files[folder]
        elif folder in shard.files:
            yield _copy(shard.files[folder], settings)


def _copy(path: str, settings: MixSettings) -> Output:
    data = storage.read_bytes(storage.join(settings.run, path))
    storage.write_bytes(storage.join(settings.output, path), data)
    size = len(data)
    rows = len(read_lines(settings.run, path)) if is_json_lines(path) else _count_rows(data)
    return Output(path=path, rows=rows, bytes=size, sha256=digest_bytes(data))


def _count_rows(data: bytes) -> int:
    return int(pq.read_metadata(pa.BufferReader(data)).num_rows)


def _measure(new: Sequence[pa.Table], scores: Any, settings: MixSettings) -> dict[str, Any]:
    """Return the counts of a receipt that are about the scores of the added rows."""
    if not new:
        return {"exceptions": tuple(ExceptionEffect() for _ in settings.exceptions)}
    traits = [rule.trait for rule in settings.rules]
    ledger = pa.concat_tables(new)
    measured = measure_scores(ledger, scores, settings.rules, settings.exceptions)
    return {**measured, "unscored": count_unscored(scores, traits, 0)}


class _ReadDrawn(beam.DoFn):
    """Reads the drawn rows of one donor's file for the shards that aren't finished."""

    def __init__(self, form: CleanForm, left: frozenset[str]) -> None:
        self._form, self._left = form, left

    def process(self, drawn: DrawnFile) -> Iterator[tuple[str, AddedRows]]:
        for name, rows in read_added(drawn, self._form):
            if name in self._left:
                yield name, rows


class _Mix(beam.DoFn):
    def __init__(self, settings: MixSettings) -> None:
        self._settings = settings

    def process(self, group: tuple[str, Mapping[str, Iterable[Any]]]) -> Iterator[Receipt]:
        _, found = group
        for shard in found["shards"]:
            yield write_mixed(shard, found["added"], self._settings)


@dataclass(eq=False)
class MixShards(beam.PTransform):
    """Write every shard with its added rows. A retried bundle writes identical files again.

    The input has the drawn files. Shards that aren't among `shards` are finished, and are left
    alone. Only the added rows are shuffled.
    """

    shards: Sequence[MixedShard]
    settings: MixSettings

    def expand(self, files: beam.PCollection[DrawnFile]) -> beam.PCollection[Receipt]:
        """Read the added rows, join them with the shards, and write shard by shard."""
        left = frozenset(shard.name for shard in self.shards)
        added = files | "Read" >> beam.ParDo(
            _ReadDrawn(self.settings.form, left)
        ).with_output_types(tuple[str, Any])
        shards = (
            files.pipeline
            | "Shards" >> beam.Create([(shard.name, shard) for shard in self.shards])
            | "Type" >> beam.Map(lambda item: item).with_output_types(tuple[str, Any])
        )
        return (
            {"shards": shards, "added": added}
            | "Group" >> beam.CoGroupByKey()
            | "Write" >> beam.ParDo(_Mix(self.settings)).with_output_types(Receipt)
        )
