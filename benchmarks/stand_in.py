"""A stand-in for a card, and the filter's pipeline with it.

Run by its path with PYTHONPATH set to another checkout, the script prints that checkout's cost.
"""

from __future__ import annotations

import shutil
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch

from classifiers.models.encoders import TOKEN_BUDGET, Encoder
from pipelines.config import FilterConfig, Hardware
from pipelines.filter import execute, open_run
from pipelines.plan import FilterPlan, settle
from pipelines.runs.lock import lock_run
from schemas.corpora import ShardLimits
from schemas.events import ignore
from transforms.score import get_scorer, keep_scorer

UNLIMITED = float("inf")
VECTORS = 4_096
"""How many different vectors the stand-in has."""


@dataclass(kw_only=True)
class StandIn(Encoder):
    """An encoder that takes a stated time per token in place of a model's forward pass.

    `busy` has the seconds at which each forward pass began and ended.
    """

    rate: float = UNLIMITED
    busy: list[tuple[float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        drawn = torch.randn(VECTORS, self.dimension, generator=generator)
        self._vectors = torch.nn.functional.normalize(drawn, dim=1)
        self._turn = threading.Lock()

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return vectors after as long as a card would need for these tokens."""
        chosen = self._vectors[(tokens * mask).sum(1) % VECTORS]
        with self._turn:
            began = time.perf_counter()
            time.sleep(int(mask.sum()) / self.rate)
            self.busy.append((began, time.perf_counter()))
        return chosen

    def measure_idle(self) -> float:
        """Return the share of the time from the first to the last pass in which none ran."""
        whole = max(end for _, end in self.busy) - min(begin for begin, _ in self.busy)
        return 1 - sum(end - begin for begin, end in self.busy) / whole


class Pass(NamedTuple):
    """One run of the whole pipeline: its seconds, those of the processor, and the idle share."""

    wall: float
    computed: float
    idle: float


def settle_with_stand_in(corpus: str, output: str, shard_rows: int) -> tuple[FilterPlan, StandIn]:
    """Settle a run whose encoder is a stand-in with the batches of a card."""
    config = FilterConfig(
        input=(corpus,),
        output=output,
        shards=ShardLimits(rows=shard_rows),
        hardware=Hardware(device="cpu"),
    )
    plan = settle(config.with_absolute_paths(), ignore)
    scorer = get_scorer(plan.scoring)
    stand_in = StandIn(**{**vars(scorer.encoder), "token_budget": TOKEN_BUDGET["cuda"]})
    keep_scorer(plan.scoring, replace(scorer, encoder=stand_in))
    return plan, stand_in


def run_whole(plan: FilterPlan, stand_in: StandIn, rate: float) -> Pass:
    """Run the pipeline of the filter on all shards."""
    shutil.rmtree(plan.config.output, ignore_errors=True)
    stand_in.rate, stand_in.busy = rate, []
    with lock_run(plan.config.output):
        opened = open_run(plan, restart=False, listener=ignore)
        began, computed = time.perf_counter(), time.process_time()
        execute(opened)
        return Pass(
            time.perf_counter() - began, time.process_time() - computed, stand_in.measure_idle()
        )


def main() -> None:
    """Print the seconds of processor time of a pass: of the first one, and of the last."""
    corpus, output, shard_rows = sys.argv[1:]
    plan, stand_in = settle_with_stand_in(corpus, output, int(shard_rows))
    print(*(run_whole(plan, stand_in, UNLIMITED).computed for _ in range(2)))


if __name__ == "__main__":
    main()
