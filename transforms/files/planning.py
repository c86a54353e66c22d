"""Planning: the deterministic cut of files into shards, and the tasks that read them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from schemas.corpora import EXPANSION_FLOOR, ShardLimits
from schemas.digests import digest_config
from transforms.files.json_lines import Compression
from transforms.files.sources import Cut, Kind, Source


class SourcePiece(NamedTuple):
    """Contiguous rows of one source."""

    source: str
    uri: str
    sha256: str
    kind: Kind
    compression: Compression
    begin: Cut
    end: Cut
    max_bytes: int = EXPANSION_FLOOR
    """The bytes that its rows may take as Arrow arrays."""
    fingerprint: str = ""
    """The source's fingerprint during the survey."""

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.end.row - self.begin.row


class ShardPlan(NamedTuple):
    """A shard before it is read. Its name has its number and a digest of its pieces."""

    name: str
    pieces: tuple[SourcePiece, ...]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(piece.rows for piece in self.pieces)


def plan_shards(sources: Iterable[Source], limits: ShardLimits) -> list[tuple[ShardPlan, ...]]:
    """Return the corpus's shards, grouped into the tasks that read them.

    A task is usually one shard. In a compressed file or a large Parquet row group, rows can't be
    reached without those before them, so the shards are one task, read in one sweep. Small files
    share a shard, each as a whole.
    """
    groups: list[list[tuple[SourcePiece, ...]]] = []
    small: list[SourcePiece] = []
    for source in sources:
        pieces = _cut_pieces(source, limits)
        if len(pieces) == 1 and _fit_in_shard([*small, *pieces], limits):
            small += pieces
            continue
        if small:
            groups.append([tuple(small)])
            small = []
        if len(pieces) == 1:
            small = pieces
        else:
            groups += _group_sweeps(pieces)
    if small:
        groups.append([tuple(small)])
    return _name_shards(groups)


def _cut_pieces(source: Source, limits: ShardLimits) -> list[SourcePiece]:
    max_bytes = limits.compute_max_bytes(source.size)
    return [
        SourcePiece(
            source.name,
            source.uri,
            source.sha256,
            source.kind,
            source.compression,
            begin,
            end,
            max_bytes,
            source.fingerprint,
        )
        for begin, end in pairwise(source.cuts)
    ]


def _fit_in_shard(pieces: Sequence[SourcePiece], limits: ShardLimits) -> bool:
    """Return whether whole files fit in one shard."""
    return (
        sum(piece.rows for piece in pieces) <= limits.rows
        and sum(piece.end.byte for piece in pieces) <= limits.bytes
    )


def _group_sweeps(pieces: Sequence[SourcePiece]) -> list[list[tuple[SourcePiece, ...]]]:
    """Group a file's pieces, each a shard, by the sweep that reads them."""
    sweeps: list[list[tuple[SourcePiece, ...]]] = []
    begun = Counter(piece.begin.group for piece in pieces)
    for piece in pieces:
        together = piece.compression != "none" or (
            piece.kind == "parquet"
            and bool(sweeps)
            and sweeps[-1][-1][0].end.group == piece.begin.group
            and begun[piece.begin.group] > 1  # the row group is larger than a shard
        )
        if together and sweeps:
            sweeps[-1].append((piece,))
        else:
            sweeps.append([(piece,)])
    return sweeps


def _name_shards(
    groups: Sequence[Sequence[tuple[SourcePiece, ...]]],
) -> list[tuple[ShardPlan, ...]]:
    """Return the plans of the shards, named by their numbers and by digests of their pieces."""
    number, tasks = 0, []
    for group in groups:
        plans = []
        for pieces in group:
            identity = digest_config(
                [(piece.source, piece.sha256, piece.begin.row, piece.end.row) for piece in pieces]
            )
            plans.append(ShardPlan(f"part-{number:06d}-{identity[:12]}", pieces))
            number += 1
        tasks.append(tuple(plans))
    return tasks
