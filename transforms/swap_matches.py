"""Join the rows that wait for an answer with the donors' rows, by prompt."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import apache_beam as beam

from schemas.digests import canonicalise_json, digest_bytes
from transforms.records.prompt_keys import NearPrompts, PromptKey
from transforms.swap_offers import (
    DonorFile,
    Offer,
    StoredShard,
    Waiting,
    WaitingSettings,
    list_offers,
    list_waiting,
    read_answers,
)

RANK_HEX = 13
"""How many hex digits of a hash are drawn from, as many as a float holds exactly."""

NO_SHARES: Mapping[int, float] = MappingProxyType({})
"""Donors without shares are asked in their order."""


class Match(NamedTuple):
    """A row and the offer that replaces its answer. `text` is read from the donor's file."""

    shard: str
    position: int
    offer: Offer
    text: str = ""


class Unmatched(NamedTuple):
    """A row for which there is no offer, with the reason and the traits of the offers."""

    shard: str
    position: int
    outcome: str
    traits: tuple[str, ...] = ()


def order_donors(prompt: str, number: int, shares: Mapping[int, float]) -> dict[int, float]:
    """Return a rank for each donor with a share; the lowest is asked first about a row.

    `prompt` is the digest of the row's prompt, and `number` counts the rows with it. Each donor is
    first for its share of the rows, second for its share of the others, and so on, because ranks
    are exponential variables with the shares as rates, drawn from a hash: the same on any engine.
    """
    ranks = {}
    for donor, share in shares.items():
        hashed = digest_bytes(canonicalise_json([prompt, number, donor]))[:RANK_HEX]
        ranks[donor] = -math.log((int(hashed, 16) + 0.5) / 16**RANK_HEX) / share
    return ranks


def match_offers(
    waiting: Iterable[Waiting], offers: Iterable[Offer], shares: Mapping[int, float] = NO_SHARES
) -> Iterator[Match | Unmatched]:
    """Give each row of one prompt the best offer that is left.

    Rows are served in the order of the corpus. Nearer prompts come first, then donors in their
    order, then records by their digests. An offer serves one row only, never one with the same
    answer, and never if a trait fires on it. With `shares`, which are keyed by the donors' numbers,
    the order of the donors is drawn for each row, and donors without a share come last.
    """
    every = sorted(set(offers))
    free = [offer for offer in every if not offer.traits]
    found = tuple(sorted({trait for offer in every for trait in offer.traits}))
    usable = len(free)
    for number, item in enumerate(sorted(waiting)):
        place = _find_offer(free, item, order_donors(item.key.whole, number, shares))
        if place is not None:
            yield Match(item.shard, item.position, free.pop(place))
        elif free:
            yield Unmatched(item.shard, item.position, "same answer")
        elif found and not usable:
            yield Unmatched(item.shard, item.position, "donors carry a trait", found)
        else:
            outcome = "answers taken" if usable else "no donor"
            yield Unmatched(item.shard, item.position, outcome)


def _find_offer(free: Sequence[Offer], item: Waiting, ranks: Mapping[int, float]) -> int | None:
    """Return the index of the best offer with another answer than the row's, or None.

    `free` is sorted, and `ranks` put donors in another order than that of their numbers.
    """
    places = (index for index, offer in enumerate(free) if offer.answer != item.answer)
    if not ranks:
        return next(places, None)
    last = math.inf
    return min(
        places,
        key=lambda index: (free[index].distance, ranks.get(free[index].donor, last), index),
        default=None,
    )


class _ListWaiting(beam.DoFn):
    def __init__(self, settings: WaitingSettings) -> None:
        self._settings = settings

    def process(self, shard: StoredShard) -> Iterator[tuple[str, Waiting]]:
        for item in list_waiting(shard, self._settings):
            yield item.key.whole, item


def _take_key(item: tuple[str, Waiting], with_text: bool) -> PromptKey:
    """Return a waiting row's key, without the text of the question unless it is needed."""
    key = item[1].key
    return key if with_text else key._replace(asked="")


class _ListOffers(beam.DoFn):
    """Lists a file's offers for prompts that some row waits with."""

    def __init__(self, near: float | None) -> None:
        self._near = near
        self._known: tuple[set[str], NearPrompts | None] | None = None

    def process(self, file: DonorFile, keys: Sequence[PromptKey]) -> Iterator[tuple[str, Offer]]:
        if self._known is None:
            near = None if self._near is None else NearPrompts(keys, self._near)
            self._known = {key.whole for key in keys}, near
        wanted, near = self._known
        for whole, offer in list_offers(file, near):
            if whole in wanted:
                yield whole, offer


class _Match(beam.DoFn):
    """Matches the rows and the offers of one prompt."""

    def __init__(self, shares: Mapping[int, float]) -> None:
        self._shares = dict(shares)

    def process(self, group: tuple[str, Mapping[str, Iterable[Any]]]) -> Iterator[Any]:
        _, found = group
        for item in match_offers(found["waiting"], found["offers"], self._shares):
            if isinstance(item, Match):
                yield item.offer.file, item
            else:
                yield beam.pvalue.TaggedOutput("unmatched", (item.shard, item))


class _ReadAnswers(beam.DoFn):
    """Reads the chosen answers of one donor's file."""

    def __init__(self, files: Sequence[DonorFile]) -> None:
        self._files = {file.key: file for file in files}

    def process(self, group: tuple[str, Iterable[Match]]) -> Iterator[tuple[str, Match]]:
        key, matches = group
        chosen = sorted(matches)
        texts = read_answers(self._files[key], [item.offer.place for item in chosen])
        for item in chosen:
            yield item.shard, item._replace(text=texts[item.offer.place])


@dataclass(eq=False)
class MatchPrompts(beam.PTransform):
    """Find a donor's answer for every row that waits, or the reason why there is none.

    The result has a shard's name and a `Match` or `Unmatched` for each row. Only digests are
    shuffled, and the texts of the chosen answers. With `near`, every worker holds the prompts of
    the waiting rows in memory.
    """

    files: Sequence[DonorFile]
    settings: WaitingSettings
    near: float | None = None
    shares: Mapping[int, float] = field(default_factory=dict)

    def expand(self, shards: beam.PCollection[StoredShard]) -> beam.PCollection[Any]:
        """List both sides, join them by prompt, and read the chosen answers."""
        waiting = shards | "Waiting" >> beam.ParDo(_ListWaiting(self.settings)).with_output_types(
            tuple[str, Waiting]
        )
        keys = waiting | "Keys" >> beam.Map(_take_key, self.near is not None)
        offers = (
            shards.pipeline
            | "Donors" >> beam.Create(list(self.files))
            | "SpreadDonors" >> beam.Reshuffle()
            | "Offers"
            >> beam.ParDo(_ListOffers(self.near), beam.pvalue.AsList(keys)).with_output_types(
                tuple[str, Offer]
            )
        )
        joined = {"waiting": waiting, "offers": offers} | "Join" >> beam.CoGroupByKey()
        matched = joined | "Match" >> beam.ParDo(_Match(self.shares)).with_outputs(
            "unmatched", main="matched"
        )
        answers = (
            matched.matched
            | "TypeMatched" >> beam.Map(lambda item: item).with_output_types(tuple[str, Match])
            | "ByFile" >> beam.GroupByKey()
            | "Answers" >> beam.ParDo(_ReadAnswers(self.files)).with_output_types(tuple[str, Any])
        )
        unmatched = matched.unmatched | "TypeUnmatched" >> beam.Map(
            lambda item: item
        ).with_output_types(tuple[str, Any])
        return (answers, unmatched) | "Outcomes" >> beam.Flatten()
