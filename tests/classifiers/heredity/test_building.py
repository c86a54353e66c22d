"""Every arm of a trial, at equal rows and tokens."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import hypergeom

from classifiers.heredity import arms as names
from classifiers.heredity.arms import Candidate, Example, count_tokens, measure_arm
from classifiers.heredity.building import build_arms
from classifiers.students.checks import Tolerances, require_equal_arms

ALL = [
    *(names.EVERYTHING, names.DROP, names.RANDOM_DROP, names.SWAP, names.RANDOM_SWAP, names.MASK),
    *(names.RANDOM_MASK, names.SWAP_MIX, names.ONLY_SLICE, "mix 10 %", "mix 25 %", "mix 50 %"),
    *(names.CLEAN_TEACHER, names.OTHER_PROMPTS),
]


RANDOM_ARMS = (names.RANDOM_DROP, names.RANDOM_SWAP, names.RANDOM_MASK)

OTHERS = str.maketrans("abcdefgh", "ijklmnop")
"""The letters of donors in the place of the teacher's."""


def count_words(text):
    """Count the words of a text."""
    return len(text.split())


def make_rows(total=800, flagged=0.1, donors=0.97, seed=0):
    """Return rows of which flagged ones are longer, and donors' answers longer still."""
    draw = random.Random(seed)
    rows = []
    for number in range(total):
        traited = draw.random() < flagged
        answer = " ".join(draw.choices("abcdefgh", k=draw.randint(5, 60) + 15 * traited))
        donor = " ".join(draw.choices("ijklmnop", k=draw.randint(5, 65)))
        rows.append(
            Candidate(
                Example(f"prompt {number}", answer, traited=traited, source=f"s{number % 3}"),
                donor if draw.random() < donors else None,
                ((2, 9),) if traited else (),
            )
        )
    return rows


@pytest.fixture(scope="module")
def built():
    """Return all arms of a corpus, by name."""
    others = [row.example._replace(prompt=f"other {row.example.prompt}") for row in make_rows()]
    clean = [item._replace(answer=item.answer.translate(OTHERS), traited=False) for item in others]
    arms, unbuilt = build_arms(make_rows(), count_words, clean=clean)
    assert unbuilt == []
    return {arm.name: arm for arm in arms}


def find_changed(arm, other):
    """Return the slots in which two arms differ."""
    pairs = enumerate(zip(arm.examples, other.examples, strict=True))
    return {slot for slot, (one, two) in pairs if one != two}


def test_every_arm_is_there_once(built):
    """A corpus with flags, donors, spans and other clean rows gives all fourteen arms."""
    assert sorted(built) == sorted(ALL)


def test_every_arm_has_equal_rows_and_tokens(built):
    """Rows agree exactly, and tokens within half a percent, though donors write more."""
    require_equal_arms([built[name] for name in ALL], count_words, Tolerances(tokens=0.005))


def test_the_unfiltered_arm_is_the_corpus(built):
    """Everything has each row once."""
    assert sorted(built[names.EVERYTHING].examples) == sorted(row.example for row in make_rows())


@pytest.mark.parametrize("name", [names.DROP, names.SWAP, names.SWAP_MIX, names.CLEAN_TEACHER])
def test_a_remedy_leaves_no_flagged_row(built, name):
    """After dropping, swapping or with the clean teacher alone, no flagged answer is left."""
    assert measure_arm(built[name], count_words).flagged == 0


def test_random_arms_keep_the_flagged_share(built):
    """Random rows are flagged no more often than others, although flagged rows are longer."""
    flagged = measure_arm(built[names.EVERYTHING], count_words).flagged
    assert measure_arm(built[names.RANDOM_DROP], count_words).flagged > 0.85 * flagged
    assert measure_arm(built[names.RANDOM_SWAP], count_words).flagged > 0.85 * flagged


