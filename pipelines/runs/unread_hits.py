"""Patterns of a card that match just outside the part of a text that the card reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from classifiers.signals.lexicons import Hit, Lexicon
from pipelines.display.excerpts import escape_name
from pipelines.runs.shown_rows import ShownRow
from schemas.cards import Scope, TraitCard
from schemas.manifests import Manifest

LONGEST_PHRASE = 60


class UnreadHit(NamedTuple):
    """The match of a pattern that is nearest to the part of a text that a trait reads.

    `distance` says by how many characters it is outside, and `needed` how long the part must be to
    hold it. `edge` is `opening` or `closing`.
    """

    trait: str
    phrase: str
    distance: int
    edge: str
    needed: int

    def describe(self) -> str:
        """Say where the pattern matches, and which scope would hold it."""
        side = "before" if self.edge == "closing" else "after"
        return (
            f"a pattern of {self.trait} matches {self.distance:,} "
            f"character{'s' * (self.distance != 1)} {side} the part that the trait reads: "
            f"«{escape_name(self.phrase, LONGEST_PHRASE)}» ({self.edge}: {self.needed} holds it)"
        )


def find_unread_hit(card: Mapping[str, Any], text: str) -> UnreadHit | None:
    """Return the nearest match outside the part of an answer that a card of a manifest reads.

    A match further away than the part is long says little, and neither does any if another pattern
    matches inside.
    """
    if not card.get("signals", {}).get("lexicon") or not _is_limited(card):
        return None
    trait = TraitCard.model_validate(card)
    scope, options = trait.scope, trait.signals.lexicon
    size = abs(scope.part)
    if options is None or len(text) <= size:
        return None
    lexicon, start = Lexicon(options), 0 if scope.opening else len(text) - size
    if lexicon.find_hits(scope.cut(text), text, start):
        return None
    found = [(_measure(hit, scope, text), hit) for hit in lexicon.find_hits(text)]
    near = [item for item in found if 0 < item[0] <= size]
    if not near:
        return None
    distance, hit = min(near)
    edge = "opening" if scope.opening else "closing"
    return UnreadHit(trait.id, hit.text, distance, edge, size + distance)


def _is_limited(card: Mapping[str, Any]) -> bool:
    scope = card.get("scope", {})
    return bool(scope.get("opening") or scope.get("closing"))


def _measure(hit: Hit, scope: Scope, text: str) -> int:
    """Return how many characters of a text lie between a match's far end and the part."""
    if scope.opening:
        return hit.end - scope.opening
    return len(text) - (scope.closing or 0) - hit.start


def list_unread_hits(row: ShownRow, manifest: Manifest) -> Iterator[UnreadHit]:
    """Yield the matches outside the parts that the nearest traits read, if none fired on a row.

    Without a near trait, every trait of the run that reads answers counts.
    """
    if row.reasons:
        return
    said = None if row.answer is None else row.answer.text
    near = {item.trait: item.text or said for item in row.near}
    for name in near or manifest.cards:
        card = manifest.cards.get(name, {})
        scope = card.get("scope", {})
        reads = "assistant" in scope.get("roles", ()) and "answer" in scope.get("channels", ())
        text = near.get(name) if near else said
        if text and (near or reads) and (hit := find_unread_hit(card, text)):
            yield hit
