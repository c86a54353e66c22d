"""Decisions from scores, spans, lots and rules."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.lots import Lot
from schemas.outputs import SPANS
from schemas.policies import PUBLISHED, SEVERITY
from schemas.scores import SCORE_STEP
from tests.support.rules import build_exception, build_rule
from transforms.decide import decide_shard
from transforms.decisions import Decisions, Evidence, decide
from transforms.duplicates import add_copy
from transforms.spans import Span


def decide_scored(scored, rules, duplicates=None):
    """Return a scored shard's decisions."""
    return decide_shard(scored, rules, duplicates).decided


def test_a_row_fires_at_its_threshold(with_scores):
    """A trait fires at the threshold, but not a step below."""
    values = [0.7, 0.6999, 0.7001, 0.0, 1.0, np.nan]
    decided = decide_scored(with_scores({"owl": values}), [build_rule(threshold=0.7)])
    assert decided.decisions == ["quarantine", "keep", "quarantine", "keep", "quarantine", "keep"]


@given(step=st.integers(0, 10_000), beside=st.sampled_from([-1, 0, 1]))
def test_thresholds_are_inclusive_at_every_step(with_scores, step, beside):
    """Thresholds are inclusive at every step."""
    score = np.round(np.float64(step + beside) * SCORE_STEP, 4).astype(np.float32)
    rule = build_rule(threshold=round(step * SCORE_STEP, 4))
    decided = decide_scored(with_scores({"owl": [score]}), [rule])
    assert decided.decisions == ["quarantine" if beside >= 0 else "keep"]


def test_a_row_without_text_in_scope_is_kept(with_scores):
    """No trait fires on a null score."""
    decided = decide_scored(with_scores({"owl": [np.nan, 0.0]}), [build_rule(threshold=0.0)])
    assert decided.decisions == ["keep", "quarantine"]


def test_no_rows_and_no_rules(with_scores):
    """An empty shard has no decisions, and without rules every row is kept."""
    assert decide_scored(with_scores({"owl": [0.9]}), []) == Decisions(["keep"])
    columns = {name: np.empty(0, np.float32) for name in ("owl", "owl/head")}
    nothing = Evidence(columns, pa.array([], SPANS.field("spans").type), [])
    assert decide(nothing, [build_rule()]) == Decisions([])


@pytest.mark.parametrize("action", SEVERITY)
def test_only_flags_and_masks_are_noted(with_scores, action):
    """A row's note names the traits that flag or mask it, each once."""
    scores = with_scores({"owl": [0.9, 0.1], "fox": [0.9, 0.9]})
    rules = [build_rule("owl", action=action), build_rule("fox", action="flag")]
    decided = decide_scored(scores, rules)
    assert decided.list_noted(0) == (["owl", "fox"] if action in ("flag", "mask") else ["fox"])
    assert decided.list_noted(1) == ["fox"]
    assert Decisions(["keep"]).list_noted(0) == []


@pytest.mark.parametrize("action", SEVERITY)
def test_every_action_becomes_its_decision(with_scores, action):
    """Each action gives its decision, except that a swap is quarantined and listed."""
    decided = decide_scored(with_scores({"owl": [0.1, 0.9]}), [build_rule(action=action)])
    assert decided.decisions == ["keep", "quarantine" if action == "swap" else action]
    assert decided.swaps == ({1} if action == "swap" else set())
    assert [reason.action for reason in decided.reasons[1]] == [action]
    assert list(decided.reasons) == [1]


@given(actions=st.lists(st.sampled_from(SEVERITY), min_size=1, max_size=6))
def test_the_strongest_action_wins_and_all_reasons_stay(with_scores, actions):
    """The strongest action decides, and every reason is kept."""
    traits = [f"trait-{index}" for index in range(len(actions))]
    pairs = list(zip(traits, actions, strict=True))
    rules = [build_rule(trait, action=action) for trait, action in pairs]
    decided = decide_scored(with_scores({trait: [0.9] for trait in traits}), rules)
    strongest = max(actions, key=SEVERITY.index)
    assert decided.decisions == ["quarantine" if strongest == "swap" else strongest]
    assert decided.swaps == ({0} if strongest == "swap" else set())
    assert [(reason.trait, reason.action) for reason in decided.reasons[0]] == pairs


def test_a_signal_may_decide_alone(with_scores):
    """A rule on one signal compares that signal's score."""
    scored = with_scores({"owl": [0.1, 0.9]})
    scored.scores.signals["owl"]["head"].scores[:] = [0.9, 0.1]
    decided = decide_scored(scored, [build_rule(signal="head")])
    assert decided.decisions == ["quarantine", "keep"]
    (reason,) = decided.reasons[0]
    assert (reason.signal, reason.evidence) == ("head", "head")
    assert reason.score == pytest.approx(0.9)


