"""Decide the rows of every shard by the settled rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import apache_beam as beam

from transforms.coders import register_shard_coder
from transforms.decisions import Decisions, Evidence, decide
from transforms.rules import Rule
from transforms.score import ScoredShard


@register_shard_coder
@dataclass(kw_only=True)
class DecidedShard(ScoredShard):
    """A shard with the decisions on its rows."""

    decided: Decisions


def decide_shard(
    scored: ScoredShard, rules: Sequence[Rule], duplicates: frozenset[int] = frozenset()
) -> DecidedShard:
    """Decide a shard's rows; `duplicates` are rows of its table."""
    evidence = Evidence(scored.scores.build_columns(), scored.spans, scored.lots)
    return DecidedShard(**vars(scored), decided=decide(evidence, rules, duplicates))


class _Decide(beam.DoFn):
    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = list(rules)

    def process(
        self, scored: ScoredShard, duplicates: Mapping[str, list[int]] | None = None
    ) -> Iterator[DecidedShard]:
        repeated = set((duplicates or {}).get(scored.plan.name, ()))
        rows = (
            (row for row, position in enumerate(scored.positions()) if position in repeated)
            if repeated
            else ()
        )
        yield decide_shard(scored, self._rules, frozenset(rows))


@dataclass(eq=False)
class DecideRecords(beam.PTransform):
    """Decide the rows of every shard by the settled rules.

    `duplicates` maps a shard's name to the positions (`Shard.positions`) of the rows that repeat an
    earlier row. It holds no text.
    """

    rules: Sequence[Rule]
    duplicates: beam.PCollection[tuple[str, list[int]]] | None = None

    def expand(self, shards: beam.PCollection[ScoredShard]) -> beam.PCollection[DecidedShard]:
        """Decide shard by shard; the duplicates are a side input."""
        side = () if self.duplicates is None else (beam.pvalue.AsDict(self.duplicates),)
        return shards | beam.ParDo(_Decide(self.rules), *side).with_output_types(DecidedShard)
