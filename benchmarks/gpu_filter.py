"""The whole filter on a GPU: against its bare encoder loop, and its decisions against fp32's."""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from pipelines.filter import execute, open_run
from pipelines.plan import FilterPlan, settle
from pipelines.runs.lock import lock_run
from schemas.corpora import ShardLimits
from schemas.events import ignore
from schemas.scores import fires, score_column
from transforms.files.shards import read_task
from transforms.identify import identify
from transforms.rules import Rule
from transforms.score import get_scorer, keep_scorer

LEAST_SHARE, LEAST_EQUAL = 0.95, 0.9995


def report_filter(
    report: Report,
    model: Path | None,
    shape: transformers.BertConfig,
    rows: int,
    traits: Sequence[str],
    device: torch.device,
    repetitions: int,
) -> None:
    """Measure the filter with a checkpoint, or with random weights of a shape."""
    with tempfile.TemporaryDirectory() as folder:
        if model is None:
            write_checkpoint(Path(folder) / "model", shape)
        write_corpus(Path(folder) / "corpus.jsonl", rows)
        plan = settle_run(Path(folder), model or Path(folder) / "model", traits, device)
        scorer = get_scorer(plan.scoring)
        report.say(
            f"## The whole filter\n\n{rows:,} made rows in {len(plan.shards)} shards, "
            f"{len(plan.bank.traits)} traits, the encoder "
            f"{'with random weights' if model is None else model.name}, "
            f"{scorer.encoder.dimension} wide, in {str(scorer.encoder.dtype)[6:]}."
        )
        report_speed(report, plan, scorer, device, repetitions)
        report_decisions(report, plan, scorer)


def settle_run(
    folder: Path, model: Path, traits: Sequence[str], device: torch.device
) -> FilterPlan:
    """Settle a run, which fits the traits."""
    kind: Any = device.type
    config = FilterConfig(
        input=(str(folder / "corpus.jsonl"),),
        output=str(folder / "run"),
        traits=tuple(traits),
        encoder=EncoderSettings(model=str(model)),
        shards=ShardLimits(rows=2_000),
        hardware=Hardware(device=kind),
    )
    return settle(config.with_absolute_paths(), ignore)


def report_speed(
    report: Report, plan: FilterPlan, scorer: Scorer, device: torch.device, repetitions: int
) -> None:
    """Time the pipeline against the encoder alone, which gets the same windows."""
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


def report_decisions(report: Report, plan: FilterPlan, scorer: Scorer) -> None:
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
