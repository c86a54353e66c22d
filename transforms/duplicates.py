"""Find rows that repeat an earlier row's content.

Beam shuffles only digests and lots, never text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam

from schemas.cards import Action
from schemas.digests import EMPTY_DIGEST
from schemas.lots import Lot
from schemas.scores import SIDES
from transforms.files.splits import rank_splits
from transforms.identify import IdentifiedShard
from transforms.rules import Rule

Seen = dict[tuple[tuple[float, Action], ...], Lot]
"""The earlier copies of a row: one lot for each set of thresholds and actions.

Copies have equal scores, so equal thresholds and actions give the same decision.
"""


class Position(NamedTuple):
    """A row's position in the corpus: its shard, and its offset in the shard, counting rejects.

    Shard names sort in corpus order. `lot` is set only if some rule has an exception for lots.
    `rank` is the rank of the row's split. Among copies, the first row of the lowest rank is kept.
    """

    shard: str
    offset: int
    lot: Lot = Lot()
    rank: int = 0


class Repeat(NamedTuple):
    """A row that repeats earlier rows, identified by its offset in its shard.

    `lots` holds one lot for each decision that an earlier copy may have. It is empty if an earlier
    copy has this row's decision.
    """

    offset: int
    lots: tuple[Lot, ...] = ()


def list_positions(
    identified: IdentifiedShard, with_lots: bool = False, priority: Sequence[str] = ()
) -> Iterator[tuple[bytes, Position]]:
    """Yield the content digest and the position of every row that has text.

    The digest of a row without text says nothing about its other fields.
    """
    name, rank = identified.plan.name, rank_splits(identified.plan.splits, priority)
    rows = zip(identified.positions(), identified.digests, identified.lots, strict=True)
    for offset, digest, lot in rows:
        if digest != EMPTY_DIGEST:
            yield bytes.fromhex(digest), Position(name, offset, lot if with_lots else Lot(), rank)


def add_copy(seen: Seen, lot: Lot, rules: Sequence[Rule]) -> tuple[Lot, ...] | None:
    """Add a copy of a row to `seen`; return the `lots` of its `Repeat`, or None for the first."""
    treatment = tuple(rule.apply_exceptions(lot, side) for rule in rules for side in SIDES)
    earlier = None if not seen else () if treatment in seen else tuple(seen.values())
    seen.setdefault(treatment, lot)
    return earlier


def list_repeats(
    group: tuple[bytes, Iterable[Position]], rules: Sequence[Rule] = ()
) -> Iterator[tuple[str, Repeat]]:
    """Yield the shard and the `Repeat` of each copy of a row except the kept copy.

    The first row of the lowest rank is kept.
    """
    seen: Seen = {}
    for copy in sorted(group[1], key=lambda position: (position.rank, position)):
        earlier = add_copy(seen, copy.lot, rules)
        if earlier is not None:
            yield copy.shard, Repeat(copy.offset, earlier)


@dataclass(eq=False)
class FindDuplicates(beam.PTransform):
    """Find the rows that repeat an earlier row's content, as pairs (shard name, repeats).

    The rules determine which copies may have different decisions. If copies are in several splits,
    the first split in `priority` keeps its copy.
    """

    rules: Sequence[Rule] = ()
    priority: Sequence[str] = ()

    def expand(
        self, shards: beam.PCollection[IdentifiedShard]
    ) -> beam.PCollection[tuple[str, list[Repeat]]]:
        """Group positions by digest, drop each group's first row, and group the rest by shard."""
        with_lots = any(rule.exceptions for rule in self.rules)
        return (
            shards
            | "Digests" >> beam.FlatMap(list_positions, with_lots, list(self.priority))
            | "Meet" >> beam.GroupByKey()
            | "Repeats" >> beam.FlatMap(list_repeats, list(self.rules) if with_lots else [])
            | "ByShard" >> beam.GroupByKey()
            | "Sorted" >> beam.MapTuple(lambda name, repeats: (name, sorted(repeats)))
        )
