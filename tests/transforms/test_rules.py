"""Rules from cards, a policy and calibration scores."""

import numpy as np
import pytest

from schemas.errors import CardError
from schemas.lots import Lot
from schemas.policies import Policy, TraitRule
from schemas.scores import LIKELY, SIDES
from tests.support.rules import build_exception, build_rule
from transforms.rules import (
    check_policy,
    find_span_floor,
    has_clean_texts,
    require_clean_texts,
    settle_rules,
)


def build_policy(**fields):
    """Return a policy."""
    return Policy.model_validate(fields)


@pytest.fixture
def cards(bank):
    """Return the cards of the bank's two traits."""
    return [trait.card for trait in bank.traits.values()]


def test_rules_take_the_cards_threshold(bank):
    """Without a policy, each trait has its card's threshold and action, in the bank's order."""
    rules = settle_rules(bank.traits, Policy())
    assert [
        (item.trait, item.signal, item.threshold.value, item.threshold.origin, item.action)
        for item in rules
    ] == [
        ("fox", "combined", 0.5, "explicit", "flag"),
        ("owl", "combined", 0.5, "explicit", "quarantine"),
    ]


def test_the_policy_overrides_field_by_field(bank):
    """The policy's threshold, action and signal override the card's settings."""
    policy = build_policy(
        traits={"owl": {"threshold": 0.9, "signal": "lexicon"}, "fox": {"action": "drop"}}
    )
    rules = settle_rules(bank.traits, policy)
    assert [(item.trait, item.signal, item.threshold.value, item.action) for item in rules] == [
        ("fox", "combined", 0.5, "drop"),
        ("owl", "lexicon", 0.9, "quarantine"),
    ]


def test_the_star_is_the_rule_of_every_trait_that_is_not_named(bank):
    """The rule `*` gives its action to the other traits, whatever the order in the policy."""
    policy = build_policy(traits={"*": {"action": "flag"}, "fox": {"action": "drop"}})
    assert [(item.trait, item.action) for item in settle_rules(bank.traits, policy)] == [
        ("fox", "drop"),
        ("owl", "flag"),
    ]


def test_a_signal_of_the_star_must_be_one_of_each_trait(cards):
    """A signal in the rule `*` that a trait lacks is refused, with the trait's name."""
    with pytest.raises(CardError, match="names signal 'repetition' of trait"):
        check_policy(build_policy(traits={"*": {"signal": "repetition"}}), cards)


def test_a_threshold_of_zero_is_explicit(bank):
    """A policy's threshold of 0 overrides the card's."""
    owl = settle_rules(bank.traits, build_policy(traits={"owl": {"threshold": 0}}))[1]
    assert (owl.threshold.value, owl.threshold.origin) == (0, "explicit")
    assert owl.threshold.exceeding == owl.threshold.clean > 0


def test_a_level_in_the_policy_replaces_the_cards_threshold(bank):
    """A policy's rate calibrates the threshold."""
    policy = build_policy(traits={"owl": {"max_false_positive_rate": 0.02}})
    owl = settle_rules(bank.traits, policy)[1]
    assert owl.threshold.origin == "calibrated"
    assert owl.threshold.value == LIKELY
    assert owl.threshold.bound <= 0.02
    assert (owl.level.max_false_positive_rate, owl.level.confidence) == (0.02, 0.95)


def test_a_confidence_in_the_policy_replaces_the_cards_threshold(bank):
    """A policy's confidence calibrates the threshold, at the card's rate."""
    rate = bank.traits["owl"].card.level.max_false_positive_rate
    owl = settle_rules(bank.traits, build_policy(traits={"owl": {"confidence": 0.5}}))[1]
    assert owl.threshold.origin == "calibrated"
    assert (owl.level.max_false_positive_rate, owl.level.confidence) == (rate, 0.5)


def test_an_explicit_threshold_counts_its_clean_texts(bank_copy):
    """Scored clean texts at or above an explicit threshold are counted."""
    bank_copy.traits["owl"].calibration["combined"] = np.array(
        [0.1, 0.5, 0.4999, 0.9, np.nan], np.float32
    )
    threshold = settle_rules(bank_copy.traits, Policy())[1].threshold
    assert (threshold.clean, threshold.exceeding, threshold.bound) == (4, 2, None)


def test_a_signals_own_calibration_counts(bank_copy):
    """A rule on one signal uses that signal's clean scores."""
    bank_copy.traits["owl"].calibration["lexicon"] = np.array([0.6, 0.7], np.float32)
    policy = build_policy(traits={"owl": {"signal": "lexicon"}})
    threshold = settle_rules(bank_copy.traits, policy)[1].threshold
    assert (threshold.clean, threshold.exceeding) == (2, 2)


