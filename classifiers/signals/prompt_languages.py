"""Which languages and scripts a prompt calls for: those it is written in, and those it names."""

from __future__ import annotations

import re

import numpy as np
import re2

from classifiers.languages import (
    ALL_FREQUENT,
    ENGLISH,
    ENGLISH_WORDS,
    LANGUAGES,
    LATIN,
    SCRIPTS,
    WORD,
)

EVERY_LANGUAGE = frozenset(range(len(LANGUAGES)))

NAMES = {
    LATIN: "spanish|spain|españa|español|mexic|latin|catal[ao]n|castil|argentin|colombia|peru|chile"
    "|cuba|puerto ric|hispanic|french|france|paris|quebec|german|austria|berlin|swiss|switzerland"
    "|portug|brazil|brasil|ital|roman?\\b|rome\\b|dutch|netherland|holland|belgi|swed|norw|danish"
    "|denmark|nordic|scandinav|polish|poland|czech|turk|indones|malay|vietnam|finnish|finland"
    "|hungar|europe|lyrics|opera|lorem|placeholder",
    2: "chinese|china|mandarin|cantonese|japan|kanji|hanzi|hiragana|katakana|anime|manga|taiwan"
    "|hong kong|pinyin|tokyo|beijing|asia",
    3: "korea|hangul|k-?pop|seoul|asia",
    4: "russia|ukrain|bulgari|serbia|belarus|cyrillic|soviet|moscow|kazakh|mongol|macedon|slavic",
    5: "arab|persia|farsi|iran|urdu|pakistan|quran|koran|islam|muslim|egypt|morocc|saudi|dubai"
    "|pashto|kurd|middle east",
    6: "hebrew|jewish|israel|torah|judais|yiddish|bibl",
    7: "greek|greece|hellen|athens|bibl|philosoph|spartan",
    8: "hindi|hindu|india|sanskrit|devanagari|tamil|telugu|bengal|bangla|urdu|marathi|gujarat"
    "|punjab|nepal|sri lanka|sinhal|vedic|yoga",
    9: "thai|lao\\b|laos|bangkok",
    10: "armenia|georgia|ethiopia|amharic|burm|myanmar|tibet|khmer|cambodia|mongol|cherokee|inuit",
}
"""Words that name a language, or a people or place where it is spoken, by index in `LANGUAGES`."""

ANY = (
    r"\b(?:translat|languages?\b|linguistic|bilingual|multilingual|foreign|alphabet|unicode|ascii"
    "|cipher|tradu[cizs]|idioma|langue|sprache)"
    "|übersetz|перев|язык|англ|ترجم|[翻訳译語语]|번역|언어"
)
"""Words after which any language may be right."""

NAMED = {language: re2.compile(rf"(?i)\b(?:{words})") for language, words in NAMES.items()}
SOME_NAMED = re2.compile(rf"(?i)\b(?:{'|'.join(NAMES.values())})")
ANY_NAMED = re2.compile(f"(?i){ANY}")

OTHER_SENSE = re.compile(
    r"\b(?:programming|query|scripting|markup|sign|body|natural|large|formal|plain) languages?"
    r"|\blanguage (?:models?|processing|arts)",
    re.IGNORECASE,
)
"""Languages that nobody speaks, and languages in general."""

SMALLEST_SHARE = 0.2
"""The smallest share of a text's letters in a script that is the text's own.

A sentence in Chinese with two English names may have three times as many Latin letters.
"""

SMALLEST_PART = 60
"""As many letters in a script are the text's own, whatever their share: code beside a text in
Korean may have many more.
"""

READ = 20_000
"""How many characters of a prompt are read, from its end."""


def find_expected(prompt: str) -> frozenset[int]:
    """Return the languages that an answer to a prompt may use, as indexes into `LANGUAGES`.

    English is always among them. A prompt without letters says nothing, so every language may be
    right.
    """
    prompt = prompt[-READ:]
    written = find_written(prompt)
    if not written or _calls_for_any(prompt):
        return EVERY_LANGUAGE
    return frozenset((ENGLISH, *written, *find_named(prompt)))


def _calls_for_any(prompt: str) -> bool:
    if not ANY_NAMED.search(prompt):
        return False
    return ANY_NAMED.search(OTHER_SENSE.sub("", prompt)) is not None


def find_named(text: str) -> set[int]:
    """Return the languages that a text names."""
    if not SOME_NAMED.search(text):  # most texts, in one search
        return set()
    return {language for language in NAMED if names(text, language)}


def names(text: str, language: int) -> bool:
    """Return whether a text names a language, or a people or place where it is spoken."""
    return language in NAMED and NAMED[language].search(text) is not None


def find_written(text: str) -> set[int]:
    """Return the languages in which a text has letters.

    Text in Latin script counts as English if it has more frequent words of English than of other
    languages, and otherwise as both.
    """
    counts = count_scripts(text)
    written = {language for language in range(len(LANGUAGES)) if counts[language]}
    if ENGLISH in written and not leans_english(text):
        written.add(LATIN)
    return written


def find_main(text: str) -> frozenset[int]:
    """Return the languages in which a good part of a text is written, and English."""
    counts = count_scripts(text)
    fewest = min(SMALLEST_SHARE * counts.sum(), SMALLEST_PART)
    main = np.flatnonzero(counts >= max(1.0, fewest)).tolist()
    latin = ENGLISH in main and not leans_english(text)
    return frozenset((ENGLISH, *main, *((LATIN,) if latin else ())))


def count_scripts(text: str) -> np.ndarray:
    """Return the number of letters of each script, where Latin script counts as English."""
    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    codes = SCRIPTS[np.minimum(points, len(SCRIPTS) - 1)]
    return np.bincount(codes, minlength=len(LANGUAGES) + 1)[: len(LANGUAGES)]


def leans_english(text: str) -> bool:
    """Return whether a text has more frequent words of English than of other languages."""
    words = WORD.findall(text.lower())
    english = sum(map(ENGLISH_WORDS.__contains__, words))
    return english > sum(map(ALL_FREQUENT.__contains__, words))
