"""From scores to decisions."""

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that, equal_to
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.guarantees.calibration import STEP, Threshold
from pipelines.config import Engine
from pipelines.engines.launch import engine_pipeline
from schemas.cards import Level
from schemas.corpora import CorpusConfig
from schemas.errors import CardError
from schemas.policies import SEVERITY, LotException, LotPattern, Policy
from transforms.decide import DecideRecords, Mask, Rule, decide, settle_rules
from transforms.identify import Lot


def rule(trait="owl", threshold=0.5, action="quarantine", exceptions=(), signal="combined"):
    """Make a rule with an explicit threshold."""
    return Rule(trait, signal, Threshold(threshold, "explicit"), Level(), action, tuple(exceptions))


def exception(lot=None, trait="owl", **change):
    """Make an exception for lots."""
    return LotException(trait=trait, lot=LotPattern(**(lot or {})), reason="test", **change)


def policy(**fields):
    """Make a policy."""
    return Policy.model_validate(fields)


def test_a_row_fires_at_its_threshold(with_scores):
    """The threshold itself fires; one rounding step below it doesn't, though both are binary fractions."""
    values = [0.7, 0.6999, 0.7001, 0.0, 1.0, np.nan]
    assert decide(with_scores({"owl": values}), [rule(threshold=0.7)]).decisions == [
        "quarantine",
        "keep",
        "quarantine",
        "keep",
        "quarantine",
        "keep",
    ]


@given(step=st.integers(0, 10_000), beside=st.sampled_from([-1, 0, 1]))
def test_thresholds_are_inclusive_at_every_step(with_scores, step, beside):
    """At each of the 10,001 scores there are, float32 and float64 agree on what reaches a threshold."""
    score = np.round(np.float64(step + beside) * STEP, 4).astype(np.float32)
    decided = decide(with_scores({"owl": [score]}), [rule(threshold=round(step * STEP, 4))])
    assert decided.decisions == ["quarantine" if beside >= 0 else "keep"]


def test_a_row_without_text_in_scope_is_kept(with_scores):
    """A null score fires nothing, even at a threshold of 0."""
    decided = decide(with_scores({"owl": [np.nan, 0.0]}), [rule(threshold=0.0)])
    assert decided.decisions == ["keep", "quarantine"]


@pytest.mark.parametrize("action", [*SEVERITY])
def test_every_action_becomes_its_decision(with_scores, action):
    """An action is the decision; a swap waits in quarantine and on the swap list."""
    decided = decide(with_scores({"owl": [0.1, 0.9]}), [rule(action=action)])
    assert decided.decisions == ["keep", "quarantine" if action == "swap" else action]
    assert decided.swaps == ({1} if action == "swap" else set())
    assert [reason.action for reason in decided.reasons[1]] == [action]
    assert list(decided.reasons) == [1]


@given(actions=st.lists(st.sampled_from(SEVERITY), min_size=1, max_size=6))
def test_the_strongest_action_wins_and_all_reasons_stay(with_scores, actions):
    """In whatever order the traits come, the strongest action decides, and each trait's reason is kept."""
    traits = [f"trait-{place}" for place in range(len(actions))]
    rules = [rule(trait, action=action) for trait, action in zip(traits, actions, strict=True)]
    decided = decide(with_scores({trait: [0.9] for trait in traits}), rules)
    strongest = max(actions, key=SEVERITY.index)
    assert decided.decisions == ["quarantine" if strongest == "swap" else strongest]
    assert decided.swaps == ({0} if strongest == "swap" else set())
    assert [(reason.trait, reason.action) for reason in decided.reasons[0]] == list(
        zip(traits, actions, strict=True)
    )


def test_a_signal_may_decide_alone(with_scores):
    """A rule over one signal looks at its score, not at the combined one."""
    scored = with_scores({"owl": [0.1, 0.9]})
    scored.scores.signals["owl"]["head"].scores[:] = [0.9, 0.1]
    decided = decide(scored, [rule(signal="head")])
    assert decided.decisions == ["quarantine", "keep"]
    (reason,) = decided.reasons[0]
    assert (reason.signal, reason.evidence) == ("head", "head")
    assert reason.score == pytest.approx(0.9)


def test_duplicates_leave_whatever_their_scores(with_scores):
    """A duplicate is that, not quarantined nor on the swap list; its reasons stay."""
    decided = decide(
        with_scores({"owl": [0.1, 0.9, 0.9]}), [rule(action="swap")], frozenset({0, 2})
    )
    assert decided.decisions == ["duplicate", "quarantine", "duplicate"]
    assert decided.swaps == {1}
    assert sorted(decided.reasons) == [1, 2]


