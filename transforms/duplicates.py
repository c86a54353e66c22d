"""Find rows that repeat an earlier row's content; only digests and lots are shuffled, not text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import apache_beam as beam

from schemas.cards import Action
from schemas.digests import digest_content
from schemas.lots import Lot
from schemas.scores import SIDES
from transforms.files.splits import rank_splits
from transforms.identify import IdentifiedShard
from transforms.rules import Rule

EMPTY_DIGEST = digest_content(())
"""The content digest of a row without any text."""

Seen = dict[tuple[tuple[float, Action], ...], Lot]
"""The earlier copies of a row, represented by one lot for each set of thresholds and actions.

Rows with equal content have equal scores, so copies with the same thresholds and actions have the
same decision.
"""


class Position(NamedTuple):
    """A row's position in the corpus: its shard, and its offset in the shard, counting rejects.

    Positions of equal rank sort in corpus order, because shard names sort in that order. `lot` is
    the row's lot, and is set only if some rule has an exception for lots. `rank` is the rank of the
    row's split; of several copies, the first one with the lowest rank is kept.
    """

    shard: str
    offset: int
    lot: Lot = Lot()
    rank: int = 0


class Repeat(NamedTuple):
    """A row that repeats earlier rows, identified by its offset in its shard.

    `lots` is empty if an earlier copy has the same decision as this row. Otherwise, `lots` holds
    one lot for each decision that an earlier copy may have.
    """

    offset: int
    lots: tuple[Lot, ...] = ()


def list_positions(
    identified: IdentifiedShard, with_lots: bool = False, priority: Sequence[str] = ()
) -> Iterator[tuple[bytes, Position]]:
    """Yield the content digest and the position of every row that has text.

    Rows without text aren't compared: they may differ in fields that the digest doesn't cover.
    """
    name, rank = identified.plan.name, rank_splits(identified.plan.splits, priority)
    rows = zip(identified.positions(), identified.digests, identified.lots, strict=True)
    for offset, digest, lot in rows:
        if digest != EMPTY_DIGEST:
            yield bytes.fromhex(digest), Position(name, offset, lot if with_lots else Lot(), rank)


def add_copy(seen: Seen, lot: Lot, rules: Sequence[Rule]) -> tuple[Lot, ...] | None:
    """Add a copy of a row to `seen`; return its `Repeat` lots, or None if it is the first copy."""
    treatment = tuple(rule.apply_exceptions(lot, side) for rule in rules for side in SIDES)
    earlier = None if not seen else () if treatment in seen else tuple(seen.values())
    seen.setdefault(treatment, lot)
    return earlier


def list_repeats(
    group: tuple[bytes, Iterable[Position]], rules: Sequence[Rule] = ()
) -> Iterator[tuple[str, Repeat]]:
    """Yield the shard and the `Repeat` of each copy of a row except the first copy.

    The first copy is the one with the lowest rank or, among several such copies, the one that comes
    first in the corpus.
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
    the one whose split comes first in `priority` is kept.
    """

    rules: Sequence[Rule] = ()
    priority: Sequence[str] = ()

    def expand(
        self, shards: beam.PCollection[IdentifiedShard]
    ) -> beam.PCollection[tuple[str, list[Repeat]]]:
        """Group positions by digest, drop the first in each group, and group the rest by shard."""
        with_lots = any(rule.exceptions for rule in self.rules)
        return (
            shards
            | "Digests" >> beam.FlatMap(list_positions, with_lots, list(self.priority))
            | "Meet" >> beam.GroupByKey()
            | "Repeats" >> beam.FlatMap(list_repeats, list(self.rules) if with_lots else [])
            | "ByShard" >> beam.GroupByKey()
            | "Sorted" >> beam.MapTuple(lambda name, repeats: (name, sorted(repeats)))
        )
