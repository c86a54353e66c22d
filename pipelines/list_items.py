"""Items of lists in a card's positives that its wording classifier takes for the trait."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from classifiers.banks import TraitModel
from classifiers.dense import apply_logistic
from classifiers.library import LoadedCard, is_shipped
from classifiers.signals.wording import Wording, score_sentences
from pipelines.banks import FitPlan
from pipelines.display.excerpts import shorten_text
from schemas.notices import Notice, choose_form, list_names, warn
from schemas.scores import LIKELY

ITEM = re.compile(r"(?m)^[ \t]*(?:[-*•–]|\d{1,3}[.)])[ \t]+\S.*$")
"""A line that is an item of a list: a bullet or a number, and a text."""

SHOWN_CHARACTERS = 40
NAMED = 5
"""How many positives are named."""


class TakenItem(NamedTuple):
    """The item of a positive's list that scores highest; the positive's number begins at 1."""

    positive: int
    text: str
    score: float


def find_taken_items(positives: Sequence[str], wording: Wording) -> list[TakenItem]:
    """Return the positives with an item of a list that a classifier takes for the trait.

    Each positive counts once, with its highest item. A positive that consists of one item has no
    other part that could show the trait, so it doesn't count.
    """
    items = [
        (number, match[0].strip())
        for number, text in enumerate(positives, 1)
        for match in ITEM.finditer(text)
        if match[0].strip() != text.strip()
    ]
    if not items:
        return []
    found = score_sentences([wording], pa.array([text for _, text in items], pa.large_string()))
    highest = np.full(len(items), -np.inf)
    np.maximum.at(highest, found.text, found.logits[0])
    scores = apply_logistic(highest)
    best: dict[int, TakenItem] = {}
    for (number, text), score in zip(items, scores.tolist(), strict=True):
        if score >= LIKELY and (number not in best or score > best[number].score):
            best[number] = TakenItem(number, text, score)
    return list(best.values())


def describe_taken_items(items: Sequence[TakenItem]) -> Iterator[str]:
    """Say which items are taken for the trait, and what to do about it, if there are any."""
    if not items:
        return
    highest = max(items, key=lambda item: item.score)
    names = list_names([f"#{item.positive}" for item in items[:NAMED]])
    more = f" and {len(items) - NAMED} more" if len(items) > NAMED else ""
    yield (
        f"wording takes list items of {choose_form(len(items), 'positive', 'positives')} "
        f"{names}{more} for the trait («{shorten_text(highest.text, SHOWN_CHARACTERS)}» scores "
        f"{highest.score:.2f}), so other lists with such marks may fire: if the list doesn't show "
        f"the trait, cut it out of {choose_form(len(items), 'the positive', 'the positives')}"
    )


def select_own(plan: FitPlan | None) -> list[LoadedCard]:
    """Return the cards of a fit that aren't the library's."""
    return [card for card in (plan.cards if plan else ()) if not is_shipped(card.folder)]


def warn_of_taken_items(
    cards: Sequence[LoadedCard], traits: Mapping[str, TraitModel]
) -> Iterator[Notice]:
    """Warn of list items that the fitted traits of these cards take for the trait."""
    for card in cards:
        trait = traits.get(card.id)
        if trait is not None and trait.wording is not None:
            for line in describe_taken_items(find_taken_items(card.positives, trait.wording)):
                yield warn(f"trait {card.id}: {line}")
