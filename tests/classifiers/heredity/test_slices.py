"""Planned slices: their arms, and which of them a trial with trained students accepts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from classifiers.heredity.arms import CLEAN_TEACHER, EVERYTHING, count_tokens
from classifiers.heredity.building import build_arms
from classifiers.heredity.intervals import estimate_means
from classifiers.heredity.outcomes import Outcome, tabulate
from classifiers.heredity.planner import PromptTable, plan_slices
from classifiers.heredity.slices import (
    adjust_p_values,
    build_slice_arms,
    judge_slices,
    name_slice,
)
from classifiers.students.checks import Tolerances, require_equal_arms
from schemas.errors import TrialError
from tests.support import worlds

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=30).map(np.array)
NAMES = ("source topic", "half even")


@pytest.fixture(scope="module")
def world():
    """Return the world of topics, of which a tenth of the prompts is decisive (T2)."""
    return worlds.build_readable(3)


@pytest.fixture(scope="module")
def plans(world):
    """Return the plan that holds the decisive topic, and one that means nothing."""
    examples = [row.example for row in world.rows]
    table = PromptTable(
        [item.prompt for item in examples],
        count_tokens(examples, worlds.count_words),
        np.array([item.traited for item in examples]),
        np.array([float(item.answer) for item in examples]),
        {
            "source": ["topic" if item.prompt.startswith("1.0") else "other" for item in examples],
            "half": ["odd" if number % 2 else "even" for number in range(len(examples))],
        },
    )
    found = {plan.name: plan for plan in plan_slices(table, budget=0.12)}
    assert found["source topic"].excess > 0
    return [found[name] for name in NAMES]


@pytest.fixture(scope="module")
def arms(world, plans):
    """Return the arms of both plans, the corpus and the clean teacher."""
    sliced, unbuilt = build_slice_arms(world.rows, plans, worlds.count_words)
    assert unbuilt == []
    whole, _ = build_arms(world.rows, worlds.count_words, doses=())
    return [item for item in whole if item.name in (EVERYTHING, CLEAN_TEACHER)] + sliced


def test_each_plan_has_four_arms_of_equal_size(arms):
    """A plan has a swap, a drop, the slice alone and a random swap, as large as the corpus."""
    assert [arm.name for arm in arms[2:]] == [
        f"{arm}: {name}" for name in NAMES for arm in ("drop", "swap", "only slice", "random swap")
    ]
    require_equal_arms(arms, worlds.count_words, Tolerances(tokens=0.02))


def test_a_swap_and_its_control_change_their_own_rows(world, plans, arms):
    """Both swaps take donors' answers for as many rows, and for other ones."""
    named = {arm.name: {item.prompt for item in arm.examples if item.traited} for arm in arms}
    prompts = [row.example.prompt for row in world.rows]
    assert named["only slice: source topic"] == {prompts[row] for row in plans[0].rows}
    donors = {row.example.prompt: row.donor for row in world.rows}
    control = {prompts[row] for row in plans[0].control}
    swapped = next(arm for arm in arms if arm.name == "random swap: source topic")
    assert all(
        item.answer == donors[item.prompt] for item in swapped.examples if item.prompt in control
    )


def test_training_tells_the_necessary_slice(world, arms):
    """The decisive topic is accepted, necessary and sufficient; its drop leaks; the other isn't."""
    outcomes = [
        Outcome(arm.name, seed, f"q{number:03}", "trait", float(part.mean()))
        for arm in arms
        for seed in range(3)
        for number, part in enumerate(
            np.array_split(world.rate(world.train(world.same, arm.examples, seed)), 20)
        )
    ]
    topic, half = judge_slices(estimate_means(tabulate(outcomes)), NAMES)
    assert topic.accepted
    assert topic.effect.necessity.low > 0.9
    assert topic.effect.sufficiency.low > 0.9
    assert topic.effect.leak.low > 0.1
    assert not half.accepted
    assert half.effect.necessity.high < 0.5


def test_a_plan_without_donors_is_named(world, plans):
    """Arms that need donors are missing with their slice's name and a reason."""
    rows = [row._replace(donor=None) for row in world.rows]
    built, unbuilt = build_slice_arms(rows, plans[:1], worlds.count_words)
    assert [arm.name for arm in built] == ["drop: source topic"]
    assert {item.name for item in unbuilt} == {
        *("swap: source topic", "only slice: source topic", "random swap: source topic")
    }
    assert all("have a donor's answer" in item.reason for item in unbuilt)


def test_an_untrained_slice_is_an_error():
    """A slice whose arms have no outcomes can't be judged."""
    outcomes = [Outcome(EVERYTHING, seed, "a", "trait", 0.5) for seed in range(2)]
    with pytest.raises(TrialError, match="no outcomes of 'swap: x'"):
        judge_slices(estimate_means(tabulate(outcomes)), ["x"])


@given(P_VALUES)
def test_p_values_are_adjusted_as_scipy_does(p_values):
    """The adjusted p-values are scipy's, with ties as well."""
    np.testing.assert_allclose(adjust_p_values(p_values), false_discovery_control(p_values))


def test_no_p_values_need_no_adjustment():
    """Without slices there is nothing to adjust."""
    assert len(adjust_p_values(np.empty(0))) == 0
    assert name_slice("swap", "source wild") == "swap: source wild"
