"""List a card's exemplars that a fitted bank gets wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from classifiers.banks import Bank, TraitModel
from classifiers.clean_text import (
    CleanRow,
    present_as_answers,
)
from classifiers.fitting import scope_to_answers
from classifiers.library import LoadedCard
from classifiers.models.checkpoints import COMMIT
from classifiers.models.interface import EncoderConfig
from classifiers.scoring import Scorer, Scores, load_scorer
from classifiers.signals.lexicons import Lexicon
from pipelines.banks import load_bank
from pipelines.display.excerpts import shorten_text
from pipelines.list_items import describe_taken_items, find_taken_items
from pipelines.neighbours import describe_neighbours
from pipelines.notices import describe_unused
from schemas.cards import FITTED
from schemas.errors import CardError
from schemas.notices import format_count
from schemas.policies import Policy, TraitRule
from schemas.scores import COMBINED, fires
from transforms.rules import settle_rules

TEXTS_SHOWN = 5
SHOWN_CHARACTERS = 60


def list_missed(cards: Sequence[LoadedCard], bank: Bank, scorer: Scorer) -> list[list[str]]:
    """Describe which of each card's texts the bank gets wrong.

    Raises: CardError: the bank lacks a card's trait, or was fitted from a different version of the
    card.
    """
    fitted = [require_same_card(card, bank) for card in cards]
    return [
        [*_describe_left_out(card, own), *_judge(own, bank, scorer)]
        for card, own in zip(cards, fitted, strict=True)
    ]


def load_for_check(uri: str) -> tuple[Bank, Scorer]:
    """Load a bank and its encoder for scoring answers.

    Raises: ModelError: the bank or one of its models can't be loaded.
    """
    bank = load_bank(uri)
    answers = Bank(
        {name: scope_to_answers(trait) for name, trait in bank.traits.items()},
        bank.encoder,
        bank.background,
    )
    return bank, load_scorer(answers, _configure_encoder(bank.encoder))


def _configure_encoder(identity: dict[str, Any] | None) -> EncoderConfig:
    if identity is None:
        return EncoderConfig()
    pinned = COMMIT.fullmatch(identity["revision"])
    return EncoderConfig(
        model=identity["model"],
        revision=identity["revision"] if pinned else None,
        window_tokens=identity["window_tokens"],
        window_overlap=identity["window_overlap"],
    )


def require_same_card(card: LoadedCard, bank: Bank) -> LoadedCard:
    """Return the card as a bank's trait was fitted from it, with all or some of its signals.

    A run with `--signals` fits the card without its other signals.

    Raises: CardError: the bank lacks the trait, or has it from another version of the card.
    """
    trait = bank.traits.get(card.id)
    if trait is not None and trait.card_digest == card.digest:
        return card
    if trait is not None and set(trait.card.signals.names) & set(card.card.signals.names):
        limited = replace(card, card=card.card.limit_signals(trait.card.signals.names))
        if trait.card_digest == limited.digest:
            return limited
    raise CardError(
        f"the bank has no trait {card.id}"
        if trait is None
        else f"the bank has trait {card.id} from another version of the card",
        where=str(card.folder),
        remedy="fit the bank again: congener fit --traits DIR --output BANK",
    )


def _describe_left_out(whole: LoadedCard, fitted: LoadedCard) -> Iterator[str]:
    """Name the signals of a card that a bank was fitted without."""
    kept = fitted.card.signals.names
    if left := [name for name in whole.card.signals.names if name not in kept]:
        yield (
            f"the bank was fitted with {' and '.join(kept)} alone (--signals), so nothing here is "
            f"about the card's {' and '.join(left)}"
        )


def _judge(card: LoadedCard, bank: Bank, scorer: Scorer) -> Iterator[str]:
    trait = bank.traits[card.id]
    yield from (
        notice.text for notice in describe_unused(Bank({card.id: trait}, None, bank.background))
    )
    texts = [CleanRow((text,), card.id, "own") for text in (*card.positives, *card.negatives)]
    scores = scorer.score(len(texts), present_as_answers(texts))
    count = len(card.positives)
    threshold = find_threshold(trait, COMBINED)
    fired = fires(scores.get_scores(card.id, COMBINED), threshold)
    missed = np.flatnonzero(~fired[:count])
    if len(missed):
        yield (
            f"fitted on all of them, the trait doesn't find {_name(missed, count)} of the {count} "
            "positives"
        )
    yield from _quote(card, scores, missed, threshold)
    if len(wrong := np.flatnonzero(fired[count:])):
        yield (
            f"the trait as a whole fires on {_name(wrong, len(card.negatives))} of the hard "
            "negatives"
        )
    yield from _judge_held_out(trait)
    if trait.wording is not None:
        yield from describe_taken_items(find_taken_items(card.positives, trait.wording))
    yield from _judge_signals(card, trait, scores, missed)
    yield from _describe_ignored(card, missed)
    yield from describe_neighbours(card, trait)


def _judge_signals(
    card: LoadedCard, trait: TraitModel, scores: Scores, quoted: np.ndarray
) -> Iterator[str]:
    """Describe what each signal misses, and show the texts that aren't quoted already."""
    count, named = len(card.positives), set[int]()
    for signal in trait.card.signals.names:
        own, threshold = scores.get_scores(card.id, signal)[:count], find_threshold(trait, signal)
        yield from _judge_signal(signal, own, threshold)
        missed = _find_unmatched(signal, own, threshold)
        named.update(missed.tolist() if len(missed) < count else ())
    for index in sorted(named.difference(quoted[:TEXTS_SHOWN].tolist())):
        yield f"positive #{index + 1}: {_shorten(card, index)}"


