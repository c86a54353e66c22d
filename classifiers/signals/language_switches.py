"""Switches of language: stretches of an answer in a language or script that nothing calls for.

Garbled stretches (`garbled_text`) count as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import re2

from classifiers.languages import ALL_FREQUENT, LATIN, SCRIPT_RANGES, WORD, is_foreign
from classifiers.signals.garbled_text import DAMAGE, PLAIN_SCREEN, find_garbled
from classifiers.signals.prompt_languages import count_scripts, find_expected, find_main, names

HAN, CYRILLIC, ARABIC, GREEK, INDIC = 2, 4, 5, 7, 8
"""Scripts with rules of their own, as indexes into `LANGUAGES`."""


def _list_characters(language: int) -> str:
    return "".join(f"{chr(start)}-{chr(end)}" for start, end in SCRIPT_RANGES[language])


GAP = r"[\s\d.,;:!?'\"()%、。，：；！？·-]{0,20}"
"""What may stand between the words of one stretch."""

RUNS = {
    language: re.compile(f"[{characters}]+(?:{GAP}[{characters}]+)*")
    for language in SCRIPT_RANGES
    for characters in [_list_characters(language)]
}

LANGUAGES_OF_MARKS = {
    **dict.fromkeys("、。，：；！？．０１２３４５６７８９", HAN),
    **dict.fromkeys("،؛؟", ARABIC),
    "।": INDIC,
}
"""Punctuation of other scripts, and full-width digits."""

WIDE = re.compile("[、。，：；！？．،؛؟।]|[０-９]+")
HAS_WIDE = re2.compile(WIDE.pattern)

LOANS = frozenset(("là", "más", "più", "på", "în", "än", "à"))
"""Words that English texts also use, in names and phrases."""

_MARKED = "|".join(sorted(word for word in ALL_FREQUENT - LOANS if not word.isascii()))
HAS_BLEND = re2.compile(f" (?:{_MARKED}) ")
BLEND = re.compile(
    rf"(?<=[a-z,] )(?:{_MARKED})(?= [a-z]{{2}})"
    "|(?<=[A-Za-z,] )(?:của|được|không|người|những|và|với)(?= [A-Za-z]{2})"
)
"""A small word of another language, such as `für` or `và`, between words in lower case.

The Vietnamese ones may stand before a capital letter, because no English name has them.
"""

_PLAIN = "|".join(sorted(word for word in ALL_FREQUENT if word.isascii()))
PAIR = rf"(?i:\b(?:{_PLAIN}) (?:{_PLAIN})\b)"
"""Two frequent words of another language in Latin script. Most of its sentences have such a pair.
"""

SENTENCE = re.compile(r"[^.!?\s][^.!?\n]*")

SCREEN = f"{PAIR}|{PLAIN_SCREEN}"
_OTHERS = "".join(map(_list_characters, SCRIPT_RANGES))
SCREEN_BEYOND_ASCII = rf"[{_OTHERS}０-９、。，：；！？．]| (?:{_MARKED}) |{DAMAGE}"
"""What every text with a switch holds, in the syntax of RE2. The second is for text beyond ASCII.
"""

HAS_PAIR = re2.compile(PAIR)
HAS_OTHERS = re2.compile(SCREEN_BEYOND_ASCII)

RUN_WEIGHT, SENTENCE_WEIGHT, BLEND_WEIGHT, WIDE_WEIGHT = 0.7, 0.7, 0.7, 0.5

GREEK_WORD = re.compile("[Ͱ-Ͽἀ-῿]{3,}")
GREEK_VOWEL = re.compile("[αεηιουωάέήίόύώϊϋἀ-῿]")
FEWEST_VOWELS = 2
"""The smallest number of vowels in a Greek word of three letters or more. Formulas have shorter
runs of letters, or letters in the order of the alphabet.
"""

MOST_IN_FACE = 2
FACE = frozenset("_^¯\\/´`~<>=(){}[]•°¬")
"""Symbols beside the letters of a face such as ¯\\_(ツ)_/¯."""

SHORTEST_SENTENCE = 6
"""The smallest number of words in a sentence of another language in Latin script."""

FEWEST_KINDS = 2
"""The smallest number of different frequent words between blanks in such a sentence."""

SMALLEST_LOWER = 0.6
"""The smallest share of words in lower case in such a sentence. Names and titles have fewer."""

BRACKETS = ("()", "[]", "{}", "“”", "«»", "「」", "『』", "《》")
MARKS = ('"', "`")
OPENING = ("'", "‘", "*")

CONTEXT = 160
"""The search for brackets and quotation marks stays within a stretch's line and this far."""

