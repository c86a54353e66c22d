"""Policies: rules, exceptions, budgets, decisions and actions."""

from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from schemas.cards import SIGNALS, Action
from schemas.lots import Lot, LotPattern
from schemas.policies import (
    DECISIONS,
    PUBLISHED,
    REMOVED,
    SEVERITY,
    LotException,
    Policy,
    SideActions,
    TraitRule,
    list_row_names,
)


def test_every_action_has_a_severity_and_is_a_decision():
    """`SEVERITY` lists every action once, and every action is a decision."""
    assert sorted(SEVERITY) == sorted(get_args(Action))
    assert set(SEVERITY) <= set(DECISIONS)
    assert set(DECISIONS) - set(SEVERITY) == {"mix", "duplicate", "reject"}
    assert len(set(DECISIONS)) == len(DECISIONS)


def test_published_rows_stay_in_the_corpus():
    """Quarantined, dropped, duplicate and rejected rows aren't published."""
    assert set(DECISIONS) - set(PUBLISHED) == {"quarantine", "drop", "duplicate", "reject"}
    assert set(REMOVED) == set(DECISIONS) - set(PUBLISHED)
    assert SEVERITY[0] == "keep"
    assert SEVERITY[-1] == "drop"


def test_an_empty_policy_overrides_nothing():
    """An empty policy leaves rules to the cards, sets no budget and keeps duplicates."""
    policy = Policy()
    assert policy == Policy(
        traits={}, exceptions=(), removal_budget=None, reject_budget=None, duplicates="keep"
    )
    assert TraitRule() == TraitRule(
        signal="combined",
        threshold=None,
        max_false_positive_rate=None,
        confidence=None,
        action=None,
    )


def test_a_trait_without_a_rule_is_the_default_rule():
    """A trait without a value has the default rule."""
    assert Policy.model_validate({"traits": {"rain-talk": None}}).traits == {
        "rain-talk": TraitRule()
    }


@pytest.mark.parametrize("signal", ["combined", *SIGNALS])
def test_a_rule_may_use_any_signal(signal):
    """A rule may use the combined score or any single signal."""
    assert Policy.model_validate({"traits": {"a": {"signal": signal}}}).traits["a"].signal == signal


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("traits", {"a": {"signal": "nose"}}),
        ("traits", {"a": {"action": "delete"}}),
        ("traits", {"a": {"threshold": 2}}),
        ("traits", {"a": {"max_false_positive_rate": 0}}),
        ("traits", {"a": {"confidence": 1}}),
        ("traits", {"a": {"treshold": 0.5}}),
        ("traits", ["a"]),
        ("removal_budget", 1.5),
        ("reject_budget", -0.1),
        ("duplicates", "maybe"),
        ("split_priority", ["train", "train"]),
        ("split_priority", [""]),
        ("budget", 0.1),
    ],
)
def test_mistakes_are_refused_by_field(field, value):
    """The error for a wrong value names the field."""
    with pytest.raises(ValidationError, match=field):
        Policy.model_validate({field: value})


def test_an_exception_has_a_trait_a_lot_and_a_reason():
    """An exception needs a trait or `*`, a lot and a reason."""
    pattern = LotPattern(teacher="gpt-*")
    found = LotException(trait="*", lot=pattern, action="keep", reason="audited").lot
    assert (found.teacher, found.prompt_source, found.system_prompt, found.date) == (
        "gpt-*",
        None,
        None,
        None,
    )
    with pytest.raises(ValidationError, match="reason"):
        LotException.model_validate({"trait": "*", "lot": {}})
    with pytest.raises(ValidationError, match=r"lot\.model"):
        LotException.model_validate({"trait": "*", "lot": {"model": "x"}, "reason": "x"})


def test_a_policy_is_frozen():
    """A policy is immutable."""
    with pytest.raises(ValidationError, match="frozen"):
        Policy().duplicates = "remove"


def test_an_exception_changes_something():
    """An exception needs an action or a numeric threshold."""
    given = {"trait": "heron", "lot": {"teacher": "a"}, "reason": "known"}
    with pytest.raises(ValidationError, match="neither an action nor a threshold"):
        LotException.model_validate(given)
    with pytest.raises(ValidationError, match="doesn't take true"):
        LotException.model_validate({**given, "threshold": True})
    assert LotException.model_validate({**given, "threshold": 0.5}).action is None


