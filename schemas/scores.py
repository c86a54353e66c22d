"""Scores: their rounding, the names of their columns, and which ones reach a threshold."""

from __future__ import annotations

from typing import Literal

import numpy as np

from schemas.shares import round_up

Side = Literal["trained", "rejected", "untrained"]
"""What the student learns from a text: to write it, not to write it, or nothing."""

SIDES: tuple[Side, ...] = ("trained", "rejected", "untrained")

TEXTS_OF_SIDES: dict[Side, str] = {
    "trained": "trained texts",
    "rejected": "rejected answers",
    "untrained": "turns that aren't trained on",
}

SCORE_DECIMALS = 4
"""Scores are rounded to this many decimals before anything is decided or written.

The last bits of a float depend on the batch in which a text was scored. Rounding keeps them out of
files, and out of decisions on all but a few borderline scores.
"""

SCORE_STEP = 10.0**-SCORE_DECIMALS
"""The distance between two neighbouring scores."""

NEAR_MISS = 0.05
"""How far below a threshold a score may be to count as a near miss."""

FLOAT32_NOISE = 1e-3
"""The fraction of a step by which a threshold may change when it is stored in float32."""

DEFAULT_SPAN_FLOOR = 0.05
"""The lowest score whose spans are stored, unless a threshold is even lower.

Calibrated thresholds of the library's traits are above 0.3. A lower floor would store more spans,
which no policy is likely to need.
"""

COMBINED = "combined"
"""The signal name of a trait's combined score."""

TIE_ORDER = ("lexicon", "repetition", "classifier", "exemplars", "head")
"""Signals from the narrowest spans to the widest; if scores tie, the first is the evidence."""


def score_column(trait: str, signal: str = COMBINED, side: Side = "trained") -> str:
    """Return the name of a score's column in `scores/`: for a combined score, the trait's id.

    For a rejected or untrained text, the name ends in `@` and the side.
    """
    return name_side(trait if signal == COMBINED else f"{trait}/{signal}", side)


def name_side(name: str, side: Side) -> str:
    """Return the name of a trait or signal, followed by `@` and the side unless it is `trained`."""
    return name if side == "trained" else f"{name}@{side}"


def is_trained(signal: str) -> bool:
    """Return whether a signal's name in a reason or a span refers to a trained text."""
    return split_side(signal)[1] == "trained"


def name_finding(trait: str, signal: str) -> str:
    """Return the name under which rows with a reason are counted: the trait with its side."""
    return name_side(trait, split_side(signal)[1])


def split_side(name: str) -> tuple[str, Side]:
    """Split a name into its trait or signal and its side."""
    plain, _, wanted = name.partition("@")
    return plain, next((side for side in SIDES if side == wanted), "trained")


def round_up_score(value: float) -> float:
    """Round a value up to `SCORE_DECIMALS` decimals."""
    return round_up(value, SCORE_DECIMALS)


def fires(scores: np.ndarray, threshold: float | np.ndarray) -> np.ndarray:
    """Return, for each rounded float32 score, whether it reaches a threshold.

    `threshold` may be an array with a threshold for each score. NaN, the score of a row without
    text, reaches no threshold. A threshold between two possible scores counts as the higher one.
    With a tolerance of half a step, a float32 score reaches the float64 threshold that it equals.
    """
    with np.errstate(invalid="ignore"):
        steps = np.ceil(np.asarray(threshold, np.float64) * 10**SCORE_DECIMALS - FLOAT32_NOISE)
        lowest = ((steps - 0.5) * SCORE_STEP).astype(np.float32)
        return np.asarray(scores >= lowest)
