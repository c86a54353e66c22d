"""Exact duplicates across the corpus: digests meet, texts don't."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam

from schemas.digests import content_digest
from transforms.identify import IdentifiedShard

NO_CONTENT = content_digest(())
"""The digest of a row without any text."""


class Position(NamedTuple):
    """A row's place: its shard (shard names sort in corpus order) and its place among all of the shard's rows."""

    shard: str
    place: int


def positions(identified: IdentifiedShard) -> Iterator[tuple[bytes, Position]]:
    """Yield the content digest and position of every row that has any text: two without are unlike in what isn't compared."""
    name = identified.shard.plan.name
    for place, digest in zip(identified.shard.places(), identified.digests, strict=True):
        if digest != NO_CONTENT:
            yield bytes.fromhex(digest), Position(name, place)


def later(group: tuple[bytes, Iterable[Position]]) -> Iterator[tuple[str, int]]:
    """Yield all positions of a digest but the first in corpus order."""
    yield from sorted(group[1])[1:]


class FindDuplicates(beam.PTransform):
    """Find the rows whose content stands earlier in the corpus, as (shard name, places)."""

    def expand(
        self, shards: beam.PCollection[IdentifiedShard]
    ) -> beam.PCollection[tuple[str, list[int]]]:
        """Group digests, keep all but the first position, gather them by shard."""
        return (
            shards
            | "Digests" >> beam.FlatMap(positions)
            | "Meet" >> beam.GroupByKey()
            | "Later" >> beam.FlatMap(later)
            | "ByShard" >> beam.GroupByKey()
            | "Sorted" >> beam.MapTuple(lambda name, places: (name, sorted(places)))
        )
