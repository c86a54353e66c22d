"""Which of five vendors' families wrote 20 answers: a part of `benchmarks/lineage.py`.

The tested model isn't among the candidates. The models of each family are sorted by the SHA-256 of
their names, and all are dealt alternately into two halves; each half is tested with weights that
were fitted on the other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.optimize import minimize

from benchmarks.measure import Report, judge
from classifiers.lineage.families import (
    MANNER,
    MANNER_ALONE,
    OVERLAP,
    STEADY,
    compare_manner,
    rank_families,
)
from classifiers.lineage.resemblance import compare_answers

if TYPE_CHECKING:
    from benchmarks.lineage import Models

FAMILIES = {
    "OpenAI": ("gpt", "text_davinci"),
    "Anthropic": ("claude-",),
    "Google": ("gemini", "gemma"),
    "Meta": ("Meta-Llama", "Llama-3"),
    "Mistral": ("Mistral-7B", "mistral-", "SPPO-Mistral"),
}
"""How the names of each vendor's models, and of models tuned from them, begin."""

FEW, BAGS = 20, 40
"""How many answers of a model are asked about, and how often. No prompt is in two of the draws."""

SPREADS = {"same": np.array([0.38, 0.028]), "other": np.array([0.34, 0.11])}
"""The typical spread of the two measures over candidates, for the same and for other prompts."""

PENALTY = 0.003
"""The ridge penalty of the two weights, in units of the typical spread of each measure."""

RESAMPLED = 2_000
"""How many bootstrap samples of models an interval is drawn from."""


class Draws(NamedTuple):
    """A model's draws of answers: the measures of each candidate, and the families.

    `same` has manner and overlap, as float64 [draws, candidates, 2]. `other` has manner and steady
    manner if candidates answered other prompts.
    """

    name: str
    own: int
    half: int
    family: np.ndarray
    same: np.ndarray
    other: np.ndarray


def find_family(name: str) -> int:
    """Return the place of a model's family, or -1."""
    starts = enumerate(FAMILIES.values())
    return next((place for place, start in starts if name.startswith(start)), -1)


def deal(names: Sequence[str]) -> dict[str, int]:
    """Return the half of each model that has a family."""
    known = [name for name in names if find_family(name) >= 0]
    known.sort(key=lambda name: (find_family(name), hashlib.sha256(name.encode()).hexdigest()))
    return {name: place % 2 for place, name in enumerate(known)}


def draw_all(models: Models) -> Iterator[Draws]:
    """Yield the draws of every model that has a family; candidates are all others."""
    halves = deal(models.names)
    known = [place for place, name in enumerate(models.names) if name in halves]
    overlap = np.array([compare_bag(models, bag) for bag in range(BAGS)])
    for own in known:
        others = np.array([place for place in known if place != own])
        manner = compare_draws(models, own, others)
        name = models.names[own]
        yield Draws(
            name,
            find_family(name),
            halves[name],
            np.array([find_family(models.names[place]) for place in others]),
            np.stack([manner[..., 0], overlap[:, own, others]], axis=-1),
            np.concatenate([compare_draws(models, own, others, part) for part in (0, 1)]),
        )


