"""What `congener lineage` found, as JSON and in sentences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.lineage import Family, Lineage

DECIMALS = 6
"""To how many decimals figures are rounded, so that their bytes don't depend on the machine."""

CERTAIN = 0.9
"""From which probability on a parent is named without reservation."""

LIMITS = (
    (
        "A likeness of answers isn't a proof of training. Two students of one teacher resemble "
        "each other, and a model that isn't among the candidates may be the real parent."
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
        "answers": item.answers,
        "shared_prompts": item.shared_prompts,
        "uses_prompts": item.ranking.uses_prompts,
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


def list_sentences(family: Family) -> Iterator[str]:
    """Yield what a reader must know first."""
    for item in family.lineages:
        yield f"{item.model}: {describe_verdict(item)}."
        if not item.ranking.uses_prompts:
            yield (
                f"{item.model} and some candidate have few answers to the same prompts, so only "
                "their wording was compared. This finds fewer parents."
            )
