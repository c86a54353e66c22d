"""Signals that fire on wrong texts and add few right ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.banks import TraitModel
from classifiers.guarantees.calibration import Threshold
from classifiers.scoring import combine
from pipelines.signal_costs import (
    LEAST_FEWER,
    GivenThreshold,
    SignalCost,
    describe_cost,
    find_cost,
    measure_cost,
)
from schemas.cards import Level, TraitCard
from schemas.scores import fires

OPTIONS = {
    "exemplars": {},
    "head": {},
    "wording": {},
    "lexicon": {"patterns": ["heron"]},
    "repetition": {},
}
CLEAN = 400
BY_HAND = GivenThreshold(0.5, None)


def scores(**found):
    """Return float32 scores by signal."""
    return {name: np.array(values, np.float32) for name, values in found.items()}


def build_trait(positives, clean):
    """Return a fitted trait with these scores of its positives and its clean texts."""
    card = TraitCard(id="bird", signals={name: OPTIONS[name] for name in positives})
    return TraitModel(
        card,
        "",
        calibration={"combined": combine(clean), **clean},
        positive_scores={"combined": combine(positives), **positives},
    )


def test_a_signal_that_fires_on_wrong_texts_is_named():
    """Without the repetition, all right texts stay and no wrong one does."""
    right = scores(lexicon=[0.9] * 10, repetition=[0.0] * 10)
    wrong = scores(lexicon=[0.0] * 8, repetition=[0.8] * 5 + [0.0] * 3)
    found = find_cost(build_trait(right, wrong), BY_HAND, right, wrong)
    assert found == SignalCost(("repetition",), ("lexicon",), 10, 10, 5, 0, True, False)
    assert found.describe("right", "wrong") == (
        "without repetition, it fires on 10 right instead of 10 and on 0 wrong instead of 5. "
        "Delete repetition below `signals` in card.yaml"
    )


@pytest.mark.parametrize(("lost", "stays"), [(12, 0), (12, 5), (22, 5)])
def test_a_signal_behind_most_wrong_texts_may_cost_some_right_ones(lost, stays):
    """If three quarters of the wrong texts go, up to a fifth of the right ones may."""
    right = scores(lexicon=[0.9] * (110 - lost) + [0.0] * lost, head=[0.9] * 110)
    wrong = scores(lexicon=[0.9] * stays + [0.0] * (21 - stays), head=[0.9] * 21)
    found = find_cost(build_trait(right, wrong), BY_HAND, right, wrong)
    assert (found.dropped, found.right_without, found.wrong_without) == (
        ("head",),
        110 - lost,
        stays,
    )


@pytest.mark.parametrize(("lost", "stays"), [(23, 0), (12, 6)])
def test_a_signal_that_costs_more_right_texts_is_not_named(lost, stays):
    """Beyond these shares, the signal is worth its wrong texts."""
    right = scores(lexicon=[0.9] * (110 - lost) + [0.0] * lost, head=[0.9] * 110)
    wrong = scores(lexicon=[0.9] * stays + [0.0] * (21 - stays), head=[0.9] * 21)
    assert find_cost(build_trait(right, wrong), BY_HAND, right, wrong) is None


def test_both_dense_signals_are_left_out_together():
    """If either dense signal keeps the other's mistakes, both are named; no encoder is needed."""
    right = scores(exemplars=[0.9] * 10, head=[0.9] * 10, wording=[0.9] * 9 + [0.0])
    wrong = scores(exemplars=[0.9] * 9, head=[0.9] * 9, wording=[0.0] * 9)
    found = find_cost(build_trait(right, wrong), BY_HAND, right, wrong)
    assert (found.dropped, found.kept) == (("exemplars", "head"), ("wording",))
    assert (found.right, found.right_without, found.wrong, found.wrong_without) == (10, 9, 9, 0)
    said = found.describe("right", "wrong")
    assert ", and needs no encoder. Write `signals: [wording]` into card.yaml" in said


