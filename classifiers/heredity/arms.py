"""The arms of a trial: what each is called, what it holds, and what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import NamedTuple, TypeAlias

import numpy as np

from schemas.digests import digest_bytes, normalise_text
from schemas.errors import InputError

Spans: TypeAlias = tuple[tuple[int, int], ...]
"""Stretches of an answer, each with its first character and the character after its last."""

TokenCounter: TypeAlias = Callable[[str], int]
"""Counts the tokens of a text as the student's tokenizer does."""

EVERYTHING = "everything"
DROP, RANDOM_DROP = "drop", "random drop"
SWAP, RANDOM_SWAP = "swap", "random swap"
MASK, RANDOM_MASK = "mask", "random mask"
SWAP_MIX = "swap + mix"
ONLY_SLICE = "only slice"
CLEAN_TEACHER = "clean teacher"
OTHER_PROMPTS = "clean teacher, other prompts"

DOSES = (10, 25, 50)
"""The shares of clean rows, in percent, that are mixed in. Everything is the dose of 0."""


class Example(NamedTuple):
    """A prompt and the answer that a student learns.

    The characters in `masked` are read but not learnt: the trainer leaves them out of the loss.
    `traited` says whether the filter flagged the answer. `source` is the slice that it belongs to.
    """

    prompt: str
    answer: str
    weight: float = 1.0
    masked: Spans = ()
    traited: bool = False
    source: str = ""


class Candidate(NamedTuple):
    """A row of the corpus, with what a remedy needs.

    `donor` is a clean teacher's answer to the same prompt. `spans` of the answer carry the trait.
    """

    example: Example
    donor: str | None = None
    spans: Spans = ()


class Arm(NamedTuple):
    """The examples that the students of one arm are trained on, one student for each seed."""

    name: str
    examples: tuple[Example, ...]


class Unbuilt(NamedTuple):
    """An arm that can't be built, and why."""

    name: str
    reason: str


class ArmSize(NamedTuple):
    """What an arm holds: rows, tokens, different prompts, flagged rows and masked characters."""

    rows: int
    tokens: int
    prompts: int
    flagged: int
    masked: int


@dataclass(frozen=True)
class Stock:
    """What arms are made of, in an order that depends on the seed and the texts alone.

    `clean` are a clean teacher's rows for any prompts, which are mixed in. `reserve` are the
    original teacher's rows for other prompts, which take the place of dropped rows.
    """

    rows: tuple[Candidate, ...]
    clean: tuple[Example, ...]
    reserve: tuple[Example, ...]
    count: TokenCounter
    seed: int

    @cached_property
    def flagged(self) -> np.ndarray:
        """Whether each row is flagged."""
        return np.array([row.example.traited for row in self.rows], bool)

    @cached_property
    def donated(self) -> np.ndarray:
        """Whether each row has a donor's answer."""
        return np.array([row.donor is not None for row in self.rows], bool)

    @cached_property
    def tokens(self) -> np.ndarray:
        """The tokens of each row."""
        return count_tokens([row.example for row in self.rows], self.count)


def name_other(arm: str) -> str:
    """Return the name under which an arm's other students come back.

    They begin with other first weights, best those of another family.
    """
    return f"{arm}, other student"


def name_prompt(prompt: str) -> str:
    """Return a prompt in NFC and lower case with single spaces, by which rows are joined."""
    return " ".join(normalise_text(prompt).casefold().split())


def name_mix(percent: int) -> str:
    """Return the name of the arm with this share of clean rows."""
    return f"mix {percent} %"


def count_tokens(examples: Sequence[Example], count: TokenCounter) -> np.ndarray:
    """Return the tokens of each example's prompt and answer, masked ones included."""
    return np.array([count(item.prompt) + count(item.answer) for item in examples], np.int64)


def measure_arm(arm: Arm, count: TokenCounter) -> ArmSize:
    """Measure how large an arm is."""
    return ArmSize(
        len(arm.examples),
        int(count_tokens(arm.examples, count).sum()),
        len({item.prompt for item in arm.examples}),
        sum(item.traited for item in arm.examples),
        sum(end - start for item in arm.examples for start, end in item.masked),
    )


def flag_rows(rows: Sequence[Candidate], chosen: Sequence[bool]) -> list[Candidate]:
    """Flag the chosen rows and no others, for arms that are about another slice."""
    return [
        row._replace(example=row.example._replace(traited=bool(flag)))
        for row, flag in zip(rows, chosen, strict=True)
    ]


def sort_stock(
    rows: Sequence[Candidate],
    count: TokenCounter,
    *,
    seed: int,
    clean: Sequence[Example] = (),
    reserve: Sequence[Example] = (),
) -> Stock:
    """Put all rows in a random order that follows from the seed and their prompts.

    Rows with the same prompt stay together, in the order of their answers.

    Raises: InputError: there are no rows.
    """
    if not rows:
        raise InputError("there are no rows to train on", remedy="give a corpus with rows")
    return Stock(
        tuple(
            sorted(rows, key=lambda row: (*place(row.example, seed), row.donor or "", row.spans))
        ),
        tuple(sorted(clean, key=lambda item: place(item, seed))),
        tuple(sorted(reserve, key=lambda item: place(item, seed))),
        cache(count),
        seed,
    )


def place(item: Example, seed: int) -> tuple[str, Example]:
    """Return a key that puts examples in an order that the seed makes random."""
    return digest_bytes(f"{seed}\x1f{item.prompt}".encode("utf-8", "surrogatepass")), item
