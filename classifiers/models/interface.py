"""What a model is given and must return: settings, progress and finite values, without torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from schemas.encoders import DEFAULT_ENCODER, WINDOW_OVERLAP, WINDOW_TOKENS
from schemas.errors import RowError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]

LAYER_DEPTHS = (1.0, 2 / 3, 1 / 2)
"""The averaged layers, as fractions of the encoder's depth.

The middle layers of a topical-similarity encoder still represent manner and stance. On 34 persona
traits (32 + 32 exemplars), logistic regression gained 0.013 in AUROC over the last layer alone, and
34 other traits confirmed the gain (benchmarks/personas.py).
"""


class Progress(Protocol):
    """A listener for the models' progress."""

    def expect(self, windows: int, tokens: int) -> None:
        """Announce that a model will process this many more windows and tokens."""

    def batch(self, tokens: int, windows: int) -> None:
        """Note a finished batch. `tokens` excludes padding."""

    def cut(self, budget: int) -> None:
        """Limit later batches to `budget` padded tokens, because memory ran out."""


@dataclass(frozen=True)
class FixedTotal:
    """Passes on batches without their totals, which whoever has all of the work reports."""

    progress: Progress | None

    def expect(self, windows: int, tokens: int) -> None:
        """Ignore a part of the total."""

    def batch(self, tokens: int, windows: int) -> None:
        """Pass on a finished batch."""
        if self.progress:
            self.progress.batch(tokens, windows)

    def cut(self, budget: int) -> None:
        """Pass on a smaller budget."""
        if self.progress:
            self.progress.cut(budget)


@dataclass(frozen=True)
class EncoderConfig:
    """The encoder to load, and how to run it.

    The device, the precision and the token budget affect only the speed and the vectors' last
    digits.
    """

    model: str = DEFAULT_ENCODER
    revision: str | None = None
    window_tokens: int = WINDOW_TOKENS
    window_overlap: int = WINDOW_OVERLAP
    layer_depths: tuple[float, ...] = LAYER_DEPTHS
    device: Device = "auto"
    precision: Precision = "auto"
    token_budget: int | None = None


def require_finite(values: np.ndarray, where: str) -> None:
    """Check that a model's output is finite.

    Raises: RowError: the output contains NaN or infinity.
    """
    if not np.isfinite(values).all():
        raise RowError("gives NaN or infinity", where=where)
