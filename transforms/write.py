"""The write stage, which writes each shard's files and then its receipt."""

from __future__ import annotations

import io
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.banks import Bank, read_bank
from schemas.corpora import OutputFormat
from schemas.digests import digest_bytes
from schemas.events import ShardWritten
from schemas.receipts import Output, Receipt
from schemas.runs import PARQUET, receipt_path, shard_path
from schemas.scores import name_finding
from transforms.decide import DecidedShard
from transforms.files import storage
from transforms.files.conversions import convert_lines, encode_rows
from transforms.files.json_lines import JsonLines, parse_line
from transforms.listeners import emit
from transforms.note_counts import count_notes
from transforms.records.unread_text import RowNames, count_texts
from transforms.tables import build_tables


def encode_parquet(table: pa.Table) -> bytes:
    """Encode a table as zstd Parquet. Equal tables give equal bytes with the same pyarrow."""
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", write_page_index=False)
    return stream.getvalue()


@dataclass(frozen=True)
class Destination:
    """Where and how shards are written.

    `extra_column` adds the `congener` column to the clean rows, and `vectors` adds a table of the
    rows' vectors. Receipts carry the run's id, which is also the channel of progress events.
    `output_format` is the format of the corpus's rows. `schema` is the Parquet schema for JSON
    Lines that become Parquet.
    """

    run: str
    bank_uri: str
    extra_column: bool
    vectors: bool = False
    run_id: str = ""
    output_format: OutputFormat = "input"
    schema: Any = None


def convert_rows(shard: DecidedShard, to: Destination) -> DecidedShard:
    """Convert a shard's rows to the output format."""
    if to.output_format == "jsonl" and shard.lines is None:
        return replace(shard, lines=encode_rows(shard.table))
    if to.output_format == "parquet" and shard.lines is not None:
        objects = [parse_line(line)[0] for line in shard.lines]
        return replace(shard, table=convert_lines(objects, to.schema), lines=None)
    return shard


def write_shard(shard: DecidedShard, bank: Bank, to: Destination) -> Receipt:
    """Write a shard's files, then its receipt. A retry writes the same bytes to the same names."""
    shard = convert_rows(shard, to)
    built = build_tables(shard, bank, to.extra_column, to.vectors)
    scopes = {trait.card.scope for trait in bank.traits.values()}
    receipt = Receipt(
        shard=shard.plan.name,
        rows=shard.plan.rows,
        outputs=tuple(write_tables(shard.plan.name, shard.plan.stem, built.tables, to.run)),
        decisions=count_decisions(shard),
        fired=count_fired(shard),
        near=shard.near,
        exceptions=shard.exceptions,
        ledger_root=built.ledger_root,
        tokens=shard.tokens,
        padded=shard.padded,
        run=to.run_id,
        budget_cuts=shard.budget_cuts,
        unscored=shard.count_unscored(),
        **count_prompts(len(shard.decided.swaps), built.tables.get("swaplist")),
        texts=count_texts(shard.segments, RowNames(shard.sources, shard.numbers), scopes),
        nearest=built.nearest,
        notes=count_notes(shard),
    )
    path = storage.join(to.run, receipt_path(shard.plan.name))
    storage.write_bytes(path, receipt.to_bytes())
    emit(to.run_id, ShardWritten(shard.plan.rows, shard.plan.name))
    return receipt


def count_prompts(held: int, listed: Any) -> dict[str, int]:
    """Count the held rows without a prompt on the swap list, and the incomplete prompts.

    `held` is the number of rows that wait for another teacher. `listed` is the swap list as a
    table, or None if it is empty.
    """
    if listed is None:
        return {"unprompted": held, "incomplete": 0}
    complete = sum(listed["complete"].to_pylist())
    return {"unprompted": held - listed.num_rows, "incomplete": listed.num_rows - complete}


def count_decisions(shard: DecidedShard) -> dict[str, int]:
    """Count a shard's rows by decision, including rejects."""
    counts = Counter(shard.decided.decisions) + Counter({"reject": len(shard.rejects)})
    return dict(sorted(counts.items()))


def count_fired(shard: DecidedShard) -> dict[str, int]:
    """Count the rows on which each trait fired, separately for each side."""
    counts = Counter(
        trait
        for reasons in shard.decided.reasons.values()
        for trait in {name_finding(reason.trait, reason.signal) for reason in reasons}
    )
    return dict(sorted(counts.items()))


def encode_output(table: pa.Table | JsonLines) -> bytes:
    """Return the bytes of an output file."""
    return table.encode() if isinstance(table, JsonLines) else encode_parquet(table)


def write_tables(
    name: str, stem: str, tables: Mapping[str, pa.Table | JsonLines], run: str
) -> Iterator[Output]:
    """Encode a shard's tables in parallel and write them one by one, and yield the files."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        encoded = pool.map(encode_output, tables.values())
        for (folder, table), data in zip(tables.items(), encoded, strict=True):
            suffix = table.suffix if isinstance(table, JsonLines) else PARQUET
            path = shard_path(folder, name, suffix, stem)
            storage.write_bytes(storage.join(run, path), data)
            yield Output(path=path, rows=table.num_rows, bytes=len(data), sha256=digest_bytes(data))


class _Write(beam.DoFn):
    def __init__(self, to: Destination) -> None:
        self._to = to

    def setup(self) -> None:
        uri = self._to.bank_uri
        self._bank = read_bank(lambda name: storage.read_bytes(storage.join(uri, name)), uri)

    def process(self, shard: DecidedShard) -> Iterator[Receipt]:
        yield write_shard(shard, self._bank, self._to)


@dataclass(eq=False)
class WriteShards(beam.PTransform):
    """Write every shard. A retried bundle writes identical files again."""

    to: Destination

    def expand(self, shards: beam.PCollection[DecidedShard]) -> beam.PCollection[Receipt]:
        """Write shard by shard."""
        return shards | beam.ParDo(_Write(self.to)).with_output_types(Receipt)
