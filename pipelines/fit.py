"""`congener fit`: fit trait cards into a bank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from classifiers.banks import INDEX_FILE, Bank, TraitModel
from classifiers.guarantees.calibration import (
    FoundShare,
    Threshold,
    calibrate,
    count_texts_needed,
    measure_found,
)
from classifiers.library import list_shipped_ids
from classifiers.scoring import load_scorer
from pipelines.banks import prepare_bank, remove_bank, save_bank
from pipelines.config import FilterConfig
from pipelines.diagnosis import diagnose
from pipelines.label_effects import describe_trait_labels
from pipelines.list_items import select_own, warn_of_taken_items
from pipelines.notices import describe_unused
from pipelines.pattern_worth import PatternWorth, measure_patterns
from pipelines.signal_costs import SignalCost, describe_cost, measure_cost
from pipelines.worth import CloseTexts, list_close_texts
from schemas.errors import RunError
from schemas.events import Listener, Noticed, ignore
from schemas.scores import COMBINED
from transforms.files import storage


@dataclass(frozen=True)
class FittedTrait:
    """A fitted trait: its exemplars, its signals, and the threshold at its level."""

    trait: str
    positives: int
    negatives: int
    signals: tuple[str, ...]
    threshold: Threshold
    needed: int
    """The number of clean texts that the level needs."""
    calibrated_on: str
    found: FoundShare | None = None
    """How many of the positives the threshold would find."""
    close: CloseTexts | None = None
    """The held-out clean texts and the hard negatives closest to the threshold."""
    patterns: PatternWorth | None = None
    """What the card's patterns find alone, for a user's own card."""
    cost: SignalCost | None = None
    """The signals that mainly fire on clean texts, for a user's own card."""
    cost_line: str = ""
    """The same in words."""
    advice: str = ""
    """The reason why the threshold finds little, and what helps."""
    labels: dict[str, Any] | None = None
    """The labels of the fit, and what they changed."""
    label_lines: tuple[str, ...] = ()
    """The same in words."""


class FittedBank(NamedTuple):
    """A written bank, and the texts closest to the thresholds of its newly fitted traits."""

    bank: Bank
    close: dict[str, CloseTexts]


def run_fit(
    config: FilterConfig, output: str, restart: bool = False, listener: Listener = ignore
) -> FittedBank:
    """Fit the configuration's traits and write the bank.

    With `restart`, the new bank replaces an old one. Other files are kept.

    Raises: CongenerError: a card or the encoder is wrong, the cards are inside the output, or the
    output already holds a bank.
    """
    exists = storage.exists(storage.join(output, INDEX_FILE))
    if exists and not restart:
        raise RunError(
            "already holds a bank",
            where=output,
            remedy="choose another --output, or replace the bank with --restart",
        )
    require_cards_outside(config.traits, output)
    storage.sweep(output)
    bank, encoder, plan = prepare_bank(config, listener=listener)
    if exists:
        remove_bank(output)
    save_bank(bank, output)
    for notice in describe_unused(bank):
        listener(Noticed(notice))
    own = select_own(plan)
    for notice in warn_of_taken_items(own, bank.traits):
        listener(Noticed(notice))
    if plan is None or len(plan.fitted) == len(plan.cards):
        return FittedBank(bank, {})
    scorer = load_scorer(bank, config.build_encoder_config(), encoder)
    thresholds = {
        name: (COMBINED, settle_threshold(trait).value) for name, trait in bank.traits.items()
    }
    return FittedBank(bank, list_close_texts(scorer, plan, thresholds))


def require_cards_outside(traits: Sequence[str], output: str) -> None:
    """Refuse trait folders inside the output, which will hold the bank's own folders.

    Raises: RunError: a trait folder is inside the output.
    """
    if not storage.is_local(output):
        return
    folder = Path(output).resolve()
    for trait in traits:
        if Path(trait).exists() and Path(trait).resolve().is_relative_to(folder):
            raise RunError(
                f"holds the trait cards {trait}",
                where=output,
                remedy="choose an --output outside the folder of the cards",
            )


def describe_fitted_traits(fitted: FittedBank) -> list[FittedTrait]:
    """Describe each trait of a bank."""
    shipped = list_shipped_ids()
    return [
        _describe_trait(trait, fitted.close.get(name), name not in shipped)
        for name, trait in fitted.bank.traits.items()
    ]


def settle_threshold(trait: TraitModel) -> Threshold:
    """Return the threshold of a fitted trait at its card's level."""
    if trait.card.threshold is not None:
        return Threshold(trait.card.threshold, "explicit")
    return calibrate(trait.calibration[COMBINED], trait.card.level)


def _describe_trait(trait: TraitModel, close: CloseTexts | None, own: bool) -> FittedTrait:
    card, threshold = trait.card, settle_threshold(trait)
    scores, value = trait.positive_scores.get(COMBINED), threshold.value
    found = None if scores is None or value is None else measure_found(scores, value)
    cost = measure_cost(trait, COMBINED, threshold, card.level) if own else None
    return FittedTrait(
        trait=card.id,
        positives=len(trait.positives) or (0 if scores is None else len(scores)),
        negatives=len(trait.negatives),
        signals=card.signals.names,
        threshold=threshold,
        needed=count_texts_needed(card.level),
        calibrated_on=trait.calibrated_on,
        found=found,
        close=close,
        patterns=measure_patterns(trait, COMBINED, threshold, card.level) if own else None,
        cost=cost,
        cost_line=describe_cost(trait, cost) if cost else "",
        advice=diagnose(trait, COMBINED, threshold, card.level, found) if found else "",
        labels=trait.labels,
        label_lines=tuple(describe_trait_labels(trait)),
    )
