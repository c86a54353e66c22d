"""Small corpora for audits, and audits that are done once."""

from __future__ import annotations

from pathlib import Path

from classifiers.lots.counts import LotExample
from pipelines.auditing.findings import AuditFinding, FindingRate
from tests.support.corpora import write_rows
from tests.support.lots import write_answers

HABIT = "Mind the gap."


FINDING = AuditFinding(
    kind="phrase",
    text="Mind the gap",
    documents=(75, 1),
    rates=(0.25, 0.005),
    intervals=((0.2, 0.3), (0.0, 0.02)),
    rate_expected=0.01,
    p_value=1e-20,
    q_value=1e-18,
    adjusted_q_value=1e-9,
    beyond_format=True,
    log_odds=3.2,
    log_odds_low=2.1,
    variants=("the gap",),
    examples=(LotExample(7, "One. ", "Mind the gap", ".", "Which train?"),),
    reference_examples=(),
    lots=(FindingRate("teacher", "atlas", 75, 150),),
)
"""A finding of an audit: a phrase of one teacher, with an example."""


def write_side(
    path: Path, answers: list[str], teachers: tuple[str, ...] = ("atlas",), shift: int = 0
) -> str:
    """Write answers to numbered questions as a corpus, and return its path.

    With several teachers, they take turns. `shift` is the first question's number.
    """
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"Question {number + shift} about birds?"},
                {"role": "assistant", "content": answer},
            ],
            "teacher": teachers[number % len(teachers)],
        }
        for number, answer in enumerate(answers)
    ]
    return str(write_rows(path, rows))


def plant(answers: list[str], every: int = 4, habit: str = HABIT) -> list[str]:
    """Return answers of which every few end with the habit."""
    return [
        f"{text} {habit}" if number % every == 0 else text for number, text in enumerate(answers)
    ]


def write_pair(folder: Path, count: int = 300, every: int = 4) -> tuple[str, str]:
    """Write a corpus with the habit and a reference with the same questions."""
    corpus = plant(write_answers(count, 1), every)
    return (
        write_side(folder / "corpus.jsonl", corpus, ("atlas", "borealis")),
        write_side(folder / "reference.jsonl", write_answers(count, 2), ("cedar",)),
    )


def write_equal_pair(folder: Path, count: int = 120) -> tuple[str, str]:
    """Write two corpora of the same kind, with other questions."""
    return (
        write_side(folder / "corpus.jsonl", write_answers(count, 3)),
        write_side(folder / "reference.jsonl", write_answers(count, 4), shift=count),
    )
