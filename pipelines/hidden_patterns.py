"""Heavy patterns that aren't counted in a card's positives, because lighter ones overlap them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from classifiers.library import LoadedCard
from classifiers.signals.lexicons import Hit, Lexicon
from schemas.cards import LexiconOptions, Pattern
from schemas.notices import Notice, format_count, warn


class HiddenPattern(NamedTuple):
    """A pattern that lighter hits of another pattern hide, and in how many texts.

    Both numbers begin at 1, as the card lists them. If `is_earlier`, the other hit starts earlier;
    else both start at one place, and the other pattern is listed first.
    """

    number: int
    other: int
    is_earlier: bool
    texts: int

    def describe(self) -> str:
        """Say what hides the pattern, and what makes it count."""
        texts = format_count(self.texts, "positive")
        if not self.is_earlier:
            return (
                f"in {texts}, pattern {self.number} isn't counted, because pattern {self.other}, "
                f"which weighs less and is listed first, matches at the "
                f"same place: list pattern {self.number} before it"
            )
        return (
            f"in {texts}, pattern {self.number} isn't counted, because pattern {self.other}, which "
            f"weighs less, starts earlier and overlaps it: let pattern {self.number} begin with an "
            f"optional (…)? of what pattern {self.other} matches, and list it first; or end "
            f"pattern {self.other} before the words that both match"
        )


def list_hidden(card: LoadedCard) -> list[HiddenPattern]:
    """Return a lexicon's patterns that lighter ones hide in the card's positives, in order.

    A pattern counts as hidden in a text where it would count alone, but has no hit beside the
    others.
    """
    options = card.card.signals.lexicon
    if options is None or len({item.weight for item in options.patterns}) == 1:
        return []
    found: dict[tuple[int, int, bool], int] = {}
    together, alone = Lexicon(options), [*_split(options)]
    for whole in card.positives:
        part = card.card.scope.cut(whole)
        start = max(0, len(whole) - len(part)) if card.card.scope.closing else 0
        hits = [hit for hit, _ in together.judge_hits(part, whole, start)]
        shown = {hit.pattern for hit in hits}
        for pattern, own in alone:
            if pattern not in shown:
                for key in _find_hiding(own.find_hits(part, whole, start), hits, options.patterns):
                    found[key] = found.get(key, 0) + 1
    return [HiddenPattern(*key, texts) for key, texts in sorted(found.items())]


def warn_of_hidden(cards: Sequence[LoadedCard]) -> Iterator[Notice]:
    """Warn of the patterns of these cards that lighter ones hide in their positives."""
    for card in cards:
        yield from (warn(f"trait {card.id}: {item.describe()}") for item in list_hidden(card))


def _split(options: LexiconOptions) -> Iterator[tuple[Pattern, Lexicon]]:
    """Yield each pattern with a lexicon of it alone."""
    for pattern in options.patterns:
        yield pattern, Lexicon(options.model_copy(update={"patterns": (pattern,)}))


def _find_hiding(
    own: Sequence[Hit], hits: Sequence[Hit], patterns: Sequence[Pattern]
) -> set[tuple[int, int, bool]]:
    """Return which lighter patterns of the same language overlap a pattern's hits, and how."""
    return {
        (
            patterns.index(mine.pattern) + 1,
            patterns.index(other.pattern) + 1,
            other.start < mine.start,
        )
        for mine in own
        for other in hits
        if other.pattern.language == mine.pattern.language
        and other.pattern.weight < mine.pattern.weight
        and other.start <= mine.start < other.end
    }
