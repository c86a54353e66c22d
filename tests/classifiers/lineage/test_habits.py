"""Inherited habits."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from classifiers.lineage.habits import (
    FEWEST_TEXTS,
    LARGEST_Q,
    adjust,
    count_usage,
    find_habits,
)
from classifiers.lineage.tokens import tokenise
from tests.support.family import write_student, write_teacher

PROMPTS = range(300)
NAMES = ("atlas", "borealis", "cirrus", "delta")


@pytest.fixture(scope="module")
def family():
    """Return the usage and the vocabulary of a student of atlas and four teachers."""
    models = [write_student("atlas", PROMPTS), *(write_teacher(name, PROMPTS) for name in NAMES)]
    return count(models)


def count(models):
    """Return the usage and the vocabulary of some models, with halves by prompt."""
    texts = tokenise([text for answers in models for _, text in answers])
    model = np.repeat(np.arange(len(models)), [len(answers) for answers in models])
    half = np.array([prompt % 2 for answers in models for prompt, _ in answers])
    return count_usage(texts, model, half, len(models)), texts.vocabulary


def test_the_teachers_habits_are_found(family):
    """The student's habits are those of its teacher, with rates in all models."""
    usage, vocabulary = family
    found = find_habits(usage, vocabulary, 0, 1, np.array([2, 3, 4]))
    texts = " | ".join(habit.text for habit in found)
    assert "Certainly" in texts
    assert "helps" in texts
    for habit in found:
        assert habit.others < 0.05 < habit.student < 0.45 < habit.parent + 0.1
        assert habit.q_value <= LARGEST_Q


def test_strangers_share_no_habits(family):
    """A model and a teacher that isn't its own share nothing that others don't do."""
    usage, vocabulary = family
    assert find_habits(usage, vocabulary, 0, 2, np.array([1, 3, 4])) == []


def test_overlapping_phrases_are_listed_once(family):
    """No listed n-gram is a part of another, nor shares a pair of tokens with it."""
    usage, vocabulary = family
    found = [habit.text.split() for habit in find_habits(usage, vocabulary, 0, 1, np.array([2, 3]))]
    pairs = [set(itertools.pairwise(words)) for words in found]
    for place, own in enumerate(pairs):
        assert all(not own & other for other in pairs[:place])
    assert len({tuple(words) for words in found}) == len(found)


def test_as_many_habits_are_returned_as_are_wanted(family):
    """The limit keeps the most certain ones."""
    usage, vocabulary = family
    every = find_habits(usage, vocabulary, 0, 1, np.array([2, 3, 4]))
    assert find_habits(usage, vocabulary, 0, 1, np.array([2, 3, 4]), most=1) == every[:1]


def test_one_other_model_is_enough(family):
    """With a single other model, only the number of texts decides what is certain."""
    usage, vocabulary = family
    assert find_habits(usage, vocabulary, 0, 1, np.array([2]))


def test_rates_come_from_the_second_half():
    """The shares are counted on texts that the choice didn't see."""
    own = [(number, "hello world" if number % 2 == 0 else "hello moon") for number in range(80)]
    other = [(number, "good day") for number in range(80)]
    usage, vocabulary = count([own, own, other])
    found = {habit.text: habit for habit in find_habits(usage, vocabulary, 0, 1, np.array([2]))}
    assert not any("world" in text for text in found)
    assert found
    assert all(habit.student == habit.parent == 1 for habit in found.values())


def test_usage_counts_texts_not_occurrences():
    """A text that repeats a word counts once, and rare n-grams are left out."""
    texts = tokenise(["a a a b"] * 2 * FEWEST_TEXTS + ["c"])
    model = np.zeros(texts.texts, np.int64)
    half = np.arange(texts.texts) % 2
    usage = count_usage(texts, model, half, 1)
    words = {
        tuple(texts.vocabulary[token] for token in gram): place
        for place, gram in enumerate(usage.grams)
    }
    assert ("c",) not in words
    assert usage.uses[:, 0, words["a",]].tolist() == [FEWEST_TEXTS, FEWEST_TEXTS]
    assert usage.texts.tolist() == [[FEWEST_TEXTS + 1], [FEWEST_TEXTS]]


@given(st.lists(st.floats(0, 1), max_size=30).map(np.array))
def test_q_values_are_benjamini_and_hochbergs(p_values):
    """The q-values agree with scipy's."""
    expected = false_discovery_control(p_values) if len(p_values) else p_values
    assert adjust(p_values) == pytest.approx(expected)
