"""Find rows that repeat the content of an earlier row. Only digests are shuffled, never text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam

from schemas.digests import digest_content
from transforms.identify import IdentifiedShard

EMPTY_DIGEST = digest_content(())
"""The content digest of a row without any text."""


class Position(NamedTuple):
    """A row's position in the corpus: its shard, and its offset in the shard, rejects included.

    Positions sort in the order of the corpus, because the names of shards do.
    """

    shard: str
    offset: int


def list_positions(identified: IdentifiedShard) -> Iterator[tuple[bytes, Position]]:
    """Yield the content digest and the position of every row that has text.

    Rows without text aren't compared: they may differ in fields that the digest doesn't cover.
    """
    name = identified.plan.name
    for offset, digest in zip(identified.positions(), identified.digests, strict=True):
        if digest != EMPTY_DIGEST:
            yield bytes.fromhex(digest), Position(name, offset)


def list_repeats(group: tuple[bytes, Iterable[Position]]) -> Iterator[tuple[str, int]]:
    """Yield every position of a digest except its first one in the corpus."""
    yield from sorted(group[1])[1:]


class FindDuplicates(beam.PTransform):
    """Find the rows that repeat the content of an earlier row, as (shard name, positions)."""

    def expand(
        self, shards: beam.PCollection[IdentifiedShard]
    ) -> beam.PCollection[tuple[str, list[int]]]:
        """Group positions by digest, drop the first of each, and group the others by shard."""
        return (
            shards
            | "Digests" >> beam.FlatMap(list_positions)
            | "Meet" >> beam.GroupByKey()
            | "Repeats" >> beam.FlatMap(list_repeats)
            | "ByShard" >> beam.GroupByKey()
            | "Sorted" >> beam.MapTuple(lambda name, offsets: (name, sorted(offsets)))
        )
