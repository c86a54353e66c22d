"""Canaries: rows with known texts that pass through all stages beside the corpus, unpublished."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import NamedTuple

import apache_beam as beam

from schemas.runs import WORK
from transforms.decide import DecidedShard
from transforms.files import storage
from transforms.files.json_lines import parse_line
from transforms.files.planning import ShardPlan, SourcePiece
from transforms.files.shards import Shard
from transforms.files.surveys import Cut
from transforms.records.formats import Layout
from transforms.stored_rows import StoredRows, arrange_lines, arrange_table, replace_answers

PREFIX = "canaries-"
"""How the names of shards of canaries begin. Other shards begin with `part-`."""


class CanaryOutcome(NamedTuple):
    """The decision on a canary, and the traits that fired on it."""

    decision: str
    fired: tuple[str, ...]


def is_canary(shard: Shard) -> bool:
    """Return whether a shard holds canaries."""
    return shard.plan.name.startswith(PREFIX)


def is_of_corpus(shard: Shard) -> bool:
    """Return whether a shard holds rows of the corpus."""
    return not is_canary(shard)


def plant_texts(
    host: Shard, layout: Layout, texts: Sequence[str], order: Sequence[int], number: int
) -> tuple[Shard, list[int]] | None:
    """Return a shard of canaries: rows of a shard, with a text in place of each row's answer.

    `order` names the host's rows in the order in which they are used, again from the first if there
    are more texts. The rows that were used come back. A host without a plain answer gives None.
    """
    stored = _arrange(host, layout)
    found = [(row, stored.find_answer(row)) for row in order]
    hosts = [(row, answer) for row, answer in found if answer is not None]
    if not hosts:
        return None
    pairs = zip(texts, cycle(hosts), strict=False)
    chosen = [(row, answer, text) for text, (row, answer) in pairs]
    new = replace_answers(stored, chosen)
    rows = [row for row, *_ in chosen]
    table = host.table.take(rows)
    for name in set(new.table.column_names) & set(table.column_names):
        place = table.column_names.index(name)
        column = new.table.column(name).cast(table.schema.field(place).type)
        table = table.set_column(place, table.schema.field(place), column)
    name = f"{PREFIX}{number}"
    piece = SourcePiece(name, name, "", "jsonl", "none", Cut(0, 0, 0), Cut(len(rows), len(rows), 0))
    plan = ShardPlan(name, (piece,))
    numbers = list(range(len(rows)))
    return Shard(plan, table, [name] * len(rows), numbers, lines=new.lines), rows


def _arrange(host: Shard, layout: Layout) -> StoredRows:
    if host.lines is None:
        return arrange_table(host.table, layout)
    records = [parse_line(line, math.inf)[0] for line in host.lines]
    return arrange_lines(host.lines, records, layout)


def list_outcomes(shard: DecidedShard) -> list[CanaryOutcome]:
    """Return what became of each canary, in order. One that can't be scored is a reject."""
    found = [CanaryOutcome("reject", ())] * shard.plan.rows
    for place, number in enumerate(shard.numbers):
        reasons = shard.decided.reasons.get(place, ())
        fired = dict.fromkeys(item.trait for item in reasons if "@" not in item.signal)
        found[number] = CanaryOutcome(shard.decided.decisions[place], tuple(fired))
    return found


def outcome_path(name: str) -> str:
    """Return where a run's working folder holds the outcomes of a shard of canaries."""
    return f"{WORK}/{name}.json"


def read_outcomes(run: str, name: str, digest: str) -> list[CanaryOutcome] | None:
    """Return the outcomes of planted texts, or None if these texts weren't scored yet."""
    uri = storage.join(run, outcome_path(name))
    if not storage.exists(uri):
        return None
    fields = json.loads(storage.read_bytes(uri))
    if fields["digest"] != digest:
        return None
    return [CanaryOutcome(decision, tuple(fired)) for decision, fired in fields["rows"]]


class _CountOutcomes(beam.DoFn):
    def __init__(self, run: str, digest: str) -> None:
        self._run, self._digest = run, digest

    def process(self, shard: DecidedShard) -> Iterator[str]:
        path = outcome_path(shard.plan.name)
        fields = {"digest": self._digest, "rows": list_outcomes(shard)}
        storage.write_bytes(storage.join(self._run, path), json.dumps(fields).encode())
        yield path


@dataclass(eq=False)
class CountCanaries(beam.PTransform):
    """Write what became of canaries to the working folder. A retry writes the same bytes."""

    run: str
    digest: str

    def expand(self, shards: beam.PCollection[DecidedShard]) -> beam.PCollection[str]:
        """Write shard by shard."""
        return shards | beam.ParDo(_CountOutcomes(self.run, self.digest)).with_output_types(str)
