"""The share of rows with a trait, corrected for the errors of whatever judged them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from classifiers.guarantees.calibration import compute_intervals


class Counted(NamedTuple):
    """How many of some texts were judged to have the trait, and how many texts there are."""

    hits: int
    total: int


class Prevalence(NamedTuple):
    """A share of rows and its interval; `is_clipped` says that an end was outside 0 to 1."""

    estimate: float
    low: float
    high: float
    is_clipped: bool = False


def correct_prevalence(
    flagged: Counted, traited: Counted, clean: Counted, confidence: float = 0.95
) -> Prevalence:
    """Correct the share of flagged rows for a judge's misses and false alarms.

    `traited` and `clean` count what the judge says of texts whose truth is known; of `clean`, the
    hits are false alarms. The estimate is (q + Sp - 1) / (Se + Sp - 1) (Rogan, Gladen 1978), and
    the interval is that of Lang and Reiczigel (2014), which covers the uncertainty of all three
    shares. The texts must be like the rows on which the judge is used.

    Raises: ValueError: the judge flags clean texts as often as traited ones, so its answers say
    nothing.
    """
    normal = _find_quantile(confidence)
    sensitivity, specificity = _share(traited), 1 - _share(clean)
    if sensitivity + specificity <= 1:
        raise ValueError("the judge doesn't tell traited texts from clean ones")
    raw = (_share(flagged) + specificity - 1) / (sensitivity + specificity - 1)
    middle, half = _compute_interval(flagged, traited, clean, normal)
    low, high = middle - half, middle + half
    return _clip(raw, low, high)


def _compute_interval(
    flagged: Counted, traited: Counted, clean: Counted, normal: float
) -> tuple[float, float]:
    """Return the middle and half the width of Lang and Reiczigel's interval."""
    square = normal**2
    total = flagged.total + square
    share = (flagged.hits + square / 2) / total
    found, texts = (traited.hits + 1) / (traited.total + 2), traited.total + 2
    passed, others = (clean.total - clean.hits + 1) / (clean.total + 2), clean.total + 2
    slope = found + passed - 1
    estimate = (share + passed - 1) / slope
    seen, spared = found * (1 - found) / texts, passed * (1 - passed) / others
    shift = 2 * square * (estimate * seen - (1 - estimate) * spared)
    variance = share * (1 - share) / total + estimate**2 * seen + (1 - estimate) ** 2 * spared
    return estimate + shift, normal * math.sqrt(variance) / slope


def estimate_with_predictions(
    judged: np.ndarray, judged_read: np.ndarray, truth: np.ndarray, confidence: float = 0.95
) -> Prevalence:
    """Estimate a share from a judge's answers on all rows and a reader's on a random sample.

    `judged` holds the judge's answers or scores on the rows that weren't read, `judged_read` those
    on the read rows, and `truth` what the reader says of these. The judge may be wrong in any way:
    the mean of truth - judged_read corrects it (prediction-powered inference: Angelopoulos, Bates,
    Fannjiang, Jordan, Zrnic 2023). The interval is normal, so dozens of read rows must differ from
    the judge's answers; with fewer, it is too short.

    Raises: ValueError: fewer than two rows were judged or read.
    """
    if len(truth) < 2 or len(judged) < 2:
        raise ValueError("at least two rows must be judged and read")
    errors = truth.astype(np.float64) - judged_read
    estimate = float(judged.mean() + errors.mean())
    variance = judged.var(ddof=1) / len(judged) + errors.var(ddof=1) / len(errors)
    half = _find_quantile(confidence) * math.sqrt(variance)
    return _clip(estimate, estimate - half, estimate + half)


class ReadErrors(NamedTuple):
    """Unbiased estimates of a judge's mean error in one part of the rows, and the part's share.

    The error of a row is the reader's answer minus the judge's. Each draw gives one estimate.
    """

    share: float
    estimates: np.ndarray


def estimate_with_draws(
    judged: float, parts: Sequence[ReadErrors], confidence: float = 0.95
) -> Prevalence:
    """Estimate a share from a judge's mean on all rows and weighted draws that a reader judged.

    This is `estimate_with_predictions` for a sample that was drawn by weight, in parts that were
    drawn apart. The draws of a part may depend on earlier ones, as long as each estimate is
    unbiased given those before it. The interval is normal and holds for one look.

    Raises: ValueError: a part has fewer than two draws.
    """
    if any(len(part.estimates) < 2 for part in parts):
        raise ValueError("at least two rows of each part must be read")
    estimate = judged + sum(part.share * float(part.estimates.mean()) for part in parts)
    variance = sum(
        part.share**2 * float(part.estimates.var(ddof=1)) / len(part.estimates) for part in parts
    )
    half = _find_quantile(confidence) * math.sqrt(variance)
    return _clip(estimate, estimate - half, estimate + half)


class RemovedShare(NamedTuple):
    """How many rows a filter looked at and kept, and the share of its findings that it removed."""

    rows: int
    kept: int
    share: float


def correct_after_removal(
    before: Prevalence, traited: Counted, removed: RemovedShare, confidence: float = 0.95
) -> Prevalence:
    """Estimate the share of kept rows with a trait from that before the filter.

    Of the rows with the trait, the filter finds the share Se and removes a share of these; the rest
    stays. The ends combine those of both shares, so the interval is wider than it needs to be.
    """
    counts = np.array([traited.hits]), np.array([traited.total])
    low, high = (float(end[0]) for end in compute_intervals(*counts, confidence))
    scale = removed.rows / max(removed.kept, 1)
    pairs = ((before.estimate, _share(traited)), (before.low, high), (before.high, low))
    return _clip(*(share * (1 - found * removed.share) * scale for share, found in pairs))


def _clip(*values: float) -> Prevalence:
    """Return an estimate and its ends, cut off at 0 and 1."""
    estimate, low, high = (min(max(value, 0.0), 1.0) for value in values)
    return Prevalence(estimate, low, high, (estimate, low, high) != values)


def _share(counted: Counted) -> float:
    return counted.hits / counted.total


def _find_quantile(confidence: float) -> float:
    """Return the normal quantile of a two-sided interval."""
    from scipy.special import ndtri  # noqa: PLC0415 - it takes a tenth of a second to load

    return float(ndtri((1 + confidence) / 2))
