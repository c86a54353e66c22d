"""Write: a shard's files under deterministic names, and last its receipt."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.banks import Bank, read_bank
from schemas.digests import canonical_json, config_digest, sha256_hex
from transforms.decide import DecidedShard
from transforms.files import storage
from transforms.score import TALLY
from transforms.tables import build_tables

RECEIPTS = ".work/receipts"


class OutputFile(NamedTuple):
    """A file of a run: its path in the run directory, rows, bytes and digest."""

    path: str
    rows: int
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Receipt:
    """What became of a shard. A shard is done when its receipt is there and its files are as it says."""

    shard: str
    rows: int
    outputs: tuple[OutputFile, ...]
    decisions: dict[str, int]
    fired: dict[str, int]
    ledger_root: str
    tokens: int
    padded: int
    run: str = ""
    budget_cuts: int = 0
    unscored: int = 0
    """Rows without any text that a trait looks at."""

    def to_bytes(self) -> bytes:
        """Encode as JSON, with a digest of its own."""
        value = asdict(self) | {"outputs": [item._asdict() for item in self.outputs]}
        return canonical_json(value | {"digest": config_digest(value)})


def receipt_from_bytes(data: bytes) -> Receipt:
    """Decode a receipt.

    Raises: ValueError: It isn't as it was written.
    """
    try:
        value: dict[str, Any] = dict(json.loads(data))
        if value.pop("digest", None) == config_digest(value):
            return Receipt(
                **{**value, "outputs": tuple(OutputFile(**item) for item in value["outputs"])}
            )
    except (ValueError, TypeError, KeyError):
        pass
    raise ValueError("its receipt is damaged")


def parquet_bytes(table: pa.Table) -> bytes:
    """Encode a table as zstd Parquet; equal tables give equal bytes under one pyarrow version."""
    stream = io.BytesIO()
    pq.write_table(table, stream, compression="zstd", write_page_index=False)
    return stream.getvalue()


def write_shard(
    decided: DecidedShard,
    run: str,
    bank: Bank,
    extra_column: bool,
    vectors: bool = False,
    run_id: str = "",
) -> Receipt:
    """Write a shard's files, then its receipt, which names the run. A retry writes the same bytes under the same names."""
    plan = decided.scored.identified.shard.plan
    built = build_tables(decided, bank, extra_column, vectors)
    outputs = []
    with ThreadPoolExecutor(
        os.cpu_count()
    ) as pool:  # coded side by side, written one after the other
        for folder, table, data in zip(
            built.tables,
            built.tables.values(),
            pool.map(parquet_bytes, built.tables.values()),
            strict=True,
        ):
            path = f"{folder}/{plan.name}.parquet"
            storage.write_bytes(storage.join(run, path), data)
            outputs.append(OutputFile(path, table.num_rows, len(data), sha256_hex(data)))
    receipt = Receipt(
        shard=plan.name,
        rows=plan.rows,
        outputs=tuple(outputs),
        decisions=built.decisions,
        fired=built.fired,
        ledger_root=built.ledger_root,
        tokens=decided.scored.tokens,
        padded=decided.scored.padded,
        run=run_id,
        budget_cuts=decided.scored.budget_cuts,
        unscored=decided.scored.scores.unscored(),
    )
    storage.write_bytes(storage.join(run, RECEIPTS, f"{plan.name}.json"), receipt.to_bytes())
    TALLY.finish(plan.rows)
    return receipt


class _Write(beam.DoFn):
    def __init__(
        self, run: str, bank_uri: str, extra_column: bool, vectors: bool, run_id: str
    ) -> None:
        self._run, self._bank_uri, self._extra_column, self._vectors, self._run_id = (
            run,
            bank_uri,
            extra_column,
            vectors,
            run_id,
        )

    def setup(self) -> None:
        self._bank = read_bank(
            lambda name: storage.read_bytes(storage.join(self._bank_uri, name)), self._bank_uri
        )

    def process(self, decided: DecidedShard) -> Iterator[Receipt]:
        yield write_shard(
            decided, self._run, self._bank, self._extra_column, self._vectors, self._run_id
        )


@dataclass(eq=False)
class WriteShards(beam.PTransform):
    """Write every shard as a whole; a retried bundle overwrites its files with equal ones."""

    run: str
    bank_uri: str
    extra_column: bool
    vectors: bool = False
    run_id: str = ""

    def expand(self, shards: beam.PCollection[DecidedShard]) -> beam.PCollection[Receipt]:
        """Write shard by shard."""
        return shards | beam.ParDo(
            _Write(self.run, self.bank_uri, self.extra_column, self.vectors, self.run_id)
        )
