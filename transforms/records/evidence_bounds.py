"""Bounds of evidence: a span as people read it, in whole words and, for a window, sentences.

A window of an encoder ends with a token, which may be a part of a word, and a scope that reads only
the end of a text may begin inside one. The score belongs to what was read; the stored span is what
is shown.
"""

from __future__ import annotations

import re
import unicodedata

from transforms.records.mask_bounds import trim
from transforms.records.sentences import widen_to_sentences

LONGEST_WORD = 60
"""How far a span grows to complete a word. Longer runs of letters aren't words."""

SENTENCE_REACH = 120
"""How far a window grows to complete a sentence: much less than its own length."""

UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3040-\u30ff"
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
)
"""Scripts without blanks between words, from Thai to Chinese. There, a span isn't inside a word."""

APOSTROPHES = "'’"

UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")


def settle_evidence(text: str, start: int, end: int, *, is_window: bool) -> tuple[int, int]:
    """Return the bounds in which a span is shown: it never gets shorter, except by white space.

    A window also grows to the ends of its sentences, where they are near. An empty span stays as it
    is.
    """
    if not text[start:end].strip():
        return start, end
    start, end = complete_words(text, *trim(text, start, end))
    if not is_window:
        return start, end
    left, right = widen_to_sentences(text, start, end, SENTENCE_REACH)
    begins = left == 0 or left > start - SENTENCE_REACH
    ends = right == len(text) or right < end + SENTENCE_REACH
    return trim(text, left if begins else start, right if ends else end)


def complete_words(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span that isn't empty to whole words.

    A bound inside a longer run of letters stays where it is.
    """
    first, last = max(0, start - LONGEST_WORD), min(len(text), end + LONGEST_WORD)
    left, right = start, end
    while left > first and _is_inside_word(text, left):
        left -= 1
    while right < last and _is_inside_word(text, right):
        right += 1
    return (
        start if left and _is_inside_word(text, left) else left,
        end if _is_inside_word(text, right) else right,
    )


def _is_inside_word(text: str, place: int) -> bool:
    """Return whether a word continues across a place in a text."""
    if not 0 < place < len(text):
        return False
    before, after = text[place - 1], text[place]
    if before in APOSTROPHES:
        return place > 1 and _is_part(text[place - 2]) and _is_part(after)
    if after in APOSTROPHES:
        return _is_part(before) and place + 1 < len(text) and _is_part(text[place + 1])
    return _is_part(before) and _is_part(after)


def _is_part(character: str) -> bool:
    """Return whether a character is a part of a word, in a script with blanks between words."""
    is_letter = character.isalnum() or character == "_" or unicodedata.category(character)[0] == "M"
    return is_letter and not UNSPACED_LETTER.match(character)
