"""The whole filter on a GPU: against its bare encoder loop, and its decisions against fp32's."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
import transformers

from benchmarks.gpu_model import write_checkpoint, write_corpus
from benchmarks.gpu_peers import pack
from benchmarks.gpu_search import make_case
from benchmarks.measure import Report, interleave, judge
from classifiers.models.encoders import Encoder, load_encoder
from classifiers.models.windows import Windows
from classifiers.scoring import Scorer
from pipelines.config import EncoderSettings, FilterConfig, Hardware
from pipelines.engines.interface import Engine
from pipelines.filter import execute, open_run
from pipelines.plan import FilterPlan, settle
from pipelines.runs.lock import lock_run
from pipelines.runs.watching import count_finished_rows
from schemas.corpora import ShardLimits
from schemas.events import ignore
from schemas.scores import fires, score_column
from transforms.files.shards import read_task
from transforms.identify import identify
from transforms.rules import Rule
from transforms.score import get_scorer, keep_scorer

LEAST_SHARE, LEAST_EQUAL = 0.95, 0.9995
SHARDS = 20
"""The number of shards that one process filters."""

TIMES_MORE = 5
"""How many times as many rows several processes filter, so that all are busy for a while."""

STEADY = 0.3, 0.9
"""The part of the rows between which a rate is measured: no process is starting or idle then."""

PAUSE_SECONDS = 0.2


class FilterCase(NamedTuple):
    """What is filtered, with which encoder."""

    model: Path | None
    """A checkpoint, or None for random weights of the shape."""
    shape: transformers.BertConfig
    corpus: Path | None
    """A file of rows, or None for `rows` made rows."""
    rows: int
    traits: tuple[str, ...]
    device: torch.device


def report_filter(report: Report, case: FilterCase, repetitions: int, processes: int) -> None:
    """Measure the filter's speed. One process filters the rows once, and several filter more."""
    with settle_case(case, TIMES_MORE) as whole:
        plan = replace(whole, tasks=whole.tasks[: len(whole.tasks) // TIMES_MORE])
        scorer = get_scorer(plan.scoring)
        report.say(f"## The whole filter\n\n{describe_case(case, plan, scorer)}")
        bare = report_speed(report, plan, scorer, case.device, repetitions)
        report_processes(report, whole, processes, bare)


def report_decisions(report: Report, case: FilterCase) -> None:
    """Compare the decisions from packed batches with those from padded ones in fp32."""
    with settle_case(case, 1) as plan:
        scorer = get_scorer(plan.scoring)
        report.say(f"## Decisions\n\n{describe_case(case, plan, scorer)}")
        compare_decisions(report, plan, scorer)


@contextmanager
def settle_case(case: FilterCase, times: int) -> Iterator[FilterPlan]:
    """Yield a settled run, which fits the traits; made rows come `times` times."""
    kind: Any = case.device.type
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, corpus = case.model or folder / "model", case.corpus or folder / "corpus.jsonl"
        if case.model is None:
            write_checkpoint(model, case.shape)
        if case.corpus is None:
            write_corpus(corpus, case.rows, times)
        config = FilterConfig(
            input=(str(corpus),),
            output=str(folder / "run"),
            traits=case.traits,
            encoder=EncoderSettings(model=str(model)),
            shards=ShardLimits(rows=max(1, case.rows // SHARDS)),
            hardware=Hardware(device=kind),
        )
        yield settle(config.with_absolute_paths(), ignore)


def describe_case(case: FilterCase, plan: FilterPlan, scorer: Scorer) -> str:
    """Say what is filtered with what."""
    kind = "made rows" if case.corpus is None else f"rows of {case.corpus.name}"
    model = "with random weights" if case.model is None else case.model.name
    return (
        f"{sum(shard.rows for shard in plan.shards):,} {kind} in {len(plan.shards)} shards, "
        f"{len(plan.bank.traits)} traits, the encoder {model}, {scorer.encoder.dimension} wide, "
        f"in {str(scorer.encoder.dtype)[6:]}."
    )


def report_speed(
    report: Report, plan: FilterPlan, scorer: Scorer, device: torch.device, repetitions: int
) -> float:
    """Time the pipeline against the encoder alone, which gets the same windows.

    Returns the encoder's rows a second.
    """
    shards = list(cut_shards(plan, scorer))
    tokens = sum(len(windows.runs.ids) for windows in shards)
    cases = {
        "bare loop": make_case(device, lambda: [scorer.encoder.encode(part) for part in shards]),
        "filter": lambda: run_pipeline(plan),
    }
    for case in cases.values():
        case()
    times = interleave(cases, repetitions)
    report.add_table(
        ["case", "seconds, median", "tokens a second"],
        [(name, timed.median, int(tokens / timed.median)) for name, timed in times.items()],
    )
    bare, whole = times["bare loop"].seconds, times["filter"].seconds
    share = statistics.median(a / b for a, b in zip(bare, whole, strict=True))
    report.add_table(
        ["measure", "value", "verdict"],
        [("filter's speed as a share of the bare loop's", share, judge(share, LEAST_SHARE))],
    )
    return sum(shard.rows for shard in plan.shards) / statistics.median(bare)


def report_processes(report: Report, plan: FilterPlan, processes: int, bare: float) -> None:
    """Time several processes that share the device, against the bare loop's rows a second."""
    parallel = plan.config.model_copy(update={"engine": Engine(workers=processes)})
    plan = replace(plan, config=parallel)
    with sample_rows(plan) as samples:
        seconds = run_pipeline(plan)
    rows = sum(shard.rows for shard in plan.shards)
    rate = find_steady_rate(samples, rows)
    report.say(
        f"{rows:,} rows by {processes} processes took {seconds:.1f} s with their start. Between "
        f"{STEADY[0]:.0%} and {STEADY[1]:.0%} of the rows they made {rate:,.0f} rows a second, and "
        f"the bare loop makes {bare:,.0f}."
    )
    share = rate / bare
    report.add_table(
        ["measure", "value", "verdict"],
        [(f"{processes} processes' speed, as a share", share, judge(share, LEAST_SHARE))],
    )


@contextmanager
def sample_rows(plan: FilterPlan) -> Iterator[list[tuple[float, int]]]:
    """Yield a list to which the time and the finished rows are added until the block ends."""
    samples: list[tuple[float, int]] = []
    stop = threading.Event()

    def watch() -> None:
        while not stop.wait(PAUSE_SECONDS):
            rows = count_finished_rows(plan.config.output, plan.shards)
            samples.append((time.perf_counter(), rows))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def find_steady_rate(samples: Sequence[tuple[float, int]], rows: int) -> float:
    """Return the rows a second in the part of a run that `STEADY` names, or NaN if none is seen."""
    first, last = (share * rows for share in STEADY)
    inside = [sample for sample in samples if first <= sample[1] <= last]
    changed = [b for a, b in pairwise(inside) if b[1] > a[1]]
    if len(changed) < 2:
        return float("nan")
    (began, before), (ended, after) = changed[0], changed[-1]
    return (after - before) / (ended - began)


def cut_shards(plan: FilterPlan, scorer: Scorer) -> Iterator[Windows]:
    """Yield each shard's windows as the filter cuts them."""
    for task in plan.tasks:
        for shard in read_task(task, plan.read_schema):
            yield scorer.cut_windows(identify(shard, plan.layout).segments)[0]


def run_pipeline(plan: FilterPlan) -> float:
    """Run the pipeline in an empty run directory, and return its seconds."""
    shutil.rmtree(plan.config.output, ignore_errors=True)
    with lock_run(plan.config.output):
        opened = open_run(plan, restart=False, listener=ignore)
        began = time.perf_counter()
        execute(opened)
        return time.perf_counter() - began


def compare_decisions(report: Report, plan: FilterPlan, scorer: Scorer) -> None:
    """Compare decisions from packed batches with those from padded ones in fp32."""
    packed = scorer.encoder if scorer.encoder.packs else pack(scorer.encoder, packs=True)
    outcomes = [
        read_outcomes(plan, replace(scorer, encoder=encoder))
        for encoder in (load_padded(scorer.encoder), packed)
    ]
    keep_scorer(plan.scoring, scorer)
    expected, found = outcomes
    equal = {name: float((found[name] == values).mean()) for name, values in expected.items()}
    report.say(
        f"Decisions from packed batches in {str(packed.dtype)[6:]} against those from padded "
        "batches in fp32, with the same fitted traits and thresholds."
    )
    report.add_table(
        ["what", "rows that fire, fp32", "rows that differ", "share that is equal", "verdict"],
        [
            (
                name,
                int(expected[name].sum()) if name in plan.bank.traits else "-",
                int((found[name] != expected[name]).sum()),
                f"{share:.4%}",
                judge(share, LEAST_EQUAL),
            )
            for name, share in equal.items()
        ],
    )


def load_padded(encoder: Encoder) -> Encoder:
    """Load the same checkpoint in fp32, which always pads."""
    return load_encoder(replace(encoder.config, precision="fp32"))


def read_outcomes(plan: FilterPlan, scorer: Scorer) -> Mapping[str, np.ndarray]:
    """Filter with a scorer, and return each row's decision and whether each trait fires on it."""
    keep_scorer(plan.scoring, scorer)
    run_pipeline(plan)
    run = Path(plan.config.output)
    ledger = pq.read_table(run / "ledger", columns=["decision"])
    scores = pq.read_table(run / "scores")
    fired = {rule.trait: _fire(rule, scores) for rule in plan.rules}
    return {"decision": np.array(ledger["decision"].to_pylist()), **fired}


def _fire(rule: Rule, scores: Any) -> np.ndarray:
    values = scores[score_column(rule.trait, rule.signal)].to_numpy()
    return np.asarray(fires(values, rule.find_lowest_threshold()))
