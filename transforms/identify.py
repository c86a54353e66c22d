"""Identify the rows of a shard: their content digests, record ids and lots."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam

from schemas.digests import RECORD_ID_HEX
from schemas.lots import LOT_FIELDS, UNKNOWN, Lot
from schemas.row_names import name_lots
from transforms.coders import register_shard_coder
from transforms.digest_keys import DigestKey
from transforms.files.json_lines import parse_line
from transforms.files.shards import Shard
from transforms.poison import add_rejects, isolate_failures, keep_rows
from transforms.records.columns import take_column
from transforms.records.companions import Companions, find_in_lines, find_in_table
from transforms.records.formats import Layout
from transforms.records.lot_fields import (
    format_lot_field,
    name_system_prompt,
    read_lot_column,
)
from transforms.records.plain_values import list_rows
from transforms.records.roles import CHANNELS
from transforms.records.segments import Segments, digest_rows, extract_segments
from transforms.records.sides import assign_sides
from transforms.records.validity import require_valid


@register_shard_coder
@dataclass(kw_only=True)
class IdentifiedShard(Shard):
    """A shard with its segments, and each row's content digest and lot.

    `columns` maps the format's column names to the corpus's names. `names_rejected_teachers` is
    true if lots include the rejected answers' teachers.
    """

    segments: Segments
    digests: list[str]
    lots: list[Lot]
    columns: dict[str, str]
    names_rejected_teachers: bool = False
    digest_key: DigestKey | None = None

    @property
    def record_ids(self) -> list[str]:
        """Return the rows' record ids."""
        return [digest[:RECORD_ID_HEX] for digest in self.digests]


def identify(shard: Shard, layout: Layout, names: Collection[str] = ()) -> IdentifiedShard:
    """Split a shard's conversations into segments, and identify its rows.

    A row becomes a reject if this fails. A row with one of the names is a lot of its own.
    """
    identified, reasons = isolate_failures(
        shard.table.num_rows,
        lambda rows: _identify_rows(keep_rows(shard, rows), layout),
        "splitting the row into segments",
    )
    identified.rejects = add_rejects(identified, shard, reasons).rejects
    places = list(zip(identified.sources, identified.numbers, strict=True)) if names else ()
    ids = identified.record_ids if names else ()
    identified.lots = name_lots(identified.lots, names, ids, places)
    return identified


def _identify_rows(shard: Shard, layout: Layout) -> IdentifiedShard:
    require_valid(shard.table)
    companions, key = find_companions(shard, layout), layout.read_key()
    segments = assign_sides(extract_segments(shard.table, layout), layout, companions)
    return IdentifiedShard(
        **vars(shard),
        segments=segments,
        digests=digest_rows(
            shard.table, segments, layout, companions, lambda row: read_record(shard, row), key
        ),
        lots=_build_lots(shard, segments, layout, key),
        columns=layout.columns,
        names_rejected_teachers=layout.rejected_teacher is not None,
        digest_key=layout.digest_key,
    )


def find_companions(shard: Shard, layout: Layout) -> dict[int, Companions]:
    """Return the companions of each row that has any."""
    if shard.lines is None:
        return find_in_table(shard.table, layout.columns)
    return find_in_lines(shard.lines, lambda line: parse_line(line)[0], layout.columns)


def read_record(shard: Shard, row: int) -> dict[str, Any]:
    """Return a row with all its columns.

    A JSON Lines shard's table lacks unread columns.
    """
    if shard.lines is not None:
        return parse_line(shard.lines[row])[0]
    return list_rows(shard.table.slice(row, 1))[0]


def select_rows(identified: IdentifiedShard, rows: Sequence[int]) -> IdentifiedShard:
    """Return a shard cut down to the given rows.

    Its rejects are left out, unless all rows are given.
    """
    if len(rows) == identified.table.num_rows:
        return identified
    return IdentifiedShard(
        **vars(keep_rows(identified, rows)),
        segments=identified.segments.select_rows(rows),
        digests=[identified.digests[row] for row in rows],
        lots=[identified.lots[row] for row in rows],
        columns=identified.columns,
        names_rejected_teachers=identified.names_rejected_teachers,
        digest_key=identified.digest_key,
    )


def _build_lots(shard: Shard, segments: Segments, layout: Layout, key: bytes | None) -> list[Lot]:
    size = shard.table.num_rows
    columns = []
    for name in LOT_FIELDS:
        source = layout.lots.get(name)
        if source is None:
            prompts = name == "system_prompt"
            columns.append(
                _name_system_prompts(size, segments, key) if prompts else [UNKNOWN] * size
            )
        elif source.column in layout.keys:
            value = shard.plan.folder_columns.get(source.column)
            columns.append([format_lot_field(name, value, key)] * size)
        elif source.column is not None:
            columns.append(read_lot_column(name, take_column(shard.table, source.column), key))
        else:
            columns.append([source.constant or UNKNOWN] * size)
    if layout.rejected_teacher is not None:
        column = shard.table.column(layout.rejected_teacher)
        columns.append(read_lot_column("teacher", column, key))
    known: dict[tuple[str, ...], Lot] = {}
    return [known.setdefault(fields, Lot(*fields)) for fields in zip(*columns, strict=True)]


def _name_system_prompts(size: int, segments: Segments, key: bytes | None) -> list[str]:
    """Return the digest of each row's first system prompt, or `UNKNOWN`."""
    names = [UNKNOWN] * size
    for segment in segments.find_in_scope(("system",), CHANNELS).tolist():
        row = int(segments.rows[segment])
        if names[row] == UNKNOWN:
            names[row] = name_system_prompt(segments.text[segment].as_py(), key)
    return names


class _Identify(beam.DoFn):
    def __init__(self, layout: Layout, names: Collection[str]) -> None:
        self._layout, self._names = layout, names

    def process(self, shard: Shard) -> Iterator[IdentifiedShard]:
        yield identify(shard, self._layout, self._names)


@dataclass(eq=False)
class IdentifyRecords(beam.PTransform):
    """Identify the rows of every shard.

    `names` are the names of the rows that the policy names.
    """

    layout: Layout
    names: Collection[str] = ()

    def expand(self, shards: beam.PCollection[Shard]) -> beam.PCollection[IdentifiedShard]:
        """Identify shard by shard."""
        return shards | beam.ParDo(_Identify(self.layout, self.names)).with_output_types(
            IdentifiedShard
        )
