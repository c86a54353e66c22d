"""`congener estimate`: estimate a run's time and price from a sample."""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from pipelines.config import FilterConfig
from pipelines.engines.interface import Engine
from pipelines.plan import FilterPlan, settle
from schemas.errors import BudgetError, CardError
from schemas.events import Listener, ignore
from schemas.shares import round_up
from transforms.decide import decide_shard
from transforms.files.planning import ShardPlan
from transforms.files.shards import read_task
from transforms.identify import identify
from transforms.score import get_scorer, score
from transforms.write import Destination, write_shard

LARGEST = 10**15
"""The largest value of an option."""

STRETCHES = 20
"""The approximate number of stretches in a sample."""


class Terms(NamedTuple):
    """The assumptions behind an estimate.

    `speed` is each machine's speed relative to this one. `price` is the price of one machine for an
    hour. `startup_minutes` is the paid time before a machine begins to work.
    """

    machines: int = 1
    speed: float = 1.0
    price: float = 0.0
    startup_minutes: float = 15.0


class Stretch(NamedTuple):
    """Rows that were filtered here, with their tokens and seconds."""

    rows: int
    tokens: int
    seconds: float


class Estimate(NamedTuple):
    """The size and cost of a run: rows, tokens, machine hours, hours of wall time, and the price.

    `spread` is twice the standard error of the sample's mean seconds per row, as a share of the
    mean. A correction for a finite population makes it 0 once all rows are in the sample. It covers
    the differences between rows, but no error in `speed`. `highest` is the price if the work is
    larger by `spread`, but the start-up cost is the same.
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
    config: FilterConfig,
    terms: Terms,
    sample: int = 2000,
    budget: float | None = None,
    listener: Listener = ignore,
) -> Estimate:
    """Filter a sample of the corpus in a temporary folder, and estimate the whole run.

    Raises: BudgetError: the highest price is over the budget. Raises: CongenerError: the run can't
    be settled.
    """
    if not config.input:
        raise CardError(
            "input is needed", remedy="congener estimate --input CORPUS --machines 4 --price 1.20"
        )
    require_sizes({**terms._asdict(), "budget": budget or 0})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        rows = max(1, min(config.shards.rows, math.ceil(sample / STRETCHES)))
        limits = config.shards.model_copy(update={"rows": rows})
        here = {"output": folder, "shards": limits, "engine": Engine()}
        settled = settle(config.model_copy(update=here), listener)
        rows = sum(source.rows for source in settled.corpus.sources)
        estimate = extrapolate(rows, measure_sample(settled, sample), terms)
    if budget is not None and estimate.highest > budget:
        raise BudgetError(
            f"the run would cost about {estimate.price:.2f} and at most "
            f"{round_up(estimate.highest, 2):.2f}; the budget is {budget:.2f}",
            remedy="raise the budget, use fewer signals or a smaller corpus, or narrow the spread "
            "with a larger --sample",
        )
    return estimate


def require_sizes(numbers: Mapping[str, float]) -> None:
    """Refuse unusable numbers.

    Raises: CardError: a number is negative, infinite, NaN or far too large.
    """
    for name, number in numbers.items():
        if not 0 <= number <= LARGEST:  # false for NaN
            raise CardError(
                f"--{name.replace('_', '-')} is not a number between 0 and {LARGEST:,}",
                remedy="congener estimate --help describes the options",
            )


def draw_sample(settled: FilterPlan, sample: int) -> list[tuple[ShardPlan, ...]]:
    """Draw each task's first shard, then each second shard, and so on, for enough rows.

    Tasks are ordered by digest. A task's later shards can't be read without its earlier shards.
    """
    tasks = sorted(settled.tasks, key=lambda task: task[0].name.rsplit("-", 1)[1])
    taken, rows, deep_enough = Counter[int](), 0, list(range(len(tasks)))
    for depth in range(max(map(len, tasks), default=0)):
        if rows >= sample:
            break
        deep_enough = [index for index in deep_enough if depth < len(tasks[index])]
        for index in deep_enough:
            if rows >= sample:
                break
            taken[index], rows = depth + 1, rows + tasks[index][depth].rows
    return [tasks[index][:depth] for index, depth in sorted(taken.items())]


def measure_sample(settled: FilterPlan, sample: int) -> list[Stretch]:
    """Filter the drawn shards, from reading to writing, and time each one.

    The first shard is filtered twice, and the first time doesn't count because it includes warm-up.
    """
    chosen = draw_sample(settled, sample)
    for task in chosen[:1]:
        list(_filter_task(settled, task[:1]))
    return [stretch for task in chosen for stretch in _filter_task(settled, task)]


def _filter_task(settled: FilterPlan, task: tuple[ShardPlan, ...]) -> Iterator[Stretch]:
    scoring = settled.scoring
    to = Destination(
        run=settled.config.output,
        bank_uri=scoring.bank_uri,
        extra_column=settled.extra_column,
        vectors=settled.config.vectors,
    )
    began = time.perf_counter()
    for shard in read_task(task, settled.read_schema):
        identified = identify(shard, settled.layout)
        scored = score(identified, get_scorer(scoring), scoring.span_floor)
        receipt = write_shard(decide_shard(scored, settled.rules), settled.bank, to)
        yield Stretch(receipt.rows, receipt.tokens, time.perf_counter() - began)
        began = time.perf_counter()


def extrapolate(rows: int, stretches: list[Stretch], terms: Terms) -> Estimate:
    """Estimate the whole run from the sample."""
    sampled = sum(stretch.rows for stretch in stretches)
    times = rows / max(sampled, 1)
    work = sum(stretch.seconds for stretch in stretches) * times / terms.speed / 3600
    machine_hours = work + terms.machines * terms.startup_minutes / 60
    costs = [stretch.seconds / stretch.rows for stretch in stretches if stretch.rows]
    spread = _estimate_spread(costs) * math.sqrt(1 - min(sampled / max(rows, 1), 1))
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


def _estimate_spread(costs: list[float]) -> float:
    """Return twice the standard error of the mean cost, as a share of the mean."""
    if len(costs) < 2:
        return 1.0  # one stretch says nothing about others, so assume up to twice the work
    return 2 * statistics.stdev(costs) / math.sqrt(len(costs)) / statistics.fmean(costs)
