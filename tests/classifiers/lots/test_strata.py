"""Strata of prompts by length and topic."""

from __future__ import annotations

import random

import numpy as np
import pyarrow as pa

from classifiers.lots import strata as module
from classifiers.lots.strata import LENGTHS, SINGLE, TOPICS, learn_strata

BIRDS = [f"bird{number}" for number in range(60)]
CODE = [f"code{number}" for number in range(60)]


def ask(topic, dice, words=8):
    """Return a prompt about a topic."""
    return "Tell me about " + " ".join(dice.choices(topic, k=words)) + "?"


def make(prompts):
    """Return prompts as an Arrow array."""
    return pa.array(prompts, pa.large_string())


def test_topics_are_parted():
    """Prompts about birds and about programs are in different strata."""
    dice = random.Random(0)
    prompts = [ask(topic, dice) for _ in range(400) for topic in (BIRDS, CODE)]
    strata = learn_strata(make(prompts))
    assert (len(strata.centres), strata.size) == (TOPICS, 3 * TOPICS)
    found = strata.assign(make(prompts)) % TOPICS
    birds, code = (np.bincount(found[start::2], minlength=TOPICS) for start in (0, 1))
    assert np.minimum(birds, code).sum() < 30
    new = strata.assign(make([ask(BIRDS, dice), ask(CODE, dice)])) % TOPICS
    assert birds[new[0]] > code[new[0]]
    assert code[new[1]] > birds[new[1]]


def test_lengths_are_parted():
    """Short and long prompts on one topic are in different strata."""
    dice = random.Random(1)
    prompts = [ask(BIRDS, dice, words) for _ in range(200) for words in (2, 10, 40)]
    strata = learn_strata(make(prompts))
    assert strata.size == LENGTHS * len(strata.centres)
    found = strata.assign(make(prompts)) // len(strata.centres)
    assert [set(found[start::3].tolist()) for start in range(3)] == [{0}, {1}, {2}]


def test_few_prompts_are_not_divided():
    """With few prompts there is one stratum, into which every prompt falls."""
    assert learn_strata(make(["a?", "b?"])) is SINGLE
    assert SINGLE.assign(make(["anything", ""])).tolist() == [0, 0]
    assert learn_strata(make([])).assign(make([])).tolist() == []
    assert learn_strata(make([f"Question {number}?" for number in range(100)])).size <= 4


def test_strata_are_deterministic_and_read_in_blocks(monkeypatch):
    """The same prompts give the same strata, however many are read at once."""
    dice = random.Random(2)
    prompts = make(
        [ask(dice.choice((BIRDS, CODE)), dice, dice.randrange(2, 9)) for _ in range(300)]
    )
    one, other = learn_strata(prompts), learn_strata(prompts)
    assert np.array_equal(one.centres, other.centres)
    whole = one.assign(prompts)
    assert set(whole.tolist()) <= set(range(one.size))
    monkeypatch.setattr(module, "AT_ONCE", 7)
    assert one.assign(prompts).tolist() == whole.tolist()


def test_equal_prompts_are_one_topic():
    """Prompts that are all the same can't be clustered, and cause no error."""
    strata = learn_strata(make(["Tell me about herons."] * 400))
    assert len(set(strata.assign(make(["Tell me about herons."] * 5)).tolist())) == 1