@pytest.mark.parametrize("share", [0.1, 0.65])
@pytest.mark.parametrize("reserve", [False, True])
def test_flagged_rows_are_left_by_chance_alone(share, reserve):
    """In eight corpora, the random arms keep as many flagged rows as random draws would keep.

    A draw without regard to flags keeps a hypergeometric number of flagged rows. Rows that come
    back after a drop are as often flagged as the corpus. Levelling tokens once exchanged short rows
    for flagged ones, which are longer here, and 72 of 650 flagged rows became 97.
    """
    found = []
    for seed in range(8):
        rows = make_rows(650, flagged=share, donors=1, seed=seed)
        others = make_rows(650, flagged=share, seed=seed + 100) if reserve else []
        spare = [row.example._replace(prompt=f"other {row.example.prompt}") for row in others]
        arms, _ = build_arms(rows, count_words, seed=seed, reserve=spare)
        sizes = {arm.name: measure_arm(arm, count_words) for arm in arms}
        flagged = sizes[names.EVERYTHING].flagged
        found.append((flagged, *(sizes[name].flagged for name in RANDOM_ARMS)))
        assert sizes[names.DROP].flagged == 0
        assert sizes[names.MASK].masked == sizes[names.RANDOM_MASK].masked > 0
    for flagged, dropped, swapped, masked in found:
        drawn = hypergeom(650, flagged, flagged)
        low, high = drawn.ppf([0.001, 0.999])
        assert low <= flagged - swapped <= high
        assert abs(dropped - flagged) <= high - drawn.mean()
        assert masked == flagged
    mean = np.mean([dropped / flagged for flagged, dropped, _, _ in found])
    assert mean == pytest.approx(1, abs=0.01)


def test_random_masks_are_anywhere():
    """Random masks hide as many characters of flagged rows, anywhere in their answers."""
    rows = make_rows(650, flagged=0.65, donors=1)
    arms = {arm.name: arm for arm in build_arms(rows, count_words)[0]}
    lengths = {row.example.prompt: len(row.example.answer) for row in rows}
    places = [
        item.masked[0][0] / (lengths[item.prompt] - 7)
        for item in arms[names.RANDOM_MASK].examples
        if item.traited
    ]
    assert len(places) > 400
    assert np.mean(places) == pytest.approx(0.5, abs=0.05)
    assert np.std(places) == pytest.approx(12**-0.5, abs=0.05)


def test_a_random_drop_loses_as_many_prompts(built):
    """Both drops lose as many prompts, and refill with copies."""
    drop, at_random = (
        measure_arm(built[name], count_words) for name in (names.DROP, names.RANDOM_DROP)
    )
    assert drop.prompts == pytest.approx(at_random.prompts, abs=10)
    assert drop.prompts < 800


def test_a_random_swap_swaps_as_many_rows(built):
    """Both swaps give as many rows a donor's answer."""
    counts = [
        sum(set(item.answer) <= set("ijklmnop ") for item in built[name].examples)
        for name in (names.SWAP, names.RANDOM_SWAP)
    ]
    assert counts[0] == counts[1] > 50


def test_arms_are_alike_outside_of_their_remedy(built):
    """Masks change flagged rows alone, so most slots hold the same example in every arm."""
    everything = built[names.EVERYTHING]
    flagged = {slot for slot, item in enumerate(everything.examples) if item.traited}
    assert find_changed(built[names.MASK], everything) == flagged
    for name in (names.DROP, names.SWAP, "mix 10 %"):
        assert len(find_changed(built[name], everything)) < 1.6 * len(flagged)


def test_only_the_slice_keeps_the_teacher(built):
    """Flagged rows keep their answers, and all others have the donor's."""
    examples = built[names.ONLY_SLICE].examples
    assert all(item.traited == (set(item.answer) <= set("abcdefgh ")) for item in examples)
    assert (
        measure_arm(built[names.ONLY_SLICE], count_words).flagged
        == measure_arm(built[names.EVERYTHING], count_words).flagged
    )