def compare_bag(models: Models, bag: int) -> np.ndarray:
    """Return the overlap of all models' answers to the prompts of one draw."""
    texts = np.flatnonzero(models.found.prompt // FEW == bag)
    everyone = np.ones(len(models.names), bool)
    model, prompt = models.found.model[texts], models.found.prompt[texts]
    return compare_answers(models.vectors[2][texts], model, prompt, everyone)[0]


def compare_draws(
    models: Models, own: int, others: np.ndarray, part: int | None = None
) -> np.ndarray:
    """Return each draw's likeness to candidates, as float64 [draws, candidates, 2].

    The last axis is manner and steady manner.
    With a `part`, draws of this half of the prompts are compared with candidates' answers to the
    other half, and no prompt is known.
    """
    model, prompt = models.found.model, models.found.prompt
    draws = np.arange(BAGS) if part is None else np.arange(part, BAGS, 2)
    bag = np.where(model == own, prompt // FEW, -1)
    asked = np.isin(bag, draws)
    known = np.isin(model, others) & (prompt < BAGS * FEW)
    if part is not None:
        known &= prompt // FEW % 2 != part
    texts = np.flatnonzero(asked | known)
    place = np.searchsorted(others, model)
    role = np.where(asked, np.searchsorted(draws, bag), len(draws) + place)[texts]
    reference = np.arange(len(draws) + len(others)) >= len(draws)
    prompts = prompt[texts] if part is None else np.where(asked, -1, prompt)[texts]
    found = compare_manner(models.words[texts], role, prompts, reference)
    return np.stack([part[: len(draws), len(draws) :] for part in found], axis=-1)


def fit(draws: Sequence[Draws], setting: str) -> np.ndarray:
    """Fit the two weights by the probability of the true families, as float64 [2]."""

    def compute_loss(weights: np.ndarray) -> float:
        shares = [score(item, weights / SPREADS[setting], setting)[:, item.own] for item in draws]
        loss = -np.mean([np.log(np.maximum(share, 1e-300)).mean() for share in shares])
        return float(loss + PENALTY * weights @ weights)

    found = minimize(compute_loss, np.ones(2), bounds=[(0, None)] * 2).x
    return np.asarray(found / SPREADS[setting])


def score(item: Draws, weights: np.ndarray, setting: str) -> np.ndarray:
    """Return the probabilities of families for each draw, as float64 [draws, families]."""
    evidence = getattr(item, setting) @ weights
    return np.array([rank_families(row, item.family, len(FAMILIES)) for row in evidence])


def measure(draws: Sequence[Draws], setting: str) -> dict[str, float]:
    """Return how often each model's family is found, with weights from the other half."""
    found = {}
    for half in (0, 1):
        weights = fit([item for item in draws if item.half != half], setting)
        for item in draws:
            if item.half == half:
                best = score(item, weights, setting).argmax(axis=1)
                found[item.name] = float(np.mean(best == item.own))
    return found


def resample(shares: Sequence[float]) -> str:
    """Return the middle 95 % of the means of bootstrap samples, drawn with a fixed seed."""
    dice = np.random.default_rng(0)
    means = dice.choice(shares, (RESAMPLED, len(shares))).mean(axis=1)
    return "{:.2f} to {:.2f}".format(*np.quantile(means, (0.025, 0.975)))


def report_families(report: Report, models: Models) -> None:
    """Add how often the family of 20 answers is found, of a model that isn't a candidate."""
    draws = list(draw_all(models))
    found = {setting: measure(draws, setting) for setting in SPREADS}
    report.say(
        f"Families: {FEW} answers of a model, with all answers of the other models of five "
        f"families as candidates. {BAGS} draws for each model; the intervals (95 %) resample "
        "models. Weights were fitted on the models of the other half. Which measures are used was "
        "decided with all models in view. With other prompts, candidates answered none of the "
        "prompts of a draw, and half as many of their answers are known."
    )
    rows: list[tuple[object, ...]] = []
    for place, family in enumerate((*FAMILIES, "all")):
        own = [n for n in found["same"] if family == "all" or find_family(n) == place]
        row: list[object] = [family, len(own)]
        for shares in found.values():
            kept = [shares[name] for name in own]
            row += [float(np.mean(kept)), resample(kept)]
        row.append(judge(float(np.mean([found["same"][n] for n in own])), 0.9))
        rows.append(tuple(row if family == "all" else [*row[:-1], ""]))
    header = ("family", "models", "same prompts", "interval", "other prompts", "interval")
    report.add_table((*header, "target for the same"), rows)
    shipped = {"same": (MANNER, OVERLAP), "other": (MANNER_ALONE, STEADY)}
    for setting, shares in found.items():
        low = sorted((share, name) for name, share in shares.items() if share <= 0.8)
        weights = " and ".join(f"{weight:.1f}" for weight in fit(draws, setting))
        names = ", ".join(f"{name} {share:.2f}" for share, name in low)
        report.say(
            f"With {setting} prompts, least often right: {names}. Weights that were fitted on all "
            f"models: {weights} (shipped: {' and '.join(f'{w:g}' for w in shipped[setting])})."
        )


if __name__ == "__main__":
    raise SystemExit("run benchmarks.lineage, of which this is a part")
