"""A random sample of a corpus's answers, on which its own thresholds are calibrated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipelines.config import OWN_CORPUS
from schemas.digests import digest_config
from transforms.files.planning import ShardPlan
from transforms.files.shards import read_task
from transforms.files.sources import Corpus
from transforms.identify import IdentifiedShard, identify
from transforms.records.formats import Layout

CORPUS_SAMPLE = f"--background {OWN_CORPUS}"
"""How the name of calibration texts begins if they are such a sample."""

SAMPLED_ROWS = 2_000
"""How many rows are drawn.

At a level of 1 %, 12 of 2,000 rows may reach the threshold, so a few rows with the trait don't
decide it. With the default encoder, 2,000 rows take three minutes on two cores.
"""

READ_ROWS = 200_000
"""How many rows are read for the sample, so that a large corpus isn't read twice."""


def draw_answers(
    corpus: Corpus, layout: Layout, tasks: Sequence[tuple[ShardPlan, ...]], rows: int = SAMPLED_ROWS
) -> list[tuple[str, ...]]:
    """Draw rows at random, without replacement, and return the texts of their trained answers.

    Rows without such texts and rows that can't be read are left out. The draw depends only on the
    tasks. In a corpus of more than `READ_ROWS` rows, it is a draw from randomly chosen tasks.
    """
    tasks = choose_tasks(tasks, READ_ROWS)
    plans = [plan for task in tasks for plan in task]
    total = sum(plan.rows for plan in plans)
    seed = int(digest_config([plan.name for plan in plans])[:16], 16)
    drawn = np.sort(np.random.default_rng(seed).permutation(total)[:rows])
    schema, first, found = corpus.select_schema(layout), 0, []
    for task in tasks:
        end = first + sum(plan.rows for plan in task)
        if np.searchsorted(drawn, end) > np.searchsorted(drawn, first):
            before = first
            for shard in read_task(task, schema):
                found += collect_answers(identify(shard, layout), drawn - before)
                before += shard.plan.rows
        first = end
    return found


def choose_tasks(tasks: Sequence[tuple[ShardPlan, ...]], most: int) -> list[tuple[ShardPlan, ...]]:
    """Return tasks with at least `most` rows, or all of them, in a random but repeatable order."""
    ordered = sorted(tasks, key=lambda task: digest_config([plan.name for plan in task]))
    before = np.cumsum([0, *(sum(plan.rows for plan in task) for task in ordered)])
    return [task for task, rows in zip(ordered, before.tolist(), strict=False) if rows < most]


def collect_answers(shard: IdentifiedShard, positions: np.ndarray) -> list[tuple[str, ...]]:
    """Return the trained answers of the rows at these positions of a shard, row by row.

    Rows without such an answer are left out.
    """
    chosen = np.isin(np.array(shard.positions(), np.int64), positions)
    segments = shard.segments.select_side("trained")
    indices = segments.find_in_scope(("assistant",), ("answer", "thinking"))
    answers: dict[int, list[str]] = {}
    for index in indices[chosen[segments.rows[indices]]].tolist():
        answers.setdefault(int(segments.rows[index]), []).append(segments.texts[index])
    return [tuple(texts) for _, texts in sorted(answers.items())]