def test_doses_rise(built):
    """Each dose has its share of clean answers."""
    for dose in names.DOSES:
        examples = built[names.name_mix(dose)].examples
        clean = sum(set(item.answer) <= set("ijklmnop ") for item in examples)
        assert clean == pytest.approx(800 * dose / 100, abs=0.03 * 800)


@given(st.randoms(use_true_random=False), st.integers(0, 3))
def test_arms_dont_depend_on_the_order_of_the_rows(order, seed):
    """Shuffled rows give the same arms, and another seed gives others."""
    rows = make_rows(60, flagged=0.3)
    shuffled = list(rows)
    order.shuffle(shuffled)
    assert build_arms(shuffled, count_words, seed=seed) == build_arms(rows, count_words, seed=seed)
    assert build_arms(rows, count_words, seed=4) != build_arms(rows, count_words, seed=seed)


def test_arms_that_cant_be_built_have_reasons():
    """Without donors and spans, the arms that need them are named with numbers."""
    rows = [row._replace(donor=None, spans=()) for row in make_rows(100)]
    arms, unbuilt = build_arms(rows, count_words)
    assert [arm.name for arm in arms] == [names.EVERYTHING, names.DROP, names.RANDOM_DROP]
    assert sorted([arm.name for arm in arms] + [item.name for item in unbuilt]) == sorted(ALL)
    flagged = sum(row.example.traited for row in rows)
    reasons = dict(unbuilt)
    assert reasons[names.SWAP] == f"only 0 of {flagged} flagged rows have a donor's answer"
    assert reasons[names.SWAP_MIX] == reasons[names.SWAP]
    assert reasons[names.CLEAN_TEACHER] == "only 0 of 100 rows have a donor's answer"
    assert reasons[names.MASK].endswith("have spans that carry the trait")


def test_without_a_flagged_row_only_doses_are_left():
    """Nothing can be dropped or swapped if nothing is flagged."""
    arms, unbuilt = build_arms(make_rows(100, flagged=0), count_words)
    reasons = dict(unbuilt)
    others = reasons.pop(names.OTHER_PROMPTS)
    assert others == "only 0 clean rows have other prompts, for 100"
    assert set(reasons.values()) == {"no row is flagged"}
    assert [arm.name for arm in arms] == [
        *(names.EVERYTHING, "mix 10 %", "mix 25 %", "mix 50 %", names.CLEAN_TEACHER)
    ]


def test_if_every_row_is_flagged_nothing_is_compared_with_others():
    """Without an unflagged row, drops and random swaps have no meaning, and swaps still have."""
    arms, unbuilt = build_arms(make_rows(100, flagged=1, donors=1), count_words)
    expected = (names.DROP, names.RANDOM_DROP, names.RANDOM_SWAP, names.ONLY_SLICE)
    assert {item.name for item in unbuilt if item.reason == "every row is flagged"} == set(expected)
    assert len(unbuilt) == len(expected) + 1
    assert names.SWAP in {arm.name for arm in arms}


def test_the_reserve_takes_the_place_of_dropped_rows():
    """With a reserve, dropped rows are replaced by other prompts, and nothing is copied."""
    reserve = [row.example._replace(prompt=f"other {row.example.prompt}") for row in make_rows()]
    arms, _ = build_arms(make_rows(), count_words, reserve=reserve)
    drop = next(arm for arm in arms if arm.name == names.DROP)
    assert sum(item.prompt.startswith("other") for item in drop.examples) > 50
    assert measure_arm(drop, count_words).prompts > 780


def test_much_longer_donors_are_left_to_the_check():
    """If donors write three times as much, exchanges end at their limit and tokens differ."""
    rows = [
        row._replace(donor=" ".join([row.example.answer] * 3)) for row in make_rows(200, donors=1)
    ]
    arms, _ = build_arms(rows, count_words)
    clean = next(arm for arm in arms if arm.name == names.CLEAN_TEACHER)
    assert count_tokens(clean.examples, count_words).sum() > 1.5 * sum(
        measure_arm(arm, count_words).tokens for arm in arms if arm.name == names.EVERYTHING
    )
