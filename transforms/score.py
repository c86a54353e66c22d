"""Score: every signal of every trait, with the bank's models loaded once a process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import apache_beam as beam

from classifiers.banks import read_bank
from classifiers.models.encoders import EncoderConfig
from classifiers.scoring import Scorer, Scores, load_scorer
from schemas.errors import ModelError
from transforms.coders import coded
from transforms.files import storage
from transforms.identify import IdentifiedShard, part_of
from transforms.poison import spared, with_rejects

SMALLER = "out of memory: from here on, batches hold {:,} padded tokens (set hardware.token_budget to begin so)"


@dataclass
class Tally:
    """What this process has done so far; a progress line in the same process may watch it."""

    rows: int = 0
    tokens: int = 0
    shard_rows: int = 0
    ahead: int = 0
    done: int = 0
    tell: Callable[[str], object] = logging.getLogger(__name__).warning

    def reset(self, rows: int) -> None:
        """Start over, with the rows that an earlier attempt has done."""
        self.rows, self.tokens = rows, 0
        self.shard_rows = self.ahead = self.done = 0

    def expect(self, windows: int) -> None:
        """Note how many windows the shard at hand has, before the first batch."""
        self.ahead += windows

    def batch(self, tokens: int, windows: int) -> None:
        """Count a batch that went through a model."""
        self.tokens += tokens
        self.done += windows

    def cut(self, budget: int) -> None:
        """Say that memory ran out, and how large batches are from here on."""
        self.tell(SMALLER.format(budget))

    def finish(self, rows: int) -> None:
        """Count a shard that is written."""
        self.rows += rows
        self.shard_rows = self.ahead = self.done = 0

    def rows_so_far(self) -> float:
        """Return the rows done, those of the shard at hand by the share of its windows that went through a model."""
        return self.rows + (self.shard_rows * self.done / self.ahead if self.ahead else 0)


@dataclass(frozen=True)
class ScoringConfig:
    """What a worker needs to load the scorer: where the bank is, which it must be, and how to run its models."""

    bank_uri: str
    bank_digest: str
    encoder: EncoderConfig = field(default_factory=EncoderConfig)


@coded
@dataclass
class ScoredShard:
    """A shard with its scores, how many tokens that took (without padding, and with), and how often memory ran out."""

    identified: IdentifiedShard
    scores: Scores
    tokens: int
    padded: int
    budget_cuts: int = 0


TALLY = Tally()
_scorers: dict[ScoringConfig, Scorer] = {}
_lock = threading.Lock()


def shared_scorer(config: ScoringConfig) -> Scorer:
    """Return this process's scorer for a bank, loading it on first use; models are large, so threads share one.

    Raises: ModelError: The bank that is there isn't the one that the run was settled with, or a model can't be loaded.
    """
    with _lock:
        if config not in _scorers:
            bank = read_bank(
                lambda name: storage.read_bytes(storage.join(config.bank_uri, name)),
                config.bank_uri,
            )
            if bank.digest != config.bank_digest:
                raise ModelError(
                    f"bank has digest {bank.digest[:12]}, the run was settled with {config.bank_digest[:12]}",
                    where=config.bank_uri,
                    remedy="was it fitted anew during the run? start again",
                )
            _scorers.clear()
            _scorers[config] = load_scorer(bank, config.encoder)
            _scorers[config].progress = TALLY
        return _scorers[config]


def keep_scorer(config: ScoringConfig, scorer: Scorer) -> None:
    """Hand this process a scorer that is loaded already."""
    with _lock:
        _scorers.clear()
        _scorers[config] = scorer
        scorer.progress = TALLY


def score(identified: IdentifiedShard, scorer: Scorer) -> ScoredShard:
    """Score one shard; a row on which the tokenizer, a model or a pattern fails becomes a reject."""

    def attempt(rows: Sequence[int]) -> tuple[IdentifiedShard, Scores]:
        part = part_of(identified, rows)
        return part, scorer.score(len(rows), part.segments)

    with (
        _lock
    ):  # threads of a process take turns: the models' counters and the device's memory are shared
        before, TALLY.shard_rows = scorer.counts(), identified.shard.table.num_rows
        (part, scores), reasons = spared(identified.shard.table.num_rows, attempt, "scoring")
        after = scorer.counts()
    if reasons:
        part.shard = with_rejects(part.shard, identified.shard, reasons)
    used = (
        getattr(after, name) - getattr(before, name) for name in ("tokens", "padded", "budget_cuts")
    )
    return ScoredShard(part, scores, *used)


class _Score(beam.DoFn):
    def __init__(self, config: ScoringConfig) -> None:
        self._config = config

    def setup(self) -> None:
        shared_scorer(self._config)

    def process(self, shard: IdentifiedShard) -> Iterator[ScoredShard]:
        yield score(shard, shared_scorer(self._config))


@dataclass(eq=False)
class ScoreRecords(beam.PTransform):
    """Score the rows of every shard with the bank's models."""

    config: ScoringConfig

    def expand(self, shards: beam.PCollection[IdentifiedShard]) -> beam.PCollection[ScoredShard]:
        """Score shard by shard; no shuffle."""
        return shards | beam.ParDo(_Score(self.config)).with_output_types(ScoredShard)
