"""What a trial found: which comparisons are made, how they are shown, and what is said."""

import json
import math

import pytest

from classifiers.guarantees.stratified import Interval
from classifiers.heredity.arms import Unbuilt
from classifiers.heredity.effects import TEACHER, UNTRAINED
from pipelines.teaching.findings import (
    ORDER,
    describe_findings,
    draw_findings,
    format_interval,
    format_share,
    list_sentences,
)
from schemas.errors import CongenerError
from tests.support.trial_outcomes import RATES, build_outcomes


def draw(rates=RATES, unbuilt=(), **how):
    """Return the findings of outcomes with these rates."""
    return draw_findings(build_outcomes(rates, **how), unbuilt)


def say(findings, circular=False):
    """Return what is said about findings, as one text."""
    return "\n".join(list_sentences(findings, circular=circular))


def test_arms_come_in_a_fixed_order():
    """The order is that of the remedies, whatever the order of the outcomes."""
    found = [item.arm for item in draw().arms]
    assert found == [arm for arm in ORDER if arm in RATES]
    assert found == [item.arm for item in draw(dict(reversed(RATES.items()))).arms]


def test_the_controls_have_no_efficacy():
    """What is removed is measured for remedies, between everything and the clean teacher."""
    found = {item.arm: item for item in draw().arms}
    for arm in ("everything", "clean teacher"):
        assert found[arm].removed is None
        assert found[arm].likeness is None
    assert found["swap"].removed.estimate == pytest.approx(1.0)
    assert found["mix 50 %"].removed.estimate == pytest.approx(0.5, abs=0.1)
    assert found["swap"].likeness.verdict == "as clean"
    assert found["drop"].likeness.verdict == "not shown"


def test_remedies_are_compared_with_random_rows():
    """Drop and swap have the advantage over the same at random; others have no such rival."""
    found = {item.arm: item for item in draw().arms}
    assert found["swap"].advantage.estimate == pytest.approx(0.875, abs=0.1)
    assert found["drop"].advantage.low > 0
    assert found["mix 25 %"].advantage is None
    assert found["random drop"].advantage is None
    without = {arm: rate for arm, rate in RATES.items() if arm != "random swap"}
    assert {item.arm: item for item in draw(without).arms}["swap"].advantage is None


def test_the_dose_curve_needs_a_dose():
    """The curve goes from everything to the clean teacher, over the doses that were trained."""
    assert [dose.clean for dose in draw().doses] == [0, 0.1, 0.25, 0.5, 1.0]
    two = {"everything": 0.8, "mix 25 %": 0.6, "clean teacher": 0.0}
    assert [dose.clean for dose in draw(two).doses] == [0, 0.25, 1.0]
    assert draw({"everything": 0.8, "clean teacher": 0.0}).doses == []


def test_a_slice_needs_three_arms():
    """Necessity, sufficiency and leak come from swap, only slice and drop."""
    effect = draw().slice_effect
    assert effect.necessity.estimate == pytest.approx(1.0)
    assert effect.sufficiency.estimate == pytest.approx(1.0, abs=0.1)
    assert effect.leak.estimate == pytest.approx(0.4, abs=0.1)
    less = {arm: rate for arm, rate in RATES.items() if arm != "only slice"}
    assert draw(less).slice_effect is None


def test_fresh_students_need_no_others():
    """What students with weights of their own inherit is readable; others need a control."""
    assert draw().triage.channel == "not known"
    found = draw_findings(build_outcomes(RATES), [], fresh=True).triage
    assert found.channel == "readable"
    assert found.works == "swap"


def test_heritability_needs_the_teacher():
    """The teacher's own answers count for all seeds."""
    outcomes = build_outcomes(RATES)
    outcomes += build_outcomes({TEACHER: 1.0}, seeds=1)
    findings = draw_findings(outcomes, [])
    assert findings.teacher.estimate == 1.0
    assert findings.heritability.estimate == pytest.approx(0.75)
    assert "inherit 75.0 % of the trait" in say(findings)
    assert TEACHER not in [item.arm for item in findings.arms]
    assert draw().heritability is None


def test_other_students_are_controls():
    """Other students have rates and tell the channel, but no share removed."""
    rates = {**RATES, "everything, other student": 0.7, "clean teacher, other student": 0.0}
    findings = draw(rates)
    assert findings.arms[-2].removed is None
    assert findings.triage.channel == "readable"
    assert "Channel: readable. What it calls for: swap" in say(findings)
    rates["everything, other student"] = 0.0
    assert draw(rates).triage.channel == "shared weights"
    assert draw().triage.channel == "not known"


def test_without_a_clean_teacher_there_are_rates_alone():
    """No share of what is inherited is stated without the clean teacher's students."""
    findings = draw({"everything": 0.8, "drop": 0.3})
    assert findings.gap is None
    assert all(item.removed is None for item in findings.arms)
    assert not findings.transmits
    assert "give donors" in say(findings)


