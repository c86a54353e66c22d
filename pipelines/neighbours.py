"""The negatives nearest to a trait's positives: the card's own or the library's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from classifiers.banks import TraitModel
from classifiers.clean_text import CleanRow, collect_background
from classifiers.library import LoadedCard, find_cards
from pipelines.display.excerpts import shorten_text

NEIGHBOURS = 5
"""How many negatives nearest to each positive are counted."""

SHOWN = 3
"""How many of the most frequent neighbours are looked at for negatives of the card's own."""

SHOWN_CHARACTERS = 80


class NearText(NamedTuple):
    """A negative that is near positives: its window, its origin or name, and how many they are."""

    text: str
    name: str
    positives: int


def list_near_texts(card: LoadedCard, trait: TraitModel) -> list[NearText]:
    """List the negatives nearest to a fitted trait's positives, the most frequent first.

    A trait without an exemplar search has none.
    """
    if trait.positive_index is None or trait.negative_index is None:
        return []
    positives = trait.positive_index.reconstruct_n(0, trait.positive_index.ntotal)
    count = min(NEIGHBOURS, trait.negative_index.ntotal)
    _, rows = trait.negative_index.search(np.ascontiguousarray(positives), count)
    near = Counter(trait.negatives[row] for row in rows.ravel().tolist())
    names = name_negatives(near, card, collect_background(find_cards()))
    return [NearText(text, names[text], times) for text, times in near.most_common()]


def describe_neighbours(card: LoadedCard, trait: TraitModel) -> Iterator[str]:
    """Describe whose negatives are nearest to a fitted trait's positives, and show the card's own.

    A trait without an exemplar search gets no description.
    """
    near = list_near_texts(card, trait)
    if not near or trait.negative_index is None:
        return
    count = min(NEIGHBOURS, trait.negative_index.ntotal)
    total = sum(item.positives for item in near)
    own = sum(item.positives for item in near if item.name.startswith("own"))
    yield (
        f"of the {count} negatives nearest to each positive, {own} of {total} are the "
        f"card's own and {total - own} are the library's"
    )
    for item in near[:SHOWN]:
        if "/" not in item.name:
            shown = cut_near(card, item, SHOWN_CHARACTERS)
            yield f"near {item.positives} positives: {item.name}: {shown}"


def cut_near(card: LoadedCard, item: NearText, most: int) -> str:
    """Return the part of a near text that a card reads, with at most about `most` characters."""
    return shorten_text(item.text, most, from_end=card.card.scope.closing is not None)


def name_negatives(
    texts: Iterable[str], card: LoadedCard, shipped: Sequence[CleanRow]
) -> dict[str, str]:
    """Return the origin of each negative: the card or a library text.

    A card can use this name to leave the text out.
    """
    return {text: _name_negative(text, card, shipped) for text in texts}


def _name_negative(window: str, card: LoadedCard, shipped: Sequence[CleanRow]) -> str:
    for number, text in enumerate(card.negatives, 1):
        if window in text:
            return f"own negative #{number}"
    row = next((row for row in shipped if any(window in text for text in row.texts)), None)
    return "a text of another library" if row is None else row.name
