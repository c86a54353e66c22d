"""Decide: from scores to one decision a row, with every reason kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from classifiers.banks import Bank
from classifiers.guarantees.calibration import STEP, Threshold, calibrate, texts_needed
from classifiers.scoring import Scores
from schemas.cards import Action, Level, TraitCard
from schemas.errors import CardError
from schemas.policies import SEVERITY, LotException, Policy, TraitRule
from transforms.coders import coded
from transforms.identify import IdentifiedShard, Lot
from transforms.records.segments import CHANNELS, Segments
from transforms.records.sentences import sentence_around
from transforms.score import ScoredShard


class Rule(NamedTuple):
    """A trait's rule, settled: the score that counts, its threshold and where that came from, and the action."""

    trait: str
    signal: str
    threshold: Threshold
    level: Level
    action: Action
    exceptions: tuple[LotException, ...]

    def for_lot(self, lot: Lot) -> tuple[float, Action]:
        """Return threshold and action for a lot; the last exception that matches counts, field by field."""
        threshold, action = self.threshold.value, self.action
        for exception in self.exceptions:
            if lot.matches(exception.lot):
                threshold = threshold if exception.threshold is None else exception.threshold
                action = exception.action or action
        return float(threshold if threshold is not None else np.inf), action


class Reason(NamedTuple):
    """Why a trait fired on a row: the score, the threshold, and the stretch of which field scored highest."""

    trait: str
    signal: str
    score: float
    threshold: float
    segment: str
    start: int
    end: int
    action: Action
    evidence: str


class Mask(NamedTuple):
    """A stretch of a field that the trainer should not learn from."""

    segment: str
    start: int
    end: int


@coded
@dataclass
class DecidedShard:
    """A shard with one decision a row, the reasons and masks of those that have any, and which reasons weigh."""

    scored: ScoredShard
    decisions: list[str]
    reasons: dict[int, list[Reason]] = field(default_factory=dict)
    masks: dict[int, list[Mask]] = field(default_factory=dict)
    swaps: set[int] = field(default_factory=set)


def settle_rules(bank: Bank, policy: Policy) -> list[Rule]:
    """Settle each trait's rule from its card, the policy and the bank's calibration scores.

    Raises: CardError: The policy names a trait or signal that isn't there, or a level takes more clean texts than there are.
    """
    check_policy(policy, [trait.card for trait in bank.traits.values()])
    return [_settle(bank, name, policy) for name in bank.traits]


def check_policy(policy: Policy, cards: Sequence[TraitCard]) -> None:
    """Refuse a policy that names what the run's traits don't have.

    Raises: CardError: It names a trait, or a trait's signal, that isn't there.
    """
    known = [card.id for card in cards]
    if unknown := sorted(
        {*policy.traits, *(exception.trait for exception in policy.exceptions)} - {"*", *known}
    ):
        raise CardError(
            f"policy names trait {unknown[0]!r}, which this run doesn't have",
            remedy=f"traits are {', '.join(known)}",
        )
    for card in cards:
        signal = policy.rule(card.id).signal
        if signal not in ("combined", *card.signals.names()):
            raise CardError(
                f"policy wants signal {signal!r} of trait {card.id}, which has {', '.join(card.signals.names())}"
            )


def require_clean_texts(card: TraitCard, rule: TraitRule, texts: int, origin: str) -> None:
    """Check that a trait's threshold can be settled from so many held-out clean texts.

    Raises: CardError: Its level takes more.
    """
    level, explicit = _level(card, rule), _explicit(card, rule)
    if explicit is None and texts < texts_needed(level):
        raise _shortage(card, level, texts, origin)


def _shortage(card: TraitCard, level: Level, texts: int, origin: str) -> CardError:
    return CardError(
        f"trait {card.id}: a false positive rate of {level.max_false_positive_rate:g} at confidence {level.confidence:g} takes "
        f"{texts_needed(level)} clean texts, {origin} holds out {texts}: {texts_needed(level) - texts} are missing",
        remedy="give more clean text with --background, accept a higher max_false_positive_rate, or set an explicit threshold in the card or the policy",
    )


def _settle(bank: Bank, name: str, policy: Policy) -> Rule:
    trait, rule = bank.traits[name], policy.rule(name)
    level = _level(trait.card, rule)
    threshold = _threshold(trait.card, rule, trait.calibration.get(rule.signal, np.empty(0)), level)
    if threshold.origin == "missing":
        raise _shortage(trait.card, level, threshold.clean, trait.calibrated_on)
    exceptions = tuple(item for item in policy.exceptions if item.trait in (name, "*"))
    return Rule(name, rule.signal, threshold, level, rule.action or trait.card.action, exceptions)


def _level(card: TraitCard, rule: TraitRule) -> Level:
    return Level(
        max_false_positive_rate=rule.max_false_positive_rate or card.level.max_false_positive_rate,
        confidence=rule.confidence or card.level.confidence,
    )


def _explicit(card: TraitCard, rule: TraitRule) -> float | None:
    """Return the policy's threshold, else the card's, unless the policy asks for a level."""
    asked_level = rule.max_false_positive_rate is not None or rule.confidence is not None
    return rule.threshold if rule.threshold is not None else None if asked_level else card.threshold


def _threshold(card: TraitCard, rule: TraitRule, clean: np.ndarray, level: Level) -> Threshold:
    explicit = _explicit(card, rule)
    if explicit is None:
        return calibrate(clean, level)
    known = clean[~np.isnan(clean)]
    return Threshold(
        explicit,
        "explicit",
        len(known),
        int((known >= explicit - STEP / 2).sum()),
        None,
        texts_needed(level),
    )


