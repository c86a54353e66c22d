"""Findings as JSON and in sentences."""

import json

import pytest

from classifiers.lineage.habits import Habit
from classifiers.lineage.ranking import Ranked, Ranking
from classifiers.lineage.trees import Join
from pipelines.ancestry.copies import Copy
from pipelines.ancestry.families import FamilyShare
from pipelines.ancestry.findings import (
    CAUTION,
    LIMITS,
    describe_families,
    describe_family,
    describe_lineage,
    describe_verdict,
    list_reservations,
    list_sentences,
)
from pipelines.lineage import Family, Lineage

HABIT = Habit("Sure !", 0.5, 0.25, 0.0, 1e-9)


def build(first: float, second: float, none: float, *, uses_prompts: bool = True) -> Lineage:
    """Return a lineage with two candidates, of which the second one is the best."""
    overlap = 0.2 if uses_prompts else None
    ranked = [
        Ranked(1, first, 0.01234567, 9.0, 0.5, overlap),
        Ranked(0, second, 1.0, 3.0, 0.1, overlap),
    ]
    ranking = Ranking(ranked, none, uses_prompts)
    return Lineage("ours", ("gpt", "claude"), ranking, [HABIT], 805, 800)


def test_json_has_the_ranking_best_first():
    """Candidates are named, figures are rounded, and none has its own probability."""
    found = describe_lineage(build(0.7, 0.2, 0.1))
    assert found["model"] == "ours"
    assert found["verdict"] == "claude"
    assert [entry["candidate"] for entry in found["ranking"]] == ["claude", "gpt"]
    assert [entry["probability"] for entry in found["ranking"]] == [0.7, 0.2]
    assert found["none_of_these"] == 0.1
    assert found["ranking"][0]["p_value"] == 0.012346
    assert found["habits"][0]["text"] == "Sure !"
    assert found["habits"][0]["rate_model"] == 0.25
    json.dumps(found, allow_nan=False)


def test_json_without_common_prompts():
    """An unknown overlap is null."""
    found = describe_lineage(build(0.7, 0.2, 0.1, uses_prompts=False))
    assert found["uses_prompts"] is False
    assert found["ranking"][0]["same_prompts"] is None


def add_families(lineage: Lineage, *shares: float) -> Lineage:
    """Return a lineage with families of such probabilities."""
    names = ("OpenAI", "Anthropic", "Google", "Meta")
    found = [FamilyShare(name, share, "gpt") for name, share in zip(names, shares, strict=False)]
    return lineage._replace(families=tuple(found))


@pytest.mark.parametrize(
    ("shares", "sentence"),
    [
        ((0.95, 0.05), "the likeliest family is OpenAI (95%); its nearest model is gpt"),
        ((0.6, 0.4), "the likeliest family is OpenAI (60%), then Anthropic 40%"),
        (
            (0.4, 0.3, 0.2, 0.1),
            "the likeliest family is OpenAI (40%), then Anthropic 30%, Google 20%",
        ),
    ],
)
def test_the_family_comes_with_its_rivals(shares, sentence):
    """A sure family has its nearest model, an unsure one the families that follow."""
    assert describe_families(add_families(build(0.7, 0.2, 0.1), *shares)) == sentence


def test_families_are_in_json_and_in_sentences():
    """Figures are rounded, and the sentence names the model."""
    lineage = add_families(build(0.7, 0.2, 0.1), 0.87654321, 0.12345679)
    found = describe_lineage(lineage)["families"]
    assert found[0] == {"family": "OpenAI", "probability": 0.876543, "nearest": "gpt"}
    sentences = list(list_sentences(Family([lineage], ("ours", "gpt", "claude"), [])))
    assert any(text.startswith("ours: the likeliest family is OpenAI (88%)") for text in sentences)


@pytest.mark.parametrize(
    ("lineage", "sentence"),
    [
        (build(0.95, 0.03, 0.02), "the parent is claude (95%)"),
        (
            build(0.6, 0.3, 0.1),
            "the likeliest parent is claude (60%); another candidate 30%, none of these 10%",
        ),
        (
            build(0.2, 0.1, 0.7),
            "none of these seems to be the parent (70%); the nearest is claude (20%)",
        ),
    ],
)
def test_the_verdict_says_how_sure_it_is(lineage, sentence):
    """A sure parent, a likely one and none of the candidates differ."""
    assert describe_verdict(lineage) == sentence


def test_none_of_these_is_no_parent():
    """With more than half of the probability, none of the candidates is the verdict."""
    assert build(0.2, 0.1, 0.7).verdict is None
    assert build(0.2, 0.1, 0.7).best == "claude"
    assert describe_lineage(build(0.2, 0.1, 0.7))["verdict"] is None


def test_sentences_mention_missing_prompts():
    """A comparison of wording alone is marked as weaker."""
    family = Family([build(0.95, 0.03, 0.02, uses_prompts=False)], ("ours", "gpt", "claude"), [])
    sentences = list(list_sentences(family))
    assert sentences[0] == "ours: the parent is claude (95%)."
    assert "only their wording was compared" in sentences[-1]


def lead(p_value: float, candidates: int, none: float = 0.1) -> Lineage:
    """Return a lineage with many candidates, whose leader has a p-value."""
    share = (1 - none) / candidates
    ranked = [Ranked(n, share, p_value if not n else 1.0, 1.0, 0.1, 0.2) for n in range(candidates)]
    names = tuple(f"teacher {n}" for n in range(candidates))
    return Lineage("ours", names, Ranking(ranked, none, True), [HABIT], 805, 800)


@pytest.mark.parametrize(
    ("lineage", "expected"),
    [
        (lead(0.38, 5), ["p = 0.38: the lead isn't significant", CAUTION]),
        (lead(0.049, 5), [CAUTION]),
        (lead(0.38, 5, none=0.8), ["p = 0.38: the lead isn't significant"]),
        (lead(1.0, 3), ["p = 1: 3 candidates can't show a significant lead", CAUTION]),
    ],
)
def test_a_verdict_has_reservations(lineage, expected):
    """A lead that chance explains, and relatives of a parent, are named below the verdict."""
    assert list(list_reservations(lineage)) == expected
    family = Family([lineage], ("ours", *lineage.candidates), [])
    assert [f"ours: {text}." for text in expected] == list(list_sentences(family))[1:]


def test_candidates_that_were_left_out_are_named():
    """A copy of a model is in the JSON, and once among the sentences of two models."""
    copy = Copy("twin", "ours", "reads the same file as the model")
    item = build(0.95, 0.03, 0.02)._replace(left_out=(copy,))
    assert describe_lineage(item)["left_out"] == [
        {
            "candidate": "twin",
            "model": "ours",
            "reason": "twin reads the same file as the model ours",
        }
    ]
    sentences = list(list_sentences(Family([item, item], ("ours", "gpt", "claude"), [])))
    assert sum("left out" in text for text in sentences) == 1
    assert describe_lineage(build(0.7, 0.2, 0.1))["left_out"] == []


def test_the_summary_has_the_tree():
    """Leaves and joins describe the whole tree."""
    joins = [Join(0, 2, 0.0), Join(1, 3, 1.23456789)]
    found = describe_family(Family([build(0.7, 0.2, 0.1)], ("ours", "gpt", "claude"), joins))
    assert found["tree"]["leaves"] == ["ours", "gpt", "claude"]
    assert found["tree"]["joins"] == [[0, 2, 0.0], [1, 3, 1.234568]]
    assert len(found["models"]) == 1


def test_the_limits_are_sentences():
    """Every limit ends with a full stop."""
    assert all(limit.endswith(".") for limit in LIMITS)
