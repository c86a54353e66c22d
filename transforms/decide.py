"""Decide the rows of every shard according to the settled rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import apache_beam as beam

from schemas.lots import Lot
from schemas.receipts import NearMisses
from transforms.coders import register_shard_coder
from transforms.decisions import Decisions, Evidence, decide
from transforms.duplicates import Repeat
from transforms.near_misses import find_near_misses
from transforms.rules import Rule
from transforms.score import ScoredShard


@register_shard_coder
@dataclass(kw_only=True)
class DecidedShard(ScoredShard):
    """A shard with the decisions on its rows."""

    decided: Decisions
    near: dict[str, NearMisses] = field(default_factory=dict)


def decide_shard(
    scored: ScoredShard, rules: Sequence[Rule], repeats: Mapping[int, Sequence[Lot]] | None = None
) -> DecidedShard:
    """Decide a shard's rows; `repeats` maps table rows to the lots of their earlier copies."""
    evidence = Evidence(scored.build_score_columns(), scored.spans, scored.lots)
    return DecidedShard(
        **vars(scored),
        decided=decide(evidence, rules, repeats),
        near=find_near_misses(evidence.scores, rules),
    )


class _Decide(beam.DoFn):
    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = list(rules)

    def process(
        self, scored: ScoredShard, repeats: Mapping[str, list[Repeat]] | None = None
    ) -> Iterator[DecidedShard]:
        lots = dict((repeats or {}).get(scored.plan.name, ()))
        positions = enumerate(scored.positions()) if lots else ()
        rows = {row: lots[position] for row, position in positions if position in lots}
        yield decide_shard(scored, self._rules, rows)


@dataclass(eq=False)
class DecideRecords(beam.PTransform):
    """Decide the rows of every shard according to the settled rules.

    `repeats` maps each shard's name to the positions (`Shard.positions`) of rows that repeat an
    earlier row.
    """

    rules: Sequence[Rule]
    repeats: beam.PCollection[tuple[str, list[Repeat]]] | None = None

    def expand(self, shards: beam.PCollection[ScoredShard]) -> beam.PCollection[DecidedShard]:
        """Decide shard by shard; the repeats are a side input."""
        side = () if self.repeats is None else (beam.pvalue.AsDict(self.repeats),)
        return shards | beam.ParDo(_Decide(self.rules), *side).with_output_types(DecidedShard)
