"""Scores: rounding, column names, and the comparison with thresholds."""

from __future__ import annotations

from typing import Literal

import numpy as np

from schemas.shares import round_up

Side = Literal["trained", "rejected", "untrained"]
"""What the student learns from a text: to write it, to avoid it, or nothing."""

SIDES: tuple[Side, ...] = ("trained", "rejected", "untrained")

TEXTS_OF_SIDES: dict[Side, str] = {
    "trained": "trained texts",
    "rejected": "rejected answers",
    "untrained": "turns that aren't trained on",
}

SCORE_DECIMALS = 4
"""Scores are rounded to this many decimals before anything is decided or written.

The last bits of a float depend on the batch. Rounding keeps them out of files and of nearly all
decisions.
"""

SCORE_STEP = 10.0**-SCORE_DECIMALS
"""The distance between neighbouring scores."""

NEAR_MISS = 0.05
"""The largest distance below a threshold that counts as a near miss."""

LIKELY = 0.5
"""The score from which a trait is more likely present than not.

A calibrated threshold is at least this high, and a sentence with this score is a hit of `wording`.
"""

FLOAT32_NOISE = 1e-3
"""How much a threshold may change when float32 stores it, as a fraction of a step."""

DEFAULT_SPAN_FLOOR = 0.05
"""The lowest score whose spans are stored, unless a threshold is even lower.

Calibrated thresholds are at least `LIKELY`, so policies hardly need spans of lower scores.
"""

COMBINED = "combined"
"""The signal name of a trait's combined score."""

TIE_ORDER = (
    *("lexicon", "language", "wording", "repetition", "classifier"),
    *("exemplars", "head"),
)
"""Signals from the narrowest spans to the widest. If scores tie, the first signal is the evidence.
"""


def score_column(trait: str, signal: str = COMBINED, side: Side = "trained") -> str:
    """Return the name of a score's column in `scores/`.

    A combined score's column has the trait's id. For a rejected or untrained text, the name ends in
    `@` and the side.
    """
    return name_side(trait if signal == COMBINED else f"{trait}/{signal}", side)


def name_side(name: str, side: Side) -> str:
    """Return a trait's or signal's name, followed by `@` and the side unless it is `trained`."""
    return name if side == "trained" else f"{name}@{side}"


def is_trained(signal: str) -> bool:
    """Return whether a signal's name refers to a trained text."""
    return split_side(signal)[1] == "trained"


def name_finding(trait: str, signal: str) -> str:
    """Return the trait with its side, under which a reason's rows are counted."""
    return name_side(trait, split_side(signal)[1])


def split_side(name: str) -> tuple[str, Side]:
    """Split a name into a trait or signal and a side."""
    plain, _, wanted = name.partition("@")
    return plain, next((side for side in SIDES if side == wanted), "trained")


def round_up_score(value: float) -> float:
    """Round a value up to `SCORE_DECIMALS` decimals."""
    return round_up(value, SCORE_DECIMALS) + 0.0  # -0.0 becomes 0.0


def fires(scores: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Return whether each rounded float32 score reaches a threshold.

    `threshold` is one number, or an array as long as `scores`. NaN reaches no threshold. A
    threshold between two possible scores counts as the higher one. The comparison allows half a
    step, so that float32 scores reach an equal float64 threshold.
    """
    with np.errstate(invalid="ignore"):
        steps = np.ceil(np.asarray(threshold, np.float64) * 10**SCORE_DECIMALS - FLOAT32_NOISE)
        lowest = ((steps - 0.5) * SCORE_STEP).astype(np.float32)
        return np.asarray(scores >= lowest)
