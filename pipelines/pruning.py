"""The library's texts that may show a card's trait, as lines of card.yaml that a reader prunes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from classifiers.banks import Bank, TraitModel
from classifiers.clean_text import CleanRow, CleanText, collect_background, split_clean_text
from classifiers.library import LoadedCard, find_cards
from classifiers.scoring import Scorer
from pipelines.neighbours import SHOWN, cut_near, list_near_texts
from pipelines.recall import find_threshold
from pipelines.worth import find_close_texts, quote_rows
from schemas.notices import format_count
from schemas.scores import COMBINED, LIKELY

LISTED = 60
"""The largest number of clean texts with a high score that are listed."""

SHOWN_CHARACTERS = 180

KINDS = {"positive": "positive of {}", "negative": "hard negative of {}"}


class HighText(NamedTuple):
    """A clean text that raises a threshold, or would raise it if the card didn't leave it out.

    `score` is None for a text that the card leaves out, and for a negative that trains the trait;
    `near` is then the number of positives that it is nearest to.
    """

    name: str
    kind: str
    text: str
    score: float | None = None
    near: int = 0

    def describe(self) -> str:
        """Return the text's line in card.yaml."""
        score = "left out" if self.score is None else f"{self.score:.4f}"
        score = f"nearest to {self.near} positives" if self.near else score
        return f"  - {self.name}  # {score}, {self.kind}: {self.text}"


class HighTexts(NamedTuple):
    """The clean texts that raise a threshold, from the highest score down.

    Those with a score of at least `LIKELY` do, because no calibrated threshold is lower. `more`
    counts those beyond `LISTED`. `near` holds the library's negatives that train the trait and are
    nearest to its positives.
    """

    texts: Sequence[HighText]
    threshold: float
    more: int = 0
    near: Sequence[HighText] = ()

    def describe(self) -> Iterator[str]:
        """Return a block for card.yaml, with each text beside its name.

        The block has a mark where the texts fall below the threshold. It is empty if no clean text
        scores high and none is near.
        """
        if not self.near and all(item.score is None for item in self.texts):
            return
        left = any(item.score is None for item in self.texts)
        yield "leave_out:  # delete the lines of texts that don't show the trait"
        where = "in place of the card's leave_out" if left else "in card.yaml"
        yield f"  # {where}; congener traits show NAME prints a text whole"
        marked = False
        for item in self.texts:
            if not marked and item.score is not None and item.score < self.threshold:
                marked = True
                yield f"  # below the threshold, {self.threshold:.4f}, and the next ones to set it:"
            yield item.describe()
        if self.more:
            yield f"  # and {format_count(self.more, 'more text')} with a score of {LIKELY} or more"
        if self.near:
            yield "  # negatives of the trait's training, nearest to its positives:"
            yield from (item.describe() for item in self.near)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the texts, those nearest to positives last."""
        return [item._asdict() for item in (*self.texts, *self.near)]


def list_high_texts(card: LoadedCard, bank: Bank, scorer: Scorer) -> HighTexts:
    """List the library's clean texts that raise a card's threshold, after those it leaves out.

    A bank that was calibrated on other text has only negatives that are nearest to positives.
    """
    clean, trait = CleanText(collect_background(find_cards())), bank.traits[card.id]
    threshold = find_threshold(trait, COMBINED)
    near = _list_near(card, trait, clean)
    if clean.digest != bank.background["digest"]:
        return HighTexts((), threshold, near=near)
    rows = split_clean_text(card, clean)[1]
    lowest = min(threshold, LIKELY)
    close = find_close_texts(rows, trait, scorer, COMBINED, lowest, LISTED)
    known = {row.name: row for row in clean.shipped}
    names = card.card.leave_out
    quoted = quote_rows([known[name] for name in names], trait, scorer) if names else ()
    left = [
        HighText(item.name, _name_kind(known[item.name]), item.cut(SHOWN_CHARACTERS))
        for item in quoted
    ]
    high = [
        HighText(item.name, _name_kind(known[item.name]), item.cut(SHOWN_CHARACTERS), item.score)
        for item in close.clean[: close.reaching]
    ]
    return HighTexts((*left, *high), threshold, close.more, near)


def _list_near(card: LoadedCard, trait: TraitModel, clean: CleanText) -> list[HighText]:
    """List the library's negatives that are nearest to more than one of a card's positives."""
    known = {row.name: row for row in clean.shipped}
    found = [item for item in list_near_texts(card, trait) if item.name in known]
    return [
        HighText(
            item.name,
            _name_kind(known[item.name]),
            cut_near(card, item, SHOWN_CHARACTERS),
            near=item.positives,
        )
        for item in found[:SHOWN]
        if item.positives > 1
    ]


def _name_kind(row: CleanRow) -> str:
    return KINDS.get(row.polarity, "background").format(row.origin)
