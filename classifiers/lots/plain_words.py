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

WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")
"""A word, also with an apostrophe."""


def is_plain(kind: Kind, text: str) -> bool:
    """Return whether a phrase, an opening or a closing has nothing that a reader could look for.

    That is one function word, several linking words, or ASCII marks and numbers alone.
    """
    if kind not in ("phrase", "opening", "closing"):
        return False
    words = [word.casefold().replace("’", "'") for word in WORD.findall(text)]
    if not words:
        return text.isascii()
    rest = WORD.sub("", text)
    known = FUNCTION_WORDS if len(words) == 1 else LINKING_WORDS
    return rest.isascii() and all(word in known for word in words)
