"""Which languages a prompt calls for."""

import pytest

from classifiers.languages import ENGLISH, LANGUAGES, LATIN
from classifiers.signals.prompt_languages import (
    EVERY_LANGUAGE,
    NAMES,
    count_scripts,
    find_expected,
    find_main,
    find_named,
    find_written,
    leans_english,
    names,
)

CHINESE, KOREAN, CYRILLIC, GREEK = 2, 3, 4, 7


def test_an_english_prompt_calls_for_english():
    """A prompt in English that names no language calls for English alone."""
    assert find_expected("How do I clean the filter of the pump?") == {ENGLISH}


@pytest.mark.parametrize(
    ("prompt", "language"),
    [
        ("How do the Russians greet each other?", CYRILLIC),
        ("What does this kanji mean?", CHINESE),
        ("Which K-pop groups are in the charts?", KOREAN),
        ("Name the gods of Greek myth.", GREEK),
        ("Write a poem for my friend in Spain.", LATIN),
        ("What does 猫 mean in the story?", CHINESE),
        ("Где ключ от дома?", CYRILLIC),
        ("¿Dónde está la llave de la casa?", LATIN),
    ],
)
def test_a_prompt_calls_for_what_it_names_or_holds(prompt, language):
    """A language that a prompt names or is written in may be used in the answer."""
    assert language in find_expected(prompt)
    assert ENGLISH in find_expected(prompt)


@pytest.mark.parametrize(
    "prompt",
    [
        "Translate: The key is under the mat.",
        "Say it in a foreign language.",
        "把这句话翻译一下",
        "12 + 7 = ?",
        "🎉🎉",
    ],
)
def test_some_prompts_call_for_any_language(prompt):
    """A prompt for a translation, or one without letters, allows every language."""
    assert find_expected(prompt) == EVERY_LANGUAGE == set(range(len(LANGUAGES)))


@pytest.mark.parametrize(
    "prompt",
    [
        "Which programming languages are there for the web?",
        "What is the body language of a shy person?",
        "How does a language model work, and what is it for?",
    ],
)
def test_languages_that_nobody_speaks_call_for_none(prompt):
    """Programming languages and language models call for no other language."""
    assert find_expected(prompt) == {ENGLISH}


def test_every_language_but_english_has_names():
    """Each language that a table lists can be named."""
    assert set(NAMES) == set(range(1, len(LANGUAGES)))
    assert not names("English", ENGLISH)
    assert find_named("From Thailand to Israel") == {6, 9}
    assert find_named("The kettle is hot.") == set()


def test_the_languages_of_a_text():
    """A text is written in the scripts of its letters; Latin ones count by frequent words."""
    assert find_written("The key and the lamp") == {ENGLISH}
    assert find_written("La clé est dans la cuisine") == {ENGLISH, LATIN}
    assert find_written("鍵 ключ") == {CHINESE, CYRILLIC}
    assert find_written("12") == set()


def test_a_small_part_is_not_a_texts_own():
    """A script with few of a text's letters isn't the text's own."""
    assert find_main("The key is under the mat by the door, и that is all.") == {ENGLISH}
    assert find_main("我是Claude，不是ChatGPT的助理") == {ENGLISH, LATIN, CHINESE}
    assert find_main("") == {ENGLISH}
    code = "for key in table: print(key, table[key]) " * 40
    assert find_main(code + "열쇠는 매트 아래에 있습니다 " * 9) == {ENGLISH, KOREAN}


def test_letters_are_counted_by_script():
    """Digits and marks aren't counted, and neither is a letter beyond the table."""
    counts = count_scripts("ab é 字 жж 12 !\U0001f389")
    assert counts.shape == (len(LANGUAGES),)
    assert {code: int(count) for code, count in enumerate(counts) if count} == {
        ENGLISH: 3,
        CHINESE: 1,
        CYRILLIC: 2,
    }


def test_english_has_more_frequent_words():
    """The frequent words of a text show whether it leans to English."""
    assert leans_english("The lamp is on the shelf, c'est la vie.")
    assert not leans_english("Die Lampe ist auf dem Regal, as is.")
    assert not leans_english("")
