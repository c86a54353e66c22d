"""Texts for trait cards: which are chosen, from which half, and how they are cut."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.lots.confirmation import confirm
from classifiers.lots.counts import CountedRows, count_texts
from classifiers.lots.discovery import KINDS, propose
from classifiers.lots.matches import add_formats
from classifiers.lots.naming import name_candidate
from classifiers.lots.specimens import (
    EDGE,
    LONGEST,
    MOST_FIT,
    MOST_HELD_OUT,
    MOST_NEAR,
    REACH,
    Groups,
    collect_specimens,
    count_kept,
    cut_excerpt,
)
from classifiers.lots.tokens import find_tokens
from tests.support.lots import build_sample, write_answers


def build_case(habit="Mind the gap.", count=400, every=4):
    """Return a sample with a habit, and the candidates of its best phrase as a group."""
    ends = {0: f" {habit}", 1: " The gap ends."}
    own = [
        text + ends.get(number % every, "") for number, text in enumerate(write_answers(count, 1))
    ]
    sample = build_sample(own, write_answers(count, 2))
    learns = ~sample.confirms
    chosen = pa.array(learns)
    candidates = add_formats(propose(find_tokens(sample.texts.filter(chosen)), sample.own[learns]))
    zeros = np.zeros(len(sample), np.int64)
    rows = CountedRows(sample.texts, sample.own, sample.confirms, zeros, zeros, sample.digests)
    counts = count_texts(rows, candidates, 1, 1)
    confirmed = confirm(counts, 1)
    names = [name_candidate(candidates, counts, index) for index in range(len(candidates))]
    group = [
        index
        for index, name in enumerate(names)
        if "Mind the gap" in name and confirmed.q[index] < 0.01
    ]
    group.sort(key=lambda index: KINDS[int(candidates.kinds[index])] != "phrase")
    return sample, Groups(candidates, [group])


@pytest.fixture(scope="module")
def case():
    """Return a sample with a habit in a quarter of its texts, once."""
    return build_case()


def test_texts_of_both_kinds_are_kept_by_half(case):
    """Each half has as many texts with the finding as without it, up to the limit."""
    sample, found = case
    specimens = collect_specimens(sample, found)
    for half, most in ((False, MOST_FIT), (True, MOST_HELD_OUT)):
        assert count_kept(half) == most
        own = [item for item in specimens if sample.confirms[item.text] == half]
        assert sum(item.shows for item in own) == most
        assert sum(not item.shows for item in own) == most


def test_the_finding_is_in_its_texts_and_in_no_others(case):
    """Positives are excerpts with the habit of the first set, and contrasts don't have it."""
    sample, found = case
    for item in collect_specimens(sample, found):
        assert ("Mind the gap" in item.excerpt) is item.shows
        assert ("Mind the gap" in sample.texts[item.text].as_py()) is item.shows
        assert sample.own[item.text] or not item.shows


def test_contrasts_are_of_three_kinds(case):
    """Answers to the same prompts come first; near misses have the finding's words."""
    sample, found = case
    specimens = [item for item in collect_specimens(sample, found) if not item.shows]
    origins = {item.origin for item in specimens}
    assert "same prompt" in origins
    near = [item for item in specimens if item.origin == "near miss"]
    assert near
    assert all("gap" in item.excerpt.lower() for item in near)
    assert len(near) <= MOST_NEAR * (MOST_FIT + MOST_HELD_OUT) + 2
    prompts = {
        sample.prompts[item.text].as_py() for item in collect_specimens(sample, found) if item.shows
    }
    same = [item for item in specimens if item.origin == "same prompt"]
    assert {sample.prompts[item.text].as_py() for item in same} <= prompts
    assert not any(sample.own[item.text] for item in same)


def test_no_prompt_is_in_both_halves(case):
    """What a card learns from shares no prompt with what is held out."""
    sample, found = case
    specimens = collect_specimens(sample, found)
    halves = [
        {sample.prompts[item.text].as_py() for item in specimens if sample.confirms[item.text] == h}
        for h in (False, True)
    ]
    assert not halves[0] & halves[1]


def test_no_finding_has_no_texts(case):
    """An audit without findings keeps no texts."""
    sample, found = case
    assert collect_specimens(sample, Groups(found.candidates, [])) == []


def test_the_choice_is_the_same_each_time(case):
    """Two calls give the same texts in the same order."""
    assert collect_specimens(*case) == collect_specimens(*case)


def test_equal_excerpts_are_kept_once():
    """A text that is only the habit counts once."""
    own = ["Mind the gap. It is narrow."] * 60 + write_answers(60, 1)
    sample = build_sample(own, write_answers(120, 2))
    tokens = find_tokens(sample.texts)
    found = propose(tokens, sample.own, ("phrase",))
    group = [int(np.argmax(found.own))]
    shown = [item for item in collect_specimens(sample, Groups(found, [group])) if item.shows]
    assert len({item.excerpt for item in shown}) == len(shown)


def test_excerpts_are_cut_by_kind():
    """An opening keeps the start, a closing the end, and a phrase what is around it."""
    text = " ".join(f"word{number}" for number in range(900))
    assert text.startswith(cut_excerpt(text, "opening", 0, 5))
    assert text.endswith(cut_excerpt(text, "closing", 0, 5))
    assert cut_excerpt(text, "format", 0, 0) == text[:LONGEST]
    start = text.index("word450")
    around = cut_excerpt(text, "phrase", start, start + 7)
    assert "word450" in around
    assert around.startswith("word")
    assert len(around) <= 2 * REACH + 7
    assert cut_excerpt("short", "phrase", 0, 5) == "short"


@given(st.text(max_size=900), st.integers(0, 900), st.integers(0, 40))
def test_an_excerpt_holds_its_span(text, start, length):
    """Whatever the text, the excerpt of a phrase has the phrase."""
    start = min(start, len(text))
    end = min(start + length, len(text))
    excerpt = cut_excerpt(text, "phrase", start, end)
    assert text[start:end] in excerpt
    assert excerpt in text
    assert len(cut_excerpt(text, "opening", start, end)) <= EDGE
    assert text.endswith(cut_excerpt(text, "closing", start, end))
