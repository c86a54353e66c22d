"""Ranking candidate parents: probabilities, p-values against control teachers, and none of them.

The weights were fitted by `benchmarks/lineage.py` on 22 students whose parents are known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import expit, stdtr  # scipy.stats has the same but takes seconds to load

from classifiers.lineage.resemblance import Resemblance


class Weights(NamedTuple):
    """What one unit of overlap and of wording adds to a candidate's evidence.

    At the lead `none_at`, some candidate and none of them are equally likely; one parent in ten
    leads by less. `none_slope` is how fast the odds change with the lead.
    """

    overlap: float
    wording: float
    none_at: float
    none_slope: float


FITTED = Weights(overlap=93.2, wording=17.0, none_at=5.8, none_slope=0.4)
"""The weights with answers to the same prompts."""

WITHOUT_PROMPTS = Weights(overlap=0.0, wording=17.2, none_at=3.2, none_slope=0.4)
"""The weights without such answers."""


class Ranked(NamedTuple):
    """A candidate: its index, its probability, and what speaks for it.

    `p_value` says how often a teacher that isn't the parent would lead the other candidates by as
    much; it is corrected for the number of candidates.
    """

    candidate: int
    probability: float
    p_value: float
    evidence: float
    wording: float
    overlap: float | None


class Ranking(NamedTuple):
    """The candidates, best first, and the probability that none of them is the parent."""

    candidates: list[Ranked]
    none: float
    uses_prompts: bool


def rank_candidates(found: Resemblance, student: int, candidates: np.ndarray) -> Ranking:
    """Rank the candidates for a student. `candidates` are indices of models, as int64.

    Answers to the same prompts count only if the student shares enough prompts with every
    candidate, because candidates must be comparable. Equal candidates keep their order.
    """
    wording, overlap = found.wording[student, candidates], found.overlap[student, candidates]
    weights = choose_weights(overlap)
    evidence = weigh(wording, overlap, weights)
    none = compute_none(evidence, weights)
    odds = np.exp(evidence - evidence.max())
    shares = (1 - none) * odds / odds.sum()
    p_values = compare_with_controls(evidence)
    order = np.argsort(-evidence, kind="stable")
    ranked = [
        Ranked(
            int(candidates[place]),
            float(shares[place]),
            float(p_values[place]),
            float(evidence[place]),
            float(wording[place]),
            float(overlap[place]) if np.isfinite(overlap[place]) else None,
        )
        for place in order
    ]
    return Ranking(ranked, none, weights is FITTED)


def choose_weights(overlap: np.ndarray) -> Weights:
    """Return the weights that suit these models: without prompts if any overlap is unknown."""
    return FITTED if bool(np.isfinite(overlap).all()) else WITHOUT_PROMPTS


def weigh(wording: np.ndarray, overlap: np.ndarray, weights: Weights) -> np.ndarray:
    """Return the evidence for each candidate, in units of log-odds."""
    shared = weights.overlap * overlap if weights.overlap else 0.0
    return np.asarray(weights.wording * wording + shared)


def compute_lead(evidence: np.ndarray) -> float:
    """Return by how much the best candidate leads three quarters of the others."""
    best = int(evidence.argmax())
    return float(evidence[best] - np.quantile(np.delete(evidence, best), 0.75))


def compute_none(evidence: np.ndarray, weights: Weights) -> float:
    """Return the probability that none of the candidates is the parent."""
    if len(evidence) < 2:
        return 0.5
    return float(expit(-weights.none_slope * (compute_lead(evidence) - weights.none_at)))


def compare_with_controls(evidence: np.ndarray) -> np.ndarray:
    """Return each candidate's p-value against the others, which serve as control teachers.

    It is the one-sided prediction test for one more value of a normal distribution whose mean and
    variance are estimated from the others, times the number of candidates (Bonferroni). With fewer
    than three others it is 1.
    """
    if len(evidence) < 4:
        return np.ones(len(evidence))
    found = np.empty(len(evidence))
    for place, own in enumerate(evidence):
        others = np.delete(evidence, place)
        spread = others.std(ddof=1) * np.sqrt(1 + 1 / len(others))
        found[place] = stdtr(len(others) - 1, -(own - others.mean()) / max(spread, 1e-12))
    return np.minimum(found * len(evidence), 1.0)