ROWS = [
    {"text": "owl", "model": "llama-3", "source": "web"},
    {"text": "owl", "model": "gpt", "source": "web"},
    {"text": "a dog", "model": "gpt", "source": "books"},
]


def decisions(make_scored, bank, **change):
    """Decide the rows of two teachers, with exceptions."""
    return decide(make_scored(ROWS, bank), [rule(**change)]).decisions


def test_exceptions_by_lot(make_scored, bank):
    """An exception changes action or threshold on the lots that it matches, and on no other."""
    assert decisions(make_scored, bank) == ["quarantine", "quarantine", "keep"]
    assert decisions(
        make_scored, bank, exceptions=[exception({"teacher": "llama-*"}, action="drop")]
    ) == ["drop", "quarantine", "keep"]
    assert decisions(
        make_scored, bank, exceptions=[exception({"teacher": "gpt"}, threshold=0.99)]
    ) == ["quarantine", "keep", "keep"]
    assert (
        decisions(
            make_scored, bank, exceptions=[exception({"prompt_source": "books"}, threshold=0)]
        )
        == ["quarantine"] * 3
    )
    assert decisions(
        make_scored,
        bank,
        exceptions=[exception({"teacher": "gpt", "prompt_source": "none"}, action="drop")],
    ) == [
        "quarantine",
        "quarantine",
        "keep",
    ]


def test_a_lower_threshold_for_one_lot_reaches_no_other(make_scored, bank):
    """Rows between two lots' thresholds fire only in the lot of the lower one."""
    found = decisions(
        make_scored, bank, threshold=0.99, exceptions=[exception({"teacher": "gpt"}, threshold=0.2)]
    )
    assert found == ["keep", "quarantine", "keep"]


def test_the_last_exception_counts_field_by_field():
    """Action and threshold are taken each from the last matching exception that names it."""
    exceptions = [
        exception(threshold=0.1, action="drop"),
        exception({"teacher": "m"}, action="keep"),
        exception({"teacher": "x"}, threshold=0.9),
    ]
    assert rule(exceptions=exceptions).for_lot(Lot("m", "-", "-", "-")) == (0.1, "keep")
    assert rule(exceptions=exceptions).for_lot(Lot("x", "-", "-", "-")) == (0.9, "drop")
    assert rule().for_lot(Lot("m", "-", "-", "-")) == (0.5, "quarantine")


def test_an_exception_to_keep_leaves_its_reason(make_scored, bank):
    """A row that is kept by exception says why it would have left."""
    decided = decide(make_scored(ROWS, bank), [rule(exceptions=[exception(action="keep")])])
    assert decided.decisions == ["keep"] * 3
    assert [reason.action for reason in decided.reasons[0]] == ["keep"]


def test_a_reason_names_field_and_characters(make_scored, bank):
    """The stretch that scored highest is named by path and characters of the field, reasoning tags counted."""
    text = "<think>no bird</think> Look, an owl!"
    row = {"messages": [{"role": "user", "content": "owl"}, {"role": "assistant", "content": text}]}
    decided = decide(make_scored([row], bank), [rule()])
    (reason,) = decided.reasons[0]
    assert reason.segment == "messages[1].content"
    assert text[reason.start : reason.end] == "owl"
    assert (reason.trait, reason.evidence, reason.threshold) == ("owl", "lexicon", 0.5)


MASKING = CorpusConfig()


def masked(make_scored, bank, row):
    """Mask a row of messages; return what the masks cover, field by field."""
    decided = decide(make_scored([row], bank, MASKING), [rule(action="mask")])
    assert decided.decisions == ["mask"]
    fields = {
        f"messages[{place}].content": message["content"]
        for place, message in enumerate(row["messages"])
    }
    return [
        (mask.segment, fields[mask.segment][mask.start : mask.end]) for mask in decided.masks[0]
    ]


def test_masks_cover_the_sentences(make_scored, bank):
    """Each sentence with a hit is masked, whole and once, and nothing else."""
    text = "A dog ran. An owl saw another owl! It hid.\nThe barn was empty… Well."
    row = {"messages": [{"role": "assistant", "content": text}]}
    assert masked(make_scored, bank, row) == [
        ("messages[0].content", "An owl saw another owl! "),
        ("messages[0].content", "The barn was empty… "),
    ]


def test_masks_count_from_the_fields_start(make_scored, bank):
    """After a reasoning block the mask still covers the sentence in the field."""
    row = {"messages": [{"role": "assistant", "content": "<think>hm. hm.</think>No. An owl."}]}
    assert masked(make_scored, bank, row) == [("messages[0].content", "An owl.")]


