"""Counting candidates in all texts of two corpora."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa

from classifiers.lots.answer_languages import (
    find_languages,
    find_prompt_languages,
    find_strays,
)
from classifiers.lots.comparison import FORMAT_BINS, FormatModel
from classifiers.lots.counts import CountedRows, Counts
from classifiers.lots.discovery import LotCandidates
from classifiers.lots.formats import measure_formats
from classifiers.lots.matches import Finder
from classifiers.lots.samples import LanguageDivision, is_confirming
from transforms.identify import IdentifiedShard
from transforms.lot_records import LOT_NAMES, LotRecords
from transforms.lot_samples import LotKey, pair_records


class CountSettings(NamedTuple):
    """What is counted, and how texts are divided.

    `lots` are counted one by one, and all others together as one more. The candidates from
    `first_rare` on are those that the reference has more often.
    """

    candidates: LotCandidates
    strata: LanguageDivision
    formats: FormatModel
    lots: tuple[LotKey, ...]
    first_rare: int | None = None

    @property
    def cells(self) -> int:
        """Return the number of cells: strata times ranges of format."""
        return self.strata.size * FORMAT_BINS


def describe_rows(records: LotRecords, own: bool, settings: CountSettings) -> CountedRows:
    """Return a shard's texts with their cells and lots. Formats are measured where they count."""
    table = records.table.combine_chunks()
    texts, prompts = (_take_text(table, name) for name in ("text", "prompt"))
    keys = table.column("key").to_numpy()
    confirms = is_confirming(keys)
    cells = np.zeros(len(keys), np.int64)
    tested, asking = (values.filter(pa.array(confirms)) for values in (texts, prompts))
    asked, answered = find_prompt_languages(asking), find_languages(tested)
    strata = settings.strata.assign(asking, asked, answered)
    strays = np.zeros(len(keys), bool)
    strays[confirms] = find_strays(asked, answered)
    formats = settings.formats.assign(measure_formats(tested))
    cells[confirms] = strata * FORMAT_BINS + formats
    known = {key: index for index, key in enumerate(settings.lots)}
    columns = [table.column(name).to_pylist() for name in LOT_NAMES]
    lots = [known.get(LotKey(own, fields), len(known)) for fields in zip(*columns, strict=True)]
    return CountedRows(
        texts,
        np.full(len(keys), own),
        confirms,
        cells,
        np.array(lots, np.int64),
        table.column("digest").to_numpy(),
        strays,
        prompts,
    )


def _take_text(table: pa.Table, name: str) -> pa.LargeStringArray:
    chunks = table.column(name).chunks
    return chunks[0] if chunks else pa.array([], pa.large_string())


class _Count(beam.CombineFn):
    """Combines shards' counts."""

    def __init__(self, settings: CountSettings) -> None:
        self._settings = settings

    def setup(self, *_args: object, **_kwargs: object) -> None:
        self._finder = Finder(self._settings.candidates)

    def create_accumulator(self, *_args: object, **_kwargs: object) -> Counts:
        settings = self._settings
        sizes = len(settings.candidates), settings.cells, len(settings.lots) + 1
        return Counts.start(*sizes, settings.first_rare)

    def add_input(
        self, mutable_accumulator: Counts, element: tuple[LotRecords, bool], *_args: object
    ) -> Counts:
        mutable_accumulator.count(describe_rows(*element, self._settings), self._finder)
        return mutable_accumulator

    def merge_accumulators(
        self, accumulators: Iterable[Counts], *_args: object, **_kwargs: object
    ) -> Counts:
        whole = self.create_accumulator()
        for part in accumulators:
            whole.add(part)
        return whole

    def extract_output(self, accumulator: Counts, *_args: object, **_kwargs: object) -> Counts:
        return accumulator


@dataclass(eq=False)
class CountCandidates(beam.PTransform):
    """Count the candidates in the texts of the corpus and the reference, as one `Counts`."""

    settings: CountSettings

    def expand(
        self, sides: tuple[beam.PCollection[IdentifiedShard], beam.PCollection[IdentifiedShard]]
    ) -> beam.PCollection[Counts]:
        """Read both sides' texts, and combine their counts."""
        corpus, reference = sides
        both = (
            corpus | "Corpus" >> beam.FlatMap(pair_records, True),
            reference | "Reference" >> beam.FlatMap(pair_records, False),
        )
        counting = beam.CombineGlobally(_Count(self.settings))
        return both | "Both" >> beam.Flatten() | "Count" >> counting
