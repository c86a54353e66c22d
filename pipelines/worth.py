"""A threshold's worth: the positives that it finds, and the clean texts closest to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from classifiers.banks import Bank, TraitModel
from classifiers.clean_text import CleanRow, split_clean_text
from classifiers.guarantees.calibration import CONFIDENCE, FoundShare
from pipelines.banks import FitPlan
from schemas.notices import Notice, warn
from schemas.scores import SCORE_DECIMALS
from schemas.shares import format_interval
from transforms.rules import Rule

STRONGEST = 3
"""How many of the strongest clean texts are shown."""

SHOWN_CHARACTERS = 100

NAMED_TRAITS = 5
"""The largest number of traits described before a run. A table describes more traits."""


class StrongText(NamedTuple):
    """A held-out clean text with a high score.

    `name` is the text's origin, and a card can use it to leave the text out.
    """

    score: float
    name: str
    text: str

    def describe(self) -> str:
        """Describe the text in one line."""
        text = " ".join(self.text.split())
        shown = f"{text[:SHOWN_CHARACTERS]}…" if len(text) > SHOWN_CHARACTERS else text
        return f"{self.score:.4f}  {self.name}  {shown}"


def list_strongest(
    bank: Bank, plan: FitPlan | None, signals: Mapping[str, str]
) -> dict[str, list[StrongText]]:
    """List each trait's held-out clean texts with the highest scores.

    A given bank's traits have none, because they may be calibrated on other text.
    """
    if plan is None:
        return {}
    return {
        card.id: _find_strongest(
            split_clean_text(card, plan.clean)[1],
            bank.traits[card.id].calibration[signals[card.id]],
        )
        for card in plan.cards
        if card.id not in plan.fitted and signals[card.id] in bank.traits[card.id].calibration
    }


def _find_strongest(rows: Sequence[CleanRow], scores: np.ndarray) -> list[StrongText]:
    order = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")[:STRONGEST]
    return [
        StrongText(
            round(float(scores[index]), SCORE_DECIMALS),
            rows[index].name,
            next((text for text in rows[index].texts if text.strip()), ""),
        )
        for index in order
        if scores[index] > 0
    ]


def describe_worth(
    rules: Sequence[Rule], bank: Bank, plan: FitPlan | None, named: Sequence[str]
) -> Iterator[Notice]:
    """Describe what each named trait's threshold finds, and warn of thresholds within the noise.

    A trait of the whole library or of a given bank gets only a warning.
    """
    strongest = list_strongest(bank, plan, {rule.trait: rule.signal for rule in rules})
    for rule in rules:
        value, found = rule.threshold.value, rule.found
        if value is None or value > 1 or found is None:
            continue
        text = f"trait {rule.trait}: {describe_found(found, value)}"
        if found.is_in_noise:
            yield warn(f"{text}. {_explain_noise(rule, bank.traits[rule.trait])}")
        elif 0 < len(named) <= NAMED_TRAITS:
            yield Notice(text)
        if found.is_in_noise or 0 < len(named) <= NAMED_TRAITS:
            for item in strongest.get(rule.trait, ()):
                yield Notice(f"  clean text {item.describe()}")


def _explain_noise(rule: Rule, trait: TraitModel) -> str:
    """Explain why a threshold is within the noise, and the remedy."""
    if trait.card.signals.names != ("lexicon",):
        return (
            "The threshold sits in the noise: clean text scores as high as most of the positives. "
            "Add positives like those that are missed and hard negatives like the strongest clean "
            "texts, or accept a milder level"
        )
    # a lexicon learns nothing from its exemplars
    remedy = "Narrow the patterns, give them different weights, or accept a milder level"
    if not trait.calibrated_on.startswith("--background "):
        remedy += "; --background FILE calibrates on text like yours"
    hit = _find_only_score(rule, trait)
    value = rule.threshold.value
    if hit is not None and value is not None and hit < value:
        return (
            f"Every hit of its lexicon scores the same, {hit:.4f}, and more clean texts hit than "
            f"the level allows, so no hit reaches the threshold. {remedy}"
        )
    return (
        "The threshold sits in the noise: clean text scores as high as most of the positives. "
        f"{remedy}. Positives that are missed need patterns of their own"
    )


def _find_only_score(rule: Rule, trait: TraitModel) -> float | None:
    """Return the score that all hits share, or None if they differ."""
    groups = (trait.positive_scores, trait.calibration)
    scores = np.concatenate([group.get(rule.signal, np.empty(0)) for group in groups])
    hits = np.unique(np.round(scores[scores > 0].astype(np.float64), SCORE_DECIMALS))
    return float(hits[0]) if len(hits) == 1 else None


def describe_found(found: FoundShare, threshold: float) -> str:
    """Describe how many positives reach a threshold, and their distance from it."""
    gap = found.median - threshold
    return (
        f"{found.found} of the card's {found.positives} positives reach {threshold:.4f} when each "
        f"is held out from the fit ({format_interval(found.low, found.high, 0)} with "
        f"{CONFIDENCE:.0%} confidence); their median, {found.median:.4f}, is {abs(gap):.4f} "
        f"{'above' if gap >= 0 else 'below'} it"
    )
