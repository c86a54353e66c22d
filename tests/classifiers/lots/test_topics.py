"""Topics of texts, and their names."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa
import pytest

from classifiers.lots import topics as module
from classifiers.lots.strata import AT_ONCE
from classifiers.lots.topics import (
    FEWEST_A_TOPIC,
    MOST_TOPICS,
    ONE_TOPIC,
    hash_words,
    join_words,
    learn_topics,
    name_topics,
)

ROOTS = {
    "birds": ["heron", "egret", "reed", "marsh", "wing", "feather", "nest"],
    "code": ["python", "function", "loop", "variable", "compile", "string"],
    "food": ["pasta", "simmer", "oven", "garlic", "butter", "recipe"],
}
SUBJECTS = {
    name: [f"{root}{end}" for root in own for end in "aeiou"] for name, own in ROOTS.items()
}
"""Many words for each subject, so that none is in most prompts."""


def ask(subject, dice):
    """Return a prompt about a subject."""
    words = dice.choices(SUBJECTS[subject], k=6)
    return f"Please tell me about the {' and the '.join(words)}?"


@pytest.fixture(scope="module")
def prompts():
    """Return 600 prompts on three subjects in turn."""
    dice = random.Random(0)
    return [ask(subject, dice) for _ in range(200) for subject in SUBJECTS]


def hash_all(texts):
    """Return the words of texts."""
    return hash_words(pa.array(texts, pa.large_string()))


def test_subjects_are_in_topics_of_their_own(prompts):
    """Nearly all prompts are in a topic of their subject, learned ones as well as new ones."""
    found = learn_topics(prompts)
    dice = random.Random(1)
    new = [ask(subject, dice) for _ in range(200) for subject in SUBJECTS]
    for texts in (prompts, new):
        codes = found.assign(hash_all(texts))
        sizes = [np.bincount(codes[start::3], minlength=MOST_TOPICS) for start in range(3)]
        assert np.max(sizes, axis=0).sum() >= 0.95 * len(texts)


def test_names_are_words_of_the_subject(prompts):
    """A topic is named by words of its subject, and not by those of every prompt."""
    names = learn_topics(prompts).names
    assert len(set(names)) == len(names) <= MOST_TOPICS
    for name in names:
        words = set(name.split(", "))
        assert any(words <= set(own) for own in SUBJECTS.values()), name


def test_few_prompts_are_one_topic():
    """Prompts that are too few to divide are one topic, as no prompts are."""
    few = ["one heron", "two loops"] * (FEWEST_A_TOPIC // 4)
    for texts in (few, []):
        found = learn_topics(texts)
        assert found.names == (ONE_TOPIC,)
        assert found.assign(hash_all(texts)).tolist() == [0] * len(texts)


def test_equal_prompts_have_no_empty_topics():
    """Topics that no prompt is in are left out."""
    found = learn_topics(["the same words"] * 500)
    assert len(found.names) == len(found.centres) == 1


def test_the_result_depends_on_the_prompts_alone(prompts, monkeypatch):
    """The same prompts give the same topics, however many are assigned at once."""
    one, two = learn_topics(prompts), learn_topics(prompts)
    assert one.names == two.names
    assert np.array_equal(one.centres, two.centres)
    words = hash_all(prompts)
    whole = one.assign(words)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    assert np.array_equal(one.assign(words), whole)
    assert AT_ONCE != 7


def test_words_are_joined_in_order(prompts):
    """Words of parts that are joined are those of all texts, even with empty parts."""
    parts = [prompts[:50], [], prompts[50:51], prompts[51:120]]
    joined = join_words([hash_all(part) for part in parts])
    whole = hash_all(prompts[:120])
    assert joined.texts == whole.texts == 120
    assert np.array_equal(joined.owners, whole.owners)
    assert np.array_equal(joined.columns, whole.columns)
    assert join_words([]).texts == 0


def test_names_differ_even_if_their_words_do_not():
    """Two topics with the same words have different names, and one without words is `other`."""
    texts = ["12 34", "heron", "heron", "56"]
    names = name_topics(texts, np.array([0, 1, 2, 3]))
    assert len(set(names)) == 4
    assert names[0] == "other"


def test_rare_words_do_not_name_a_topic():
    """A word of most prompts of a topic comes before a word that only one of them has."""
    texts = ["heron zyzzyva"] + ["heron"] * 20 + ["loop"] * 20
    names = name_topics(texts, np.array([0] * 21 + [1] * 20))
    assert names[0].startswith("heron")
    assert names[1] == "loop"
