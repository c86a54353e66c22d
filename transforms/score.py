"""Score shards with every signal of every trait.

Each process loads the bank's models once.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms.window import GlobalWindows

from classifiers.banks import read_bank
from classifiers.models.interface import EncoderConfig
from classifiers.scoring import Scorer, Scores, load_scorer
from classifiers.texts import Prompts
from schemas.errors import ModelError
from schemas.events import Listener, ShardStarted, ignore
from schemas.scores import DEFAULT_SPAN_FLOOR, Side, name_side
from transforms.ahead import WorkAhead
from transforms.coders import register_shard_coder
from transforms.files import storage
from transforms.identify import IdentifiedShard, select_rows
from transforms.listeners import ModelProgress, emit
from transforms.poison import add_rejects, isolate_failures
from transforms.records.segments import Segments
from transforms.scoring_process import begin_scoring, end_scoring
from transforms.spans import build_spans


@dataclass(frozen=True)
class ScoringConfig:
    """A worker's settings for scoring: the bank and its digest, and how to run models.

    `span_floor` is the lowest score whose spans are stored. Progress events go to `channel`.
    """

    bank_uri: str
    bank_digest: str
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    span_floor: float = DEFAULT_SPAN_FLOOR
    channel: str = ""


@register_shard_coder
@dataclass(kw_only=True)
class ScoredShard(IdentifiedShard):
    """A shard with its scores, their spans (see `build_spans`), and the cost of scoring.

    `other_scores` holds the rejected and untrained texts' scores. `tokens` counts tokens without
    padding, and `padded` counts them with padding. `budget_cuts` counts how often memory ran out.
    """

    scores: Scores
    spans: pa.ListArray
    other_scores: dict[Side, Scores] = field(default_factory=dict)
    tokens: int = 0
    padded: int = 0
    budget_cuts: int = 0

    def build_score_columns(self) -> dict[str, np.ndarray]:
        """Return the columns of `scores/`, starting with the trained texts."""
        columns = self.scores.build_columns()
        for side, scores in self.other_scores.items():
            columns |= {
                name_side(name, side): values for name, values in scores.build_columns().items()
            }
        return columns

    def count_unscored(self) -> int:
        """Return the number of rows without text in any trait's scope, on any side."""
        sides = {"trained": self.scores, **self.other_scores}
        combined = {
            f"{side}/{trait}": values
            for side, scores in sides.items()
            for trait, values in scores.combined.items()
        }
        return Scores(self.scores.size, combined).count_unscored()


ScoredTexts = tuple[Scores, Segments]
"""Scores and their segments."""

_scorers: dict[tuple[str, EncoderConfig], Scorer] = {}
_lock = threading.Lock()


def get_scorer(config: ScoringConfig) -> Scorer:
    """Return this process's scorer for a bank, loaded on first use.

    Threads share the scorer, because models are large.

    Raises: ModelError: the bank isn't the run's bank, or a model can't be loaded.
    """
    key = config.bank_digest, config.encoder
    with _lock:
        if key not in _scorers:
            bank = read_bank(
                lambda name: storage.read_bytes(storage.join(config.bank_uri, name)),
                config.bank_uri,
            )
            if bank.digest != config.bank_digest:
                raise ModelError(
                    f"the bank has digest {bank.digest[:12]}, but the run was settled with "
                    f"{config.bank_digest[:12]}",
                    where=config.bank_uri,
                    remedy="if it was fitted again during the run, start the run again",
                )
            _scorers.clear()
            _scorers[key] = load_scorer(bank, config.encoder)
        return _scorers[key]


def keep_scorer(config: ScoringConfig, scorer: Scorer) -> None:
    """Make a loaded scorer this process's scorer."""
    with _lock:
        _scorers.clear()
        _scorers[config.bank_digest, config.encoder] = scorer


def score(
    identified: IdentifiedShard,
    scorer: Scorer,
    span_floor: float = DEFAULT_SPAN_FLOOR,
    listener: Listener = ignore,
) -> ScoredShard:
    """Score one shard. A row is rejected if a tokenizer, a model or a pattern fails on it."""

    def attempt(rows: Sequence[int]) -> tuple[IdentifiedShard, dict[Side, ScoredTexts]]:
        part = select_rows(identified, rows)
        return part, _score_sides(forked, len(rows), part.segments)

    name = identified.plan.name
    forked = scorer.fork(ModelProgress(listener, name))  # several threads score at the same time
    listener(ShardStarted(identified.table.num_rows, name))
    try:
        (part, sides), reasons = isolate_failures(identified.table.num_rows, attempt, "scoring")
    finally:
        with _lock:
            scorer.join(forked)
    counts = forked.sum_counts()
    used = {name: getattr(counts, name) for name in ("tokens", "padded", "budget_cuts")}
    scores, segments = sides.pop("trained")
    spans = build_spans(scores, segments, span_floor, sides)
    rejects = add_rejects(part, identified, reasons).rejects if reasons else identified.rejects
    others = {side: scored for side, (scored, _) in sides.items()}
    return ScoredShard(
        **{**vars(part), "rejects": rejects},
        scores=scores,
        spans=spans,
        other_scores=others,
        **used,
    )


def _score_sides(scorer: Scorer, size: int, segments: Segments) -> dict[Side, ScoredTexts]:
    """Score each side's texts separately, so that no side hides another side's score.

    A side's answers may respond to texts of another side.
    """
    scored: dict[Side, ScoredTexts] = {}
    for side in ("trained", *segments.other_sides):
        places = segments.find_side(side)
        part = segments.take(places)
        scored[side] = scorer.score(size, part, Prompts(segments, places)), part
    return scored


class _Score(beam.DoFn):
    """Scores the shards of a bundle in threads, and yields them in order.

    Shards that are ready leave while later ones are scored, so the stages before and after this one
    work at the same time. A bundle that fails is retried from its first shard.
    """

    def __init__(self, config: ScoringConfig) -> None:
        self._config = config

    def setup(self) -> None:
        get_scorer(self._config)
        begin_scoring()

    def teardown(self) -> None:
        end_scoring()

    def start_bundle(self) -> None:
        self._ahead = WorkAhead(self._score)

    def _score(self, shard: IdentifiedShard) -> ScoredShard:
        config = self._config
        return score(
            shard, get_scorer(config), config.span_floor, lambda event: emit(config.channel, event)
        )

    def process(self, shard: IdentifiedShard) -> Iterator[ScoredShard]:
        yield from self._ahead.put(shard)

    def finish_bundle(self) -> Iterator[Any]:
        yield from map(GlobalWindows.windowed_value, self._ahead.finish())


@dataclass(eq=False)
class ScoreRecords(beam.PTransform):
    """Score the rows of every shard with the bank's models."""

    config: ScoringConfig

    def expand(self, shards: beam.PCollection[IdentifiedShard]) -> beam.PCollection[ScoredShard]:
        """Score shard by shard."""
        return shards | beam.ParDo(_Score(self.config)).with_output_types(ScoredShard)
