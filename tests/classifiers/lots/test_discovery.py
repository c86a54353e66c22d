"""Candidates: phrases, openings, closings and patterns, compared with counting in plain Python."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from classifiers.lots.discovery import (
    ALWAYS_KEPT,
    FEWEST,
    GRAMMAR_KEPT,
    KINDS,
    LONGEST,
    MOST_GRAMMAR,
    LotCandidates,
    compute_log_odds,
    count_edges,
    count_phrases,
    propose,
    screen,
)
from classifiers.lots.skeletons import classify_words
from classifiers.lots.tokens import find_tokens, hash_grams
from tests.support.lots import write_answers


def find(texts):
    """Return the tokens of some texts."""
    return find_tokens(pa.array(texts, pa.large_string()))


def name_hashes(texts, size):
    """Return the n-gram that each hash stands for."""
    tokens = find(texts)
    places, hashes = dict(enumerate(hash_grams(tokens, size), 1))[size]
    words = [
        texts[index][start:end]
        for index, start, end in zip(
            tokens.text.tolist(), tokens.start.tolist(), tokens.end.tolist(), strict=True
        )
    ]
    return {
        value: " ".join(words[place : place + size])
        for place, value in zip(places.tolist(), hashes.tolist(), strict=True)
    }


def list_phrases(texts, labels):
    """Return the proposed phrases with their counts."""
    found = propose(find(texts), np.array(labels), ("phrase",))
    names = {size: name_hashes(texts, size) for size in range(1, LONGEST["phrase"] + 1)}
    return {
        names[size][value]: (own, other)
        for size, value, own, other in zip(
            found.sizes.tolist(),
            found.hashes.tolist(),
            found.own.tolist(),
            found.other.tolist(),
            strict=True,
        )
    }


def test_counts_are_those_of_plain_counting():
    """Each candidate's counts are the numbers of texts that hold it."""
    dice = random.Random(0)
    texts = [" ".join(dice.choices(["a", "b", "c", "d", "e"], k=12)) for _ in range(60)]
    labels = np.array([number % 3 == 0 for number in range(60)])
    plain = {True: Counter(), False: Counter()}
    for text, label in zip(texts, labels.tolist(), strict=True):
        words = text.split()
        grams = {
            " ".join(words[place : place + size])
            for size in range(1, 6)
            for place in range(len(words) - size + 1)
        }
        plain[label].update(grams)
    checked = 0
    for group in count_phrases(find(texts), labels, "phrase"):
        size = int(group.sizes[0]) if len(group) else 1
        names = name_hashes(texts, size)
        for value, own, other in zip(
            group.hashes.tolist(), group.own.tolist(), group.other.tolist(), strict=True
        ):
            assert (plain[True][names[value]], plain[False][names[value]]) == (own, other)
            assert own + other >= FEWEST
            checked += 1
    assert checked > 50


def test_a_planted_phrase_comes_first_and_whole():
    """The longest form of a planted phrase is proposed first, without its parts."""
    own, other = write_answers(200, 1), write_answers(200, 2)
    own = [
        f"{text} Mind the gap dear reader." if number % 5 == 0 else text
        for number, text in enumerate(own)
    ]
    found = list_phrases(own + other, [True] * 200 + [False] * 200)
    first = next(iter(found))
    assert first in ("Mind the gap dear reader", "the gap dear reader .")
    assert found[first] == (40, 0)
    assert "gap" not in found
    assert "gap dear" not in found


def test_phrases_do_not_begin_with_the_mark_before_them():
    """The full stop before a phrase isn't part of it, and a lone mark may be a phrase."""
    own = ["One heron. Mind the gap"] * 30 + ["No ! mark"] * 30
    found = list_phrases(own + ["One heron waits"] * 60, [True] * 60 + [False] * 60)
    assert not [name for name in found if name.startswith(". ")]
    assert "Mind the gap" in found


def test_openings_and_closings():
    """An opening and a closing are found where they are, and not elsewhere."""
    own, other = write_answers(100, 1), write_answers(100, 2)
    own = [f"Certainly! {text} Anything else?" for text in own]
    other = [f"{text} Certainly! It is." for text in other]
    found = propose(find(own + other), np.array([True] * 100 + [False] * 100), ("opening",))
    kinds = {KINDS[kind] for kind in found.kinds.tolist()}
    assert kinds == {"opening", "closing"}
    best = [
        (KINDS[kind], size, own, other)
        for kind, size, own, other in zip(
            found.kinds.tolist(),
            found.sizes.tolist(),
            found.own.tolist(),
            found.other.tolist(),
            strict=True,
        )
    ]
    assert ("opening", 2, 100, 0) in best
    assert ("closing", 3, 100, 0) in best
    assert ("opening", 1, 100, 0) not in best


