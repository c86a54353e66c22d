"""The reasons why a trait's threshold finds few of its positives, and what helps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from classifiers.banks import TraitModel
from classifiers.guarantees.calibration import FoundShare, Threshold, calibrate, measure_found
from classifiers.library import GOOD_POSITIVES
from classifiers.scoring import combine
from schemas.cards import DENSE, FITTED, Level
from schemas.notices import choose_form, format_count
from schemas.scores import COMBINED, LIKELY, SCORE_DECIMALS, fires

LEAVE_OUT = "leave out the clean texts that show the trait"
"""The remedy for a threshold that clean texts raise, as advice on a card says it."""

OWN_TEXTS = (
    "This measures the card's own texts: more varied positives lower the share, even if the trait "
    "gets better on real rows. Compare versions of a card by rows that you read (congener traits "
    "eval)"
)


def diagnose(
    trait: TraitModel, signal: str, threshold: Threshold, level: Level, found: FoundShare
) -> str:
    """Say why a threshold finds few positives or no single hit, and what helps.

    The result is empty if the threshold finds most positives and every hit that is likely right.
    """
    if reason := _explain_single_hit(trait, signal, threshold):
        return reason
    if not found.is_in_noise:
        return ""
    if threshold.origin == "calibrated" and threshold.value == LIKELY:
        return _explain_floor(trait, signal, found)
    return _explain_noise(trait, signal, threshold, level, found)


def _explain_single_hit(trait: TraitModel, signal: str, threshold: Threshold) -> str:
    """Explain that not even the strongest single hit reaches a calibrated threshold.

    Weaker patterns may be meant to fire only together.
    """
    lexicon, value = trait.card.signals.lexicon, threshold.value
    if (
        lexicon is None
        or lexicon.per_words
        or signal not in (COMBINED, "lexicon")
        or threshold.origin != "calibrated"
        or value is None
    ):
        return ""
    heaviest = max(pattern.weight for pattern in lexicon.patterns)
    strongest = round(1 - math.exp(-heaviest / lexicon.scale), SCORE_DECIMALS)
    if not LIKELY <= strongest < value:
        return ""
    known = trait.calibration.get("lexicon", np.empty(0))
    count = int(fires(known, strongest).sum())
    if not count:  # other signals set the threshold
        return ""
    return (
        f"No single hit of its lexicon reaches {value:.4f} (the strongest, {strongest:.4f}), "
        f"because {format_count(count, 'clean text')} of {len(known):,} "
        f"{choose_form(count, 'scores', 'score')} as high. Narrow the patterns that hit clean "
        f"text, {LEAVE_OUT}, or accept a milder level{_suggest_background(trait)}"
    )


def _suggest_background(trait: TraitModel) -> str:
    if trait.calibrated_on.startswith("--background "):
        return ""
    return "; --background FILE calibrates on text like yours"


def _explain_floor(trait: TraitModel, signal: str, found: FoundShare) -> str:
    """Explain positives that miss the lowest threshold, at which no milder level helps."""
    missed = found.positives - found.found
    if trait.card.signals.names == ("lexicon",):
        return (
            f"The threshold is the lowest that a level gives, so a milder level doesn't help. "
            f"{format_count(missed, 'positive')} {choose_form(missed, 'needs a pattern', 'need')} "
            f"{choose_form(missed, 'of its own', 'patterns of their own')}"
        )
    own = [signal] if signal != COMBINED else trait.card.signals.names
    scores = trait.positive_scores
    idle = [
        name
        for name in own
        if name in FITTED and not fires(scores.get(name, np.empty(0)), LIKELY).any()
    ]
    learnt = (
        f"{' and '.join(idle)} {choose_form(len(idle), 'finds', 'find')} none of the positives "
        "when each is held out"
        if idle
        else (
            f"{format_count(missed, 'positive')} {choose_form(missed, 'is', 'are')} too unlike the "
            "others"
        )
    )
    return (
        "The threshold is the lowest that a level gives, so a milder level doesn't help: "
        f"{learnt}. {_join(_list_remedies(trait, found))}. {OWN_TEXTS}"
    )


def _explain_noise(
    trait: TraitModel, signal: str, threshold: Threshold, level: Level, found: FoundShare
) -> str:
    """Explain a threshold that most positives miss because clean text scores as high."""
    reason = (
        "The threshold sits in the noise: clean text scores as high as most of the positives"
        if threshold.origin == "calibrated"
        else "Most of the positives score below the threshold that was set by hand"
    )
    if trait.card.signals.names == ("lexicon",):
        return (
            f"{reason}. Narrow the patterns, give them different weights, or accept a milder "
            f"level{_suggest_background(trait)}. Positives that are missed need patterns of their "
            "own"
        )
    better = _find_better(trait, level, found) if signal == COMBINED else ""
    remedies = [*([better] if better else []), *_list_remedies(trait, found)]
    remedies.append(LEAVE_OUT)
    return f"{reason}. {_join(remedies)}. {OWN_TEXTS}"


def _find_better(trait: TraitModel, level: Level, found: FoundShare) -> str:
    """Suggest to drop the encoder's signals if the other signals find more without them."""
    names = trait.card.signals.names
    dense = [name for name in names if name in DENSE]
    others = [name for name in names if name not in DENSE]
    if not dense or not others:
        return ""
    clean, own = (
        _combine_some(scores, others) for scores in (trait.calibration, trait.positive_scores)
    )
    if clean is None or own is None:
        return ""
    value = calibrate(clean, level).value
    alone = None if value is None else measure_found(own, value)
    if alone is None or alone.found <= found.found:
        return ""
    return (
        f"take {' and '.join(dense)} out of the card's signals ({' and '.join(others)} alone "
        f"{choose_form(len(others), 'finds', 'find')} {alone.found} of {alone.positives})"
    )


def _combine_some(scores: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray | None:
    if any(name not in scores for name in names):
        return None
    return combine({name: scores[name] for name in names})


def _list_remedies(trait: TraitModel, found: FoundShare) -> Iterator[str]:
    """Yield what helps a card that learns from its positives, the most effective first."""
    if trait.card.signals.lexicon is None:
        yield "add a lexicon of the trait's phrases"
    yield (
        f"write about {GOOD_POSITIVES} positives whose phrases recur"
        if found.positives < GOOD_POSITIVES
        else "add positives like those that are missed"
    )


def _join(remedies: Iterable[str]) -> str:
    """Return remedies as one sentence, in their order."""
    text = ", then ".join(remedies)
    return text[:1].upper() + text[1:]
