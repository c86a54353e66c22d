"""The languages of prompts and answers, and the groups in which texts are compared."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from classifiers.languages import ENGLISH
from classifiers.lots.answer_languages import (
    ALONE,
    CALLS,
    FIRST_LATIN,
    UNKNOWN,
    LanguageGroups,
    find_language,
    find_languages,
    find_prompt_languages,
    find_strays,
    learn_groups,
)

SPANISH = "¿Cuál es la capital del país y por qué es importante para los que viven en ella?"
GERMAN = "Was ist das für ein Haus, und wie geht es den Leuten, die nicht darin wohnen?"
ENGLISH_TEXT = "What is the best way to cook an egg that you have boiled before?"
CHINESE = "你好，请问你是谁，你能做什么？"


def make(*texts: str) -> pa.LargeStringArray:
    """Return texts as an Arrow array."""
    return pa.array(texts, pa.large_string())


def test_languages_are_told_apart():
    """Languages in Latin script have codes of their own, and scripts have theirs."""
    spanish, german, english, chinese = find_languages(
        make(SPANISH, GERMAN, ENGLISH_TEXT, CHINESE)
    ).tolist()
    assert english == ENGLISH
    assert min(spanish, german) >= FIRST_LATIN > chinese > ENGLISH
    assert spanish != german
    assert find_language(SPANISH) == spanish


def test_what_is_not_clear_is_english():
    """Few words, code and an empty text say nothing of a language."""
    texts = make("Hola", "def f(x): return x + 1", "", "42")
    assert find_languages(texts).tolist() == [ENGLISH] * 4


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (ENGLISH_TEXT, ENGLISH),
        ("Please translate the text that you are given to French.", CALLS),
        ("What is the food that you find in Mexico like?", CALLS),
        ("Hola", UNKNOWN),
        ("photosynthesis", UNKNOWN),
    ],
)
def test_prompts_may_call_for_other_languages(prompt, expected):
    """A prompt that names a language or a place, or isn't clear, has a code of its own."""
    assert find_prompt_languages(make(prompt)).tolist() == [expected]


def test_a_prompt_in_another_language_has_it():
    """A prompt in another language that names none is in that language."""
    assert find_prompt_languages(make(GERMAN)).tolist() == [find_language(GERMAN)]
    assert find_prompt_languages(make()).tolist() == []


def test_answers_in_another_language_are_strays():
    """Only an answer to a clear prompt can be in another language than it calls for."""
    german = find_language(GERMAN)
    asked = np.array([ENGLISH, german, german, CALLS, UNKNOWN])
    answered = np.array([german, german, ENGLISH, german, german])
    assert find_strays(asked, answered).tolist() == [True, False, True, False, False]


def test_seeds_are_compared_with_their_like():
    """Answers in their prompt's language have a group by language; English ones have the first."""
    german, spanish = find_language(GERMAN), find_language(SPANISH)
    groups = learn_groups(np.array([ENGLISH] * 50 + [german] * 9 + [spanish] * 2 + [CALLS]))
    assert groups.codes.tolist() == [german]
    assert groups.size == 5
    asked = np.array([ENGLISH, ENGLISH, CALLS, UNKNOWN, UNKNOWN, german, spanish, german])
    answered = np.array([ENGLISH, german, german, ENGLISH, german, german, spanish, ENGLISH])
    assert groups.assign(asked, answered).tolist() == [0, 0, 1, 0, 1, 2, 3, 4]


def test_english_corpora_are_not_divided():
    """Without a prompt in another language there is one group."""
    assert learn_groups(np.full(100, ENGLISH)) is ALONE
    assert learn_groups(np.array([ENGLISH, UNKNOWN])) is ALONE
    assert ALONE.size == 1
    assert ALONE.assign(np.array([ENGLISH, 12]), np.array([12, 12])).tolist() == [0, 0]


def test_a_prompt_that_calls_for_a_language_is_enough():
    """A corpus with translations has their group, and every language finds its place."""
    groups = learn_groups(np.array([ENGLISH] * 9 + [CALLS]))
    assert groups.size > 1
    codes = np.arange(UNKNOWN, 30)
    found = groups.assign(codes, np.maximum(codes, ENGLISH))
    assert found.min() == 0
    assert found.max() < groups.size


def test_rare_languages_share_a_group():
    """A language with few prompts is in the group of all others."""
    groups = LanguageGroups(np.array([4, 11]))
    assert groups.assign(np.array([4, 11, 12, 2]), np.array([4, 11, 12, 2])).tolist() == [
        2,
        3,
        4,
        4,
    ]
