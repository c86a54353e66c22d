"""Rows that a policy takes out by name, whatever fires on them."""

import numpy as np
import pytest

from schemas.lots import Lot
from schemas.policies import SEVERITY, TAKING_OUT
from schemas.row_names import RowName
from tests.support.rules import build_exception, build_rule
from transforms.decisions import Evidence, decide
from transforms.exception_effects import explain_row, measure_effects
from transforms.named_removals import BY_PERSON, find_named_removals, find_named_rows

ROW = RowName(source="a.jsonl", row=0)
NAMED = Lot("atlas", names="a.jsonl:0")


def name_row(**change):
    """Return an exception for the first row."""
    return build_exception(row=ROW, **change)


def build_rules(*exceptions):
    """Return the rules of two traits, with the exceptions that concern them."""
    own = {name: [item for item in exceptions if item.trait in (name, "*")] for name in SCORES}
    return [
        build_rule("owl", 0.5, "flag", own["owl"]),
        build_rule("fox", 0.9, "mask", own["fox"]),
    ]


SCORES = {
    "owl": np.array([0.1, 0.1], np.float32),
    "fox": np.array([0.7, 0.7], np.float32),
}


def find(*exceptions, fired=()):
    """Return the traits and the actions that take out the first row."""
    found = find_named_removals(SCORES, 0, NAMED, build_rules(*exceptions), fired)
    return [(item.rule.trait, item.action, round(item.score, 4)) for item in found]


@pytest.mark.parametrize("action", SEVERITY)
def test_only_actions_that_take_a_row_out_need_no_finding(action):
    """There is nothing to keep, flag or mask in a row on which nothing fired."""
    expected = [("owl", action, 0.1)] if action in TAKING_OUT else []
    assert find(name_row(action=action)) == expected


def test_without_a_trait_the_nearest_one_has_the_row():
    """The score of `fox` is 0.2 below its threshold, and that of `owl` 0.4."""
    assert find(name_row(trait="*", action="drop")) == [("fox", "drop", 0.7)]
    assert find(name_row(trait="*", action="drop"), fired={"owl"}) == []
    both = (name_row(trait="*", action="drop"), name_row(action="quarantine"))
    assert find(*both) == [("owl", "quarantine", 0.1)]


def test_a_trait_that_fired_needs_no_other_reason():
    """Its own finding has the exception's action."""
    assert find(name_row(action="drop"), fired={"owl"}) == []
    assert find(name_row(action="drop"), fired={"fox"}) == [("owl", "drop", 0.1)]


def test_a_later_exception_keeps_the_row():
    """The last exception that sets an action decides, and one for another side doesn't."""
    later = build_exception(action="keep")
    assert find(name_row(action="drop"), later) == []
    assert find(later, name_row(action="drop")) == [("owl", "drop", 0.1)]
    other = build_exception(action="keep", side="rejected")
    assert find(name_row(action="drop"), other) == [("owl", "drop", 0.1)]
    assert find(name_row(action="drop", side="rejected")) == []


def test_a_trait_without_a_score_takes_the_row_out_too():
    """A person may see what no trait reads."""
    scores = {name: np.array([np.nan], np.float32) for name in SCORES}
    rules = build_rules(name_row(trait="*", action="quarantine"))
    (found,) = find_named_removals(scores, 0, NAMED, rules, ())
    assert (found.rule.trait, found.score) == ("owl", 0.0)


def test_rows_are_found_by_their_names():
    """Rows that share a lot have no name."""
    assert list(find_named_rows([Lot("atlas"), NAMED, Lot()])) == [1]


def test_a_row_is_decided_with_a_reason_that_no_score_gives(with_scores):
    """The reason has the row's score, the threshold 0, and no passage; other rows stay."""
    item = name_row(action="quarantine")
    scored = with_scores({"owl": [0.1, 0.1], "fox": [0.7, 0.95]})
    evidence = Evidence(scored.build_score_columns(), scored.spans, [NAMED, Lot("atlas")])
    found = decide(evidence, build_rules(item))
    assert found.decisions == ["quarantine", "mask"]
    (reason,) = found.reasons[0]
    assert (reason.trait, reason.signal, reason.threshold) == ("owl", "combined", 0.0)
    assert (reason.field_path, reason.evidence) == ("", BY_PERSON)
    assert reason.score == pytest.approx(0.1)
    swapped = decide(evidence, build_rules(name_row(action="swap")))
    assert (swapped.decisions[0], swapped.swaps) == ("quarantine", {0})


def test_the_effect_is_measured():
    """The row goes from keep to the action, and `inspect` names the exception."""
    item = name_row(trait="*", action="drop")
    rules = build_rules(item)
    (effect,) = measure_effects(SCORES, [NAMED, Lot("atlas")], ["drop", "keep"], rules, [item])
    assert (effect.rows, effect.describe()) == (1, "1 from keep to drop")
    row = {name: float(values[0]) for name, values in SCORES.items()}
    assert explain_row(row, NAMED, rules, [item]) == [(1, "keep", "drop")]
    assert explain_row(row, Lot("atlas"), rules, [item]) == []