NEARBY = 80
"""How near to a stretch a language's name explains it, in characters."""


class Switch(NamedTuple):
    """A stretch of a text that is a switch, and how much it adds to the score."""

    start: int
    end: int
    weight: float


class SwitchScores(NamedTuple):
    """The switches of a column of texts.

    `scores` is float32 [texts], and `spans` holds the heaviest switch of each text, int32 [texts,
    2]. `hits` holds the spans of all switches, keyed by text.
    """

    scores: np.ndarray
    spans: np.ndarray
    hits: dict[int, list[tuple[int, int]]]


def score_switches(texts: pa.LargeStringArray, read_prompt: Callable[[int], str]) -> SwitchScores:
    """Score each text by the sum of its switches' weights, at most 1.

    `read_prompt` returns the prompt of the text with an index, or an empty string. It is called
    only for texts that may have a switch.
    """
    scores, spans = np.zeros(len(texts), np.float32), np.zeros((len(texts), 2), np.int32)
    hits: dict[int, list[tuple[int, int]]] = {}
    candidates = find_unusual(texts)
    for index, text in zip(
        candidates.tolist(), texts.take(pa.array(candidates)).to_pylist(), strict=True
    ):
        if found := find_switches(text, read_prompt(index)):
            scores[index] = min(1.0, sum(item.weight for item in found))
            heaviest = max(found, key=lambda item: (item.weight, item.end - item.start))
            spans[index] = heaviest.start, heaviest.end
            hits[index] = [(item.start, item.end) for item in found]
    return SwitchScores(scores, spans, hits)


def find_unusual(texts: pa.LargeStringArray) -> np.ndarray:
    """Return the ascending indexes of the texts that may have a switch."""
    marks = pc.match_substring_regex(texts, SCREEN).to_numpy(zero_copy_only=False).copy()
    plain = pc.string_is_ascii(texts).to_numpy(zero_copy_only=False)
    others = np.flatnonzero(~plain)
    found = pc.match_substring_regex(texts.take(pa.array(others)), SCREEN_BEYOND_ASCII)
    marks[others] |= found.to_numpy(zero_copy_only=False)
    return np.flatnonzero(marks)


def find_switches(text: str, prompt: str) -> list[Switch]:
    """Return the switches of an answer to a prompt, in order. They don't overlap.

    An answer without a prompt is compared with the script of most of its letters.
    """
    expected = find_expected(prompt) if prompt.strip() else find_main(text)
    found = [Switch(*item) for item in find_garbled(text, prompt)]
    if LATIN not in expected:
        found += _find_sentences(text)
    if HAS_OTHERS.search(text):
        found += [*_find_runs(text, expected), *_find_wide(text, expected)]
        found += _find_blends(text) if LATIN not in expected else ()
    return _drop_overlaps(sorted(found))


def _drop_overlaps(found: list[Switch]) -> list[Switch]:
    kept: list[Switch] = []
    for item in found:
        if not kept or item.start >= kept[-1].end:
            kept.append(item)
    return kept


