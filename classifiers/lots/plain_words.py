"""Which findings are only small words, marks or numbers, whose rates are a matter of style."""

from __future__ import annotations

import re

from classifiers.lots.discovery import Kind
from classifiers.lots.parts_of_speech import FUNCTION_WORDS

_LINKING = (
    "a about above after against an and as at because before below between both but by during each "
    "for from if in into of off on once or out over so such than that the then through to under "
    "until up upon when where which while with within"
)

LINKING_WORDS = frozenset(_LINKING.split())
"""Words that mean nothing together either, unlike `I can't` or `you should`."""

_PLACING = "a an and at by for in of on or the to with"

PLACING_WORDS = frozenset(_PLACING.split())
"""Words whose patterns, such as `the … of`, are in every text, unlike `from … to`."""

HIDDEN_WORDS = "…"
"""What stands for the words that a pattern hides."""

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
"""A word, also with an apostrophe."""


def is_plain(kind: Kind, text: str) -> bool:
    """Return whether a finding has nothing that a reader could look for.

    That is a phrase, an opening or a closing of one function word, of several linking words, or of
    ASCII marks and numbers alone, and a pattern of placing words and marks.
    """
    if kind == "pattern":
        return _has_only(text.replace(HIDDEN_WORDS, " "), PLACING_WORDS)
    if kind not in ("phrase", "opening", "closing"):
        return False
    words = WORD.findall(text)
    if not words:
        return text.isascii()
    return _has_only(text, FUNCTION_WORDS if len(words) == 1 else LINKING_WORDS)


def _has_only(text: str, known: frozenset[str]) -> bool:
    """Return whether all words are known ones, and all other characters are ASCII."""
    words = (word.casefold().replace("’", "'") for word in WORD.findall(text))
    return WORD.sub("", text).isascii() and all(word in known for word in words)
