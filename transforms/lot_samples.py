"""Gathering a sample of two corpora, in which the same prompts are sampled from both."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.lots.counts import MOST_LOTS
from classifiers.lots.samples import LotSample
from transforms.identify import IdentifiedShard
from transforms.lot_records import LOT_NAMES, RECORDS, LotRecords, read_lot_records

MOST_TEXTS = 40_000
"""How many texts of each corpus are sampled."""

MOST_CHARACTERS = 64_000_000
"""How many characters of each corpus are sampled, so that memory stays flat."""

LONGEST_TEXT = 20_000
"""How many characters of a sampled text are kept: its beginning. Counts read whole texts."""


NUMBERS = b"numbers"


class LotKey(NamedTuple):
    """A lot's place: whether it is in the corpus, and its fields."""

    own: bool
    fields: tuple[str, ...]


@dataclass
class Gathered:
    """A sample of both corpora, and the numbers of all texts.

    `table` has `RECORDS`, ordered by prompt and then by text. Both corpora's texts are those with
    the smallest hashes of prompts, so what is sampled doesn't depend on the order of shards.
    """

    table: pa.Table = field(default_factory=RECORDS.empty_table)
    lots: Counter[LotKey] = field(default_factory=Counter)
    rejects: Counter[bool] = field(default_factory=Counter)
    silent: Counter[bool] = field(default_factory=Counter)

    def add(self, records: LotRecords, own: bool, teachers: Sequence[str] = ()) -> None:
        """Add a shard's texts, or those of some teachers. All lots are counted."""
        self.rejects[own] += records.rejects
        self.silent[own] += records.silent
        columns = [records.table.column(name).to_pylist() for name in LOT_NAMES]
        for fields, count in Counter(zip(*columns, strict=True)).items():
            self.lots[LotKey(own, fields)] += count
        table = records.table
        if teachers:
            table = table.filter(pc.is_in(table.column("teacher"), pa.array(teachers, pa.string())))
        shortened = pc.utf8_slice_codeunits(table.column("text"), 0, LONGEST_TEXT)
        place = RECORDS.get_field_index("text")
        self._join(table.set_column(place, RECORDS.field("text"), shortened))

    def merge(self, other: Gathered) -> None:
        """Add what was gathered from other shards."""
        self.lots += other.lots
        self.rejects += other.rejects
        self.silent += other.silent
        self._join(other.table)

    def count_texts(self, own: bool) -> int:
        """Return the number of texts of a corpus."""
        return sum(count for key, count in self.lots.items() if key.own == own)

    def encode(self) -> bytes:
        """Return the sample as an Arrow stream, with the numbers in its metadata."""
        numbers = {
            "lots": sorted([key.own, *key.fields, count] for key, count in self.lots.items()),
            "rejects": [self.rejects[False], self.rejects[True]],
            "silent": [self.silent[False], self.silent[True]],
        }
        table = self.table.replace_schema_metadata({NUMBERS: json.dumps(numbers)})
        stream = io.BytesIO()
        with pa.ipc.new_stream(stream, table.schema) as writer:
            writer.write_table(table)
        return stream.getvalue()

    @classmethod
    def decode(cls, data: bytes) -> Gathered:
        """Read what `encode` returned."""
        with pa.ipc.open_stream(data) as reader:
            table = reader.read_all()
        numbers = json.loads(table.schema.metadata[NUMBERS])
        return cls(
            table.replace_schema_metadata(None),
            Counter({LotKey(own, tuple(rest)): n for own, *rest, n in numbers["lots"]}),
            Counter(dict(zip((False, True), numbers["rejects"], strict=True))),
            Counter(dict(zip((False, True), numbers["silent"], strict=True))),
        )

    def _join(self, table: pa.Table) -> None:
        if table.num_rows:
            self.table = limit_sample(pa.concat_tables([self.table, table]))


def limit_sample(
    table: pa.Table, most: int = MOST_TEXTS, characters: int = MOST_CHARACTERS
) -> pa.Table:
    """Order texts by prompt, and keep the first ones of each corpus within the limits.

    The result of limiting parts and then the whole is that of limiting the whole at once.
    """
    order = np.lexsort(
        [
            table.column("own").to_numpy(),
            table.column("digest").to_numpy(),
            table.column("key").to_numpy(),
        ]
    )
    table = table.take(pa.array(order))
    own = table.column("own").to_numpy()
    lengths = pc.utf8_length(table.column("text")).to_numpy()
    kept = np.zeros(len(own), bool)
    for side in (False, True):
        chosen = own == side
        running = np.cumsum(lengths * chosen)
        kept |= chosen & (np.cumsum(chosen) <= most) & (running <= max(characters, lengths.max()))
    return table if kept.all() else table.filter(pa.array(kept)).combine_chunks()


