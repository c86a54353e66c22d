"""Measure what the host does for each row, and how long a card would wait for it.

A stand-in takes the card's place: its forward pass takes a stated time per token, leaves the
interpreter to others meanwhile, and returns vectors that depend only on the tokens. Everything else
is the real filter on real answers, with all signals of the library.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pyarrow.parquet as pq

from benchmarks.measure import ROOT, Report, judge, list_teacher_files, parse_arguments
from benchmarks.stand_in import UNLIMITED, Pass, run_whole, settle_with_stand_in
from classifiers.dense import DenseTraits
from classifiers.models import encoders
from classifiers.scoring import Scorer
from pipelines.filter import open_run
from pipelines.plan import FilterPlan
from pipelines.runs.lock import lock_run
from schemas.events import ignore
from transforms import score as scoring
from transforms import tables, write
from transforms.decide import decide_shard
from transforms.files.shards import read_task
from transforms.identify import identify
from transforms.score import get_scorer
from transforms.write import Destination, write_shard

RATES = (100_000, 200_000, 500_000, 1_000_000, 2_000_000)
FED_RATE, MOST_IDLE = 100_000, 0.05
"""A rate that two cores can feed while the machine is shared, and how long a card may wait then."""

MOST_MILLISECONDS = 1.0
STATES = ("first pass", "second pass")
STAGES = (
    ("lexicon", Scorer, "_score_lexicons"),
    ("wording", Scorer, "_score_wording"),
    ("repetition", Scorer, "_score_repetition"),
    ("language", Scorer, "_score_language"),
    ("tokenising", Scorer, "cut_windows"),
    ("batches", encoders, "run_batches"),
    ("FAISS and heads", DenseTraits, "score"),
    ("best windows", Scorer, "_score_dense"),
    ("spans", scoring, "build_spans"),
    ("tables", write, "build_tables"),
    ("nearest exemplars", tables, "find_nearest"),
)
"""The stages that are timed apart from the functions that call them."""


class Corpus(NamedTuple):
    """How large the corpus is; `tokens` are those of its windows."""

    rows: int
    tokens: int
    shards: int


class StageClock:
    """Processor seconds by stage; a stage's seconds leave out those of stages inside it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[float] = []

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Count the block's processor time for a stage."""
        self._open.append(0.0)
        began = time.process_time()
        try:
            yield
        finally:
            took = time.process_time() - began
            inner = self._open.pop()
            self.seconds[stage] = self.seconds.get(stage, 0.0) + took - inner
            if self._open:
                self._open[-1] += took

    def wrap(self, stage: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that is measured as a stage."""

        def timed(*arguments: Any, **named: Any) -> Any:
            with self.measure(stage):
                return work(*arguments, **named)

        return timed


def main() -> None:
    options = parse_arguments(__doc__ or "", rows=3_000, shard_rows=1_000, repetitions=3, before="")
    stages: list[Mapping[str, float]] = []
    passes: dict[float, list[Pass]] = {rate: [] for rate in (UNLIMITED, *RATES)}
    costs: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_corpus(Path(folder) / "corpus", options.rows)
        corpus = f"{folder}/corpus", f"{folder}/run", options.shard_rows
        plan, stand_in = settle_with_stand_in(*corpus)
        run_whole(plan, stand_in, UNLIMITED)  # loads what is loaded once
        tokens = stand_in.counts.tokens
        checkouts = {"this one": ROOT, **({"before": options.before} if options.before else {})}
        for _ in range(options.repetitions):
            stages.append(time_stages(plan))
            for rate, found in passes.items():
                found.append(run_whole(plan, stand_in, rate))
            for name, checkout in checkouts.items():
                for state, cost in zip(
                    STATES, measure_checkout(str(checkout), *corpus), strict=True
                ):
                    costs.setdefault(f"{name}, {state}", []).append(1e3 * cost / options.rows)
    write_report(Corpus(options.rows, tokens, len(plan.shards)), stages, passes, costs)


def measure_checkout(checkout: str, corpus: str, output: str, shard_rows: int) -> list[float]:
    """Return the seconds of processor time of a checkout's pipeline, in a process of its own."""
    script = [sys.executable, str(ROOT / "benchmarks" / "stand_in.py")]
    done = subprocess.run(
        [*script, corpus, f"{output}-alone", str(shard_rows)],
        env={**os.environ, "PYTHONPATH": checkout},
        cwd=checkout,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return [float(value) for value in done.stdout.split()]


def write_corpus(folder: Path, rows: int) -> None:
    """Write `rows` rows spread evenly over the teachers, with one file per teacher."""
    folder.mkdir()
    files = list_teacher_files()
    for number, file in enumerate(files):
        table = pq.read_table(file)
        wanted = rows // len(files) + (number < rows % len(files))
        step = max(1, table.num_rows // max(1, wanted))
        chosen = [index * step for index in range(min(wanted, table.num_rows))]
        pq.write_table(table.take(chosen), folder / f"{number:02d}.parquet")


def time_stages(plan: FilterPlan) -> dict[str, float]:
    """Take all shards through all stages in one thread, and return each stage's seconds."""
    clock = StageClock()
    scorer = get_scorer(plan.scoring)
    to = prepare_run(plan)
    with ExitStack() as patches:
        for stage, owner, name in STAGES:
            work = clock.wrap(stage, getattr(owner, name))
            patches.enter_context(mock.patch.object(owner, name, _bind(owner, work)))
        for task in plan.tasks:
            shards = read_task(task, plan.read_schema)
            while True:
                with clock.measure("reading"):
                    shard = next(shards, None)
                if shard is None:
                    break
                with clock.measure("identifying"):
                    identified = identify(shard, plan.layout)
                with clock.measure("rest of scoring"):
                    scored = scoring.score(identified, scorer, plan.span_floor)
                with clock.measure("deciding"):
                    decided = decide_shard(scored, plan.rules)
                with clock.measure("writing"):
                    write_shard(decided, plan.bank, to)
    return clock.seconds


def _bind(owner: object, work: Callable[..., Any]) -> Any:
    """Return a function that works as a method if its owner is a class."""
    if not isinstance(owner, type):
        return work

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        return work(self, *arguments, **named)

    return method


def prepare_run(plan: FilterPlan) -> Destination:
    """Empty the run directory and return it as a destination."""
    shutil.rmtree(plan.config.output, ignore_errors=True)
    with lock_run(plan.config.output):
        open_run(plan, restart=False, listener=ignore)
    return Destination(plan.config.output, plan.scoring.bank_uri, plan.extra_column)


def write_report(
    corpus: Corpus,
    stages: Sequence[Mapping[str, float]],
    passes: Mapping[float, Sequence[Pass]],
    costs: Mapping[str, Sequence[float]],
) -> None:
    """Print the tables and write them."""
    rows, tokens, shards = corpus
    report = Report("host_path", "What the host does for each row")
    report.say(
        f"{rows:,} answers of {len(list_teacher_files())} teachers, {tokens:,} tokens in windows "
        f"({tokens / rows:.0f} a row), in {shards} shards; all signals of the library."
    )
    report.say(
        "## Processor time of the whole pipeline\n\nMedians of new processes, which take turns. A "
        "first pass also splits every word once and compiles every pattern."
    )
    report.add_table(
        ["checkout and pass", "milliseconds a row", "tokens a second and core"],
        [
            (name, statistics.median(found), int(tokens / rows * 1e3 / statistics.median(found)))
            for name, found in costs.items()
        ],
    )
    report.say("## Processor time of each stage, in one thread without Beam")
    report.add_table(
        ["stage", "milliseconds a row", "share", "tokens a second and core"],
        list_stages(corpus, stages),
    )
    report.say(
        "## The whole pipeline, with the stand-in at a stated rate\n\nThe idle share is that of "
        "the time between the first and the last forward pass."
    )
    report.add_table(
        ["tokens a second", "seconds", "processor ms a row", "tokens/s reached", "idle share"],
        [describe_passes(rate, found, rows, tokens) for rate, found in passes.items()],
    )
    report_cores(report, corpus, passes, statistics.median(costs[f"this one, {STATES[-1]}"]))
    report.finish()


def report_cores(
    report: Report, corpus: Corpus, passes: Mapping[float, Sequence[Pass]], cost: float
) -> None:
    """Add the cores and processes that cards need, and what has a target.

    `cost` is in milliseconds of processor time a row.
    """
    rows, tokens, _ = corpus
    report.say(f"## Cores that keep a card busy, at {cost:.2f} ms of processor time a row")
    fed = tokens / statistics.median(found.wall for found in passes[UNLIMITED])
    report.add_table(
        ["tokens a second", "rows a second", "cores", "processes"],
        [
            (f"{rate:,}", int(rate * rows / tokens), rate * rows / tokens * cost / 1e3, rate / fed)
            for rate in RATES
        ],
    )
    report.say(
        f"A process feeds {int(fed):,} tokens a second here to a card that takes no time, with its "
        "start and end."
    )
    idle = statistics.median(found.idle for found in passes[FED_RATE])
    report.add_table(
        ["measure", "value", "verdict"],
        [
            ("processor milliseconds a row", cost, judge(cost, MOST_MILLISECONDS, at_least=False)),
            (f"idle share at {FED_RATE:,}", idle, judge(idle, MOST_IDLE, at_least=False)),
        ],
    )


def list_stages(
    corpus: Corpus, stages: Sequence[Mapping[str, float]]
) -> list[tuple[str, float, str, int]]:
    """Return the rows of the table of stages, the most expensive first, and their sum."""
    median = {
        name: statistics.median(found.get(name, 0.0) for found in stages)
        for name in sorted({name for found in stages for name in found})
    }
    total = sum(median.values())
    ordered = sorted(median.items(), key=lambda item: -item[1])
    return [
        (
            name,
            1e3 * took / corpus.rows,
            f"{took / total:.1%}",
            int(corpus.tokens / max(took, 1e-9)),
        )
        for name, took in [*ordered, ("all stages", total)]
    ]


def describe_passes(
    rate: float, found: Sequence[Pass], rows: int, tokens: int
) -> tuple[str, float, float, int, str]:
    """Return a row of the table of rates."""
    wall, computed, idle = (statistics.median(column) for column in zip(*found, strict=True))
    name = "no limit" if rate == UNLIMITED else f"{int(rate):,}"
    return name, wall, 1e3 * computed / rows, int(tokens / wall), f"{idle:.1%}"


if __name__ == "__main__":
    main()