def _find_runs(text: str, expected: frozenset[int]) -> Iterator[Switch]:
    """Yield the stretches in other scripts."""
    present = np.flatnonzero(count_scripts(text)).tolist()
    for language in present:
        if language in RUNS and language not in expected:
            for match in RUNS[language].finditer(text):
                if _is_word(match, language) and not _is_explained(match, language):
                    yield Switch(*match.span(), RUN_WEIGHT)


def _is_word(match: re.Match[str], language: int) -> bool:
    """Return whether a run has a word, not only symbols of a formula or a part of a face."""
    if language == GREEK:
        words = GREEK_WORD.findall(match[0])
        return any(len(GREEK_VOWEL.findall(word)) >= FEWEST_VOWELS for word in words)
    letters = sum(map(str.isalnum, match[0]))
    face = letters <= MOST_IN_FACE and language != CYRILLIC and _is_in_face(match)
    return letters > 0 and not face


def _is_in_face(match: re.Match[str]) -> bool:
    around = _list_neighbours(match)
    return not any(map(_is_latin, around)) and not FACE.isdisjoint(around)


def _find_wide(text: str, expected: frozenset[int]) -> Iterator[Switch]:
    """Yield full-width digits, and punctuation of other scripts after ASCII characters."""
    for match in WIDE.finditer(text) if HAS_WIDE.search(text) else ():
        if LANGUAGES_OF_MARKS[match[0][0]] not in expected:
            before = text[max(0, match.start() - 2) : match.start()].rstrip(" ")[-1:]
            if match[0].isdecimal() or (before.isascii() and before.strip()):
                yield Switch(*match.span(), WIDE_WEIGHT)


def _find_blends(text: str) -> Iterator[Switch]:
    if HAS_BLEND.search(text):
        for match in BLEND.finditer(text):
            if not _is_explained(match, LATIN):
                yield Switch(*match.span(), BLEND_WEIGHT)


def _find_sentences(text: str) -> Iterator[Switch]:
    """Yield the sentences of another language in Latin script."""
    if HAS_PAIR.search(text):
        for match in SENTENCE.finditer(text):
            if _is_foreign(match[0]) and not _is_explained(match, LATIN):
                yield Switch(*match.span(), SENTENCE_WEIGHT)


def _is_foreign(sentence: str) -> bool:
    """Return whether a sentence is foreign, and neither a name nor a title."""
    if len(ALL_FREQUENT.intersection(sentence.lower().split())) < FEWEST_KINDS:
        return False
    words = WORD.findall(sentence)
    lower = sum(word[0].islower() for word in words)
    long = len(words) >= SHORTEST_SENTENCE and lower >= SMALLEST_LOWER * len(words)
    return long and is_foreign(sentence)


def _is_explained(match: re.Match[str], language: int) -> bool:
    """Return whether a stretch is quoted or in brackets, or its language is named nearby.

    A stretch that touches a Latin letter is neither.
    """
    text, (start, end) = match.string, match.span()
    if any(map(_is_latin, _list_neighbours(match))):
        return False
    before, after = text[max(0, start - CONTEXT) : start], text[end : end + NEARBY]
    if names(f"{before[-NEARBY:]}\n{after.partition(chr(10))[0]}", language):
        return True
    return _is_enclosed(before.rpartition("\n")[2]) or match[0].startswith(('"', "“", "‘", "'"))


def _is_enclosed(before: str) -> bool:
    """Return whether a bracket or a quotation mark is open at the end of a line's beginning."""
    return (
        before.endswith(OPENING)
        or any(before.count(pair[0]) > before.count(pair[1]) for pair in BRACKETS)
        or any(before.count(mark) % 2 for mark in MARKS)
    )


def _list_neighbours(match: re.Match[str]) -> list[str]:
    """Return the characters on both sides of a match."""
    text, (start, end) = match.string, match.span()
    return [*text[max(0, start - 1) : start], *text[end : end + 1]]


def _is_latin(character: str) -> bool:
    return character.isascii() and character.isalpha()