def test_masks_cover_every_turn(make_scored, bank):
    """Hits in several turns and channels are all masked; those of the user aren't the student's to learn."""
    row = {
        "messages": [
            {"role": "assistant", "content": "An owl. A dog."},
            {"role": "user", "content": "An owl?"},
            {"role": "assistant", "content": "<think>The barn? Yes.</think>The owl in the barn."},
        ]
    }
    assert masked(make_scored, bank, row) == [
        ("messages[0].content", "An owl. "),
        ("messages[2].content", "The barn? "),
        ("messages[2].content", "The owl in the barn."),
    ]


def test_a_mask_of_tool_calls_is_of_all_of_them(make_scored, make_bank):
    """A hit's place in the canonical JSON is none in the field: all calls of that message are masked, once, and no other message's."""
    caller = make_bank(
        [
            {
                "id": "owl",
                "signals": {"lexicon": {"patterns": ["owls?"], "quoted": "count"}},
                "scope": {"channels": ["answer", "tool"]},
            }
        ]
    )
    calls = [{"id": "b", "function": {"name": "find", "arguments": "an owl. Two owls."}}]
    row = {
        "messages": [
            {"role": "assistant", "content": "An owl. A dog.", "tool_calls": calls},
            {
                "role": "assistant",
                "content": "A dog.",
                "tool_calls": [{"id": "c", "function": {"name": "find", "arguments": "a dog"}}],
            },
        ]
    }
    decided = decide(make_scored([row], caller, MASKING), [rule(action="mask")])
    canonical = '[{"function":{"arguments":"an owl. Two owls.","name":"find"},"id":"b"}]'
    assert decided.masks[0] == [
        Mask("messages[0].content", 0, 8),
        Mask("messages[0].tool_calls", 0, len(canonical)),
    ]


def test_a_dense_signal_masks_its_window(with_scores):
    """Without a lexicon's words the mask is the window that scored highest."""
    decided = decide(with_scores({"owl": [0.9]}, ["some text"]), [rule(action="mask")])
    assert decided.masks == {0: [Mask("text", 0, 9)]}


def test_no_mask_below_the_threshold_or_by_another_action(make_scored, bank):
    """Only the action `mask` masks."""
    decided = decide(make_scored(ROWS, bank), [rule(action="flag")])
    assert decided.masks == {}


def test_rules_take_the_cards_threshold(bank):
    """Without a policy, each trait has its card's threshold and action, in the bank's order."""
    rules = settle_rules(bank, Policy())
    assert [
        (item.trait, item.threshold.value, item.threshold.origin, item.action) for item in rules
    ] == [
        ("fox", 0.5, "explicit", "flag"),
        ("owl", 0.5, "explicit", "quarantine"),
    ]


def test_the_policy_overrides_field_by_field(bank):
    """The policy's threshold, action and signal replace the card's; what it doesn't name stays."""
    rules = settle_rules(
        bank,
        policy(traits={"owl": {"threshold": 0.9, "signal": "lexicon"}, "fox": {"action": "drop"}}),
    )
    assert [(item.trait, item.signal, item.threshold.value, item.action) for item in rules] == [
        ("fox", "combined", 0.5, "drop"),
        ("owl", "lexicon", 0.9, "quarantine"),
    ]


def test_a_level_in_the_policy_sets_the_cards_threshold_aside(bank):
    """Who asks for a false positive rate gets a calibrated threshold; all clean texts score 0, so one step above that."""
    owl = settle_rules(bank, policy(traits={"owl": {"max_false_positive_rate": 0.02}}))[1]
    assert owl.threshold.origin == "calibrated"
    assert owl.threshold.value == pytest.approx(STEP)
    assert owl.threshold.bound <= 0.02
    assert (owl.level.max_false_positive_rate, owl.level.confidence) == (0.02, 0.95)


def test_an_explicit_threshold_counts_its_clean_texts(bank_copy):
    """The clean texts at or above an explicit threshold are counted, those without a score aren't."""
    bank_copy.traits["owl"].calibration["combined"] = np.array(
        [0.1, 0.5, 0.4999, 0.9, np.nan], np.float32
    )
    threshold = settle_rules(bank_copy, Policy())[1].threshold
    assert (threshold.clean, threshold.exceeding, threshold.bound) == (4, 2, None)