def choose_lots(gathered: Gathered) -> tuple[LotKey, ...]:
    """Return the lots that are counted one by one: the largest ones, first those of the corpus."""
    ordered = sorted(gathered.lots.items(), key=lambda item: (not item[0].own, -item[1], item[0]))
    return tuple(key for key, _ in ordered[:MOST_LOTS])


def pair_lots(lots: Sequence[LotKey]) -> dict[int, int]:
    """Map the numbers of the corpus's lots to those of the reference's lots with equal fields."""
    others = {key.fields: number for number, key in enumerate(lots) if not key.own}
    return {
        number: others[key.fields]
        for number, key in enumerate(lots)
        if key.own and key.fields in others
    }


def build_sample(gathered: Gathered, lots: Sequence[LotKey]) -> LotSample:
    """Return the gathered texts, each with the number of its lot."""
    table = gathered.table.combine_chunks()
    texts, prompts = (
        pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], pa.large_string())
        for column in (table.column("text"), table.column("prompt"))
    )
    known = {key: number for number, key in enumerate(lots)}
    own = table.column("own").to_numpy()
    fields = [table.column(name).to_pylist() for name in LOT_NAMES]
    numbers = [
        known.get(LotKey(side, tuple(pair)), len(known))
        for side, *pair in zip(own.tolist(), *fields, strict=True)
    ]
    return LotSample(
        texts,
        prompts,
        table.column("key").to_numpy(),
        table.column("digest").to_numpy(),
        own,
        np.array(numbers, np.int64),
        table.column("asks").to_numpy(),
    )


class _Gather(beam.CombineFn):
    """Combines shards' texts, or those of some teachers, into a sample."""

    def __init__(self, teachers: tuple[str, ...] = ()) -> None:
        super().__init__()
        self._teachers = teachers

    def create_accumulator(self, *_args: object, **_kwargs: object) -> Gathered:
        return Gathered()

    def add_input(
        self, mutable_accumulator: Gathered, element: tuple[LotRecords, bool], *_args: object
    ) -> Gathered:
        mutable_accumulator.add(*element, self._teachers)
        return mutable_accumulator

    def merge_accumulators(
        self, accumulators: Iterable[Gathered], *_args: object, **_kwargs: object
    ) -> Gathered:
        whole = Gathered()
        for part in accumulators:
            whole.merge(part)
        return whole

    def extract_output(self, accumulator: Gathered, *_args: object, **_kwargs: object) -> Gathered:
        return accumulator


def pair_records(shard: IdentifiedShard, own: bool) -> Iterator[tuple[LotRecords, bool]]:
    """Yield a shard's texts, and whether they are of the corpus."""
    yield read_lot_records(shard, own), own


@dataclass(eq=False)
class GatherSample(beam.PTransform):
    """Gather a sample of the corpus and the reference, as one `Gathered`."""

    def expand(
        self, sides: tuple[beam.PCollection[IdentifiedShard], beam.PCollection[IdentifiedShard]]
    ) -> beam.PCollection[Gathered]:
        """Read both sides' texts, and combine them."""
        corpus, reference = sides
        both = (
            corpus | "Corpus" >> beam.FlatMap(pair_records, True),
            reference | "Reference" >> beam.FlatMap(pair_records, False),
        )
        return both | "Both" >> beam.Flatten() | "Sample" >> beam.CombineGlobally(_Gather())


@dataclass(eq=False)
class GatherCorpus(beam.PTransform):
    """Gather a sample of one corpus, or of some teachers' texts in it, as a `Gathered`."""

    teachers: tuple[str, ...] = ()

    def expand(self, corpus: beam.PCollection[IdentifiedShard]) -> beam.PCollection[Gathered]:
        """Read the corpus's texts, and combine them."""
        records = corpus | "Corpus" >> beam.FlatMap(pair_records, True)
        return records | "Sample" >> beam.CombineGlobally(_Gather(self.teachers))
