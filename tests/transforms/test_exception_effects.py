"""The effects of exceptions: which rows each one changed, on top of the ones before it."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.lots import Lot
from schemas.policies import SEVERITY
from schemas.receipts import ActionChange, ExceptionEffect
from tests.support.rules import build_exception, build_rule
from transforms.exception_effects import ChangedRow, explain_row, measure_effects

LOTS = [Lot("alpha"), Lot("beta"), Lot("alpha")]
SCORES = {"owl": np.array([0.9, 0.9, 0.2], np.float32)}
KEPT = ["keep"] * 3


def build_owl(*exceptions, **fields):
    """Return the rule of a trait that quarantines, with the exceptions that concern it."""
    own = [item for item in exceptions if item.trait in (fields.get("trait", "owl"), "*")]
    return build_rule(exceptions=own, **fields)


def test_rows_are_counted_by_their_actions_before_and_after():
    """An exception changes the rows of its lots on which the trait fires, and no others."""
    item = build_exception({"teacher": "alpha"}, action="flag")
    (effect,) = measure_effects(SCORES, LOTS, KEPT, [build_owl(item)], [item])
    change = ActionChange(before="quarantine", after="flag", rows=1)
    assert effect == ExceptionEffect(rows=2, changed=(change,))
    assert effect.describe() == "1 from quarantine to flag"


def test_a_threshold_may_spare_a_row_or_catch_one():
    """An exception that sets a threshold changes whether the trait fires at all."""
    spare = build_exception({"teacher": "beta"}, threshold=0.95)
    catch = build_exception({"teacher": "alpha"}, threshold=0.1)
    rules = [build_owl(spare, catch)]
    found = measure_effects(SCORES, LOTS, KEPT, rules, [spare, catch])
    assert [effect.describe() for effect in found] == [
        "1 from quarantine to keep",
        "1 from keep to quarantine",
    ]


def test_each_exception_is_measured_on_top_of_those_before_it():
    """Of two equal exceptions only the first changes rows, and a later one starts from its result.

    If each were compared with the policy without it alone, neither of the equal ones would count.
    """
    items = [
        build_exception({"teacher": "alpha"}, action="flag"),
        build_exception({"teacher": "alpha"}, action="flag"),
        build_exception({"teacher": "a*"}, action="drop"),
    ]
    found = measure_effects(SCORES, LOTS, KEPT, [build_owl(*items)], items)
    assert [effect.describe() for effect in found] == [
        "1 from quarantine to flag",
        "none",
        "1 from flag to drop",
    ]


def test_a_stronger_trait_overrules_an_exception():
    """If another trait's action decides as before, the row counts as overruled, not as changed."""
    item = build_exception({"teacher": "alpha"}, action="flag")
    scores = {**SCORES, "fox": SCORES["owl"]}
    rules = [build_owl(item), build_owl(item, trait="fox")]
    (effect,) = measure_effects(scores, LOTS, KEPT, rules, [item])
    assert effect == ExceptionEffect(rows=2, overruled=1)
    assert effect.describe() == "1 unchanged, because another trait decides"


def test_an_exception_for_all_traits_counts_a_row_once():
    """A row on which two traits fire is one changed row."""
    item = build_exception(trait="*", action="keep")
    scores = {**SCORES, "fox": SCORES["owl"]}
    rules = [build_owl(item), build_owl(item, trait="fox", action="drop")]
    (effect,) = measure_effects(scores, LOTS, KEPT, rules, [item])
    assert effect.changed == (ActionChange(before="drop", after="keep", rows=2),)


def test_duplicates_are_in_a_lot_but_not_changed():
    """A row that left as a duplicate isn't counted as changed by an exception."""
    item = build_exception(action="flag")
    decisions = ["duplicate", "flag", "keep"]
    (effect,) = measure_effects(SCORES, LOTS, decisions, [build_owl(item)], [item])
    assert (effect.rows, effect.changed[0].rows) == (3, 1)


def test_a_rejected_answer_has_its_own_exceptions():
    """An exception for rejected answers looks at their scores, and at their own teacher."""
    item = build_exception({"teacher": "beta"}, side="rejected", action="drop")
    lots = [Lot("alpha", rejected_teacher="beta"), Lot("beta", rejected_teacher="alpha")]
    scores = {"owl": np.zeros(2, np.float32), "owl@rejected": np.full(2, 0.9, np.float32)}
    (effect,) = measure_effects(scores, lots, ["drop", "keep"], [build_owl(item)], [item])
    assert effect.describe() == "1 from keep to drop"
    assert effect.rows == 1


def test_a_row_names_the_exceptions_that_changed_it():
    """One row's explanation names every exception that changed its action, counted from 1."""
    items = [
        build_exception({"teacher": "beta"}, action="keep"),
        build_exception({"teacher": "alpha"}, action="flag"),
    ]
    rules = [build_owl(*items)]
    assert explain_row({"owl": 0.9}, Lot("alpha"), rules, items) == [
        ChangedRow(2, "quarantine", "flag")
    ]
    assert explain_row({"owl": 0.4}, Lot("alpha"), rules, items) == []
    assert explain_row({"owl": None}, Lot("alpha"), rules, items) == []


def test_without_exceptions_nothing_is_measured():
    """A policy without exceptions has no effects, whatever the rows are."""
    assert measure_effects(SCORES, LOTS, KEPT, [build_rule()], []) == ()
    item = build_exception(action="flag")
    assert measure_effects({"owl": np.empty(0, np.float32)}, [], [], [build_owl(item)], [item]) == (
        ExceptionEffect(),
    )


@pytest.mark.parametrize("cut", [0, 1, 3])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["alpha", "beta", "*"]),
            st.sampled_from(["owl", "fox", "*"]),
            st.sampled_from(SEVERITY),
            st.none() | st.sampled_from([0.1, 0.6, 0.95]),
        ),
        max_size=4,
    )
)
def test_parts_add_up_and_steps_join(cut, drawn):
    """Effects of shards add up, and each row's changes lead from its first action to its last."""
    items = [
        build_exception({"teacher": teacher}, trait=trait, action=action, threshold=threshold)
        for teacher, trait, action, threshold in drawn
    ]
    scores = {"owl": SCORES["owl"], "fox": np.array([0.7, np.nan, 0.5], np.float32)}
    rules = [build_owl(*items), build_owl(*items, trait="fox", action="mask")]
    whole = measure_effects(scores, LOTS, KEPT, rules, items)
    parts = [
        measure_effects(
            {name: values[own] for name, values in scores.items()},
            LOTS[own],
            KEPT[own],
            rules,
            items,
        )
        for own in (slice(cut), slice(cut, None))
    ]
    assert tuple(one.add(other) for one, other in zip(*parts, strict=True)) == whole
    for row, lot in enumerate(LOTS):
        own = {name: float(values[row]) for name, values in scores.items()}
        steps = explain_row(own, lot, rules, items)
        assert all(one.after == other.before for one, other in pairwise(steps))
