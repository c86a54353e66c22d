"""Counterparts: the sentences of another answer that say what some sentences of an answer say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from transforms.records.sentences import list_sentences

LEAST_SHARED = 0.3
"""The smallest share of words that a counterpart has in common with what it replaces.

The share is the Jaccard similarity of the two sets of words. It was chosen by reading real answers
to half of the prompts; docs/swap.md says how the counterparts to the other half read.
"""

FEWEST_WORDS = 3
"""How many words both must have in common."""

MOST_MOVED = 0.4
"""How far a counterpart may be from the relative place of what it replaces.

A closing sentence reads badly at the beginning.
"""

MOST_SENTENCES = 6
"""The longest stretch of sentences that is replaced. A longer one is a part, not a sentence."""

WORD = re.compile(r"[^\W\d_]{4,}|\d+")
"""A word that counts. Shorter words say little."""

MARKER = re.compile(r"\s*(?:[-*•+>#]+|\(?\d{1,3}[.)])\s")
"""What begins an item of a list, a heading or a quotation."""


NEGATION = re.compile(r"\b(?:not|no|none|never|nothing|cannot|without)\b|n['’]t\b", re.IGNORECASE)
"""A word that turns a statement into its opposite, in English."""


class Counterpart(NamedTuple):
    """A stretch of a text, and the stretch of another text that takes its place."""

    start: int
    end: int
    other_start: int
    other_end: int


class _Sentence(NamedTuple):
    start: int
    end: int
    words: frozenset[str]


def find_pieces(text: str, spans: Sequence[tuple[int, int]], other: str) -> list[Counterpart]:
    """Return a counterpart for every span that has one, in text order.

    A counterpart consists of whole sentences on one line, has at least `LEAST_SHARED` of the words
    in common with the span, and is used once. It doesn't repeat another sentence of the text, and
    comes after the counterpart of the span before it.
    """
    sentences, found, after = _read_sentences(other), list[Counterpart](), 0
    known = [
        item.words
        for item in _read_sentences(text)
        if not any(start < item.end and item.start < end for start, end in spans)
    ]
    for start, end in sorted(spans):
        left = [item for item in sentences if item.start >= after]
        best = _find_best(text[start:end], start / len(text), left, other)
        if best is None:
            continue
        words = _list_words(other[slice(*best)])
        if all(_compare(words, item) < LEAST_SHARED for item in known):
            found.append(Counterpart(start, end, *best))
            after = best[1]
    return found


def _read_sentences(text: str) -> list[_Sentence]:
    return [
        _Sentence(start, end, _list_words(text[start:end])) for start, end in list_sentences(text)
    ]


def _find_best(
    span: str, place: float, sentences: Sequence[_Sentence], other: str
) -> tuple[int, int] | None:
    """Return the sentences of another text that share most words with a span, or None.

    The first and the last of them share at least one word with it. `place` is the span's relative
    place in its text.
    """
    size, words = len(list_sentences(span.strip())), _list_words(span)
    if size > MOST_SENTENCES or "\n" in span.strip():
        return None
    best: tuple[float, tuple[int, int]] | None = None
    related = [not item.words.isdisjoint(words) for item in sentences]
    near = [abs(item.start / len(other) - place) <= MOST_MOVED for item in sentences]
    for first in (index for index in range(len(sentences)) if near[index] and related[index]):
        joined = frozenset[str]()
        for last in range(first, min(first + size + 1, len(sentences))):
            joined |= sentences[last].words
            bounds = sentences[first].start, sentences[last].end
            share = _compare(words, joined) if related[last] else 0.0
            is_better = share >= LEAST_SHARED and (best is None or share > best[0])
            if is_better and _fits(span, other[slice(*bounds)]):
                best = share, bounds
    return best and best[1]


def _list_words(text: str) -> frozenset[str]:
    return frozenset(WORD.findall(text.casefold()))


def _compare(one: frozenset[str], other: frozenset[str]) -> float:
    shared = len(one & other)
    return shared / len(one | other) if shared >= FEWEST_WORDS else 0.0


def _fits(span: str, part: str) -> bool:
    """Return whether a part can take the place of a span.

    It has to be one line with whole pairs of brackets and quotes, an item of a list only for the
    same item, and a negation only for a negation.
    """
    if (NEGATION.search(span) is None) != (NEGATION.search(part) is None):
        return False
    markers = [found[0].strip() if (found := MARKER.match(text)) else "" for text in (span, part)]
    pairs = (("(", ")"), ("[", "]"), ("“", "”"))
    is_whole = all(part.count(one) == part.count(other) for one, other in pairs)
    return (
        is_whole
        and part.count('"') % 2 == 0
        and "\n" not in part.strip()
        and markers[0] == markers[1]
    )


def put_pieces(
    text: str, pieces: Sequence[Counterpart], other: str
) -> tuple[str, list[Counterpart]]:
    """Return a text with the pieces of another text in place, and where they are in it.

    The white space around a stretch stays as it was.
    """
    parts, placed, at, size = list[str](), list[Counterpart](), 0, 0
    for start, end, other_start, other_end in pieces:
        old, new = text[start:end], other[other_start:other_end].strip()
        head = old[: len(old) - len(old.lstrip())]
        tail = old[len(old.rstrip()) :]
        parts += [text[at:start], head, new, tail]
        size += start - at
        placed.append(Counterpart(size, size + len(head + new + tail), other_start, other_end))
        size, at = placed[-1].end, end
    return "".join([*parts, text[at:]]), placed
