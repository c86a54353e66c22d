"""Rules: each trait's score, threshold and action, from its card, the policy and calibration."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from classifiers.guarantees.calibration import (
    FoundShare,
    Threshold,
    calibrate,
    count_texts_needed,
    measure_found,
)
from schemas.cards import Action, Level, TraitCard
from schemas.errors import CardError
from schemas.lots import Lot
from schemas.notices import list_names, shorten_name, suggest_name
from schemas.policies import LotException, Policy, SideAction, TraitRule
from schemas.scores import COMBINED, Side, fires

MOST_DIGITS = 10**12
"""Counts of texts from this number on are rounded in messages."""


class CalibratedTrait(Protocol):
    """A trait's card and calibration, from a bank or from a finished run."""

    @property
    def card(self) -> TraitCard:
        """The trait's card."""

    @property
    def calibration(self) -> Mapping[str, np.ndarray]:
        """The scores of held-out clean texts, keyed by signal."""

    @property
    def positive_scores(self) -> Mapping[str, np.ndarray]:
        """The held-out scores of the card's positives, keyed by signal."""

    @property
    def calibrated_on(self) -> str:
        """The name of the trait's calibration texts."""


class Rule(NamedTuple):
    """A trait's rule: its signal, threshold and action."""

    trait: str
    signal: str
    threshold: Threshold
    level: Level
    action: Action
    exceptions: tuple[LotException, ...]
    rejected: SideAction = "keep"
    untrained: SideAction = "keep"
    found: FoundShare | None = None
    """How many of the card's positives the rule would find, or None without positives."""

    def apply_exceptions(self, lot: Lot, side: Side = "trained") -> tuple[float, Action]:
        """Return the threshold and the action for a lot's texts on one side.

        Exceptions for trained texts apply first. Their threshold holds for every side, but their
        action only for trained texts and `as-trained` sides. Exceptions for the side itself apply
        next. The last matching threshold and the last matching action win. A missing threshold
        counts as infinite.
        """
        threshold, action = self.threshold.value, self.action
        lot = lot.for_side(side)
        matching = [item for item in self.exceptions if item.matches(lot)]
        for current in dict.fromkeys(("trained", side)):
            own = self._get_side_action(current)
            action = action if own == "as-trained" else own
            for item in (item for item in matching if item.side == current):
                threshold = threshold if item.threshold is None else item.threshold
                action = item.action or action
        return float(threshold if threshold is not None else np.inf), action

    def find_removal(self, lot: Lot) -> LotException | None:
        """Return the exception that takes out a lot's one row, or None.

        It is the last one that sets an action on trained texts, so a later one can keep the row.
        """
        own = [item for item in self.exceptions if item.action and item.side == "trained"]
        last = next((item for item in reversed(own) if item.matches(lot)), None)
        return last if last is not None and last.takes_out_row else None

    def _get_side_action(self, side: str) -> SideAction:
        return {"rejected": self.rejected, "untrained": self.untrained}.get(side, self.action)

    def get_action(self, side: Side) -> Action:
        """Return the action on one side without exceptions."""
        own = self._get_side_action(side)
        return self.action if own == "as-trained" else own

    def list_actions(self, sides: Iterable[Side] = ()) -> set[Action]:
        """Return every possible action of the rule on trained texts and on these sides."""
        present: set[str] = {"trained", *sides}
        own = {self._get_side_action(side) for side in present}
        given = {item.action for item in self.exceptions if item.action and item.side in present}
        return {action for action in own | given if action != "as-trained"}

    def describe_found(self) -> dict[str, Any]:
        """Return the share of positives that the rule would find, as manifest fields."""
        positives, found, low, high, median = self.found or (0, 0, None, None, None)
        return {
            "positives": positives,
            "positives_found": found,
            "found_low": low,
            "found_high": high,
            "median_positive": median,
        }

    def find_lowest_threshold(self) -> float:
        """Return the rule's lowest threshold for any lot, or infinity."""
        given = (self.threshold.value, *(item.threshold for item in self.exceptions))
        return min((value for value in given if value is not None), default=np.inf)


def settle_rules(traits: Mapping[str, CalibratedTrait], policy: Policy) -> list[Rule]:
    """Settle each trait's rule from its card, the policy and the calibration scores.

    Raises: CardError: the policy names an unknown trait or signal, or a level needs more clean
    texts than were held out.
    """
    check_policy(policy, [trait.card for trait in traits.values()])
    return [_settle_rule(trait, policy) for trait in traits.values()]


def check_policy(policy: Policy, cards: Sequence[TraitCard]) -> None:
    """Refuse a policy that names an unknown trait or signal.

    Raises: CardError: the trait or signal is unknown.
    """
    known = [card.id for card in cards]
    named = {*policy.traits, *(exception.trait for exception in policy.exceptions)}
    if unknown := sorted(named - {"*", *known}):
        raise CardError(
            f"the policy names trait {shorten_name(unknown[0])!r}, which this run doesn't have",
            remedy=f"{suggest_name(unknown[0], known)}the traits of this run are "
            f"{list_names(known)}",
        )
    for card in cards:
        signal = policy.get_rule(card.id).signal
        if signal not in (COMBINED, *card.signals.names):
            raise CardError(
                f"the policy names signal {signal!r} of trait {card.id}, which doesn't use it",
                remedy=f"its signals are {', '.join((COMBINED, *card.signals.names))}",
            )


