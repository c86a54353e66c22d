"""Lexicons: weighted linear-time patterns that can ignore quoted and denied hits."""

from __future__ import annotations

import functools
import math
import os
import re
import sys
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.signals.quotation import Answer, is_quoted, read_answer
from schemas.cards import Language, LexiconOptions, Pattern, compile_pattern, join_patterns

LOOK_BACK = 60
"""The search for a denial stays within a hit's clause and this many characters before it."""

DENIAL = re.compile(
    r"\b(?:not(?! (?:just|merely|only|simply)\b)|never|no(?!,)|nor|neither|without"
    r"|(?:is|are|was|were|do|does|did|has|have|had|wo|would|could|should|ca)n['’]?t|cannot"
    r"|rather than|instead of|avoid\w*|stop(?:ped|s)?|delet\w*|remov\w*)\b",
    re.IGNORECASE,
)
SIGN_OF_DENIAL = re.compile("n(?:[oe]|['’]?t)|thout|rathe|tead|avo|top|dele|remo")
"""What every denial contains in lower case; to look for it is several times as fast.

The letters i and s are left out, because `re.IGNORECASE` equates them with letters of other forms.
"""

CLAUSE = re.compile(
    r"[.!?;:\n]|\b(?:but|because|since)\b|\b(?:as|and)\s+(?=i\b)"
    r"|,\s+(?=(?:i|as an?|since|because)\b)",
    re.IGNORECASE,
)
"""The end of a clause, which also ends a denial.

A comma ends a clause only before a new subject, so "avoid delve, tapestry" denies both words.
"""

PEEK = 8
"""How many characters from the start of a hit show whether the hit begins a clause."""

SIGNS: dict[Language, str] = {
    "ar": r"\p{Arabic}",
    "de": r"\b(?:ich|und|nicht|ist|der|die|das|mein\w*)\b|[äöüß]",
    "es": r"\b(?:que|de|la|el|los|con|una?|soy|fui|mis?)\b",
    "fr": r"\b(?:je|de|la|le|les|une?|est|mes)\b|[àâçèêîôûœ]",
    "hi": r"\p{Devanagari}",
    "ja": r"[\p{Hiragana}\p{Katakana}]",
    "ko": r"\p{Hangul}",
    "pt": r"\b(?:que|de|do|da|os?|uma?|sou|fui|n[aã]o|meus?)\b",
    "ru": r"\p{Cyrillic}",
    "zh": r"\p{Han}",
}
"""What nearly every text in a language contains: its script or one of its frequent words."""

FOREIGN = (
    r"[\p{Arabic}\p{Devanagari}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Cyrillic}\p{Han}"
    r"àáâãäçèéêëìíîïñòóôõöœùúûüß]"
    r"|\b(?:ich|und|nicht|ist|keine?|meine?|je|une|pas|est|mes|que|como|una|soy|fui|con|para)\b"
    r"|\b(?:uma|sou|n[aã]o|meu|minha|llamo|chamo)\b"
)
"""What nearly every text in one of these languages contains. It spares English texts ten searches.
"""

FOREIGN_SIGN = compile_pattern(FOREIGN)

COUNTED = re.compile(
    r"(\\Q.*?(?:\\E|$)|\\[pPx]\{[^}]*\}|\\.|\[\^?\]?(?:\[:\^?\w+:\]|\\.|[^\]\\])*\])"
    r"|\{\d+(?:,\d*)?\}",
    re.DOTALL,
)
"""A counted repetition in a pattern.

The group matches quotations, escapes and character classes, which may look like counted
repetitions.
"""


FEW_TEXTS = 200
"""Up to so many texts, a pattern that is compiled already is faster than Arrow, which compiles it.

A shard of English answers has about fifty texts in each other language.
"""

LONGEST_REMEMBERED = 200
"""The longest match whose pattern is remembered, in characters; longer ones rarely recur."""


Discount: TypeAlias = Literal["excused", "quoted", "denied"]
"""The reason why a hit doesn't count."""


class Hit(NamedTuple):
    """A pattern's match: its start, end and text."""

    start: int
    end: int
    text: str
    pattern: Pattern