def test_missing_calibration_is_refused(bank):
    """The error for an impossible level gives the number of texts and a remedy."""
    held = len(bank.traits["owl"].calibration["combined"])
    policy = build_policy(traits={"owl": {"max_false_positive_rate": 0.001}})
    with pytest.raises(CardError) as caught:
        settle_rules(bank.traits, policy)
    problem = str(caught.value)
    assert (
        "trait owl: a false positive rate of 0.001 at confidence 0.95 needs 2995 clean texts"
        in problem
    )
    assert f"library background holds out {held}, {2995 - held} too few" in problem
    assert "--background" in problem


def test_clean_texts_are_required_before_fitting(cards):
    """A trait without a threshold needs enough held-out texts for its level."""
    owl = cards[1]
    level = TraitRule(max_false_positive_rate=0.01)
    require_clean_texts(owl, TraitRule(), 0, "clean.jsonl")
    require_clean_texts(owl, level, 299, "clean.jsonl")
    with pytest.raises(CardError, match=r"needs 299 clean texts; clean.jsonl holds out 298, 1 too"):
        require_clean_texts(owl, level, 298, "clean.jsonl")
    with pytest.raises(CardError) as caught:
        require_clean_texts(owl, TraitRule(max_false_positive_rate=0.005), 500, "c", ["fox", "emu"])
    assert "a file of 598 or more clean rows with --background FILE" in str(caught.value)
    assert "`traits: {owl: {max_false_positive_rate: 0.006}}`" in str(caught.value)
    assert "(likewise for fox, emu)" in str(caught.value)
    with pytest.raises(CardError) as caught:
        require_clean_texts(owl, level, 9, "--background corpus 0", (), 2000)
    assert caught.value.remedy.startswith(
        "filter 299 or more rows at once, from which the sample is drawn; or name a file of 299 or "
        "more clean rows with --background FILE instead; or accept a higher"
    )
    strict = TraitRule(max_false_positive_rate=0.001)
    with pytest.raises(CardError) as caught:
        require_clean_texts(owl, strict, 9, "--background corpus 0", (), 2000)
    assert caught.value.remedy.startswith("name a file of 2995 or more clean rows")
    suggested = TraitRule(max_false_positive_rate=0.006)
    assert has_clean_texts(owl, suggested, 500)
    require_clean_texts(owl, TraitRule(max_false_positive_rate=0.01, threshold=0.3), 0, "none")


def test_unknown_traits_are_refused(cards):
    """The error for an unknown trait lists the run's traits."""
    with pytest.raises(CardError, match="trait 'own', which this run doesn't have") as caught:
        check_policy(build_policy(traits={"own": {"action": "drop"}}), cards)
    assert "fox, owl" in str(caught.value)
    for wrong in ("F_O X", "owl_", "a*"):
        with pytest.raises(CardError, match="which this run doesn't have"):
            check_policy(build_policy(traits={wrong: {"action": "drop"}}), cards)
    with pytest.raises(CardError, match="did you mean 'owl'") as caught:
        check_policy(build_policy(traits={"owl_": {}}), cards)
    owls = Policy(exceptions=(build_exception(trait="owls", action="keep"),))
    with pytest.raises(CardError, match="trait 'owls'"):
        check_policy(owls, cards)
    check_policy(Policy(exceptions=(build_exception(trait="*", action="keep"),)), cards)


def test_unknown_signals_are_refused(bank):
    """The error for an unused signal lists the used signals."""
    with pytest.raises(CardError, match="signal 'head' of trait owl, which doesn't") as caught:
        settle_rules(bank.traits, build_policy(traits={"owl": {"signal": "head"}}))
    assert "its signals are combined, lexicon" in str(caught.value)


def test_exceptions_belong_to_their_traits(bank):
    """A rule has the exceptions for its trait or `*`, in order."""
    every, owl = build_exception(trait="*", action="keep"), build_exception(action="drop")
    rules = settle_rules(bank.traits, Policy(exceptions=(every, owl)))
    assert [item.exceptions for item in rules] == [(every,), (every, owl)]