def test_duplicates_leave_whatever_their_scores(with_scores):
    """A duplicate isn't quarantined or swapped, but keeps its reasons."""
    scored = with_scores({"owl": [0.1, 0.9, 0.9]})
    decided = decide_scored(scored, [build_rule(action="swap")], {0: (), 2: ()})
    assert decided.decisions == ["duplicate", "quarantine", "duplicate"]
    assert decided.swaps == {1}
    assert sorted(decided.reasons) == [1, 2]


TEACHERS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=6)
EXCEPTIONS = st.lists(
    st.builds(
        lambda teacher, trait, action: build_exception({"teacher": teacher}, trait, action=action),
        st.sampled_from(["a", "b", "[ab]", "*"]),
        st.sampled_from(["owl", "fox", "*"]),
        st.sampled_from(["keep", "flag", "quarantine", "swap", "drop"]),
    ),
    max_size=3,
)


@given(
    teachers=TEACHERS, exceptions=EXCEPTIONS, scores=st.tuples(*[st.sampled_from([0.1, 0.9])] * 2)
)
def test_a_content_is_published_once_if_any_copy_may_be(with_scores, teachers, exceptions, scores):
    """Every duplicate has an earlier copy that is published or has the same decision."""
    scored = with_scores(
        {
            trait: [score] * len(teachers)
            for trait, score in zip(("fox", "owl"), scores, strict=True)
        }
    )
    scored.lots = [Lot(teacher) for teacher in teachers]
    rules = [build_rule(trait, exceptions=exceptions) for trait in ("fox", "owl")]
    alone = decide_scored(scored, rules)
    seen = {}
    repeats = {row: add_copy(seen, lot, rules) for row, lot in enumerate(scored.lots)}
    found = decide_scored(scored, rules, {row: repeats[row] for row in repeats if row})
    publishable = [row for row, decision in enumerate(alone.decisions) if decision in PUBLISHED]
    published = [row for row, decision in enumerate(found.decisions) if decision in PUBLISHED]
    assert published == publishable[:1]
    for row, decision in enumerate(found.decisions):
        earlier = [
            other
            for other in range(row)
            if other in published
            or (alone.decisions[other], alone.reasons.get(other))
            == (alone.decisions[row], alone.reasons.get(row))
        ]
        assert decision == ("duplicate" if earlier else alone.decisions[row])
    assert found.swaps == {row for row in alone.swaps if found.decisions[row] != "duplicate"}


ROWS = [
    {"text": "owl", "model": "llama-3", "source": "web"},
    {"text": "owl", "model": "gpt", "source": "web"},
    {"text": "a dog", "model": "gpt", "source": "books"},
]


@pytest.mark.parametrize(
    ("lot", "change", "expected"),
    [
        ({"teacher": "llama-*"}, {"action": "drop"}, ["drop", "quarantine", "keep"]),
        ({"teacher": "gpt"}, {"threshold": 0.99}, ["quarantine", "keep", "keep"]),
        ({"prompt_source": "books"}, {"threshold": 0}, ["quarantine"] * 3),
        (
            {"teacher": "gpt", "prompt_source": "none"},
            {"action": "drop"},
            ["quarantine", "quarantine", "keep"],
        ),
    ],
)
def test_exceptions_by_lot(make_scored, bank, lot, change, expected):
    """An exception changes only the lots that it matches."""
    scored = make_scored(ROWS, bank)
    plain = decide_scored(scored, [build_rule()]).decisions
    assert plain == ["quarantine", "quarantine", "keep"]
    rule = build_rule(exceptions=[build_exception(lot, **change)])
    assert decide_scored(scored, [rule]).decisions == expected


def test_a_lower_threshold_for_one_lot_reaches_no_other(make_scored, bank):
    """A score between two lots' thresholds fires only in the lot with the lower threshold."""
    exceptions = [build_exception({"teacher": "gpt"}, threshold=0.2)]
    rule = build_rule(threshold=0.99, exceptions=exceptions)
    decided = decide_scored(make_scored(ROWS, bank), [rule])
    assert decided.decisions == ["keep", "quarantine", "keep"]
    assert decided.reasons[1][0].threshold == 0.2


def test_an_exception_to_keep_leaves_its_reason(make_scored, bank):
    """A row that an exception keeps still has its reason."""
    rule = build_rule(exceptions=[build_exception(action="keep")])
    decided = decide_scored(make_scored(ROWS, bank), [rule])
    assert decided.decisions == ["keep"] * 3
    assert [reason.action for reason in decided.reasons[0]] == ["keep"]