class _EqualWeights:
    """Patterns of one weight, which are searched together. If several match, the first counts."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        self.patterns = patterns
        self._find = compile_pattern(join_patterns([pattern.match for pattern in patterns]))
        self._single = [compile_pattern(pattern.match) for pattern in patterns]
        self._which: Callable[[str, int, int], Pattern] = functools.lru_cache(4096)(self._look_up)

    def _look_up(self, around: str, start: int, end: int) -> Pattern:
        """Return the pattern that matches from `start` to `end`.

        `around` is the match with one more character on each side, because RE2's anchors and word
        boundaries look that far.
        """
        for pattern, compiled in zip(self.patterns, self._single, strict=True):
            if (match := compiled.match(around, start)) and match.end() == end:
                return pattern
        return self.patterns[0]

    def _make_hit(self, text: str, start: int, end: int) -> Hit:
        before = min(start, 1)
        around = text[start - before : end + 1]
        find = self._which if len(around) <= LONGEST_REMEMBERED else self._look_up
        return Hit(start, end, text[start:end], find(around, before, before + end - start))

    def find_hits(self, text: str, data: str | bytes) -> list[Hit]:
        """Return all hits, from left to right. `data` is the text, or its bytes if it is ASCII."""
        return [self._make_hit(text, *match.span()) for match in self._find.finditer(data)]


class _Union:
    """Patterns that are searched in texts of one language, or in all texts."""

    def __init__(self, patterns: Sequence[Pattern], language: Language | None) -> None:
        self.language = language
        union = join_patterns([pattern.match for pattern in patterns])
        self.loose = loosen_counts(union)
        self._find = compile_pattern(union)
        self._sign = compile_pattern(SIGNS[language]) if language else None
        self._heaviest_first = [
            _EqualWeights([pattern for pattern in patterns if pattern.weight == weight])
            for weight in sorted({pattern.weight for pattern in patterns}, reverse=True)
        ]

    def find_matching(self, texts: pa.Array) -> pa.Array:
        """Return the indexes of the texts that may have a match."""
        if len(texts) > FEW_TEXTS:
            return _search(texts, self.loose)
        encoded = texts.cast(pa.large_binary()).to_pylist()
        matching = [index for index, data in enumerate(encoded) if self._find.search(data)]
        return pa.array(matching, pa.int64())

    def find_hits(self, text: str, data: str | bytes) -> list[Hit]:
        """Return all hits but those that overlap a heavier one.

        `data` is the text, or its bytes if it is ASCII.
        """
        if self._sign and not (FOREIGN_SIGN.search(data) and self._sign.search(data)):
            return []
        found: list[Hit] = []
        for patterns in self._heaviest_first:
            found = _add_lighter(found, patterns.find_hits(text, data))
        return found


def _add_lighter(heavier: list[Hit], lighter: list[Hit]) -> list[Hit]:
    """Return hits with those lighter ones that overlap none of them, in order."""
    starts = [hit.start for hit in heavier]
    before = [bisect_left(starts, hit.end) - 1 for hit in lighter]
    free = [
        hit
        for hit, last in zip(lighter, before, strict=True)
        if last < 0 or heavier[last].end <= hit.start
    ]
    return sorted([*heavier, *free], key=lambda hit: hit[:2]) if free else heavier


class Lexicon:
    """The compiled patterns of a trait."""

    def __init__(self, options: LexiconOptions) -> None:
        self.options = options
        groups: dict[Language | None, list[Pattern]] = {}
        for pattern in options.patterns:
            groups.setdefault(pattern.language, []).append(pattern)
        self.unions = [_Union(patterns, language) for language, patterns in groups.items()]
        self._unless = compile_pattern(join_patterns(options.unless)) if options.unless else None

    def find_hits(self, text: str, whole: str | None = None, start: int = 0) -> list[Hit]:
        """Return the hits that count, in order.

        Hits that overlap a match of an `unless` pattern don't count. If the lexicon ignores quoted
        or denied hits, they don't count either. If `text` is only a part of a text, `whole` is that
        text and `start` is where the part begins: a quotation or a code block may begin before it.
        """
        judged = self.judge_hits(text, whole, start)
        return [hit for hit, discount in judged if discount is None]

    def judge_hits(
        self, text: str, whole: str | None = None, start: int = 0
    ) -> list[tuple[Hit, Discount | None]]:
        """Return all hits in order, each with the reason why it doesn't count, or None."""
        # RE2 needn't convert offsets to characters if ASCII text is passed as bytes.
        data = text.encode() if text.isascii() else text
        found = [hit for union in self.unions for hit in union.find_hits(text, data)]
        if not found:
            return []
        whole = text if whole is None else whole
        excused = [match.span() for match in self._unless.finditer(whole)] if self._unless else []
        answer = read_answer(whole) if self.options.quoted == "ignore" else None
        found.sort(key=lambda hit: hit[:2])
        return [(hit, self._find_discount(whole, hit, start, excused, answer)) for hit in found]

    def _find_discount(
        self,
        text: str,
        hit: Hit,
        begin: int,
        excused: Sequence[tuple[int, int]],
        answer: Answer | None,
    ) -> Discount | None:
        """Return the reason why a hit doesn't count; the part it is in begins at `begin`."""
        # Excused spans don't overlap, so only the last one before the hit's end can reach into the
        # hit.
        start, end = begin + hit.start, begin + hit.end
        nearby = bisect_left(excused, (end,)) - 1
        if nearby >= 0 and start < excused[nearby][1]:
            return "excused"
        if answer is not None and is_quoted(text, start, end, answer):
            return "quoted"
        may_be_denied = self.options.denied == "ignore" and not hit.pattern.language
        return "denied" if may_be_denied and is_denied(text, start) else None

    def score(self, text: str, hits: Sequence[Hit]) -> float:
        """Return 1 - exp(-weight / scale) for the sum of the hits' capped weights.

        With `per_words`, the weight is first divided by words / `per_words`, but at least by 1.
        At most `most_words` words count.
        """
        counted: dict[str, int] = {}
        weight = 0.0
        for hit in hits:
            counted[hit.pattern.match] = counted.get(hit.pattern.match, 0) + 1
            weight += hit.pattern.weight if counted[hit.pattern.match] <= hit.pattern.cap else 0.0
        if self.options.per_words and weight:
            words = min(len(text.split()), self.options.most_words or sys.maxsize)
            weight /= max(1.0, words / self.options.per_words)
        return 1 - math.exp(-weight / self.options.scale)


