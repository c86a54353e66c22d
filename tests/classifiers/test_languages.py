"""The tables of scripts and of frequent words."""

import pytest

from classifiers.languages import (
    ALL_FREQUENT,
    ENGLISH,
    ENGLISH_WORDS,
    FREQUENT_WORDS,
    LANGUAGES,
    SCRIPT_RANGES,
    SCRIPTS,
    is_foreign,
)

FRENCH = "La médecine est une science qui étudie les maladies et les moyens de les soigner."
GERMAN = "Der Himmel ist blau, weil das Licht der Sonne in der Luft gestreut wird und nicht rot."


def test_a_quotation_in_english_stays_english():
    """An English text with a foreign quotation is English."""
    assert not is_foreign(f"He said: {FRENCH} And that was all that we have of it, I think.")


@pytest.mark.parametrize("text", [FRENCH, GERMAN])
def test_a_sentence_of_another_language_is_foreign(text):
    """A sentence with enough frequent words of one language is foreign."""
    assert is_foreign(text)


@pytest.mark.parametrize(
    "text",
    [
        "The sky is blue because the light of the sun is scattered by the air.",
        "la la la la la la la la",
        "de que los",
        "Rue de la Paix",
        "",
    ],
)
def test_few_kinds_of_frequent_words_are_not_foreign(text):
    """English, a refrain, and a text with few frequent words aren't foreign."""
    assert is_foreign(text) == (text == "de que los")


def test_no_frequent_word_is_a_single_letter():
    """No frequent word is a single letter."""
    assert all(len(word) > 1 for words in FREQUENT_WORDS for word in words)


def test_no_word_is_frequent_in_english_and_in_another_language():
    """English words don't count for other languages."""
    assert not ENGLISH_WORDS & ALL_FREQUENT
    assert frozenset().union(*FREQUENT_WORDS) == ALL_FREQUENT


def test_scripts_do_not_overlap():
    """A letter belongs to one script, and the table agrees with the ranges."""
    seen = set()
    for language, ranges in SCRIPT_RANGES.items():
        for start, end in ranges:
            codes = set(range(start, end + 1))
            assert not codes & seen
            assert (SCRIPTS[start : end + 1] == language).all()
            seen |= codes


@pytest.mark.parametrize(
    ("letter", "name"),
    [
        ("a", "English or unknown"),
        ("é", "English or unknown"),
        ("字", "Chinese or Japanese script"),
        ("か", "Chinese or Japanese script"),
        ("한", "Korean script"),
        ("ж", "Cyrillic script"),
        ("ع", "Arabic script"),
        ("ש", "Hebrew script"),
        ("λ", "Greek script"),
        ("क", "Indic script"),
        ("ท", "Thai or Lao script"),
        ("ა", "another script"),
    ],
)
def test_letters_have_a_script(letter, name):
    """A letter's script is found by its code point."""
    assert LANGUAGES[SCRIPTS[ord(letter)]] == name


@pytest.mark.parametrize("mark", ["1", " ", "!", "€", "→"])
def test_other_characters_have_no_script(mark):
    """Digits, blanks and marks have no script."""
    assert SCRIPTS[ord(mark)] == len(LANGUAGES)
    assert ENGLISH == 0
