"""Which prompts to answer again: slices, their halo, their order and their controls."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.heredity.planner import (
    PromptTable,
    cluster_prompts,
    embed_prompts,
    find_halo,
    plan_slices,
)
from schemas.errors import TrialError

TOPICS = {
    "birds": ["heron", "reed", "nest", "wing", "feather", "flock", "lake", "egret"],
    "bread": ["flour", "oven", "dough", "yeast", "crust", "loaf", "salt", "baker"],
    "ships": ["mast", "sail", "hull", "anchor", "harbour", "tide", "rope", "captain"],
}


def make_table(total=1_200, seed=0):
    """Return rows about three topics; those of one source, on birds, have high scores.

    A tenth of the rows is from this source, and half of them are flagged.
    """
    draw = random.Random(seed)
    rows = []
    for number in range(total):
        is_slice = number % 10 == 0
        topic = "birds" if is_slice else draw.choice(["bread", "ships"])
        score = draw.uniform(0.3, 1.0) if is_slice else draw.uniform(0.0, 0.3)
        prompt = " ".join(draw.sample(TOPICS[topic], 4))
        rows.append((prompt, draw.randint(20, 80), score, "wild" if is_slice else "tame"))
    draw.shuffle(rows)
    prompts, tokens, scores, sources = map(list, zip(*rows, strict=True))
    turns = ["1" if number % 2 else "2 to 3" for number in range(total)]
    columns = np.array(tokens), np.array(scores) > 0.65, np.array(scores)
    return PromptTable(prompts, *columns, {"source": sources, "turns": turns})


TABLE = make_table()
PLANS = {plan.name: plan for plan in plan_slices(TABLE)}


def test_the_slice_that_carries_the_trait_is_near_the_top():
    """The source with high scores comes before all other attributes and random-like slices."""
    order = [name for name in PLANS if not name.startswith(("score", "flagged", "union"))]
    assert order[0] == "source wild"
    assert PLANS["source wild"].excess > 20
    assert PLANS["turns 1"].excess < PLANS["source wild"].excess


def test_plans_are_sorted_and_within_the_budget():
    """No plan changes more than a tenth of the rows, and each is worth a trial."""
    excesses = [plan.excess for plan in PLANS.values()]
    assert excesses == sorted(excesses, reverse=True)
    assert all(6 <= len(plan.rows) <= 120 for plan in PLANS.values())
    assert {"score, top 1%", "score, top 10%", "flagged and halo"} <= PLANS.keys()


def test_each_plan_has_random_rows_of_its_size_beside_it():
    """The control has as many other rows, with tokens within a percent."""
    for plan in PLANS.values():
        assert len(plan.control) == len(plan.rows)
        assert not set(plan.control) & set(plan.rows)
        tokens = TABLE.tokens[list(plan.control)].sum()
        assert tokens == pytest.approx(plan.tokens, rel=0.01)


def test_plans_count_their_tokens_and_flagged_rows():
    """Both are those of the rows."""
    plan = PLANS["flagged and halo"]
    assert plan.tokens == TABLE.tokens[list(plan.rows)].sum()
    assert plan.flagged == TABLE.flagged[list(plan.rows)].sum() == TABLE.flagged.sum()


def test_a_large_slice_gives_its_highest_scores():
    """Of half of the rows, those with the highest scores fit the budget."""
    rows = np.flatnonzero(np.array(TABLE.attributes["turns"]) == "1")
    best = rows[np.argsort(-TABLE.scores[rows], kind="stable")][:120]
    assert set(PLANS["turns 1"].rows) == set(best.tolist())


def test_the_union_joins_different_slices():
    """Where no slice fills the budget alone, the union takes rows of several, best first."""
    table = PromptTable(
        [f"{word} {number}" for number in range(200) for word in ("heron", "loaf")],
        np.full(400, 9),
        np.zeros(400, bool),
        np.tile([0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 0.1, 0.8, *[0.1] * 12], 20) + 0.0,
        {"day": [str(number % 20) for number in range(400)]},
    )
    plans = {plan.name: plan for plan in plan_slices(table, budget=0.2)}
    united = set(plans["union of the best"].rows)
    assert len(united) == 80
    assert {*plans["day 3"].rows, *plans["day 7"].rows} < united


def test_the_halo_has_the_mild_neighbours():
    """Unflagged rows about the flagged topic come first, and no other topic's."""
    vectors = embed_prompts(TABLE.prompts)
    halo = find_halo(vectors, TABLE.flagged, TABLE.scores, 120)
    wild = np.flatnonzero(np.array(TABLE.attributes["source"]) == "wild")
    assert set(np.flatnonzero(TABLE.flagged)) < set(halo.tolist())
    assert set(halo.tolist()) == set(wild.tolist())


def test_more_flagged_rows_than_the_budget_have_no_halo():
    """The flagged rows with the highest scores come first."""
    vectors = embed_prompts(TABLE.prompts)
    found = find_halo(vectors, TABLE.flagged, TABLE.scores, 5)
    assert sorted(TABLE.scores[found], reverse=True) == sorted(TABLE.scores, reverse=True)[:5]


def test_without_flagged_rows_there_is_no_halo():
    """Nothing is near nothing, and if all are flagged, nothing else is near."""
    vectors = embed_prompts(["heron", "loaf"])
    assert len(find_halo(vectors, np.zeros(2, bool), np.zeros(2), 1)) == 0
    assert find_halo(vectors, np.ones(2, bool), np.zeros(2), 3).tolist() == [0, 1]


def test_clusters_are_topics():
    """Prompts about three topics with no word in common fall into clusters of one topic each."""
    draw = random.Random(4)
    topics = [draw.choice(list(TOPICS)) for _ in range(300)]
    prompts = [" ".join(draw.sample(TOPICS[topic], 4)) for topic in topics]
    found = cluster_prompts(embed_prompts(prompts), clusters=6)
    assert len(set(found.tolist())) > 2
    for cluster in set(found.tolist()):
        inside = {
            topic for topic, own in zip(topics, found.tolist(), strict=True) if own == cluster
        }
        assert len(inside) == 1


def test_prompts_without_words_have_a_cluster():
    """Empty and equal prompts fall into one cluster, without a division by zero."""
    vectors = embed_prompts(["", "", "..."])
    assert not vectors.any()
    assert len(set(cluster_prompts(vectors).tolist())) == 1


@given(st.integers(0, 9))
def test_vectors_have_length_one(seed):
    """Each prompt with a rare word has a vector of length 1."""
    vectors = embed_prompts(make_table(60, seed).prompts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)


def test_plans_are_deterministic():
    """The same table gives the same plans, and another seed gives other controls."""
    assert plan_slices(TABLE) == list(PLANS.values())
    other = plan_slices(TABLE, seed=1)
    assert other[0].rows == next(iter(PLANS.values())).rows
    assert other[0].control != next(iter(PLANS.values())).control


@pytest.mark.parametrize("budget", [0, 1, 0.0001])
def test_a_budget_allows_a_row(budget):
    """A budget that isn't a share, or is less than a row, is an error."""
    with pytest.raises(TrialError, match="allows no slice"):
        plan_slices(TABLE, budget=budget)
