"""The languages of prompts and answers, so that seeds in other languages aren't differences.

An answer in its prompt's language is compared only with other such answers. An answer in another
language than its prompt calls for is what is looked for.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from classifiers.languages import (
    ENGLISH,
    FREQUENT_WORDS,
    LANGUAGES,
    WORD,
    is_foreign,
)
from classifiers.signals.prompt_languages import ANY, EVERY_LANGUAGE, NAMES, count_scripts
from classifiers.signals.prompt_languages import find_expected as find_expected_languages

HEAD = 300
"""How many characters of a text decide its language."""

CALLS, UNKNOWN = -1, -2
"""The code of a prompt that names another language or asks for a translation, and that of one whose
language isn't clear, such as a few words or a program."""

FIRST_LATIN = len(LANGUAGES)
"""The code of the first language in `FREQUENT_WORDS`. Lower codes are those of scripts."""

ONLY_ENGLISH = (
    "the|and|you|are|not|your|what|how|that|this|with|which|they|there|their|would|should|could"
    "|please|give|write"
)
PLAIN = rf"(?i)\b(?:{ONLY_ENGLISH})\b(?:[^\w]+\w+){{0,12}}[^\w]+(?:{ONLY_ENGLISH})\b"
"""Two frequent words near each other that only English has, in the syntax of RE2."""

OTHER_LETTERS = r"[^\x00-\x{24F}\x{2000}-\x{2BFF}\x{1F000}-\x{1FAFF}\x{FE00}-\x{FE0F}]"
"""A letter of another script than Latin. Marks and pictures aren't letters."""

NAMING = rf"(?i)\b(?:{'|'.join(NAMES.values())})|{ANY}"
"""What every prompt has that calls for another language than its own."""


class LanguageGroups(NamedTuple):
    """The groups in which texts are compared; `codes` are the languages with a group of their own.

    Group 0 holds the answers to prompts in English, whatever the answers' language. After it come a
    group for prompts that call for other languages or may do so, one for each of `codes`, one for
    all other languages, and one for answers that aren't in such a prompt's language.
    """

    codes: np.ndarray

    @property
    def size(self) -> int:
        """Return the number of groups."""
        return len(self.codes) + 4 if len(self.codes) else 1

    def assign(self, prompts: np.ndarray, answers: np.ndarray) -> np.ndarray:
        """Return the group of each text from its prompt's and its own language."""
        groups = np.zeros(len(prompts), np.int64)
        if self.size == 1:
            return groups
        groups[(prompts == CALLS) | ((prompts == UNKNOWN) & (answers != ENGLISH))] = 1
        foreign = prompts > ENGLISH
        place = np.searchsorted(self.codes, prompts[foreign])
        known = self.codes[np.minimum(place, len(self.codes) - 1)] == prompts[foreign]
        groups[foreign] = np.where(known, 2 + place, 2 + len(self.codes))
        groups[foreign & (answers != prompts)] = self.size - 1
        return groups


ALONE = LanguageGroups(np.empty(0, np.int64))
"""One group for all texts."""


def learn_groups(prompts: np.ndarray, fewest: int = 5) -> LanguageGroups:
    """Return the groups of a sample of prompts, given by their languages.

    A language has a group of its own if at least `fewest` prompts are in it. If no prompt is in
    another language than English or calls for one, all texts are in one group.
    """
    codes, counts = np.unique(prompts[prompts > ENGLISH], return_counts=True)
    if not len(codes):
        return ALONE if not (prompts == CALLS).any() else LanguageGroups(np.array([ENGLISH + 1]))
    own = codes[counts >= fewest]
    return LanguageGroups(own if len(own) else codes[:1])


def find_strays(prompts: np.ndarray, answers: np.ndarray) -> np.ndarray:
    """Return which answers are in another language than their prompt, given by their languages."""
    return np.asarray((prompts >= ENGLISH) & (answers != prompts))


def find_prompt_languages(prompts: pa.LargeStringArray) -> np.ndarray:
    """Return each prompt's language, `CALLS` or `UNKNOWN`, int64."""
    found = find_languages(prompts)
    plain = pc.match_substring_regex(prompts, PLAIN).to_numpy(zero_copy_only=False).astype(bool)
    found[(found == ENGLISH) & ~plain] = UNKNOWN
    naming = pc.match_substring_regex(prompts, NAMING).to_numpy(zero_copy_only=False)
    for index in np.flatnonzero(naming.astype(bool)).tolist():
        expected = find_expected_languages(prompts[index].as_py())
        if expected == EVERY_LANGUAGE or (found[index] <= ENGLISH and len(expected) > 1):
            found[index] = CALLS
    return found


def find_languages(texts: pa.LargeStringArray) -> np.ndarray:
    """Return each text's language as a code, int64: English or unknown, a script, or a language.

    Only the beginning is read.
    """
    head = pc.utf8_slice_codeunits(texts, 0, HEAD)
    others = pc.match_substring_regex(head, OTHER_LETTERS).to_numpy(zero_copy_only=False)
    plain = pc.match_substring_regex(head, PLAIN).to_numpy(zero_copy_only=False)
    found = np.full(len(texts), ENGLISH, np.int64)
    for index in np.flatnonzero(others.astype(bool) | ~plain.astype(bool)).tolist():
        found[index] = find_language(head[index].as_py())
    return found


def find_language(text: str) -> int:
    """Return the language of most of a text's letters, or English if that isn't clear."""
    script = int(count_scripts(text).argmax())
    if script != ENGLISH:
        return script
    if not is_foreign(text):
        return ENGLISH
    words = WORD.findall(text.lower())
    hits = [sum(map(frequent.__contains__, words)) for frequent in FREQUENT_WORDS]
    return FIRST_LATIN + int(np.argmax(hits))
