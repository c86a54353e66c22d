"""Decide the rows of every shard according to the settled rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam

from schemas.lots import Lot
from schemas.policies import LotException
from schemas.receipts import ExceptionEffect, NearMisses
from schemas.scores import Side
from transforms.coders import register_shard_coder
from transforms.decisions import Decisions, Evidence, decide
from transforms.duplicates import Repeat
from transforms.exception_effects import measure_effects
from transforms.near_misses import find_near_misses
from transforms.rules import Rule
from transforms.score import ScoredShard


@register_shard_coder
@dataclass(kw_only=True)
class DecidedShard(ScoredShard):
    """A shard with the decisions on its rows."""

    decided: Decisions
    near: dict[str, NearMisses] = field(default_factory=dict)
    exceptions: tuple[ExceptionEffect, ...] = ()
    neighbours: Mapping[tuple[int, str, Side], list[dict[str, Any]]] | None = None
    """The nearest exemplars by row, trait and side, or None if vectors give them."""


def decide_shard(
    scored: ScoredShard,
    rules: Sequence[Rule],
    repeats: Mapping[int, Sequence[Lot]] | None = None,
    exceptions: Sequence[LotException] = (),
) -> DecidedShard:
    """Decide a shard's rows; `repeats` maps table rows to the lots of their earlier copies.

    `exceptions` are the policy's, whose effects are measured; the rules contain them already.
    """
    scores, lots = scored.build_score_columns(), scored.lots
    decided = decide(Evidence(scores, scored.spans, lots), rules, repeats)
    return DecidedShard(
        **vars(scored),
        decided=decided,
        near=find_near_misses(scores, rules),
        exceptions=measure_effects(scores, lots, decided.decisions, rules, exceptions),
    )


class _Decide(beam.DoFn):
    def __init__(self, rules: Sequence[Rule], exceptions: Sequence[LotException]) -> None:
        self._rules, self._exceptions = list(rules), tuple(exceptions)

    def process(
        self, scored: ScoredShard, repeats: Mapping[str, list[Repeat]] | None = None
    ) -> Iterator[DecidedShard]:
        lots = dict((repeats or {}).get(scored.plan.name, ()))
        positions = enumerate(scored.positions()) if lots else ()
        rows = {row: lots[position] for row, position in positions if position in lots}
        yield decide_shard(scored, self._rules, rows, self._exceptions)


@dataclass(eq=False)
class DecideRecords(beam.PTransform):
    """Decide the rows of every shard according to the settled rules.

    `repeats` maps each shard's name to the positions (`Shard.positions`) of rows that repeat an
    earlier row. `exceptions` are the policy's, whose effects are measured.
    """

    rules: Sequence[Rule]
    repeats: beam.PCollection[tuple[str, list[Repeat]]] | None = None
    exceptions: Sequence[LotException] = ()

    def expand(self, shards: beam.PCollection[ScoredShard]) -> beam.PCollection[DecidedShard]:
        """Decide shard by shard; the repeats are a side input."""
        side = () if self.repeats is None else (beam.pvalue.AsDict(self.repeats),)
        decide_each = _Decide(self.rules, self.exceptions)
        return shards | beam.ParDo(decide_each, *side).with_output_types(DecidedShard)
