"""Find the part of an exemplar that resembles a row."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.cards import compile_pattern, join_patterns

SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
WORD = re.compile(r"\w{4,}")
"""A word that may be telling. Shorter words are in every text."""


def find_likeness(text: str, patterns: Sequence[str], other: str) -> tuple[int, int]:
    """Return the bounds of the most telling stretch of an exemplar.

    That is a lexicon hit, or else the sentence that shares the most words with `other`, or else an
    empty stretch at the start.
    """
    if patterns and (hit := compile_pattern(join_patterns(patterns)).search(text)):
        return hit.span()  # type: ignore[no-any-return]
    words = _list_words(other)
    best, most = (0, 0), 0
    for sentence in SENTENCE.finditer(text):
        shared = len(words & _list_words(sentence[0]))
        if shared > most:
            best, most = sentence.span(), shared
    return best


def _list_words(text: str) -> set[str]:
    return {word.lower() for word in WORD.findall(text)}


def list_patterns(card: Mapping[str, Any]) -> list[str]:
    """Return the lexicon patterns of a card in a manifest."""
    lexicon = card.get("signals", {}).get("lexicon") or {}
    return [pattern["match"] for pattern in lexicon.get("patterns", ())]


OWNERS = {"card": "a hard negative of the card", "library": "a text of the library"}


def describe_doubt(neighbours: Iterable[Mapping[str, Any]]) -> str | None:
    """If the nearest exemplar is a negative, say whose it is, and what that means."""
    nearest = max(neighbours, key=lambda near: near["similarity"], default=None)
    if nearest is None or nearest["polarity"] != "negative":
        return None
    owner = OWNERS.get(nearest.get("owner", ""))
    whose = f", {owner}" if owner else ""
    return f"The nearest exemplar is a negative{whose}, so read this row with care."
