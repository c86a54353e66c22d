"""Planning: how files are cut into shards, and how shards are grouped into tasks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

from schemas.corpora import EXPANSION_FLOOR, ShardLimits
from schemas.digests import digest_config
from schemas.runs import name_joined_files
from transforms.files.compression import Compression
from transforms.files.dataset_cards import Splits
from transforms.files.kinds import SWEPT, Kind
from transforms.files.partitions import read_folder_columns
from transforms.files.sources import Source
from transforms.files.splits import SplitSigns, list_splits, read_split_signs
from transforms.files.stems import build_stem
from transforms.files.surveys import Cut

NUMBER_DIGITS = 6
"""The fewest digits in a shard's number. Very large corpora need more digits."""


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
    """The largest size of the rows as Arrow arrays, in bytes."""
    fingerprint: str = ""
    """The source's fingerprint during the survey."""
    splits: Splits = ()
    """The splits that the dataset card lists the source under."""

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return self.end.row - self.begin.row


class PlannedShard(Protocol):
    """What the receipts of a run are compared with."""

    @property
    def name(self) -> str:
        """Return the shard's name."""

    @property
    def rows(self) -> int:
        """Return the number of rows."""


class ShardPlan(NamedTuple):
    """A shard before it is read.

    The name holds the shard's number, the number of its files if it has several, and a digest of
    the pieces. All pieces are from one folder and one split.
    """

    name: str
    pieces: tuple[SourcePiece, ...]

    @property
    def rows(self) -> int:
        """Return the number of rows."""
        return sum(piece.rows for piece in self.pieces)

    @property
    def stem(self) -> str:
        """Return the path below `clean/` for the shard's rows."""
        return build_stem(self.pieces[0].source) if self.pieces else ""

    @property
    def splits(self) -> tuple[str | None, ...]:
        """Return the splits of the shard's rows; None means an unknown split."""
        if not self.pieces:
            return (None,)
        return list_splits(self.pieces[0].source, self.pieces[0].splits)

    @property
    def folder_columns(self) -> dict[str, str | None]:
        """Return the columns in the folder names: partition keys, and the folder's own name."""
        return read_folder_columns(self.pieces[0].source) if self.pieces else {}


def plan_shards(sources: Iterable[Source], limits: ShardLimits) -> list[tuple[ShardPlan, ...]]:
    """Return the corpus's shards, grouped into tasks.

    A task is usually one shard. Some files can only be read from the beginning: compressed, Arrow
    and CSV files. Their shards form one task, which reads the file once. So do the shards of a
    large Parquet row group. In a corpus of more than `limits.apart` files, small files of a folder
    and split share a shard and aren't cut.
    """
    filled = [source for source in sources if source.rows]
    groups: list[list[tuple[SourcePiece, ...]]] = []
    small = _SmallFiles(limits, are_joined=len(filled) > limits.apart)
    for source in filled:
        pieces = _cut_pieces(source, limits)
        if len(pieces) != 1 or not small.may_add(pieces[0]):
            groups += small.take()
        if len(pieces) == 1:
            small.add(pieces[0])
        else:
            groups += _group_sweeps(pieces)
    return _name_shards(groups + small.take())


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
            source.splits,
        )
        for begin, end in pairwise(source.cuts)
    ]


class _SmallFiles:
    """Whole files that share a shard, with their total size. Unless `are_joined`, one file."""

    def __init__(self, limits: ShardLimits, *, are_joined: bool) -> None:
        self._limits, self._are_joined = limits, are_joined
        self._pieces: list[SourcePiece] = []
        self._rows = self._bytes = 0

    def may_add(self, piece: SourcePiece) -> bool:
        return not self._pieces or (
            self._are_joined
            and _read_neighbourhood(self._pieces[0]) == _read_neighbourhood(piece)
            and self._rows + piece.rows <= self._limits.rows
            and self._bytes + piece.end.byte <= self._limits.bytes
        )

    def add(self, piece: SourcePiece) -> None:
        self._pieces.append(piece)
        self._rows += piece.rows
        self._bytes += piece.end.byte

    def take(self) -> list[list[tuple[SourcePiece, ...]]]:
        """Return the pending files as a group of one shard, and begin the next shard."""
        groups = [[tuple(self._pieces)]] if self._pieces else []
        self._pieces, self._rows, self._bytes = [], 0, 0
        return groups


def _read_neighbourhood(piece: SourcePiece) -> tuple[str, SplitSigns, Splits]:
    """Return what a shard's files share: the folder, the split words and the card's splits."""
    folder, _, file = piece.source.rpartition("/")
    return folder, read_split_signs(file), piece.splits


def _group_sweeps(pieces: Sequence[SourcePiece]) -> list[list[tuple[SourcePiece, ...]]]:
    """Group a file's pieces, one per shard, by the sweep that reads them."""
    sweeps: list[list[tuple[SourcePiece, ...]]] = []
    begun = Counter(piece.begin.group for piece in pieces)
    for piece in pieces:
        together = _is_swept(piece) or (
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


def _is_swept(piece: SourcePiece) -> bool:
    """Return whether a piece can only be reached by reading the rows before it."""
    return piece.compression != "none" or piece.kind in SWEPT


def _name_shards(
    groups: Sequence[Sequence[tuple[SourcePiece, ...]]],
) -> list[tuple[ShardPlan, ...]]:
    """Name the shards after their numbers, their files if several, and their pieces' digests."""
    count = sum(len(group) for group in groups)
    digits = max(NUMBER_DIGITS, len(str(count - 1)))
    number, tasks = 0, []
    for group in groups:
        plans = []
        for pieces in group:
            identity = digest_config(
                [(piece.source, piece.sha256, piece.begin.row, piece.end.row) for piece in pieces]
            )
            files = name_joined_files(len(pieces)) if len(pieces) > 1 else ""
            name = f"part-{number:0{digits}d}-{files}{identity[:12]}"
            plans.append(ShardPlan(name, pieces))
            number += 1
        tasks.append(tuple(plans))
    return tasks