def has_clean_texts(card: TraitCard, rule: TraitRule, texts: int) -> bool:
    """Return whether this many held-out clean texts are enough for a trait's threshold."""
    needed = count_texts_needed(_choose_level(card, rule))
    return _find_explicit_threshold(card, rule) is not None or texts >= needed


def require_clean_texts(
    card: TraitCard,
    rule: TraitRule,
    texts: int,
    origin: str,
    others: Sequence[str] = (),
    most: int = 0,
) -> None:
    """Check that this many held-out clean texts are enough for a trait's threshold.

    `others` are further traits that lack texts; the error names them. If the texts are drawn from
    the corpus, `most` is how many are drawn at most.

    Raises: CardError: the trait's level needs more texts.
    """
    if not has_clean_texts(card, rule, texts):
        raise _report_shortage(card, _choose_level(card, rule), texts, origin, others, most)


def find_span_floor(floor: float, rules: Iterable[Rule]) -> float:
    """Return the span floor, or a lower threshold."""
    return min([floor, *(rule.find_lowest_threshold() for rule in rules)])


def _report_shortage(
    card: TraitCard,
    level: Level,
    texts: int,
    origin: str,
    others: Sequence[str] = (),
    most: int = 0,
) -> CardError:
    needed = count_texts_needed(level)
    shown = needed if needed < MOST_DIGITS else f"{needed:.3g}"
    larger = f"filter {shown} or more rows at once, from which the sample is drawn; or "
    return CardError(
        f"trait {card.id}: a false positive rate of {level.max_false_positive_rate} at "
        f"confidence {level.confidence} needs {shown} clean texts; {origin} holds out {texts}"
        f"{f', {needed - texts} too few' if shown == needed else ''}",
        remedy=f"{larger if needed <= most else ''}name a file of {shown} or more clean rows with "
        f"--background FILE{' instead' if most else ''}; or accept a "
        "higher max_false_positive_rate or set a threshold in a policy"
        f"{_suggest_level(card, level, texts)}"
        f"{f' (likewise for {list_names(others)})' if others else ''}",
    )


def _suggest_level(card: TraitCard, level: Level, texts: int) -> str:
    """Return the policy with the lowest rate that this many texts support, or nothing."""
    if not texts:
        return ""
    lowest = 1 - (1 - level.confidence) ** (1 / texts)
    digits = 1 - math.floor(math.log10(lowest))
    rate = math.ceil(lowest * 10**digits) / 10**digits
    shown = f"{rate:.{digits}f}".rstrip("0")
    return f": `traits: {{{card.id}: {{max_false_positive_rate: {shown}}}}}`" if rate < 1 else ""


def _settle_rule(trait: CalibratedTrait, policy: Policy) -> Rule:
    card, rule = trait.card, policy.get_rule(trait.card.id)
    level = _choose_level(card, rule)
    clean = trait.calibration.get(rule.signal, np.empty(0, np.float32))
    threshold = _choose_threshold(card, rule, clean, level)
    if threshold.origin == "missing":
        raise _report_shortage(card, level, threshold.clean, trait.calibrated_on)
    exceptions = tuple(item for item in policy.exceptions if item.trait in (card.id, "*"))
    return Rule(
        card.id,
        rule.signal,
        threshold,
        level,
        rule.action or card.action,
        exceptions,
        rule.sides.rejected or policy.sides.rejected or "keep",
        rule.sides.untrained or policy.sides.untrained or "keep",
        _measure_found(trait.positive_scores, rule.signal, threshold),
    )


def _measure_found(
    scores: Mapping[str, np.ndarray], signal: str, threshold: Threshold
) -> FoundShare | None:
    if signal not in scores or threshold.value is None:
        return None
    return measure_found(scores[signal], threshold.value)


def _choose_level(card: TraitCard, rule: TraitRule) -> Level:
    return Level(
        max_false_positive_rate=rule.max_false_positive_rate or card.level.max_false_positive_rate,
        confidence=rule.confidence or card.level.confidence,
    )


def _find_explicit_threshold(card: TraitCard, rule: TraitRule) -> float | None:
    """Return the policy's threshold, or else the card's if the policy sets no level."""
    if rule.threshold is not None:
        return rule.threshold
    asks_for_level = rule.max_false_positive_rate is not None or rule.confidence is not None
    return None if asks_for_level else card.threshold


def _choose_threshold(
    card: TraitCard, rule: TraitRule, clean: np.ndarray, level: Level
) -> Threshold:
    explicit = _find_explicit_threshold(card, rule)
    if explicit is None:
        return calibrate(clean, level)
    known = clean[~np.isnan(clean)]
    exceeding = int(fires(known, explicit).sum())
    return Threshold(explicit, "explicit", len(known), exceeding, None, count_texts_needed(level))
