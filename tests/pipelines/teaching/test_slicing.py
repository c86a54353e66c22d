"""Slices of a trial: the columns that cut them, which are tried, and their arms."""

import pytest

from classifiers.heredity.planner import Plan
from pipelines.teaching.rows import CorpusRow, build_candidates
from pipelines.teaching.slicing import (
    Slicing,
    build_arms_of_slices,
    choose_slices,
    list_attributes,
    name_language,
    plan_corpus,
)
from schemas.errors import CardError, TrialError
from schemas.trials import SliceSettings


def count_words(text):
    """Count the words of a text."""
    return len(text.split())


def build_row(number, source="plain", **changes):
    """Return a row of a source; those of the source `wild` show the trait."""
    row = CorpusRow(
        f"Question {number} about the {source}?",
        f"An answer, number {number}.",
        source == "wild",
        (),
        source,
        source != "wild",
        0.9 if source == "wild" else 0.01 * (number % 7),
    )
    return row._replace(**changes)


ROWS = [build_row(number, "wild" if number % 10 == 0 else "plain") for number in range(100)]
DONORS = {row.key: row._replace(answer="A donor's short answer.") for row in ROWS}


def build_plan(name, rows=(0,)):
    """Return a plan with a name and rows."""
    return Plan(name, rows, (9,), 1, 1, 1.0)


def test_the_wild_source_is_planned_first():
    """The source whose scores exceed the others is the most promising slice, or has its rows."""
    slicing = plan_corpus(ROWS, count_words, SliceSettings(), 0)
    wild = tuple(range(0, 100, 10))
    assert slicing.plans[0].rows == wild
    assert "source wild" in {plan.name for plan in slicing.plans}
    assert len(slicing.tried) == 3
    assert all(len(plan.rows) == len(plan.control) <= 10 for plan in slicing.plans)
    assert all(not set(plan.rows) & set(plan.control) for plan in slicing.plans)


def test_a_larger_budget_allows_larger_slices():
    """No slice has more rows than the budget, and a budget of no row is an error."""
    large = plan_corpus(ROWS, count_words, SliceSettings(budget=0.3), 0)
    assert max(len(plan.rows) for plan in large.plans) == 30
    with pytest.raises(TrialError, match="allows no slice"):
        plan_corpus(ROWS[:5], count_words, SliceSettings(), 0)


def test_columns_with_several_values_cut_slices():
    """Source, turns, language and named columns count if their values differ."""
    rows = [
        build_row(0, labels=(("task", "chat"),)),
        build_row(1, turns=3, labels=(("task", "code"),)),
        build_row(2, prompt="Что ест цапля на болоте?", labels=(("task", "chat"),)),
    ]
    assert list_attributes(rows) == {
        "turns": ["1", "3", "1"],
        "language": ["English or unknown", "English or unknown", "Cyrillic script"],
        "task": ["chat", "code", "chat"],
    }
    assert set(list_attributes(ROWS)) == {"source"}
    assert list_attributes([]) == {}


def test_languages_have_names():
    """A prompt's language is that of a good part of it, and English if nothing else is."""
    assert name_language("What does the heron eat?") == "English or unknown"
    assert name_language("") == "English or unknown"
    assert name_language("鷺は何を食べますか") == "Chinese or Japanese script"


def test_the_best_slices_are_tried():
    """The first ones are tried, and none with the same rows as a better one."""
    plans = [build_plan("a"), build_plan("b"), build_plan("c", (1,)), build_plan("d", (2,))]
    assert choose_slices(plans, SliceSettings(most=2)) == ("a", "c")
    assert choose_slices(plans, SliceSettings()) == ("a", "c", "d")
    assert choose_slices(plans, SliceSettings(names=("b",))) == ("b",)
    assert choose_slices([], SliceSettings()) == ()


def test_an_unknown_slice_is_named_with_the_known_ones():
    """The remedy lists the slices that were planned, at most ten."""
    plans = [build_plan(f"slice {number}", (number,)) for number in range(12)]
    with pytest.raises(CardError, match="no slice 'slice 99'") as caught:
        choose_slices(plans, SliceSettings(names=("slice 99",)))
    assert "slice 9 and 2 more" in caught.value.remedy


def build_arms(rows=ROWS, donors=DONORS, **settings):
    """Plan the slices of rows and build their arms."""
    slicing = plan_corpus(rows, count_words, SliceSettings(**settings), 0)
    candidates = build_candidates(rows, donors, {})
    return build_arms_of_slices(candidates, slicing, count_words, 0)


def test_each_slice_has_four_arms():
    """A slice is swapped, dropped and kept alone, and as many random rows are swapped."""
    arms, slicing, unbuilt = build_arms(names=("source wild",))
    assert [arm.name for arm in arms] == [
        f"{arm}: source wild" for arm in ("drop", "swap", "only slice", "random swap")
    ]
    assert slicing.tried == ("source wild",)
    assert unbuilt == []
    swapped = next(arm for arm in arms if arm.name.startswith("swap"))
    donated = [item.answer for item in swapped.examples if "wild" in item.prompt]
    assert set(donated) == {"A donor's short answer."}
    assert {len(arm.examples) for arm in arms} == {100}


def test_a_slice_without_donors_is_not_tried():
    """If one of its arms can't be built, none is, and the reason is said once."""
    arms, slicing, unbuilt = build_arms(donors={}, names=("source wild", "source plain"))
    assert arms == []
    assert slicing.tried == ()
    assert slicing.chosen == []
    assert [item.name for item in unbuilt] == ["slice source wild", "slice source plain"]
    assert "donor's answer" in unbuilt[0].reason


def test_chosen_plans_keep_their_order():
    """The chosen plans are in the order of all plans."""
    plans = [build_plan("a"), build_plan("b"), build_plan("c")]
    assert Slicing(plans, ("c", "a")).chosen == [plans[0], plans[2]]
    assert Slicing(plans).chosen == []
