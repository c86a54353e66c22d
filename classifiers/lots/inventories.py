"""Everything frequent in a generation's texts, counted, so that they needn't be read again."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.lots.discovery import FEWEST as FEWEST_TEXTS
from classifiers.lots.discovery import (
    KINDS,
    CountedGrams,
    Kind,
    walk_edges,
    walk_phrases,
)
from classifiers.lots.formats import HABITS, find_habits
from classifiers.lots.naming import hide_content
from classifiers.lots.samples import LotSample
from classifiers.lots.skeletons import hide_words
from classifiers.lots.tokens import LotTokens, find_tokens, mix

FEWEST_SHARE = 1 / 2_500
"""In which share of a generation's texts an n-gram must be, and in at least three, to be kept.

With it, 20,000 answers of a chat need about 7 MB.
"""

MOST_TEXTS = 20_000
"""How many texts of a generation are counted: those with the smallest hashes of prompts."""

LONGEST_NAME = 120
"""How many characters of a name are kept."""

SIZES = np.uint64(16)
"""More than the largest number of tokens, so that kind and size make one number."""

INVENTORY = pa.schema(
    [
        ("kind", pa.int8()),
        ("size", pa.int8()),
        ("hash", pa.uint64()),
        ("learning", pa.int32()),
        ("confirming", pa.int32()),
        ("text", pa.string()),
    ]
)
"""One row for each n-gram, opening, closing, pattern and format that is frequent enough, ordered by
kind, size and hash. The numbers are texts of each half. `text` is null unless it is a candidate."""


class Inventory(NamedTuple):
    """What is in at least `fewest` texts of a generation, with its numbers of texts.

    `table` has `INVENTORY`. `totals` are the numbers of all texts of the learning and of the
    confirming half.
    """

    table: pa.Table
    totals: tuple[int, int]
    fewest: int

    @property
    def keys(self) -> np.ndarray:
        """Return what identifies each row in all generations, uint64."""
        kinds, sizes = (
            self.table.column(name).to_numpy().astype(np.uint64) for name in ("kind", "size")
        )
        return mix(self.table.column("hash").to_numpy() + (kinds * SIZES + sizes))

    @property
    def counts(self) -> np.ndarray:
        """Return the numbers of texts, int64 [rows, learning or confirming half]."""
        columns = [self.table.column(name).to_numpy() for name in ("learning", "confirming")]
        return np.stack(columns, axis=1).astype(np.int64)

    def encode(self) -> bytes:
        """Return the table as Parquet. The totals aren't in it."""
        stream = io.BytesIO()
        pq.write_table(self.table, stream, compression="zstd")
        return stream.getvalue()

    @classmethod
    def decode(cls, data: bytes, totals: tuple[int, int], fewest: int) -> Inventory:
        """Read what `encode` returned."""
        return cls(pq.read_table(io.BytesIO(data)).cast(INVENTORY), totals, fewest)


def take_inventory(sample: LotSample) -> Inventory:
    """Count everything frequent in the first texts of a sample.

    What is a candidate depends on the learning half alone, so that the confirming half can test it.
    """
    part = sample.take(np.arange(min(len(sample), MOST_TEXTS)))
    learns = ~part.confirms
    fewest = max(FEWEST_TEXTS, int(len(part) * FEWEST_SHARE))
    found = _walk(part.texts, learns, fewest)
    rows = [_tabulate(item, part.texts) for item in found]
    table = pa.concat_tables([*rows, _count_formats(part.texts, learns)])
    ordered = table.sort_by([(name, "ascending") for name in ("kind", "size", "hash")])
    return Inventory(ordered.combine_chunks(), (int(learns.sum()), int((~learns).sum())), fewest)


class _Frequent(NamedTuple):
    """Frequent n-grams of a kind and size, and the span of each one's first place.

    `named` says which are candidates, and `own` and `other` are texts of the halves.
    """

    kind: Kind
    size: int
    hashes: np.ndarray
    own: np.ndarray
    other: np.ndarray
    named: np.ndarray
    text: np.ndarray
    start: np.ndarray
    end: np.ndarray


def _walk(texts: pa.LargeStringArray, learns: np.ndarray, fewest: int) -> Iterator[_Frequent]:
    tokens = find_tokens(texts)
    sizes = tokens.count_by_text(len(texts))
    firsts = np.cumsum(sizes) - sizes
    kinds: tuple[Kind, ...] = ("phrase", "pattern")
    for kind in kinds:
        shown = hide_words(tokens) if kind == "pattern" else tokens
        for counted, chosen in walk_phrases(shown, learns, kind):
            _, index = np.unique(counted.numbers, return_index=True)
            first = counted.places[index]
            frequent = counted.own + counted.other >= fewest
            kept = chosen & frequent if kind == "pattern" else frequent
            yield _build(tokens, (kind, counted, chosen), first, kept, fewest)
    for edge, counted, chosen in walk_edges(tokens, learns):
        _, index = np.unique(counted.numbers, return_index=True)
        owner = counted.places[index]
        first = firsts[owner]
        if edge == "closing":
            first = first + sizes[owner] - counted.size
        frequent = counted.own + counted.other >= fewest
        yield _build(tokens, (edge, counted, chosen), first, frequent, fewest)


def _build(
    tokens: LotTokens,
    walked: tuple[Kind, CountedGrams, np.ndarray],
    first: np.ndarray,
    kept: np.ndarray,
    fewest: int,
) -> _Frequent:
    kind, counted, chosen = walked
    size = counted.size
    last = first + size - 1
    columns = (
        *(counted.hashes, counted.own, counted.other),
        chosen & (counted.own >= fewest),
        *(tokens.text[first], tokens.start[first], tokens.end[last]),
    )
    return _Frequent(kind, size, *(column[kept] for column in columns))


def _tabulate(found: _Frequent, texts: pa.LargeStringArray) -> pa.Table:
    names: list[str | None] = [None] * len(found.hashes)
    for place in np.flatnonzero(found.named).tolist():
        whole = texts[int(found.text[place])].as_py()
        name = " ".join(whole[int(found.start[place]) : int(found.end[place])].split())
        names[place] = (hide_content(name) if found.kind == "pattern" else name)[:LONGEST_NAME]
    count = len(names)
    columns = (
        np.full(count, KINDS.index(found.kind), np.int8),
        np.full(count, found.size, np.int8),
        *(found.hashes, found.own.astype(np.int32), found.other.astype(np.int32)),
    )
    arrays = [*map(pa.array, columns), pa.array(names, pa.string())]
    return pa.Table.from_arrays(arrays, schema=INVENTORY)


def _count_formats(texts: pa.LargeStringArray, learns: np.ndarray) -> pa.Table:
    """Return the numbers of texts with each habit of formatting, however rare."""
    habits = find_habits(texts)
    count = len(HABITS)
    columns = (
        np.full(count, KINDS.index("format"), np.int8),
        np.zeros(count, np.int8),
        np.arange(count, dtype=np.uint64),
        habits[learns].sum(0).astype(np.int32),
        habits[~learns].sum(0).astype(np.int32),
    )
    names: Sequence[str] = list(HABITS)
    arrays = [*map(pa.array, columns), pa.array(names, pa.string())]
    return pa.Table.from_arrays(arrays, schema=INVENTORY)