def test_missing_calibration_is_refused(bank):
    """A level that takes more clean texts than there are is refused with the number that is missing, and what helps."""
    held = len(bank.traits["owl"].calibration["combined"])
    with pytest.raises(CardError) as caught:
        settle_rules(bank, policy(traits={"owl": {"max_false_positive_rate": 0.001}}))
    problem = str(caught.value)
    assert (
        "trait owl: a false positive rate of 0.001 at confidence 0.95 takes 2995 clean texts"
        in problem
    )
    assert f"library background holds out {held}: {2995 - held} are missing" in problem
    assert "--background" in problem


def test_unknown_traits_and_signals_are_refused(bank):
    """A policy that names what isn't there is refused, naming what is."""
    with pytest.raises(CardError, match="trait 'own', which this run doesn't have") as caught:
        settle_rules(bank, policy(traits={"own": {"action": "drop"}}))
    assert "fox, owl" in str(caught.value)
    with pytest.raises(CardError, match="trait 'owls'"):
        settle_rules(bank, Policy(exceptions=(exception(trait="owls", action="keep"),)))
    with pytest.raises(CardError, match="signal 'head' of trait owl, which has lexicon"):
        settle_rules(bank, policy(traits={"owl": {"signal": "head"}}))


def test_exceptions_reach_their_traits(bank):
    """An exception is for its trait, or with a star for all of them, in the policy's order."""
    every, owl = exception(trait="*", action="keep"), exception(action="drop")
    rules = settle_rules(bank, Policy(exceptions=(every, owl)))
    assert [item.exceptions for item in rules] == [(every,), (every, owl)]


@settings(max_examples=50)
@given(
    scores=st.lists(st.tuples(*[st.integers(0, 10_000)] * 3), min_size=1, max_size=20),
    thresholds=st.tuples(*[st.integers(0, 10_000)] * 3),
    actions=st.tuples(*[st.sampled_from(SEVERITY)] * 3),
    doubles=st.sets(st.integers(0, 19)),
)
def test_decisions_follow_from_scores_alone(with_scores, scores, thresholds, actions, doubles):
    """A plain restatement of the rules gives the same decisions and reasons."""
    traits = "abc"
    columns = {
        trait: [np.float32(round(row[at] * STEP, 4)) for row in scores]
        for at, trait in enumerate(traits)
    }
    rules = [
        rule(trait, round(thresholds[at] * STEP, 4), actions[at]) for at, trait in enumerate(traits)
    ]
    doubles = frozenset(place for place in doubles if place < len(scores))
    decided = decide(with_scores(columns), rules, doubles)
    for place, row in enumerate(scores):
        fired = [at for at in range(3) if row[at] >= thresholds[at]]
        strongest = max((actions[at] for at in fired), key=SEVERITY.index, default="keep")
        wanted = (
            "duplicate" if place in doubles else "quarantine" if strongest == "swap" else strongest
        )
        assert decided.decisions[place] == wanted
        assert [reason.trait for reason in decided.reasons.get(place, [])] == [
            traits[at] for at in fired
        ]
        assert (place in decided.swaps) == (strongest == "swap" and place not in doubles)


def outcome(decided):
    """Return a shard's name, decisions, and each row's traits."""
    return (
        decided.scored.identified.shard.plan.name,
        decided.decisions,
        {row: [reason.trait for reason in reasons] for row, reasons in decided.reasons.items()},
        {row: [tuple(mask) for mask in masks] for row, masks in decided.masks.items()},
    )


def test_decide_records_on_beam(make_scored, bank):
    """The transform decides every shard by the rules."""
    shards = [make_scored(ROWS, bank, name="part-0"), make_scored(ROWS[2:], bank, name="part-1")]
    rules = [rule("fox", action="mask"), rule(action="mask")]
    wanted = [outcome(decide(shard, rules)) for shard in shards]
    assert wanted[0][3]
    with engine_pipeline(Engine()) as pipeline:
        decided = pipeline | beam.Create(shards) | DecideRecords(rules)
        assert_that(decided | beam.Map(outcome), equal_to(wanted))


def test_duplicates_come_as_a_side_input(make_scored, bank):
    """Places of duplicates reach their shard, and no other."""
    shards = [make_scored(ROWS, bank, name="part-0"), make_scored(ROWS, bank, name="part-1")]
    with engine_pipeline(Engine()) as pipeline:
        found = pipeline | "Found" >> beam.Create([("part-1", [1, 2])])
        decided = pipeline | "Shards" >> beam.Create(shards) | DecideRecords([rule()], found)
        names = decided | beam.Map(
            lambda item: (item.scored.identified.shard.plan.name, item.decisions)
        )
        assert_that(
            names,
            equal_to(
                [
                    ("part-0", ["quarantine", "quarantine", "keep"]),
                    ("part-1", ["quarantine", "duplicate", "duplicate"]),
                ]
            ),
        )
