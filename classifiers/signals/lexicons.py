"""Weighted linear-time patterns with polarity: what is quoted or denied is no hit."""

from __future__ import annotations

import functools
import math
import os
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.cards import LexiconOptions, Pattern, compile_pattern

LOOK_BACK = 60
"""Characters before a hit in which a denial of it is looked for, within its clause."""

DENIAL = re.compile(
    r"\b(?:not(?! (?:just|merely|only|simply)\b)|never|no(?!,)|nor|neither|without|(?:is|are|was|were|do|does|did|has|have|had|wo|would|could|should|ca)n['’]?t|cannot|rather than|instead of|avoid\w*|stop(?:ped|s)?|delet\w*|remov\w*)\b",
    re.IGNORECASE,
)
CLAUSE = re.compile(
    r"[.!?;:\n]|\b(?:but|because|since)\b|\b(?:as|and)\s+(?=i\b)|,\s+(?=(?:i|as an?|since|because)\b)",
    re.IGNORECASE,
)
"""Where a denial ends; a comma ends it only before a new subject, so that "avoid delve, tapestry" denies both."""
PEEK = 8
"""Characters of the hit itself that tell whether it opens a clause."""

FENCE = re.compile("```")

LINE_CONTEXT = 1_000
"""Characters of a line on either side of a hit in which quotation marks are looked for."""

COUNTED = re.compile(
    r"(\\Q.*?(?:\\E|$)|\\[pPx]\{[^}]*\}|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])|\{\d+(?:,\d*)?\}",
    re.DOTALL,
)
"""A count, or (in the group) what may hold one that isn't: a quotation, an escape, a class."""


class Hit(NamedTuple):
    """A pattern found in a text: the characters it covers, the text there, and the pattern."""

    start: int
    end: int
    text: str
    pattern: Pattern


class Lexicon:
    """A trait's compiled patterns."""

    def __init__(self, options: LexiconOptions) -> None:
        self.options = options
        self.union = "|".join(f"(?:{pattern.match})" for pattern in options.patterns)
        self.loose = loosened(self.union)
        self._find = compile_pattern(self.union)
        self._single = [compile_pattern(pattern.match) for pattern in options.patterns]
        self._unless = (
            compile_pattern("|".join(f"(?:{pattern})" for pattern in options.unless))
            if options.unless
            else None
        )
        self._which: Callable[[str, int, int], Pattern] = functools.lru_cache(4096)(self._look_up)

    def _look_up(self, around: str, start: int, end: int) -> Pattern:
        """Return the pattern that matches there; `around` has one character more at each end, which is all that RE2's anchors look at."""
        for pattern, compiled in zip(self.options.patterns, self._single, strict=True):
            if (match := compiled.match(around, start)) and match.end() == end:
                return pattern
        return self.options.patterns[0]

    def _hit(self, text: str, start: int, end: int) -> Hit:
        before = min(start, 1)
        return Hit(
            start,
            end,
            text[start:end],
            self._which(text[start - before : end + 1], before, before + end - start),
        )

    def hits(self, text: str) -> list[Hit]:
        """Return the hits that count, in order: not quoted, not denied, not inside an `unless` pattern."""
        data = (
            text.encode() if text.isascii() else text
        )  # a byte a character: RE2 is spared counting them
        found = [self._hit(text, *match.span()) for match in self._find.finditer(data)]
        if not found:
            return []
        excused = [match.span() for match in self._unless.finditer(text)] if self._unless else []
        fences = fence_places(text)
        return [hit for hit in found if not self._discounted(text, hit, excused, fences)]

    def _discounted(
        self, text: str, hit: Hit, excused: Sequence[tuple[int, int]], fences: Sequence[int]
    ) -> bool:
        nearby = (
            bisect_left(excused, (hit.end,)) - 1
        )  # excused stretches don't overlap: the last that begins before the hit's end
        if nearby >= 0 and hit.start < excused[nearby][1]:
            return True
        if self.options.quoted == "ignore" and is_quoted(text, hit.start, hit.end, fences):
            return True
        return self.options.denied == "ignore" and is_denied(text, hit.start)

    def score(self, text: str, hits: Sequence[Hit]) -> float:
        """Return 1 - exp(-weight / scale) for the weight of the hits, by length if the lexicon is one of density."""
        counted: dict[str, int] = {}
        weight = 0.0
        for hit in hits:
            counted[hit.pattern.match] = counted.get(hit.pattern.match, 0) + 1
            weight += hit.pattern.weight if counted[hit.pattern.match] <= hit.pattern.cap else 0.0
        if self.options.per_words and weight:
            weight /= max(1.0, len(text.split()) / self.options.per_words)
        return 1 - math.exp(-weight / self.options.scale)