def decide(
    scored: ScoredShard, rules: Sequence[Rule], duplicates: frozenset[int] = frozenset()
) -> DecidedShard:
    """Decide every row of a shard; rows in `duplicates` (places in the shard) leave as such, whatever their scores."""
    decided = DecidedShard(scored, ["keep"] * scored.scores.size)
    strongest: dict[int, int] = {}
    for rule in rules:
        for row, action, reason in _fired(rule, scored):
            decided.reasons.setdefault(row, []).append(reason)
            strongest[row] = max(strongest.get(row, 0), SEVERITY.index(action))
            if action == "mask":
                decided.masks.setdefault(row, []).extend(_masks(reason, row, scored))
    for row, severity in strongest.items():
        decided.decisions[row] = SEVERITY[severity]
        if SEVERITY[severity] == "swap":
            decided.swaps.add(row)
            decided.decisions[row] = (
                "quarantine"  # no donor yet: the row waits in quarantine, its prompt on the swap list
            )
    for row in duplicates:
        decided.decisions[row] = "duplicate"
        decided.swaps.discard(row)
    return decided


def _fired(rule: Rule, scored: ScoredShard) -> Iterator[tuple[int, Action, Reason]]:
    values = scored.scores.score(rule.trait, rule.signal)
    limits = {lot: rule.for_lot(lot) for lot in dict.fromkeys(scored.identified.lots)}
    lowest = min((threshold for threshold, _ in limits.values()), default=np.inf)
    with np.errstate(invalid="ignore"):
        candidates = np.flatnonzero(values >= np.float32(lowest) - np.float32(STEP / 2))
    for row in candidates.tolist():
        threshold, action = limits[scored.identified.lots[row]]
        if values[row] >= threshold - STEP / 2:
            yield (
                row,
                action,
                reason_for(rule, row, threshold, action, scored.identified, scored.scores),
            )


def reason_for(
    rule: Rule,
    row: int,
    threshold: float,
    action: Action,
    identified: IdentifiedShard,
    scores: Scores,
) -> Reason:
    """Say why a rule fired on a row: characters count from the start of the field, as the trainer sees it."""
    evidence = scores.strongest(rule.trait, row) if rule.signal == "combined" else rule.signal
    places = scores.signals[rule.trait][evidence].places
    segment = int(places.segment[row])
    start = int(identified.segments.starts[segment])
    score = float(scores.score(rule.trait, rule.signal)[row])
    return Reason(
        rule.trait,
        rule.signal,
        score,
        threshold,
        identified.segments.path(segment),
        start + int(places.start[row]),
        start + int(places.end[row]),
        action,
        evidence,
    )


def _masks(reason: Reason, row: int, scored: ScoredShard) -> list[Mask]:
    """Mask the sentences of all the row's lexicon hits where the evidence is a lexicon's, else the stretch of the evidence."""
    masks = (
        _hit_sentences(reason, row, scored)
        if reason.evidence == "lexicon"
        else [Mask(reason.segment, reason.start, reason.end)]
    )
    calls = _tool_calls(row, scored.identified.segments)
    return list(
        dict.fromkeys(
            Mask(mask.segment, 0, calls[mask.segment]) if mask.segment in calls else mask
            for mask in masks
        )
    )


def _tool_calls(row: int, segments: Segments) -> dict[str, int]:
    """Return a row's fields of tool calls, with the length of their canonical JSON: places in it are none in the field itself."""
    tool = CHANNELS.index("tool")
    places = (place for place in segments.of_row(row) if segments.channel_codes[place] == tool)
    return {segments.path(place): len(segments.text[place].as_py()) for place in places}


def _hit_sentences(reason: Reason, row: int, scored: ScoredShard) -> list[Mask]:
    segments, hits = scored.identified.segments, scored.scores.signals[reason.trait]["lexicon"].hits
    masks = []
    for segment in segments.of_row(row):
        if segment in hits:
            text, start = segments.text[segment].as_py(), int(segments.starts[segment])
            spans = (sentence_around(text, *hit) for hit in hits[segment])
            masks += [
                Mask(segments.path(segment), start + a, start + b) for a, b in dict.fromkeys(spans)
            ]
    return masks


class _Decide(beam.DoFn):
    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = list(rules)

    def process(
        self, scored: ScoredShard, duplicates: Mapping[str, list[int]] | None = None
    ) -> Iterator[DecidedShard]:
        repeated = set((duplicates or {}).get(scored.identified.shard.plan.name, ()))
        rows = (
            (row for row, place in enumerate(scored.identified.shard.places()) if place in repeated)
            if repeated
            else ()
        )
        yield decide(scored, self._rules, frozenset(rows))


@dataclass(eq=False)
class DecideRecords(beam.PTransform):
    """Decide the rows of every shard by the settled rules.

    `duplicates` maps a shard's name to the places (`Shard.places`) of the rows that repeat an earlier one; it holds no text.
    """

    rules: Sequence[Rule]
    duplicates: beam.PCollection[tuple[str, list[int]]] | None = None

    def expand(self, shards: beam.PCollection[ScoredShard]) -> beam.PCollection[DecidedShard]:
        """Decide shard by shard; the duplicates come as a side input."""
        side = () if self.duplicates is None else (beam.pvalue.AsDict(self.duplicates),)
        return shards | beam.ParDo(_Decide(self.rules), *side).with_output_types(DecidedShard)