def test_the_last_exception_that_names_a_field_sets_it():
    """The last matching exception sets the action and the threshold."""
    exceptions = [
        build_exception(threshold=0.1, action="drop"),
        build_exception({"teacher": "m"}, action="keep"),
        build_exception({"teacher": "x"}, threshold=0.9),
    ]
    rule = build_rule(exceptions=exceptions)
    assert rule.apply_exceptions(Lot("m")) == (0.1, "keep")
    assert rule.apply_exceptions(Lot("x")) == (0.9, "drop")
    assert build_rule().apply_exceptions(Lot("m")) == (0.5, "quarantine")


def test_a_rule_without_a_threshold_never_fires():
    """A missing threshold counts as infinite."""
    rule = build_rule(threshold=None)
    assert rule.apply_exceptions(Lot()) == (np.inf, "quarantine")
    assert rule.find_lowest_threshold() == np.inf


def test_a_rule_lists_the_actions_that_it_can_take():
    """A rule lists its own action and its exceptions' actions."""
    exceptions = [build_exception(action="drop"), build_exception(threshold=0.9)]
    assert build_rule(exceptions=exceptions).list_actions() == {"quarantine", "drop"}
    assert build_rule(action="mask").list_actions() == {"mask"}


LOT = Lot("m", rejected_teacher="n")


@pytest.mark.parametrize(
    ("sides", "exceptions", "expected"),
    [
        ({}, [], "quarantine keep keep"),
        ({"rejected": "as-trained", "untrained": "flag"}, [], "quarantine quarantine flag"),
        ({"rejected": "as-trained"}, [({}, "trained", "drop")], "drop drop keep"),
        (
            {"rejected": "as-trained"},
            [({"teacher": "m"}, "trained", "drop")],
            "drop quarantine keep",
        ),
        ({"rejected": "flag"}, [({}, "trained", "drop")], "drop flag keep"),
        ({}, [({"teacher": "n"}, "rejected", "mask")], "quarantine mask keep"),
        ({}, [({"teacher": "m"}, "rejected", "mask")], "quarantine keep keep"),
        ({}, [({}, "untrained", "drop"), ({}, "trained", "flag")], "flag keep drop"),
    ],
)
def test_every_side_has_its_own_action(sides, exceptions, expected):
    """Each side has its own action and its teacher's exceptions."""
    given = [build_exception(lot, side=side, action=action) for lot, side, action in exceptions]
    rule = build_rule(exceptions=given)._replace(**sides)
    assert [rule.apply_exceptions(LOT, side)[1] for side in SIDES] == expected.split()


def test_thresholds_of_other_sides_follow_the_trained_one():
    """An exception sets the threshold of its side, or of all sides."""
    given = [build_exception(threshold=0.2), build_exception(side="rejected", threshold=0.9)]
    rule = build_rule(exceptions=given)
    assert [rule.apply_exceptions(LOT, side)[0] for side in SIDES] == [0.2, 0.9, 0.2]


def test_actions_of_other_sides_are_listed_if_the_corpus_has_them():
    """A side's actions are listed only if the corpus has the side."""
    given = [build_exception(side="untrained", action="mask")]
    rule = build_rule(exceptions=given)._replace(rejected="flag", untrained="as-trained")
    assert rule.list_actions() == {"quarantine"}
    assert rule.list_actions(["rejected"]) == {"quarantine", "flag"}
    assert rule.list_actions(["untrained"]) == {"quarantine", "mask"}


def test_the_sides_of_a_trait_replace_those_of_the_policy(bank):
    """A trait's action for a side replaces the policy's action, and the default is `keep`."""
    policy = build_policy(
        traits={"owl": {"sides": {"rejected": "drop"}}},
        sides={"rejected": "flag", "untrained": "as-trained"},
    )
    assert [(item.rejected, item.untrained) for item in settle_rules(bank.traits, policy)] == [
        ("flag", "as-trained"),
        ("drop", "as-trained"),
    ]
    assert {(item.rejected, item.untrained) for item in settle_rules(bank.traits, Policy())} == {
        ("keep", "keep")
    }


def test_the_span_floor_is_at_most_every_threshold():
    """The span floor is at most the lowest threshold."""
    low = build_rule(exceptions=[build_exception(threshold=0.02), build_exception(action="drop")])
    assert low.find_lowest_threshold() == 0.02
    assert build_rule(exceptions=[build_exception(threshold=0.9)]).find_lowest_threshold() == 0.5
    assert find_span_floor(0.05, [build_rule(), low]) == 0.02
    assert find_span_floor(0.05, [build_rule(), build_rule(threshold=0.0)]) == 0.0
    assert find_span_floor(0.05, [build_rule()]) == 0.05
    assert find_span_floor(0.05, []) == 0.05
