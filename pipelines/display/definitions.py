"""Describe a trait's card in words: the text that it reads, and its signals."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.cards import TraitCard
from schemas.notices import format_count

CHANNELS = {"answer": "answers", "thinking": "thinking", "tool": "tool calls"}


def describe_scope(card: TraitCard) -> str:
    """Describe the text that the trait reads: whose, in which channels, and how much of it."""
    channels = " and ".join(CHANNELS[name] for name in card.scope.channels)
    end, count = ("last" if card.scope.part < 0 else "first"), abs(card.scope.part)
    part = f", the {end} {count:,} characters of each" if count else ""
    return f"{channels} of {' and '.join(card.scope.roles)}{part}"


def describe_signals(card: TraitCard) -> Iterator[tuple[str, str]]:
    """Yield each signal's name and its measure."""
    signals = card.signals
    if signals.exemplars is not None:
        near = signals.exemplars.neighbours
        yield "exemplars", f"similarity to the {near} nearest positives, less to negatives"
    if signals.head is not None:
        yield "head", f"{signals.head.kind} classifier on the encoder's vectors"
    if signals.wording is not None:
        yield "wording", "classifier on the words of single sentences"
    if signals.classifier is not None:
        yield "classifier", f"label {signals.classifier.label} of {signals.classifier.model}"
    if signals.lexicon is not None:
        count = format_count(len(signals.lexicon.patterns), "pattern")
        yield "lexicon", f"{count} of wording"
    if signals.repetition is not None:
        yield "repetition", f"the longest loop, as a share of {signals.repetition.span} words"
    if signals.language is not None:
        yield "language", "switches to a language that nothing calls for, and garbled text"