class LexiconScores(NamedTuple):
    """A lexicon over many texts: scores float32 [texts], the first, heaviest hit's characters, int32 [texts, 2], and all hits' by text."""

    scores: np.ndarray
    spans: np.ndarray
    hits: dict[int, list[tuple[int, int]]]


def score_lexicons(lexicons: Sequence[Lexicon], texts: pa.LargeStringArray) -> list[LexiconScores]:
    """Score texts with every lexicon; a vectorised pass for each, side by side, spares the texts that it can't hit.

    One pass for all lexicons together would be slower: the automaton of the union outgrows RE2's memory (40 s against 1.1 s
    on 40,000 answers).
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(
            pool.map(lambda lexicon: _scored(lexicon, texts, _candidates(lexicon, texts)), lexicons)
        )


def _candidates(lexicon: Lexicon, texts: pa.Array) -> list[int]:
    places: list[int] = pc.indices_nonzero(
        pc.match_substring_regex(texts, lexicon.loose, ignore_case=True)
    ).to_pylist()
    return places


def _scored(lexicon: Lexicon, texts: pa.LargeStringArray, places: Sequence[int]) -> LexiconScores:
    scores, spans = np.zeros(len(texts), np.float32), np.zeros((len(texts), 2), np.int32)
    stretches: dict[int, list[tuple[int, int]]] = {}
    for place, text in zip(
        places, texts.take(pa.array(places, pa.int64())).to_pylist(), strict=True
    ):
        hits = lexicon.hits(text)
        if hits:
            scores[place] = lexicon.score(text, hits)
            best = max(hits, key=lambda hit: hit.pattern.weight)
            spans[place] = best.start, best.end
            stretches[place] = [(hit.start, hit.end) for hit in hits]
    return LexiconScores(scores, spans, stretches)


def loosened(pattern: str) -> str:
    """Return a pattern that matches wherever `pattern` does, its counted repetitions uncounted: a far smaller automaton."""
    return COUNTED.sub(lambda match: match[1] or "*", pattern)


def is_quoted(text: str, start: int, end: int, fences: Sequence[int] | None = None) -> bool:
    """Say whether a stretch stands in quotation marks within its line, in a quoted line, or in code.

    `fences` are the places of the text's code fences, for callers with many stretches. Of a line, `LINE_CONTEXT` characters
    on either side are looked at, so that a text of many hits takes time in proportion to its length.
    """
    fences = fence_places(text) if fences is None else fences
    if bisect_left(fences, start) % 2:
        return True
    head = text.rfind("\n", max(0, start - LINE_CONTEXT), start) + 1 or max(0, start - LINE_CONTEXT)
    tail = text.find("\n", end, end + LINE_CONTEXT)
    before, after = text[head:start], text[end : tail if tail >= 0 else end + LINE_CONTEXT]
    if before.lstrip().startswith(">"):
        return True
    if before.rfind("“") > before.rfind("”") and "”" in after:
        return True
    if before.rfind("«") > before.rfind("»") and "»" in after:
        return True
    return bool(
        (before.count('"') % 2 and '"' in after) or (before.count("`") % 2 and "`" in after)
    )


def fence_places(text: str) -> list[int]:
    """Return where a text's code fences stand."""
    return [match.start() for match in FENCE.finditer(text)] if "```" in text else []


def is_denied(text: str, start: int) -> bool:
    """Say whether the clause that a hit stands in, up to the hit, denies it."""
    begin = max(0, start - LOOK_BACK)
    for mark in CLAUSE.finditer(text, begin, start + PEEK):
        begin = min(mark.end(), start) if mark.start() <= start else begin
    return bool(DENIAL.search(text, begin, start))
