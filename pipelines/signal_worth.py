"""What each signal of a fitted trait is worth, on held-out positives and clean texts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from classifiers.banks import TraitModel
from classifiers.fitting import limit_trait
from classifiers.library import LoadedCard
from pipelines.banks import load_bank
from pipelines.display.terminal import build_table
from pipelines.recall import find_threshold, require_same_card
from schemas.notices import choose_form, format_count
from schemas.scores import COMBINED, fires
from schemas.shares import format_limit


class SignalWorth(NamedTuple):
    """How many held-out texts a signal finds at the trait's level, and how many the others find.

    `positives` and `clean` count the texts that reach `threshold`, and so do `labelled_positives`
    and `labelled_negatives` for rows with labels that took no part in the fit. `positives_without`
    counts the positives that the other signals find together. It is None for the combined score,
    and for a trait's only signal.
    """

    signal: str
    threshold: float
    positives: int
    clean: int
    labelled_positives: int
    labelled_negatives: int
    positives_without: int | None = None


class TraitWorth(NamedTuple):
    """What a trait's signals are worth, on this many held-out positives and clean texts.

    `share` is the largest share of clean rows that the trait's level allows. The last item of
    `signals` is the combined score.
    """

    positives: int
    clean: int
    labelled_positives: int
    labelled_negatives: int
    share: float
    signals: tuple[SignalWorth, ...]

    def render(self) -> Iterator[str | Table]:
        """Return a table of the signals, and how it was measured."""
        if not self.positives:
            yield "\nWhat each signal is worth isn't known: the card has too few positives."
            return
        yield (
            f"\nwhat each signal is worth, measured on {format_count(self.positives, 'positive')} "
            f"that were held out from the fit and {format_count(self.clean, 'clean text')}, "
            f"at a level of {format_limit(self.share)}"
        )
        yield self._build_table()
        if self._is_labelled:
            yield (
                "Labels that took no part in the fit say that "
                f"{format_count(self.labelled_positives, 'row')} "
                f"{choose_form(self.labelled_positives, 'shows', 'show')} the trait, and "
                f"{format_count(self.labelled_negatives, 'row')} "
                f"{choose_form(self.labelled_negatives, 'does', 'do')} not."
            )
        yield (
            "A card's positives resemble each other more than the rows of a corpus do, which "
            "flatters signals that read what a text is about."
        )

    @property
    def _is_labelled(self) -> bool:
        return self.labelled_positives + self.labelled_negatives > 0

    def _build_table(self) -> Table:
        table = build_table(
            *("signal", "threshold>", "positives found>", "clean texts found>"),
            *(("labels: right>", "labels: wrong>") if self._is_labelled else ()),
            "positives found without it>",
        )
        for item in self.signals:
            labelled = (item.labelled_positives, item.labelled_negatives)
            found = (
                *(item.positives, item.clean),
                *(labelled if self._is_labelled else ()),
                item.positives_without,
            )
            counts = ("–" if count is None else f"{count:,}" for count in found)
            table.add_row(item.signal, f"{item.threshold:.4f}", *counts)
        return table

    def to_json(self) -> dict[str, Any]:
        """Return the counts."""
        return {**self._asdict(), "signals": [item._asdict() for item in self.signals]}


def read_worth(card: LoadedCard, uri: str) -> TraitWorth:
    """Measure what a card's signals are worth in a bank that it was fitted into.

    Raises: CardError: the bank lacks the trait, or has it from another version of the card.
    """
    bank = load_bank(uri)
    require_same_card(card, bank)
    return measure_worth(bank.traits[card.id])


def measure_worth(trait: TraitModel) -> TraitWorth:
    """Measure what each signal of a trait finds alone, and what the others find without it.

    Every signal and combination has its own threshold: the card's, or else the one that the card's
    level gives for it. Positives with which a signal was fitted are scored without themselves.
    """
    names = trait.card.signals.names
    scores = trait.positive_scores.get(COMBINED, ())
    items = [_count(trait, name) for name in (*names, COMBINED)] if len(scores) else []
    if len(names) > 1:
        items = [
            item
            if item.signal == COMBINED
            else item._replace(positives_without=_count_without(trait, item.signal))
            for item in items
        ]
    held, clean, right, wrong = (len(group.get(COMBINED, ())) for group in _list_groups(trait))
    share = trait.card.level.max_false_positive_rate
    return TraitWorth(held, clean, right, wrong, share, tuple(items))


def _count(trait: TraitModel, signal: str) -> SignalWorth:
    threshold = find_threshold(trait, signal)
    scores = (group.get(signal, np.empty(0, np.float32)) for group in _list_groups(trait))
    return SignalWorth(signal, threshold, *(int(fires(item, threshold).sum()) for item in scores))


def _list_groups(trait: TraitModel) -> tuple[Mapping[str, np.ndarray], ...]:
    """Return the scores of the texts that the trait wasn't fitted on."""
    return (
        *(trait.positive_scores, trait.calibration),
        *(trait.labelled_positives, trait.labelled_negatives),
    )


def _count_without(trait: TraitModel, signal: str) -> int:
    others = [name for name in trait.card.signals.names if name != signal]
    return _count(limit_trait(trait, others), COMBINED).positives
