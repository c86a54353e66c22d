"""Garbled text: damage, marks of tokenizers, and words without blanks."""

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st

from classifiers.signals.garbled_text import (
    CLAUSE_WEIGHT,
    DAMAGE_WEIGHT,
    GLUE_WEIGHT,
    PLAIN_SCREEN,
    find_garbled,
)


def find(text, prompt=""):
    """Return the garbled stretches of a text."""
    return [text[item.start : item.end] for item in find_garbled(text, prompt)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Open the w\ufffd\ufffdindow.", ["\ufffd\ufffd"]),
        ("A bell\x07\x07 rang.", ["\x07\x07"]),
        ("The inn isnâ€™t full.", ["â€™"]),
        ("It costs Â£4.", ["Â£"]),
        ("A crÃ¨me, please.", ["Ã¨"]),
        ("So<0xE2><0x80> it was.", ["<0xE2>", "<0x80>"]),
        ("theĠquick fox", ["eĠq"]),
    ],
)
def test_damaged_characters_are_garbled(text, found):
    """Replacement and control characters, misread UTF-8 and a tokenizer's marks are garbled."""
    assert find(text) == found
    assert [item.weight for item in find_garbled(text, "")] == [DAMAGE_WEIGHT] * len(found)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("He sat inthe garden.", ["inthe"]),
        ("The colour ofthe sea, the endofthe day.", ["ofthe", "endofthe"]),
        ("Marthe and Berthe, liftingthe edge untilthe steam", ["liftingthe", "untilthe"]),
        ("Bythe door; holdyour breath, withyour eyes", ["holdyour", "withyour"]),
        ("bythe door, withthe key, tothe left", ["bythe", "withthe", "tothe"]),
    ],
)
def test_small_words_without_a_blank_are_garbled(text, found):
    """Small words that stick together are garbled."""
    assert find(text) == found
    assert {item.weight for item in find_garbled(text, "")} == {GLUE_WEIGHT}


def test_a_clause_without_blanks_is_garbled():
    """A very long word with several small words in it is a clause."""
    clause = "sheranthroughthehouseandwasgonefortheday"
    assert find(f"Then {clause}. It was late.") == [clause]
    assert [item.weight for item in find_garbled(clause, "")] == [CLAUSE_WEIGHT]


@pytest.mark.parametrize(
    "text",
    [
        "See https://example.org/sheranthroughthehouseandwasgonefortheday now.",
        "#sheranthroughthehouseandwasgonefortheday",
        "sheranthroughthehouseandwasgonefortheday(4)",
        "pneumonoultramicroscopicsilicovolcanoconiosis",
        "s" + "o" * 60,
        "Bathe, clothe, breathe, teethe and seethe; lithe, soothe, scythe, absinthe, Goethe, lathe",
        'Write `inthe` or "ofthe" in the box.',
        "naïve café, ÃO, Âme, 5 °C, «bon», 10 €, ĠĠ",
        "line one\r\n\tline two\n",
    ],
)
def test_other_text_is_not_garbled(text):
    """Addresses, tags, calls, long words, quoted words and accents aren't garbled."""
    assert find(text) == []


def test_what_the_prompt_holds_too_is_not_garbled():
    """An answer may repeat damage from its prompt, and show damage if it is asked about it."""
    assert find("You wrote inthe.", "Correct: He sat inthe garden.") == []
    assert find("It shows \ufffd.", "Which character is shown if bytes can't be decoded?") == []
    assert find("It shows \ufffd.", "What does the sign show?") == ["\ufffd"]


@given(st.text(st.characters(max_codepoint=127), max_size=60))
def test_the_screen_misses_no_ascii_text(text):
    """The screen for ASCII texts matches every garbled one."""
    if find(text):
        assert re2.search(PLAIN_SCREEN, text)