def test_one_dense_signal_keeps_the_encoder():
    """A card that keeps a dense signal still needs the encoder."""
    right = scores(exemplars=[0.9] * 10, lexicon=[0.9] * 10, head=[0.9] * 10)
    wrong = scores(exemplars=[0.99] * 9, lexicon=[0.0] * 9, head=[0.001] * 9)
    wrong["head"][:] = 0.3
    found = find_cost(build_trait(right, wrong), BY_HAND, right, wrong)
    assert found.dropped == ("exemplars",)
    assert not found.is_light
    assert "encoder" not in found.describe("right", "wrong")


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (scores(lexicon=[0.0] * 9, repetition=[0.9] * 9), scores(lexicon=[0], repetition=[0.9])),
        (scores(lexicon=[0.9] * 9), scores(lexicon=[0.9] * 9)),
        (
            scores(lexicon=[0.9] * 9, repetition=[0.0] * 9),
            scores(lexicon=[0.9] * 30, repetition=[0.9] * (LEAST_FEWER - 1) + [0.0] * 28),
        ),
        (
            scores(lexicon=[0.9] * 9, repetition=[0.0] * 9),
            scores(lexicon=[0.9] * 30 + [0.0] * 4, repetition=[0.9] * 34),
        ),
        (
            scores(lexicon=[0.9] * 6 + [0.0] * 3, repetition=[0.9] * 9),
            scores(lexicon=[0.0] * 9, repetition=[0.9] * 9),
        ),
        (scores(lexicon=[0.9] * 9, repetition=[0.0] * 9), scores(lexicon=[0.0] * 9)),
    ],
    ids=["useful", "only one", "too few", "small share", "loses right ones", "unknown"],
)
def test_a_signal_that_earns_its_place_is_not_named(right, wrong):
    """A useful signal, a single one, one with few mistakes and one without scores stay."""
    wrong = {name: values[: min(map(len, wrong.values()))] for name, values in wrong.items()}
    assert find_cost(build_trait(right, right), BY_HAND, right, wrong) is None


def test_a_level_gives_the_other_signals_their_own_threshold():
    """The signals that stay have the threshold that the level gives them, as a run would."""
    right = scores(wording=[0.7] * 20, head=[0.9] * 20)
    noisy = np.r_[np.full(3, 0.95), np.full(12, 0.85), np.zeros(CLEAN - 15)].astype(np.float32)
    clean = {"wording": np.full(CLEAN, 0.01, np.float32), "head": noisy}
    trait = build_trait(right, clean)
    level = Level(max_false_positive_rate=0.05)
    found = measure_cost(trait, "combined", Threshold(0.86, "calibrated"), level)
    assert found.dropped == ("head",)
    assert (found.right, found.right_without) == (20, 20)
    assert (found.wrong, found.wrong_without) == (3, 0)
    assert describe_cost(trait, found).startswith(
        "if the clean texts that it fires on don't show the trait: without head, it fires on 20 of "
        "the card's 20 positives instead of 20 and on 0 clean texts instead of 3, and needs no "
        "encoder. Write `signals: [wording]`"
    )
    by_hand = measure_cost(trait, "combined", Threshold(0.86, "explicit"), level)
    assert by_hand is None
    assert measure_cost(trait, "head", Threshold(0.86, "calibrated"), level) is None
    assert measure_cost(trait, "combined", Threshold(None, "missing"), level) is None


TABLES = st.lists(
    st.lists(st.sampled_from([0.0, 0.3, 0.6, 0.9]), min_size=3, max_size=3), min_size=1, max_size=12
)


@given(right=TABLES, wrong=TABLES)
def test_the_counts_are_those_of_the_other_signals(right, wrong):
    """Whatever is named, its counts are those of the signals that stay, and it is worth it."""
    names = ("wording", "lexicon", "repetition")
    shown, others = (
        {name: np.array(table, np.float32)[:, place] for place, name in enumerate(names)}
        for table in (right, wrong)
    )
    found = find_cost(build_trait(shown, others), BY_HAND, shown, others)
    if found is None:
        return
    assert {*found.dropped, *found.kept} == set(names)
    for group, whole, without in (
        (shown, found.right, found.right_without),
        (others, found.wrong, found.wrong_without),
    ):
        kept = {name: group[name] for name in found.kept}
        assert without == fires(combine(kept), 0.5).sum()
        assert whole == fires(combine(group), 0.5).sum()
    assert found.wrong - found.wrong_without >= LEAST_FEWER
    assert found.right - found.right_without <= max(1, 0.1 * found.right)
