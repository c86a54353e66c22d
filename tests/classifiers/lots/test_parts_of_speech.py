"""The parts of speech of words: what the lexicon knows, and what the word before changes."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lots.parts_of_speech import (
    CLASSES,
    FUNCTION_WORDS,
    LEXICON,
    MARKS,
    MORE_MARKS,
    UNKNOWN,
    hash_words,
    read_sections,
    tag_words,
)
from classifiers.lots.tokens import find_tokens


def tag(*texts: str) -> list[str]:
    """Return the classes of all words of some texts."""
    tokens = find_tokens(pa.array(texts, pa.large_string()))
    return [CLASSES[number] for number in tag_words(tokens).tolist()]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("house", "NOUN"),
        ("houses", "NOUNS"),
        ("explain", "VERB"),
        ("explains", "VERB-s"),
        ("explained", "VERB-ed"),
        ("highlighting", "VERB-ing"),
        ("important", "ADJ"),
        ("quickly", "ADV"),
        ("seven", "NUMBER"),
        ("1987", "NUMBER"),
        ("among", "KEPT"),
        ("the", "KEPT"),
        (",", "KEPT"),
        ("Zyzzogeton", "unknown"),
        ("日", "unknown"),
        ("**", "KEPT"),
        ("@@@", "unknown"),
    ],
)
def test_words_have_their_most_frequent_part_of_speech(word, expected):
    """A word alone has the class of the lexicon, and an unknown one none."""
    assert tag(word) == [expected]


def test_case_does_not_count():
    """A word at the start of a sentence has the same class."""
    assert tag("Important", "IMPORTANT") == ["ADJ", "ADJ"]


def test_the_word_before_changes_the_class():
    """A noun after `to` or a modal verb is a verb, and a verb after an article a noun."""
    assert tag("help use") == ["VERB", "NOUN"]
    assert tag("to use") == ["KEPT", "VERB"]
    assert tag("can use") == ["KEPT", "VERB"]
    assert tag("the explain") == ["KEPT", "NOUN"]


def test_the_word_before_is_of_the_same_text():
    """The last word of a text doesn't change the first of the next."""
    assert tag("we want to", "use") == [*tag("we want to"), "NOUN"]


@given(st.lists(st.text(max_size=30), max_size=5))
def test_any_text_can_be_tagged(texts):
    """Each token has one class, and tagging texts together is tagging them one by one."""
    assert tag(*texts) == [name for text in texts for name in tag(text)]


def test_no_text_has_no_classes():
    """Without tokens there is nothing to tag."""
    assert tag() == tag("", " ") == []


def test_the_lexicon_is_sound():
    """Every class but the unknown has words, in order, no word is in two, and each is one token."""
    sections = {name: words.split() for name, words in read_sections().items()}
    assert set(sections) == set(CLASSES) - {UNKNOWN}
    words = [word for part in sections.values() for word in part]
    assert len(words) == len(set(words)) > 40_000
    assert all(part == sorted(part) for part in sections.values())
    assert not FUNCTION_WORDS & set(words)
    assert len(np.unique(hash_words(" ".join(words)))) == len(words)
    assert len(hash_words(" ".join(MARKS))) == len(MARKS)
    assert len(np.unique(hash_words(MORE_MARKS))) == len(MORE_MARKS.split())


def test_the_lexicon_names_its_sources():
    """The file has the notices that its licences ask for, and lines of usual length."""
    text = LEXICON.read_text(encoding="utf-8")
    for part in ("Brill", "MIT", "University of Pennsylvania", "Creative Commons", "permission"):
        assert part in text.partition("[")[0]
    assert max(map(len, text.splitlines())) <= 100
