"""What `congener lineage` found, as JSON and in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from classifiers.lineage.habits import LARGEST_Q
from schemas.notices import format_count

if TYPE_CHECKING:
    from pipelines.lineage import Family, Lineage

DECIMALS = 6
"""To how many decimals figures are rounded, so that their bytes don't depend on the machine."""

CERTAIN = 0.9
"""From which probability on a parent is named without reservation."""

SIGNIFICANT = 0.05
"""Below this p-value the lead of a candidate is significant."""

FEWEST_TESTED = 4
"""With fewer candidates, a lead has no p-value: at least three others must be controls."""

CAUTION = "a sibling or a child looks just like a parent"

NO_HABITS = f"no habit passes the false discovery rate of {100 * LARGEST_Q:.0f} %"

LIMITS = (
    (
        "A likeness of answers isn't a proof of training. Two students of one teacher resemble "
        "each other, so a sibling or a child looks just like a parent, and a model that isn't "
        "among the candidates may be the real parent."
    ),
    (
        "The probabilities were fitted on 22 students of 14 teachers from 2023 and 2024, with some "
        "800 English answers each. With other languages, fewer answers or newer models they are "
        "rough."
    ),
    (
        "Several parents of one model aren't told apart: the ranking looks for the one that "
        "explains most. Weights that were merged can show as either parent."
    ),
    (
        "Habits are counted in the words of answers. What passes from teacher to student without "
        "leaving a trace in them isn't found."
    ),
)
"""What every report leaves open."""


def describe_lineage(item: Lineage) -> dict[str, Any]:
    """Return a model's ranking, its verdict and its habits for JSON."""
    return {
        "model": item.model,
        "verdict": item.verdict,
        "ranking": [
            {
                "candidate": item.candidates[ranked.candidate],
                "probability": round(ranked.probability, DECIMALS),
                "p_value": round(ranked.p_value, DECIMALS),
                "evidence": round(ranked.evidence, DECIMALS),
                "wording": round(ranked.wording, DECIMALS),
                "same_prompts": None if ranked.overlap is None else round(ranked.overlap, DECIMALS),
            }
            for ranked in item.ranking.candidates
        ],
        "none_of_these": round(item.ranking.none, DECIMALS),
        "left_out": [
            {"candidate": copy.name, "model": copy.model, "reason": str(copy)}
            for copy in item.left_out
        ],
        "answers": item.answers,
        "shared_prompts": item.shared_prompts,
        "uses_prompts": item.ranking.uses_prompts,
        "families": [
            {
                "family": share.family,
                "probability": round(share.probability, DECIMALS),
                "nearest": share.nearest,
            }
            for share in item.families
        ],
        "habits": [
            {
                "text": habit.text,
                "rate_parent": round(habit.parent, DECIMALS),
                "rate_model": round(habit.student, DECIMALS),
                "rate_others": round(habit.others, DECIMALS),
                "q_value": round(habit.q_value, DECIMALS),
            }
            for habit in item.habits
        ],
    }


def describe_family(family: Family) -> dict[str, Any]:
    """Return everything that was found for JSON. The tree's branches are numbered as in `Join`."""
    return {
        "models": [describe_lineage(item) for item in family.lineages],
        "tree": {
            "leaves": list(family.names),
            "joins": [
                [join.left, join.right, round(join.distance, DECIMALS)] for join in family.tree
            ],
        },
    }


def describe_verdict(item: Lineage) -> str:
    """Say which candidate is the parent, and how sure that is."""
    best = item.ranking.candidates[0]
    if item.is_none:
        return (
            f"none of these seems to be the parent ({item.ranking.none:.0%}); the nearest is "
            f"{item.best} ({best.probability:.0%})"
        )
    if best.probability >= CERTAIN:
        return f"the parent is {item.best} ({best.probability:.0%})"
    rest = 1 - best.probability - item.ranking.none
    return (
        f"the likeliest parent is {item.best} ({best.probability:.0%}); another candidate "
        f"{rest:.0%}, none of these {item.ranking.none:.0%}"
    )


def describe_families(item: Lineage) -> str:
    """Say which family is the likeliest, and how sure that is. `item` has families."""
    best = item.families[0]
    text = f"the likeliest family is {best.family} ({best.probability:.0%})"
    if best.probability >= CERTAIN:
        return f"{text}; its nearest model is {best.nearest}"
    rest = ", ".join(f"{share.family} {share.probability:.0%}" for share in item.families[1:3])
    return f"{text}, then {rest}"


def list_reservations(item: Lineage) -> Iterator[str]:
    """Yield what makes the verdict less sure than its probability."""
    p_value = item.ranking.candidates[0].p_value
    candidates = len(item.ranking.candidates)
    if candidates < FEWEST_TESTED:
        yield f"p = 1: {format_count(candidates, 'candidate')} can't show a significant lead"
    elif p_value >= SIGNIFICANT:
        yield f"p = {p_value:.2f}: the lead isn't significant"
    if item.verdict:
        yield CAUTION


def list_sentences(family: Family) -> Iterator[str]:
    """Yield what a reader must know first."""
    for item in family.lineages:
        yield f"{item.model}: {describe_verdict(item)}."
        for text in list_reservations(item):
            yield f"{item.model}: {text}."
        if item.families:
            yield f"{item.model}: {describe_families(item)}."
        if not item.ranking.uses_prompts:
            yield (
                f"{item.model} and some candidate have few answers to the same prompts, so only "
                "their wording was compared. This finds fewer parents."
            )
    for copy in dict.fromkeys(copy for item in family.lineages for copy in item.left_out):
        yield f"{copy}, so it was left out of the candidates."
