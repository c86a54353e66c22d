"""What labels changed: the labelled rows that a trait finds, with and without them in the fit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from classifiers.banks import Bank, TraitModel, serialise_bank
from classifiers.clean_text import CleanText, split_clean_text
from classifiers.fitting import fit_bank, scope_to_answers, score_labelled, score_positives
from classifiers.guarantees.calibration import CONFIDENCE, bound_share, calibrate
from classifiers.labelled_rows import NO_ROWS
from classifiers.library import LoadedCard
from classifiers.models.interface import EncoderConfig
from classifiers.scoring import Scorer, load_classifiers
from schemas.notices import Notice, format_count
from schemas.scores import COMBINED, fires
from schemas.shares import format_interval

if TYPE_CHECKING:
    from classifiers.models.encoders import Encoder

NO_SCORES = np.empty(0, np.float32)


class LabelEffect(NamedTuple):
    """How many rows of a calibration half reach the threshold.

    `found` rows show the trait, and `wrong` rows don't. Without a threshold, nothing is found.
    """

    threshold: float | None
    found: int
    wrong: int


def measure_effect(trait: TraitModel) -> LabelEffect:
    """Count the labelled rows that a trait finds at the threshold of its card."""
    value = trait.card.threshold
    if value is None:
        value = calibrate(trait.calibration[COMBINED], trait.card.level).value
    groups = (trait.labelled_positives, trait.labelled_negatives)
    scores = [group.get(COMBINED, NO_SCORES) for group in groups]
    found, wrong = (0 if value is None else int(fires(item, value).sum()) for item in scores)
    return LabelEffect(value, found, wrong)


def drop_idle_labels(card: LoadedCard, clean: CleanText) -> LoadedCard:
    """Return a card without its labels if the labels only measure it, and change nothing in a fit.

    That is so if no row labelled true or false is in the fitting half, or if no signal learns.
    """
    if card.labels is None:
        return card
    bare, learns = replace(card, labels=None), card.card.learns_from_exemplars
    if learns and any(card.labels.fitting):
        return card
    trained, held = zip(*(split_clean_text(item, clean) for item in (card, bare)), strict=True)
    is_same = held[0] == held[1] and (trained[0] == trained[1] or not learns)
    return bare if is_same else card


def measure_labels(
    card: LoadedCard, trait: TraitModel, encoder: Encoder | None, config: EncoderConfig
) -> TraitModel:
    """Return a trait that was fitted without its labels as it would be if fitted with them."""
    if card.labels is None:
        return trait
    bank = Bank({card.id: scope_to_answers(trait)}, None, {})
    models = load_classifiers(bank, config)
    found = replace(trait, labels=card.labels.describe())
    if any(card.labels.fitting):  # no signal learns from these rows
        found.positive_scores = score_positives(card, found, models.get(card.id))
    score_labelled(card, Scorer(bank, encoder, models), found)
    return found


def record_effects(
    bank: Bank, cards: Iterable[LoadedCard], clean: CleanText, config: EncoderConfig
) -> None:
    """Record in traits what their labels changed.

    Traits that need no model and learn from labels are fitted once more without them.
    """
    for card in cards:
        if card.labels is None:
            continue
        trait = bank.traits[card.id]
        effects = {"after": measure_effect(trait)}
        is_quick = not card.card.uses_encoder and card.card.signals.classifier is None
        if is_quick and card.card.learns_from_exemplars and any(card.labels.fitting):
            bare = replace(card, labels=replace(card.labels, fitting=NO_ROWS))
            other = fit_bank([bare], clean, None, config).traits[card.id]
            effects["before"] = measure_effect(other)
        counted = {name: effect._asdict() for name, effect in effects.items()}
        trait.labels = {**card.labels.describe(), **counted}
    serialise_bank(bank)  # sets the digest


def describe_labels(bank: Bank) -> Iterator[Notice]:
    """Describe the labels of each trait that was fitted with any, and what they changed."""
    return (Notice(line) for trait in bank.traits.values() for line in describe_trait_labels(trait))


def describe_trait_labels(trait: TraitModel) -> Iterator[str]:
    """Describe a trait's labels in two or three lines, or in none without labels."""
    if trait.labels is None:
        return
    fitting, measured = (_describe_half(trait.labels[name]) for name in ("fitting", "calibration"))
    learns = trait.card.learns_from_exemplars
    yield (
        f"{trait.card.id}: labels: {fitting} "
        f"{'in the fit' if learns else 'not used, since none of its signals learns'}; "
        f"{measured} to measure it; {trait.labels['unsure']:,} unsure"
    )
    after = trait.labels.get("after", {})
    if after.get("threshold") is None:
        yield "  there is no threshold at which they could be counted"
        return
    yes = trait.labels["calibration"]["yes"]
    line = f"  at {after['threshold']:.4f}, {_describe_effect(after, yes, intervals=True)}"
    if before := trait.labels.get("before"):
        line += f". Without labels in the fit: {_describe_effect(before, yes, intervals=False)}"
    yield line
    if yes:
        yield (
            "  this counts each labelled row once. If the rows were drawn by their scores, as by "
            "traits eval or in a review, few of them score low, so it overstates what the trait "
            f"finds in a corpus; this command weighs them: congener traits eval {trait.card.id} "
            "--run RUN --labels FILE"
        )


def _describe_half(half: Mapping[str, int]) -> str:
    return f"{half['yes']:,} true and {half['no']:,} false"


def _describe_effect(effect: Mapping[str, Any], yes: int, *, intervals: bool) -> str:
    """Describe the share found of the rows labelled true, and that of right rows among finds."""
    found, flagged = effect["found"], effect["found"] + effect["wrong"]
    recall, precision = (
        f" ({format_interval(*bound_share(found, total), 0)} with {CONFIDENCE:.0%} confidence)"
        if intervals and total
        else ""
        for total in (yes, flagged)
    )
    return (
        f"it finds {found:,} of {format_count(yes, 'row')} labelled true{recall}, and {found:,} "
        f"of the {format_count(flagged, 'labelled row')} that it finds show it{precision}"
    )
