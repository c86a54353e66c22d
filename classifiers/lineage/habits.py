"""Inherited habits: what a parent and its student do far more often than other models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr  # scipy.stats has the same but takes seconds to load

from classifiers.lineage.resemblance import sum_by_model
from classifiers.lineage.tokens import TokenisedTexts, count_grams, write_gram

SIZES = (1, 2, 3)
"""The lengths of habits, in tokens."""

FEWEST_TEXTS = 10
"""In how many texts of one half an n-gram must occur to be considered."""

STRIKING = 3.0
"""By how many standard errors a habit must exceed other models in the first half."""

CONFIRMED = 300
"""How many of the most striking habits the second half tests."""

LARGEST_Q = 0.05
"""The false discovery rate among the habits that are returned."""


class Habit(NamedTuple):
    """An n-gram, and the shares of texts that contain it, all measured on the second half."""

    text: str
    parent: float
    student: float
    others: float
    q_value: float


class GramUse(NamedTuple):
    """In how many texts of each half each model uses each n-gram.

    `grams` has the tokens of each n-gram. `uses` is float64 [halves, models, n-grams], and `texts`
    is float64 [halves, models].
    """

    grams: list[tuple[int, ...]]
    uses: np.ndarray
    texts: np.ndarray


def count_usage(found: TokenisedTexts, model: np.ndarray, half: np.ndarray, models: int) -> GramUse:
    """Count the texts that contain each n-gram.

    `half` is 0 or 1 for each text. Answers to the same prompt belong to the same half, so that the
    second half tests what the first one found.
    """
    owner = half * models + model
    grams: list[tuple[int, ...]] = []
    uses = []
    for size in SIZES:
        counts, tokens = count_grams(found, size, 2 * FEWEST_TEXTS)
        counts.data[:] = 1
        kept = np.flatnonzero(np.asarray(counts.sum(axis=0)).ravel() >= 2 * FEWEST_TEXTS)
        grams += map(tuple, tokens[kept].tolist())
        uses.append(sum_by_model(counts[:, kept], owner, 2 * models))
    texts = np.bincount(owner, minlength=2 * models).astype(np.float64).reshape(2, models)
    return GramUse(grams, np.hstack(uses).reshape(2, models, -1), texts)


def find_habits(
    usage: GramUse,
    vocabulary: Sequence[str],
    student: int,
    parent: int,
    others: np.ndarray,
    most: int = 20,
) -> list[Habit]:
    """Return the habits that the student shares with its parent and not with others.

    They are found in one half of the prompts and tested in the other. A habit's p-value is the
    larger one of the parent's and the student's, because both must exceed the others; q-values are
    Benjamini and Hochberg's. Overlapping n-grams are listed once. The most certain come first.
    """
    place = np.array([parent, student])
    enough = (usage.uses[0, place] >= FEWEST_TEXTS / 2).all(axis=0)
    striking = np.where(enough, _compare(usage, 0, place, others).min(axis=0), -np.inf)
    chosen = np.argsort(-striking, kind="stable")[:CONFIRMED]
    chosen = chosen[striking[chosen] >= STRIKING]
    certain = _compare(usage, 1, place, others)[:, chosen].min(axis=0)
    q_values = adjust(ndtr(-certain))
    rates = usage.uses[1] / np.maximum(usage.texts[1], 1)[:, None]
    order = [place for place in np.argsort(-certain, kind="stable") if q_values[place] <= LARGEST_Q]
    found = []
    for position in _leave_out_repeats([usage.grams[chosen[place]] for place in order]):
        gram = chosen[order[position]]
        found.append(
            Habit(
                write_gram(usage.grams[gram], vocabulary),
                float(rates[parent, gram]),
                float(rates[student, gram]),
                float(rates[others, gram].mean()),
                float(q_values[order[position]]),
            )
        )
    return found[:most]


def _compare(usage: GramUse, half: int, place: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return by how many standard errors models exceed others, as float64 [models, n-grams].

    The error consists of how much the others differ, and of the model's own number of texts.
    """
    texts = usage.texts[half][:, None]
    rates = (usage.uses[half] + 0.5) / (texts + 1)
    usual = rates[others].mean(axis=0)
    between = rates[others].var(axis=0, ddof=1) if len(others) > 1 else np.zeros_like(usual)
    error = np.sqrt(between + usual * (1 - usual) / np.maximum(texts[place], 1))
    return np.asarray((rates[place] - usual) / error)


def adjust(p_values: np.ndarray) -> np.ndarray:
    """Return Benjamini and Hochberg's q-values."""
    if not len(p_values):
        return p_values
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * len(p_values) / np.arange(1, len(p_values) + 1)
    found = np.empty(len(p_values))
    found[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return found


def _leave_out_repeats(grams: Sequence[tuple[int, ...]]) -> Iterator[int]:
    """Yield the places of n-grams that overlap with no earlier one."""
    listed: list[set[tuple[int, ...]]] = []
    for place, gram in enumerate(grams):
        parts = {gram[i:j] for i in range(len(gram)) for j in range(i + 1, len(gram) + 1)}
        if not any(_overlap(parts, other) for other in listed):
            listed.append(parts)
            yield place


def _overlap(parts: set[tuple[int, ...]], other: set[tuple[int, ...]]) -> bool:
    """Return whether one n-gram contains the other, or both contain the same pair of tokens."""
    shared = parts & other
    return (
        max(parts, key=len) in shared
        or max(other, key=len) in shared
        or any(len(part) > 1 for part in shared)
    )
