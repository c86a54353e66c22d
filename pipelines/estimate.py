"""`congener estimate`: what a run would take and cost on other machines, from a sample that is filtered here."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from pipelines.config import Engine, FilterConfig
from pipelines.display.progress import Reporter
from pipelines.filter import FilterPlan, plan
from schemas.corpora import ShardLimits
from schemas.errors import BudgetError, CardError
from transforms.decide import decide
from transforms.files.shards import read_task
from transforms.files.sources import ShardPlan
from transforms.identify import identify
from transforms.score import score, shared_scorer
from transforms.write import write_shard

PLACES = 20
"""Stretches of rows that a sample is taken from."""


class Terms(NamedTuple):
    """What an estimate assumes: machines, how many times faster than this one each is, its price an hour, the minutes before it works."""

    machines: int = 1
    speed: float = 1.0
    price: float = 0.0
    startup_minutes: float = 15.0


class Stretch(NamedTuple):
    """Rows that were filtered here, and what that took."""

    rows: int
    tokens: int
    seconds: float


class Estimate(NamedTuple):
    """What a run would take: all rows and tokens, hours of one machine, hours on the clock, the price; and by how much that may be off.

    `spread` is twice the standard error of the sample's seconds a row, as a share of the work, in a finite population: nothing
    is left open by rows once all are in the sample. It knows of differences between rows, not of whether `speed` is right.
    `highest` is the price with that much more work; the machines' start costs what it costs.
    """

    rows: int
    tokens: int
    sampled: int
    machine_hours: float
    hours: float
    price: float
    spread: float
    highest: float


def run_estimate(
    config: FilterConfig, terms: Terms, sample: int = 2000, budget: float | None = None
) -> Estimate:
    """Filter a sample of the corpus here, in a folder that is thrown away, and work out what the whole would cost.

    Raises: BudgetError: It would cost more than the budget, reckoned at the upper end of the spread.
    Raises: CongenerError: The run can't be settled.
    """
    if not config.input:
        raise CardError(
            "input is needed", remedy="congener estimate --input CORPUS --machines 4 --price 1.20"
        )
    with tempfile.TemporaryDirectory() as folder, Reporter() as reporter:
        limits = ShardLimits(
            rows=max(1, min(config.shards.rows, math.ceil(sample / PLACES))),
            bytes=config.shards.bytes,
        )
        settled = plan(
            config.model_copy(update={"output": folder, "shards": limits, "engine": Engine()}),
            reporter,
        )
        reckoned = reckon(
            sum(source.rows for source in settled.corpus.sources), measured(settled, sample), terms
        )
    if budget is not None and reckoned.highest > budget:
        raise BudgetError(
            f"the run is reckoned to cost {reckoned.price:.2f}, at most {reckoned.highest:.2f}, against a budget of {budget:.2f}",
            remedy="a larger budget, a smaller corpus, fewer signals; --sample makes the spread smaller",
        )
    return reckoned


def drawn(settled: FilterPlan, sample: int) -> list[tuple[ShardPlan, ...]]:
    """Draw stretches of rows by their digests: of every task the first, then the second, and so on, until there are enough.

    Those at a task's end can't be reached without reading the ones before.
    """
    tasks = sorted(settled.tasks, key=lambda task: task[0].name.rsplit("-", 1)[1])
    taken, rows, deeper = Counter[int](), 0, list(range(len(tasks)))
    for depth in range(max(map(len, tasks), default=0)):
        if rows >= sample:
            break
        deeper = [place for place in deeper if depth < len(tasks[place])]
        for place in deeper:
            if rows >= sample:
                break
            taken[place], rows = depth + 1, rows + tasks[place][depth].rows
    return [tasks[place][:depth] for place, depth in sorted(taken.items())]


def measured(settled: FilterPlan, sample: int) -> list[Stretch]:
    """Filter the drawn stretches, from reading to writing; the first one twice, since the first pays for warming up."""
    chosen = drawn(settled, sample)
    for task in chosen[:1]:
        list(_filtered(settled, task[:1]))
    return [stretch for task in chosen for stretch in _filtered(settled, task)]


def _filtered(settled: FilterPlan, task: tuple[ShardPlan, ...]) -> Iterator[Stretch]:
    began = time.perf_counter()
    for read in read_task(task, settled.corpus.schema):
        decided = decide(
            score(identify(read, settled.layout), shared_scorer(settled.scoring)), settled.rules
        )
        receipt = write_shard(
            decided,
            settled.config.output,
            settled.bank,
            settled.extra_column,
            settled.config.vectors,
        )
        yield Stretch(receipt.rows, receipt.tokens, time.perf_counter() - began)
        began = time.perf_counter()


def reckon(rows: int, stretches: list[Stretch], terms: Terms) -> Estimate:
    """Work out the whole from its stretches."""
    sampled = sum(stretch.rows for stretch in stretches)
    times = rows / max(sampled, 1)
    work = sum(stretch.seconds for stretch in stretches) * times / terms.speed / 3600
    machine_hours = work + terms.machines * terms.startup_minutes / 60
    spread = _spread(
        [stretch.seconds / stretch.rows for stretch in stretches if stretch.rows]
    ) * math.sqrt(1 - min(sampled / max(rows, 1), 1))
    return Estimate(
        rows=rows,
        tokens=round(sum(stretch.tokens for stretch in stretches) * times),
        sampled=sampled,
        machine_hours=machine_hours,
        hours=machine_hours / terms.machines,
        price=machine_hours * terms.price,
        spread=spread,
        highest=(machine_hours + work * spread) * terms.price,
    )


def _spread(costs: list[float]) -> float:
    if len(costs) < 2:
        return 1.0  # one stretch says nothing of others: it may as well be twice as much
    return 2 * statistics.stdev(costs) / math.sqrt(len(costs)) / statistics.fmean(costs)
