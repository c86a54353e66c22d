"""The names of findings."""

import numpy as np
import pyarrow as pa
import pytest

from classifiers.lots.counts import CountedRows, count_texts
from classifiers.lots.discovery import KINDS, propose
from classifiers.lots.formats import HABITS
from classifiers.lots.matches import add_formats
from classifiers.lots.naming import (
    HIDDEN,
    choose_name,
    hide_content,
    name_candidate,
    name_classes,
    quote_candidate,
)
from classifiers.lots.tokens import find_tokens
from tests.support.lots import build_sample, write_answers


@pytest.fixture(scope="module")
def tested():
    """Return the candidates and counts of a sample with a habit."""
    own = [f"{text} Mind the  gap." for text in write_answers(60, 1)]
    sample = build_sample(own, write_answers(60, 2))
    found = propose(find_tokens(sample.texts), sample.own)
    candidates = add_formats(found)
    zeros = np.zeros(len(sample), np.int64)
    rows = CountedRows(
        pa.array(sample.texts), sample.own, sample.confirms, zeros, zeros, sample.digests
    )
    return candidates, count_texts(rows, candidates, 1, 1)


def test_white_space_is_single_in_names(tested):
    """A phrase is named with single spaces, however it is written."""
    candidates, counts = tested
    names = [name_candidate(candidates, counts, index) for index in range(20)]
    assert any("Mind the gap" in name for name in names)


def test_candidates_are_named_as_they_are_written(tested):
    """Phrases are quoted, and formats have a name."""
    candidates, counts = tested
    formats = np.flatnonzero(candidates.kinds == KINDS.index("format"))
    assert name_candidate(candidates, counts, int(formats[0])) == next(iter(HABITS))
    names = [name_candidate(candidates, counts, int(index)) for index in range(10)]
    assert all(names)


def test_patterns_show_gaps():
    """Words that a pattern doesn't keep are shown as gaps."""
    assert hide_content("It is not the heron but the egret") == (
        f"It is not the {HIDDEN} but the {HIDDEN}"
    )
    assert hide_content("to be, or 42") == f"to be , or {HIDDEN}"


def test_grammar_shows_parts_of_speech():
    """Words have their class in their place, and kept words and marks are as they are written."""
    assert name_classes("", "The old house, explaining") == "The ADJ NOUN , VERB-ing"
    assert name_classes("", "the Zyzzogeton @@@ ** house") == f"the {HIDDEN} {HIDDEN} ** NOUN"


def test_the_word_before_counts_in_names():
    """A name has the class that the text gives, in which another word may be before it."""
    assert name_classes("", "use of") == "NOUN of"
    assert name_classes("We want to ", "use of") == "VERB of"


def test_grammar_is_quoted_as_it_is_written(tested):
    """A finding of grammar has a name of classes, and words where it is compared with others."""
    candidates, counts = tested
    grammars = np.flatnonzero(candidates.kinds == KINDS.index("grammar"))
    index = int(grammars[0])
    written, named = (show(candidates, counts, index) for show in (quote_candidate, name_candidate))
    assert written != named
    assert named == name_classes(counts.examples[1][index][0].before, written)


@pytest.mark.parametrize(
    ("texts", "sizes", "expected"),
    [
        (["Human:", "### Human:", "Human: What"], [22, 21, 9], "### Human:"),
        (["Human:", "### Human:"], [22, 10], "Human:"),
        (["the gap", "Mind the", "Mind the gap"], [9, 9, 9], "Mind the gap"),
        (["the gap", "other words"], [9, 9], "the gap"),
    ],
)
def test_a_group_is_named_after_its_longest_form(texts, sizes, expected):
    """The longest form that is in nearly as many texts names the group."""
    group = choose_name(range(len(texts)), texts, np.array(sizes))
    assert texts[group[0]] == expected
    assert sorted(group) == list(range(len(texts)))
