"""Who owns a negative: the card or the library."""

from __future__ import annotations

from classifiers.clean_text import collect_background
from classifiers.library import find_cards
from pipelines.runs.negatives import find_owner


def test_a_text_of_the_library_is_known():
    """A window of the background, or of another trait's exemplar, is the library's."""
    rows = collect_background(find_cards())
    background = next(row for row in rows if row.origin == "background")
    other = next(row for row in rows if row.polarity == "negative")
    assert find_owner(background.texts[0][:60], "my-trait") == "library"
    assert find_owner(other.texts[0], "my-trait") == "library"


def test_a_hard_negative_is_the_cards_own():
    """A text that only a card has is its own, and so is a library trait's own hard negative."""
    card = next(card for card in find_cards() if card.negatives)
    assert find_owner(card.negatives[0], card.id) == "card"
    assert find_owner(card.negatives[0], "my-trait") == "library"
    assert find_owner("A text that only this test has.", "my-trait") == "card"