def _judge_signal(signal: str, scores: np.ndarray, threshold: float) -> Iterator[str]:
    """Describe the positives that one signal misses, apart from those that it nearly finds."""
    fired, count = fires(scores, threshold), len(scores)
    basis = f"{signal}, fitted on all of them," if signal in FITTED else signal
    matched = np.flatnonzero(~fired & (scores > 0) & (signal == "lexicon"))
    if len(matched):
        lowest, highest = scores[matched].min(), scores[matched].max()
        shown = f"{lowest:.4f}" if lowest == highest else f"{lowest:.4f} to {highest:.4f}"
        whose = "its" if len(matched) == 1 else "their"
        yield (
            f"{signal} matches {_name_all(matched, count)}, but {whose} score "
            f"({shown}) is below its threshold, {threshold:.4f}"
        )
    missed = _find_unmatched(signal, scores, threshold)
    if len(missed) == count:
        yield f"{basis} finds none of the {count} positives"
    elif len(missed):
        yield f"{basis} doesn't find {_name(missed, count)} of the {count} positives"


def _find_unmatched(signal: str, scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the indexes of positives that a signal misses and no pattern of it matches."""
    return np.flatnonzero(~fires(scores, threshold) & ~((scores > 0) & (signal == "lexicon")))


def _describe_ignored(card: LoadedCard, missed: np.ndarray) -> Iterator[str]:
    """Describe the lexicon's hits in missed positives that don't count, and why."""
    options = card.card.signals.lexicon
    if options is None:
        return
    lexicon, cut = Lexicon(options), card.card.scope.cut
    for index in missed[:TEXTS_SHOWN]:
        whole = card.positives[index]
        part = cut(whole)
        start = max(0, len(whole) - len(part)) if card.card.scope.closing else 0
        reasons = Counter(found for _, found in lexicon.judge_hits(part, whole, start) if found)
        for reason, times in reasons.items():
            yield f"positive #{index + 1}: {format_count(times, 'hit')} ignored: {reason}"


def _judge_held_out(trait: TraitModel) -> Iterator[str]:
    """Describe the positives that the trait misses when they are held out."""
    scores = trait.positive_scores.get(COMBINED, np.empty(0, np.float32))
    missed = np.flatnonzero(~fires(scores, find_threshold(trait, COMBINED)))
    if len(missed):
        yield (
            f"held out from the fit, as new rows are, {_name(missed, len(scores))} of the "
            f"{len(scores)} positives wouldn't be found"
            if len(missed) < len(scores)
            else f"held out from the fit, none of the {len(scores)} positives would be found"
        )


def find_threshold(trait: TraitModel, signal: Any) -> float:
    """Return a signal's threshold at the card's level, or infinity without a threshold."""
    policy = Policy(traits={trait.card.id: TraitRule(signal=signal)})
    (rule,) = settle_rules({trait.card.id: trait}, policy)
    return float(np.inf if rule.threshold.value is None else rule.threshold.value)


def _name(indexes: np.ndarray, count: int) -> str:
    return "any" if len(indexes) == count else ", ".join(f"#{index + 1}" for index in indexes)


def _name_all(indexes: np.ndarray, count: int) -> str:
    """Name positives of which something is said, where `_name` names those of which it's denied."""
    if len(indexes) < count:
        return f"{_name(indexes, count)} of the {count} positives"
    return "the only positive" if count == 1 else f"all {count} positives"


def _quote(card: LoadedCard, scores: Scores, missed: np.ndarray, threshold: float) -> Iterator[str]:
    for index in missed[:TEXTS_SHOWN]:
        score = scores.combined[card.id][index]
        text = _shorten(card, index)
        yield f"positive #{index + 1} scores {score:.4f} of {threshold:.4f}: {text}"


def _shorten(card: LoadedCard, index: int) -> str:
    """Return the part of a positive that shows which one it is."""
    from_end = card.card.scope.closing is not None
    return shorten_text(card.positives[index], SHOWN_CHARACTERS, from_end=from_end)