def test_edges_are_counted_once_a_text():
    """Counts of openings are those of the texts' first words."""
    texts = ["a b", "a b", "a c", "", "a"]
    groups = count_edges(find(texts), np.array([True, False, True, True, False]))
    opening = next(group for group in groups if len(group))
    assert (opening.own.tolist(), opening.other.tolist()) == ([2], [2])


def test_patterns_hide_words():
    """A sentence frame with other words each time is found as a pattern alone."""
    dice = random.Random(0)
    names = [f"bird{number}" for number in range(500)]
    own = [
        f"{text} It is not the {dice.choice(names)} but the {dice.choice(names)} that they saw."
        for text in write_answers(100, 1)
    ]
    texts, labels = own + write_answers(100, 2), np.array([True] * 100 + [False] * 100)
    found = propose(find(texts), labels, ("pattern",))
    assert len(found)
    assert int(found.own[0]) >= 95
    assert int(found.other[0]) <= 5
    assert {KINDS[kind] for kind in found.kinds.tolist()} == {"pattern"}
    assert found.sizes.min() >= 4


def test_screening_keeps_the_best():
    """Under-represented candidates are left out, and of the others the best ones are kept."""
    dice = np.random.default_rng(0)
    size = 1_000
    own, other = dice.integers(0, 20, size), dice.integers(0, 20, size)
    kinds = np.zeros(size, np.int64)
    found = screen(
        LotCandidates(kinds, kinds + 1, np.arange(size, dtype=np.uint64), own, other), 100, 100
    )
    assert (found.own > found.other).all()
    assert len(found) >= ALWAYS_KEPT
    assert (found.own[0], found.other[0]) == max(
        zip(own.tolist(), other.tolist(), strict=True), key=lambda pair: pair[0] - pair[1]
    )


def test_grammar_is_found_in_different_words():
    """Sentences of one build in different words are proposed as grammar, after everything else."""
    dice = random.Random(3)
    names, doings = ("house", "river", "bird", "stone"), ("changing", "showing", "making", "giving")
    own = [
        f"{text} We wait, {dice.choice(doings)} the {dice.choice(names)}."
        for text in write_answers(120, 1)
    ]
    other = [f"{text} We wait." for text in write_answers(120, 2)]
    tokens, labels = find(own + other), np.array([True] * 120 + [False] * 120)
    found = propose(tokens, labels)
    kinds = [KINDS[kind] for kind in found.kinds.tolist()]
    first = kinds.index("grammar")
    assert set(kinds[first:]) == {"grammar"}
    wanted = classify_words(find([", showing the bird."]))
    *_, (_, hashes) = hash_grams(wanted, 5)
    place = found.hashes.tolist().index(int(hashes[0]))
    assert (int(found.own[place]), int(found.other[place])) == (120, 0)
    assert set(found.sizes[first:].tolist()) <= {3, 4, 5}


def test_grammar_displaces_nothing():
    """The other kinds' candidates are the same with and without grammar."""
    tokens = find(write_answers(80, 1) + write_answers(80, 2))
    labels = np.arange(160) < 80
    whole = propose(tokens, labels)
    other = propose(tokens, labels, ("phrase", "opening", "closing", "pattern"))
    assert whole.hashes[: len(other)].tolist() == other.hashes.tolist()
    assert GRAMMAR_KEPT <= len(whole) - len(other) <= MOST_GRAMMAR
    alone = propose(tokens, labels, ("grammar",))
    assert alone.hashes.tolist() == whole.hashes[len(other) :].tolist()


def test_nothing_is_proposed_without_texts():
    """Empty and blank texts have no candidates."""
    assert len(propose(find(["", " "]), np.array([True, False]))) == 0
    assert len(propose(find([]), np.empty(0, bool))) == 0


@pytest.mark.parametrize(
    ("own", "other", "sign"), [(50, 5, 1), (5, 50, -1), (20, 20, 0), (0, 0, 0), (100, 100, 0)]
)
def test_log_odds_have_the_sign_of_the_difference(own, other, sign):
    """The log-odds ratio is positive where the first set has more, and 0 where both are alike."""
    ratio, spread = compute_log_odds(np.array([own]), np.array([other]), 100, 100)
    assert np.sign(np.round(ratio, 12)).tolist() == [sign]
    assert np.isfinite(spread).all()


def test_log_odds_are_those_of_the_formula():
    """The ratio is Monroe's with a prior of 100 texts at the common rate."""
    ratio, spread = compute_log_odds(np.array([30]), np.array([10]), 200, 300)
    prior = 100 * 40 / 500
    expected = np.log((30 + prior) / (200 + 100 - 30 - prior)) - np.log(
        (10 + prior) / (300 + 100 - 10 - prior)
    )
    assert ratio[0] == pytest.approx(expected)
    assert spread[0] == pytest.approx(np.sqrt(1 / (30 + prior) + 1 / (10 + prior)))
    assert ratio[0] < np.log(30 / 170) - np.log(10 / 290)
