"""The arms of a trial: the same corpus with and without remedies, at equal rows and tokens."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

Spans: TypeAlias = tuple[tuple[int, int], ...]
"""Stretches of an answer, each with its first character and the character after its last."""

EVERYTHING = "everything"
DROP, RANDOM_DROP = "drop", "random drop"
SWAP, RANDOM_SWAP = "swap", "random swap"
MASK, RANDOM_MASK = "mask", "random mask"
SWAP_MIX = "swap + mix"
ONLY_SLICE = "only slice"
CLEAN_TEACHER = "clean teacher"

DOSES = (10, 25, 50)
"""The shares of clean rows, in percent, that are mixed in. Everything is the dose of 0."""


class Example(NamedTuple):
    """A prompt and the answer that a student learns.

    The characters in `masked` are read but not learnt: the trainer leaves them out of the loss.
    `traited` says whether the filter flagged the row. `source` is the slice that it belongs to.
    """

    prompt: str
    answer: str
    weight: float = 1.0
    masked: Spans = ()
    traited: bool = False
    source: str = ""


class Arm(NamedTuple):
    """The examples that the students of one arm are trained on, one student for each seed."""

    name: str
    examples: tuple[Example, ...]


class Unbuilt(NamedTuple):
    """An arm that can't be built, and why."""

    name: str
    reason: str


def name_mix(percent: int) -> str:
    """Return the name of the arm with this share of clean rows."""
    return f"mix {percent} %"