@pytest.mark.parametrize("lot", [{"teacher": None}, {"teacher": "gpt-*", "date": None}])
def test_an_empty_field_of_a_lot_is_a_mistake(lot):
    """An empty lot field in an exception is refused."""
    with pytest.raises(ValidationError, match="leave it out to match every lot"):
        LotException.model_validate({"trait": "heron", "lot": lot, "action": "drop", "reason": "x"})


def test_a_traits_rule_is_found():
    """A trait without a rule has the default rule."""
    policy = Policy.model_validate({"traits": {"heron": {"action": "drop"}}})
    assert policy.get_rule("heron") == TraitRule(action="drop")
    assert policy.get_rule("owl") == TraitRule()


def test_every_other_trait_has_the_rule_of_the_star():
    """The rule `*` holds for traits that aren't named, and adds nothing to a named trait's rule."""
    policy = Policy.model_validate(
        {"traits": {"heron": {"threshold": 0.6}, "*": {"action": "flag", "confidence": 0.9}}}
    )
    assert policy.get_rule("owl") == TraitRule(action="flag", confidence=0.9)
    assert policy.get_rule("heron") == TraitRule(threshold=0.6)


def test_sides_are_open_unless_set():
    """By default, sides are unset, and exceptions apply to trained texts."""
    policy = Policy.model_validate(
        {
            "traits": {"owl": {"sides": {"rejected": "as-trained"}}},
            "exceptions": [{"trait": "*", "lot": {}, "action": "keep", "reason": "x"}],
        }
    )
    assert policy.sides == SideActions() == SideActions(rejected=None, untrained=None)
    assert policy.get_rule("owl").sides.rejected == "as-trained"
    assert policy.exceptions[0].side == "trained"


@pytest.mark.parametrize(
    "sides", [{"rejected": "forget"}, {"chosen": "keep"}, {"untrained": "trained"}], ids=str
)
def test_unknown_sides_and_actions_are_refused(sides):
    """An unknown side or action is an error."""
    with pytest.raises(ValidationError):
        Policy.model_validate({"sides": sides})


def test_an_exception_may_name_a_row():
    """An exception for a row needs neither a trait nor a lot, and holds for that row alone."""
    item = LotException.model_validate({"row": "a.jsonl:3", "action": "keep", "reason": "right"})
    assert (item.trait, item.describe()) == ("*", "row a.jsonl:3")
    assert item.matches(Lot("m", names="a.jsonl:3"))
    assert not item.matches(Lot("m", names="a.jsonl:33"))
    narrow = LotException.model_validate({**item.model_dump(), "lot": {"teacher": "x"}})
    assert narrow.describe() == "row a.jsonl:3, teacher: x"
    assert not narrow.matches(Lot("m", names="a.jsonl:3"))
    wide = LotException(trait="*", lot=LotPattern(), action="keep", reason="all")
    assert (wide.describe(), wide.matches(Lot("m"))) == ("every lot", True)


@pytest.mark.parametrize("change", [{}, {"threshold": 0.5}, {"action": "keep", "threshold": 0.5}])
def test_a_row_has_an_action_and_no_threshold(change):
    """One row has no threshold of its own."""
    with pytest.raises(ValidationError, match="names a row, so it needs an action"):
        LotException.model_validate({"row": "a.jsonl:3", "reason": "x", **change})


@pytest.mark.parametrize("action", SEVERITY)
def test_a_named_row_may_be_taken_out(action):
    """Only by its name, only for trained text, and only by an action that takes rows out."""
    fields = {"row": "a.jsonl:3", "action": action, "reason": "x"}
    item = LotException.model_validate(fields)
    assert item.takes_out_row == (action in ("quarantine", "swap", "drop"))
    assert not item.model_copy(update={"side": "rejected"}).takes_out_row
    assert not item.model_copy(update={"row": None}).takes_out_row


def test_names_of_rows_are_collected():
    """Only rows with a record id or a place can be recognised."""
    rows = ["a.jsonl:3", "0" * 32, {"id": 7}]
    given = [{"row": row, "action": "keep", "reason": "x"} for row in rows]
    policy = Policy.model_validate({"exceptions": given})
    assert list_row_names(policy.exceptions) == {"a.jsonl:3", "0" * 32}
