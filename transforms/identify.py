"""Identify: content digests, record ids and lots of a shard's rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import NamedTuple

import apache_beam as beam
import pyarrow as pa

from schemas.corpora import LOT_FIELDS
from schemas.digests import RECORD_ID_HEX, sha256_hex
from schemas.policies import LotPattern
from transforms.coders import coded
from transforms.files.shards import Shard
from transforms.poison import kept, spared, with_rejects
from transforms.records.formats import Layout
from transforms.records.segments import CHANNELS, Segments, content_digests, segments_of

NOTHING = "-"
"""Stands for a lot field that a corpus or a row doesn't have."""


class Lot(NamedTuple):
    """What records of one lot share."""

    teacher: str
    prompt_source: str
    system_prompt: str
    date: str

    def name(self) -> str:
        """Return the lot's name in the ledger: its fields, separated by ` | `."""
        return " | ".join(self)

    def matches(self, pattern: LotPattern) -> bool:
        """Say whether every field that the pattern names fits it."""
        return all(
            wanted is None or fnmatchcase(getattr(self, field), wanted) for field, wanted in pattern
        )


@coded
@dataclass
class IdentifiedShard:
    """A shard with its conversations taken apart and its rows named."""

    shard: Shard
    segments: Segments
    digests: list[str]
    lots: list[Lot]

    @property
    def record_ids(self) -> list[str]:
        """Return the rows' record ids."""
        return [digest[:RECORD_ID_HEX] for digest in self.digests]


def identify(shard: Shard, layout: Layout) -> IdentifiedShard:
    """Take a shard's conversations apart and name its rows; a row that can't be becomes a reject."""
    found, reasons = spared(
        shard.table.num_rows,
        lambda rows: _identified(kept(shard, rows), layout),
        "taking the row apart",
    )
    found.shard = with_rejects(found.shard, shard, reasons)
    return found


def _identified(shard: Shard, layout: Layout) -> IdentifiedShard:
    _require_sound(shard.table)
    segments = segments_of(shard.table, layout)
    return IdentifiedShard(
        shard,
        segments,
        content_digests(shard.table, segments, layout),
        _lots(shard, segments, layout),
    )


def _require_sound(table: pa.Table) -> None:
    """Check every value of a table, in all its columns: a Parquet file's text may be no UTF-8.

    Raises: pa.ArrowInvalid: Some value isn't what its type says.
    """
    try:
        table.validate(full=True)
    except pa.ArrowInvalid:  # of a part of a table, also the rows beside it: a copy has none
        table.take(pa.array(range(table.num_rows))).validate(full=True)


def part_of(identified: IdentifiedShard, rows: Sequence[int]) -> IdentifiedShard:
    """Return some rows of an identified shard, without its rejects."""
    if len(rows) == identified.shard.table.num_rows:
        return identified
    return IdentifiedShard(
        kept(identified.shard, rows),
        identified.segments.of_rows(rows),
        [identified.digests[row] for row in rows],
        [identified.lots[row] for row in rows],
    )


def _lots(shard: Shard, segments: Segments, layout: Layout) -> list[Lot]:
    size = shard.table.num_rows
    columns = []
    for name in LOT_FIELDS:
        place = layout.lots.get(name)
        if place is None:
            columns.append(
                _system_prompts(size, segments) if name == "system_prompt" else [NOTHING] * size
            )
        elif place.column is not None:
            columns.append(_texts(name, shard.table.column(place.column)))
        else:
            columns.append([(place.constant or NOTHING).replace("|", "/")] * size)
    known: dict[tuple[str, ...], Lot] = {}
    return [known.setdefault(fields, Lot(*fields)) for fields in zip(*columns, strict=True)]


def _texts(name: str, column: pa.ChunkedArray) -> list[str]:
    """Write a column of a lot field as text; each value that is there once only."""
    if not pa.types.is_string(column.type):
        return [_text(name, value) for value in column.to_pylist()]
    coded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    known = [_text(name, value) for value in coded.dictionary.to_pylist()]
    return [known[code] for code in coded.indices.to_pylist()]


def _text(name: str, value: object) -> str:
    """Write a lot field as text; of a date the day, which is its first ten characters."""
    if value is None or value == "":
        return NOTHING
    text = str(value).replace("|", "/")
    if name == "system_prompt":
        return sha256_hex(text.strip().encode("utf-8", "surrogatepass"))[
            :8
        ]  # a prompt is text, which the ledger doesn't hold
    return text[:10] if name == "date" else text


def _system_prompts(size: int, segments: Segments) -> list[str]:
    """Name each row's system prompt by eight hex digits of its digest."""
    names = [NOTHING] * size
    for segment in segments.in_scope(("system",), CHANNELS).tolist():
        row = int(segments.rows[segment])
        if names[row] == NOTHING:
            names[row] = sha256_hex(segments.text[segment].as_py().strip().encode())[:8]
    return names


class _Identify(beam.DoFn):
    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def process(self, shard: Shard) -> Iterator[IdentifiedShard]:
        yield identify(shard, self._layout)


@dataclass(eq=False)
class IdentifyRecords(beam.PTransform):
    """Name the rows of every shard."""

    layout: Layout

    def expand(self, shards: beam.PCollection[Shard]) -> beam.PCollection[IdentifiedShard]:
        """Identify shard by shard; no shuffle."""
        return shards | beam.ParDo(_Identify(self.layout)).with_output_types(IdentifiedShard)