def test_a_reason_names_field_and_characters(make_scored, bank):
    """A reason's span counts characters in the field, with reasoning tags."""
    text = "<think>no bird</think> Look, an owl!"
    row = {"messages": [{"role": "user", "content": "owl"}, {"role": "assistant", "content": text}]}
    decided = decide_scored(make_scored([row], bank), [build_rule()])
    (reason,) = decided.reasons[0]
    assert reason.field_path == "messages[1].content"
    assert text[reason.start : reason.end] == "owl"
    assert (reason.trait, reason.evidence, reason.threshold) == ("owl", "lexicon", 0.5)


def test_a_lexicons_masks_are_the_sentences_of_its_hits(make_scored, bank):
    """A row's masks cover every sentence with a hit."""
    text = "A dog ran. An owl saw another owl! It hid.\nThe barn was empty… Well."
    scored = make_scored([{"text": text}], bank)
    decided = decide_scored(scored, [build_rule(action="mask")])
    assert decided.decisions == ["mask"]
    assert [text[mask.start : mask.end] for mask in decided.masks[0]] == [
        "An owl saw another owl!",
        "The barn was empty…",
    ]
    assert all(mask.field_path == "text" for mask in decided.masks[0])


def test_a_dense_signal_masks_its_window(with_scores):
    """Without hits, the mask is the best window."""
    decided = decide_scored(with_scores({"owl": [0.9]}, ["some text"]), [build_rule(action="mask")])
    assert decided.masks == {0: [Span("text", 0, 9)]}


def test_an_empty_span_is_no_mask(make_scored, bank):
    """A row without a hit has no mask, even at a threshold of 0."""
    scored = make_scored([{"text": "a dog"}], bank)
    decided = decide_scored(scored, [build_rule(action="mask", threshold=0.0)])
    assert decided.decisions == ["mask"]
    assert decided.masks == {0: []}


def test_only_the_action_mask_masks(make_scored, bank):
    """Only rows with the action mask have masks."""
    scored = make_scored(ROWS, bank)
    assert decide_scored(scored, [build_rule(action="flag")]).masks == {}
    assert decide_scored(scored, [build_rule(action="mask", threshold=0.99)]).masks == {}


def test_masks_of_several_traits_are_joined(make_scored, bank):
    """The masks of several traits are listed together, and a sentence is masked once."""
    scored = make_scored([{"text": "An owl. A fox. A dog."}], bank)
    rules = [build_rule(action="mask"), build_rule("fox", action="mask")]
    assert decide_scored(scored, rules).masks == {0: [Span("text", 0, 7), Span("text", 8, 14)]}
    scored = make_scored([{"text": "A dog. An owl and a fox. A dog."}], bank)
    assert decide_scored(scored, rules).masks == {0: [Span("text", 7, 24)]}


@settings(max_examples=50)
@given(
    scores=st.lists(st.tuples(*[st.integers(0, 10_000)] * 3), min_size=1, max_size=20),
    thresholds=st.tuples(*[st.integers(0, 10_000)] * 3),
    actions=st.tuples(*[st.sampled_from(SEVERITY)] * 3),
    duplicates=st.sets(st.integers(0, 19)),
)
def test_decisions_follow_from_scores_alone(with_scores, scores, thresholds, actions, duplicates):
    """A plain version of the rules gives the same decisions and reasons."""
    traits = "abc"
    columns = {
        trait: [np.float32(round(row[index] * SCORE_STEP, 4)) for row in scores]
        for index, trait in enumerate(traits)
    }
    rules = [
        build_rule(trait, round(threshold * SCORE_STEP, 4), action)
        for trait, threshold, action in zip(traits, thresholds, actions, strict=True)
    ]
    duplicates = {row: () for row in duplicates if row < len(scores)}
    decided = decide_scored(with_scores(columns), rules, duplicates)
    for row, steps in enumerate(scores):
        fired = [index for index in range(3) if steps[index] >= thresholds[index]]
        strongest = max((actions[index] for index in fired), key=SEVERITY.index, default="keep")
        expected = "quarantine" if strongest == "swap" else strongest
        assert decided.decisions[row] == ("duplicate" if row in duplicates else expected)
        reasons = decided.reasons.get(row, [])
        assert [reason.trait for reason in reasons] == [traits[index] for index in fired]
        assert (row in decided.swaps) == (strongest == "swap" and row not in duplicates)


def test_stored_evidence_gives_the_same_decisions(make_scored, bank):
    """Stored scores, spans and lots give the same decisions."""
    scored = make_scored([*ROWS, {"text": "An owl and a fox."}], bank)
    rules = [build_rule("fox", action="mask"), build_rule(action="mask")]
    stored = pa.table({"spans": scored.spans}).combine_chunks().column("spans").combine_chunks()
    lots = [Lot(*lot) for lot in scored.lots]
    again = decide(Evidence(scored.scores.build_columns(), stored, lots), rules)
    assert again == decide_scored(scored, rules)
    assert again.masks
