"""A threshold's worth: the positives that it finds, and the clean texts closest to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from classifiers.banks import Bank, TraitModel
from classifiers.clean_text import CleanRow, present_as_answers, split_clean_text
from classifiers.fitting import scope_to_answers
from classifiers.guarantees.calibration import CONFIDENCE, FoundShare
from classifiers.library import find_cards
from classifiers.scoring import Scorer
from pipelines.banks import FitPlan
from pipelines.display.excerpts import build_excerpt
from schemas.notices import Notice, choose_form, format_count, warn
from schemas.scores import SCORE_DECIMALS
from schemas.shares import format_interval
from transforms.rules import Rule

STRONGEST = 3
"""How many of the strongest clean texts are shown."""

SHOWN_CHARACTERS = 100

NAMED_TRAITS = 5
"""The largest number of traits described before a run. A table describes more traits."""


class StrongText(NamedTuple):
    """A held-out clean text with a high score, and the span that scored highest.

    `name` is the text's origin, and a card can use it to leave the text out.
    """

    score: float
    name: str
    text: str
    start: int = 0
    end: int = 0

    def describe(self) -> str:
        """Describe the text in one line, cut around its span."""
        last = min(max(self.end, self.start), self.start + SHOWN_CHARACTERS)
        context = (SHOWN_CHARACTERS - (last - self.start)) // 2
        if self.start < context:
            last, context = max(last, SHOWN_CHARACTERS), self.start
        pieces = build_excerpt(self.text, self.start, last, context=context)
        shown = "".join(piece.text for piece in pieces)
        return f"{self.score:.4f}  {self.name}  {' '.join(shown.split())}"


def list_strongest(
    scorer: Scorer, plan: FitPlan | None, signals: Mapping[str, str]
) -> dict[str, list[StrongText]]:
    """List the held-out clean texts with the highest scores, for each trait and signal given.

    A given bank's traits have none, because they may be calibrated on other text.
    """
    found: dict[str, list[StrongText]] = {}
    for card in () if plan is None else plan.cards:
        trait, signal = scorer.bank.traits[card.id], signals.get(card.id)
        if plan is None or card.id in plan.fitted or signal not in trait.calibration:
            continue
        rows, scores = split_clean_text(card, plan.clean)[1], trait.calibration[signal]
        order = np.argsort(-np.nan_to_num(scores, nan=-1.0), kind="stable")[:STRONGEST]
        best = [int(index) for index in order if scores[index] > 0]
        quoted = _quote_rows([rows[index] for index in best], trait, scorer)
        found[card.id] = [
            text._replace(score=round(float(scores[index]), SCORE_DECIMALS))
            for index, text in zip(best, quoted, strict=True)
        ]
    return found


def _quote_rows(
    rows: Sequence[CleanRow], trait: TraitModel, scorer: Scorer
) -> Iterator[StrongText]:
    """Yield each row's text in which a trait's strongest signal has its highest score."""
    name = trait.card.id
    alone = Bank({name: scope_to_answers(trait)}, scorer.bank.encoder, scorer.bank.background)
    models = {other: model for other, model in scorer.classifiers.items() if other == name}
    texts = present_as_answers(rows)
    scores = Scorer(alone, scorer.encoder, models).score(len(rows), texts).signals[name]
    for index, row in enumerate(rows):
        best = max(scores.values(), key=lambda item: np.nan_to_num(item.scores[index], nan=-1.0))
        segment, start, end = (int(array[index]) for array in best.best_spans)
        text = texts.text[segment].as_py() if segment >= 0 else ""
        yield StrongText(0.0, row.name, text, max(start, 0), max(end, 0))


def describe_worth(
    rules: Sequence[Rule], scorer: Scorer, plan: FitPlan | None, named: Sequence[str]
) -> Iterator[Notice]:
    """Describe what each named trait's threshold finds, and warn of thresholds within the noise.

    Many named traits, and those of a given bank, have a notice only if there is a warning. Traits
    of the library that nobody named have none, because their user can't change their cards; the
    table of traits has their shares.
    """
    few = 0 < len(named) <= NAMED_TRAITS
    library = set() if named else {card.id for card in find_cards()}
    shown = [
        (rule, found)
        for rule in rules
        if (found := rule.found) is not None
        and rule.threshold.value is not None
        and rule.threshold.value <= 1
        and rule.trait not in library
        and (few or found.is_in_noise)
    ]
    strongest = list_strongest(scorer, plan, {rule.trait: rule.signal for rule, _ in shown})
    for rule, found in shown:
        value, labels = float(rule.threshold.value or 0), scorer.bank.traits[rule.trait].labels
        text = f"trait {rule.trait}: {describe_found(found, value, labels is not None)}"
        if found.is_in_noise:
            yield warn(f"{text}. {_explain_noise(rule, scorer.bank.traits[rule.trait])}")
        else:
            yield Notice(text)
        for item in strongest.get(rule.trait, ()):
            yield Notice(f"  clean text {item.describe()}", is_recorded=False)


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


def describe_found(found: FoundShare, threshold: float, labelled: bool = False) -> str:
    """Describe how many positives reach a threshold, and their distance from it.

    `labelled` says whether rows from labels are among the positives.
    """
    gap = found.median - threshold
    whose = "the card's and the labels'" if labelled else "the card's"
    return (
        f"{found.found} of {whose} {format_count(found.positives, 'positive')} "
        f"{choose_form(found.found, 'reaches', 'reach')} {threshold:.4f} when each "
        f"is held out from the fit ({format_interval(found.low, found.high, 0)} with "
        f"{CONFIDENCE:.0%} confidence); their median, {found.median:.4f}, is {abs(gap):.4f} "
        f"{'above' if gap >= 0 else 'below'} it"
    )
