"""What a run would do, for `congener filter --dry-run`: splits, teachers, time and folders."""

from __future__ import annotations

import time
from collections import Counter
from typing import NamedTuple

from pipelines.plan import FilterPlan
from transforms.files.samples import read_sample
from transforms.identify import IdentifiedShard, identify, select_rows
from transforms.score import get_scorer, score

TIMED_ROWS = 40
"""How many rows are scored to time the others."""


class Outlook(NamedTuple):
    """The rows by split, the sampled rows by teacher, and the seconds of all rows in one process.

    A split or a teacher of None is unknown. `timed` rows were scored for the seconds.
    """

    splits: dict[str | None, int]
    teachers: dict[str | None, int]
    sampled: int
    seconds: float
    timed: int


def foresee(plan: FilterPlan) -> Outlook:
    """Count a settled run's rows, and time some of them. Nothing is written.

    The time includes neither reading nor writing, and depends on what else the machine does.
    """
    sample = read_sample(plan.corpus, plan.layout, plan.config.shards)
    shards = [identify(shard, plan.layout) for shard in sample.shards]
    lots = [lot.teacher for shard in shards for lot in shard.lots]
    seconds, timed = time_rows(plan, shards)
    rows = sum(shard.rows for shard in plan.shards)
    return Outlook(
        splits=count_splits(plan),
        teachers=dict(Counter(lots).most_common()),
        sampled=len(lots),
        seconds=seconds / timed * rows if timed else 0.0,
        timed=timed,
    )


def count_splits(plan: FilterPlan) -> dict[str | None, int]:
    """Count the rows of each split. A shard in several splits counts in each."""
    counts: Counter[str | None] = Counter()
    for shard in plan.shards:
        for split in shard.splits:
            counts[split] += shard.rows
    return dict(counts)


def time_rows(plan: FilterPlan, shards: list[IdentifiedShard]) -> tuple[float, int]:
    """Score the first rows of some shards, and return the seconds and how many rows they were."""
    filled = [shard for shard in shards if len(shard.lots)]
    each = max(1, TIMED_ROWS // max(len(filled), 1))
    parts = [select_rows(shard, range(min(each, len(shard.lots)))) for shard in filled]
    parts, scorer = parts[:TIMED_ROWS], get_scorer(plan.scoring)
    began = time.perf_counter()
    for part in parts:
        score(part, scorer, plan.span_floor)
    return time.perf_counter() - began, sum(len(part.lots) for part in parts)