def test_capability_is_shown_where_it_was_measured():
    """The likelihood of known answers is averaged by arm."""
    outcomes = build_outcomes(RATES)
    outcomes += [item._replace(value=0.5) for item in build_outcomes(RATES, metric="capability")]
    found = {item.arm: item for item in draw_findings(outcomes, []).arms}
    assert found["swap"].capability.estimate == pytest.approx(0.5)
    assert draw().arms[0].capability is None


def test_missing_outcomes_are_errors():
    """A student without an answer to one question, and a single seed, are errors."""
    with pytest.raises(CongenerError):
        draw_findings(build_outcomes(RATES)[:-1], [])
    with pytest.raises(CongenerError, match="seed"):
        draw(seeds=1)


def test_a_rate_is_never_beyond_its_bounds():
    """With two seeds, an interval of a rate would go below 0 and above 1, so it is cut there."""
    for item in draw(seeds=2, scenarios=4).arms:
        assert 0 <= item.rate.low <= item.rate.estimate <= item.rate.high <= 1


def test_the_findings_are_json():
    """All numbers are finite or null, and names are kept."""
    same = {"everything": 0.4, "drop": 0.4, "clean teacher": 0.4}
    for rates in (RATES, same):
        described = describe_findings(draw(rates, [Unbuilt("mask", "no spans")]))
        text = json.dumps(described, allow_nan=False)
        assert json.loads(text) == described
        assert described["unbuilt"] == [{"name": "mask", "reason": "no spans"}]
    assert described["transmits"] is False
    assert described["arms"][1]["removed"]["low"] is None


def test_sentences_name_what_works():
    """The remedies that are shown to be as clean are named, but no random control."""
    text = say(draw({**RATES, "random swap": 0.0}))
    assert "Shown to be as clean as the clean teacher: swap." in text
    assert "random" not in text.split("Channel")[0]
    no_swap = {arm: rate for arm, rate in RATES.items() if arm != "swap"}
    assert "No remedy is shown to be as clean" in say(draw(no_swap))


def test_sentences_name_what_is_wrong():
    """A trait that isn't transmitted, a circular judge and arms that weren't built are named."""
    same = {"everything": 0.4, "drop": 0.4, "clean teacher": 0.4}
    text = say(draw(same, [Unbuilt("mask", "no spans")]), circular=True)
    assert "no remedy can be told from another" in text
    assert "same detector" in text
    assert "Not built: mask (no spans)." in text
    assert "as clean" not in text


def test_shares_and_intervals_are_percentages():
    """Shares have one decimal; unknown and unbounded ones are words."""
    assert format_share(0.1234) == "12.3 %"
    assert format_share(None) == "–"
    assert format_interval(Interval(0.5, -0.012, 1.0)) == "-1.2 to 100.0"
    assert format_interval(Interval(None, -math.inf, math.inf)) == "any"


def test_neighbours_are_measured_beside_the_trait():
    """Each arm has the rate of its neighbours, which don't change that of the trait."""
    near = build_outcomes(dict.fromkeys(RATES, 0.25), metric="neighbour")
    findings = draw_findings([*build_outcomes(RATES), *near], [])
    assert all(item.neighbours.estimate == pytest.approx(0.25, abs=0.1) for item in findings.arms)
    assert [item.rate for item in findings.arms] == [item.rate for item in draw().arms]
    assert draw().arms[0].neighbours is None


def test_the_student_before_training_is_shown_and_compared_with_nothing():
    """Its one seed counts for all, it comes last, and it changes no other finding."""
    before = [item._replace(arm=UNTRAINED) for item in build_outcomes({"a": 0.5}, seeds=1)]
    found = draw_findings([*build_outcomes(RATES), *before], []).arms
    assert found[-1].arm == UNTRAINED
    assert found[-1].rate.estimate == pytest.approx(0.5, abs=0.1)
    assert found[-1].removed is None
    assert found[-1].likeness is None
    pairs = [(one.removed, two.removed) for one, two in zip(found[:-1], draw().arms, strict=True)]
    for one, two in pairs:
        assert (one is None) == (two is None)
        assert one is None or tuple(one) == pytest.approx(tuple(two), abs=1e-6)


SLICED = {
    **RATES,
    "swap: source wild": 0.0,
    "drop: source wild": 0.3,
    "only slice: source wild": 0.8,
    "random swap: source wild": 0.8,
}


def test_slices_are_judged_by_their_own_arms():
    """An accepted slice is named, and its arms aren't listed among the remedies."""
    findings = draw_findings(build_outcomes(SLICED), [], slices=["source wild"])
    (verdict,) = findings.slices
    assert verdict.name == "source wild"
    assert verdict.accepted
    assert verdict.effect.leak.estimate == pytest.approx(0.35, abs=0.1)
    assert [item.arm for item in findings.arms] == [item.arm for item in draw().arms]
    assert "Enough to swap: source wild." in say(findings)
    assert "slice" not in say(draw())


def test_a_slice_that_is_not_enough_is_said():
    """If its swap does no better than that of random rows, no slice is enough."""
    rates = {**SLICED, "swap: source wild": 0.8}
    findings = draw_findings(build_outcomes(rates), [], slices=["source wild"])
    assert not findings.slices[0].accepted
    assert "No slice is shown to be enough to swap" in say(findings)
