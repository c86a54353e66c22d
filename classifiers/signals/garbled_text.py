"""Garbled text: damaged characters, a tokenizer's marks, and words without blanks between them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import re2

DAMAGE = (
    "\ufffd+|[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]+"
    "|â€[™œ¦“”˜¢\x93\x94\x98\x99\x9c\x9d]|Ã[\x80-\xbf]|Â[\xa1-\xbf]|ï¿½|ï»¿|ðŸ"
    "|<0x[0-9A-F]{2}>|[a-z][Ġ▁][a-zA-Z]"
)
"""Replacement and control characters, UTF-8 that was read as Latin-1, and a tokenizer's marks."""

ABOUT_DAMAGE = re.compile(
    r"encod|decod|unicode|utf|charset|character|glyph|mojibake|byte|token|terminal|ascii|U\+",
    re.IGNORECASE,
)
"""A prompt about characters, whose answer may show damaged ones."""

GLUE = (
    r"\b(?:in|on|an|when|than|then|by|to|into|with|through|which|both)the\b"
    r"|\b[a-z]+(?:[bcdfgklmprstvwxz]|ing|[b-df-z]e)the\b|\b[a-z]{2,}your\b"
)
"""Words with `the` or `your` at their end, as in `onthe`.

English words that end in "the" have another letter before it, as in "bathe", "clothe" and "teethe".
"""

QUOTING = frozenset("`\"'“‘")

LONGEST_WORD = 29
"""The largest number of letters in a word. Longer ones may be whole clauses without blanks."""

SMALL_WORD = re.compile("the|and|with|that|from|for|you|was|of")
FEWEST_SMALL_WORDS = 2
"""The smallest number of different small words in a clause without blanks. Names of chemicals and
places have fewer.
"""

DAMAGED = re.compile(DAMAGE)
GLUED = re2.compile(GLUE)  # several times as fast as `re` here
CLAUSE = re.compile(rf"(?<![\w/.:#@=&%?\\-])[A-Za-z][a-z]{{{LONGEST_WORD},}}(?![\w/=(])")
"""A long word that isn't part of an address, a path, a tag or a call."""

PLAIN_SCREEN = f"[\x01-\x08\x0e-\x1a\x1c-\x1f\x7f]|<0x|{GLUE}|[a-z]{{{LONGEST_WORD}}}"
"""What every garbled ASCII text holds, in the syntax of RE2."""

HAS_DAMAGE, HAS_CLAUSE = map(re2.compile, (DAMAGE, f"[a-z]{{{LONGEST_WORD}}}"))
"""Quick checks that a text has any match of the patterns above."""

DAMAGE_WEIGHT, CLAUSE_WEIGHT, GLUE_WEIGHT = 0.7, 0.7, 0.5


class Garbled(NamedTuple):
    """A garbled stretch of a text, and how much it adds to the score."""

    start: int
    end: int
    weight: float


def find_garbled(text: str, prompt: str) -> Iterator[Garbled]:
    """Yield the garbled stretches of an answer that its prompt doesn't contain too."""
    for item in _find_all(text, prompt):
        if text[item.start : item.end] not in prompt:
            yield item


def _find_all(text: str, prompt: str) -> Iterator[Garbled]:
    if HAS_DAMAGE.search(text) and not ABOUT_DAMAGE.search(prompt):
        for match in DAMAGED.finditer(text):
            yield Garbled(*match.span(), DAMAGE_WEIGHT)
    for match in GLUED.finditer(text):
        start, end = match.span()
        if text[start - 1 : start] not in QUOTING:
            yield Garbled(start, end, GLUE_WEIGHT)
    if HAS_CLAUSE.search(text):
        for match in CLAUSE.finditer(text):
            if len(set(SMALL_WORD.findall(match[0]))) >= FEWEST_SMALL_WORDS:
                yield Garbled(*match.span(), CLAUSE_WEIGHT)