class LexiconScores(NamedTuple):
    """One lexicon's scores for texts.

    `scores` is float32 [texts]. `spans` is int32 [texts, 2]: the start and end of the first
    heaviest hit, or zeros. `hits` lists the start and end of every hit, keyed by text.
    """

    scores: np.ndarray
    spans: np.ndarray
    hits: dict[int, list[tuple[int, int]]]


class Surroundings(NamedTuple):
    """The whole texts of which parts are scored, and where each part begins."""

    wholes: pa.LargeStringArray
    starts: np.ndarray


def score_lexicons(
    lexicons: Sequence[Lexicon],
    texts: pa.LargeStringArray,
    around: Surroundings | None = None,
) -> list[LexiconScores]:
    """Score texts, or parts of the texts in `around`, with every lexicon.

    For each lexicon, a vectorised pass first excludes texts without hits. One pass for all lexicons
    takes 40 s instead of 1.1 s on 40,000 answers, because the union's automaton outgrows RE2's
    memory. A pass for all languages is as slow, so each language's patterns see only its texts.
    """
    languages = {union.language for lexicon in lexicons for union in lexicon.unions}
    places = _find_languages(texts, sorted(language for language in languages if language))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(
            pool.map(
                lambda lexicon: _score_texts(
                    lexicon, texts, _find_candidates(lexicon, texts, places), around
                ),
                lexicons,
            )
        )


def _find_languages(
    texts: pa.Array, languages: Sequence[Language]
) -> dict[Language | None, pa.Array]:
    """Return the indexes of the texts with a sign of each language."""
    if not languages:
        return {}
    foreign = pc.indices_nonzero(pc.match_substring_regex(texts, FOREIGN, ignore_case=True))
    chosen = texts.take(foreign)
    return {
        language: foreign.filter(
            pc.match_substring_regex(chosen, SIGNS[language], ignore_case=True)
        )
        for language in languages
    }


def _find_candidates(
    lexicon: Lexicon, texts: pa.Array, places: Mapping[Language | None, pa.Array]
) -> list[int]:
    """Return the indexes of texts that may have hits, ascending."""
    candidates: set[int] = set()
    for union in lexicon.unions:
        inside = places.get(union.language)
        chosen = texts if inside is None else texts.take(inside)
        found = union.find_matching(chosen)
        candidates.update((found if inside is None else inside.take(found)).to_pylist())
    return sorted(candidates)


def _search(texts: pa.Array, pattern: str) -> pa.Array:
    """Return the indexes of texts with a match: of all texts if Arrow refuses the pattern."""
    try:
        return pc.indices_nonzero(pc.match_substring_regex(texts, pattern, ignore_case=True))
    except pa.ArrowInvalid:
        return pa.array(range(len(texts)), pa.int64())


def _score_texts(
    lexicon: Lexicon,
    texts: pa.LargeStringArray,
    candidates: Sequence[int],
    around: Surroundings | None,
) -> LexiconScores:
    scores, spans = np.zeros(len(texts), np.float32), np.zeros((len(texts), 2), np.int32)
    hit_spans: dict[int, list[tuple[int, int]]] = {}
    chosen = texts.take(pa.array(candidates, pa.int64())).to_pylist()
    for index, text in zip(candidates, chosen, strict=True):
        hits = (
            lexicon.find_hits(text, around.wholes[index].as_py(), int(around.starts[index]))
            if around
            else lexicon.find_hits(text)
        )
        if hits:
            scores[index] = lexicon.score(text, hits)
            best = max(hits, key=lambda hit: hit.pattern.weight)
            spans[index] = best.start, best.end
            hit_spans[index] = [(hit.start, hit.end) for hit in hits]
    return LexiconScores(scores, spans, hit_spans)


def loosen_counts(pattern: str) -> str:
    """Replace every counted repetition in a pattern with `*`.

    The result matches wherever `pattern` does, and its automaton is far smaller.
    """
    return COUNTED.sub(lambda match: match[1] or "*", pattern)


def is_denied(text: str, start: int) -> bool:
    """Return whether earlier words in the same clause deny a hit that begins at `start`."""
    begin = max(0, start - LOOK_BACK)
    if not SIGN_OF_DENIAL.search(text[begin:start].lower()):
        return False
    for mark in CLAUSE.finditer(text, begin, start + PEEK):
        begin = min(mark.end(), start) if mark.start() <= start else begin
    return bool(DENIAL.search(text, begin, start))
