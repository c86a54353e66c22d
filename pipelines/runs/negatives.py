"""Find out who owns a negative exemplar: a card, as its own hard negative, or the library."""

from __future__ import annotations

from functools import cache
from typing import Literal

from classifiers.clean_text import CleanRow, collect_background
from classifiers.library import find_cards

Owner = Literal["card", "library"]


def find_owner(window: str, trait: str) -> Owner:
    """Return whose text a negative's window is cut from.

    A text that this version of the library doesn't have is the card's own.
    """
    for row in _list_library():
        if any(window in text for text in row.texts):
            return "card" if row.origin == trait else "library"
    return "card"


@cache
def _list_library() -> tuple[CleanRow, ...]:
    return collect_background(find_cards())
