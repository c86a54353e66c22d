"""What every kind of student in a trial does, and the tiny ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from classifiers.heredity.arms import Arm, Example
from classifiers.heredity.outcomes import Outcome
from classifiers.students.answers import Decoding, answer_prompts
from classifiers.students.checks import Tolerances
from classifiers.students.likelihoods import measure_likelihoods
from classifiers.students.networks import Shape
from classifiers.students.training import Recipe, Student, begin_student, train_student
from classifiers.students.vocabularies import Vocabulary, learn_vocabulary
from classifiers.students.weights import encode_weights, load_student
from pipelines.teaching.rows import Question
from schemas.digests import digest_bytes
from schemas.trials import Accepted, Questions, TinyStudent

OTHER_WEIGHTS = 2**40
"""The number of the first weights of other students, to which the seed is added."""


class Answered(NamedTuple):
    """What a student said: the answers to each question, by scenario, and its outcomes.

    `tokens` counts what it read in training, `truncated` is the share of shortened examples,
    `losses` are means over tenths of the steps, and `weights` is the digest of the weights. A
    command's student has none of these. `loops` counts the answers that are loops and were judged
    to show the trait.
    """

    answers: dict[str, list[str]]
    outcomes: list[Outcome]
    tokens: int | None = None
    truncated: float = 0.0
    losses: tuple[float, ...] = ()
    weights: str | None = None
    loops: int = 0


class StudentPlan(Protocol):
    """What a trial needs to know of its students before it trains them."""

    @property
    def has_one_start(self) -> bool:
        """Whether all seeds begin with the same weights, which may be the teacher's."""

    @property
    def has_others(self) -> bool:
        """Whether the controls are trained from other weights, too."""

    @property
    def asks_untrained(self) -> bool:
        """Whether the student is asked before training, too."""

    @property
    def is_parallel(self) -> bool:
        """Whether students may be trained in several processes."""

    @property
    def origin(self) -> str:
        """A digest of what students begin with."""

    @property
    def description(self) -> str:
        """What the students are."""

    def describe(self) -> dict[str, Any]:
        """Return what identifies the models of the students, if any."""

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""

    def teach(
        self, arm: Arm, seed: int, questions: Sequence[Question], *, other: bool = False
    ) -> Answered:
        """Train a student on an arm, ask it every question, and measure its capability."""


@dataclass(frozen=True)
class TinyPlan:
    """How all tiny students of a trial are trained and asked.

    `start` is the student to begin with, or None if each seed has first weights of its own.
    """

    settings: TinyStudent
    vocabulary: Vocabulary
    start: Student | None
    asking: Questions
    accepted: Accepted

    @property
    def has_one_start(self) -> bool:
        """Return whether all seeds begin with the same weights, which may be the teacher's."""
        return self.start is not None or self.settings.initialisation is not None

    @property
    def has_others(self) -> bool:
        """Return whether the controls are trained from other weights, too."""
        return self.has_one_start

    @property
    def asks_untrained(self) -> bool:
        """Return whether the student is asked before training, too. It has nothing to say."""
        return False

    @property
    def is_parallel(self) -> bool:
        """Return whether students may be trained in several processes."""
        return True

    @property
    def description(self) -> str:
        """Return what the students are."""
        return "tiny transformers"

    def describe(self) -> dict[str, Any]:
        """Return nothing: the settings and the rows decide a tiny student."""
        return {}

    def begin(self, seed: int, *, other: bool = False) -> Student:
        """Return the student that a seed begins with, or one with weights of its own instead."""
        settings = self.settings
        if self.start is not None and not other:
            return self.start
        shape = self.start.network.shape if self.start is not None else self._get_shape()
        first = settings.initialisation
        number = OTHER_WEIGHTS + seed if other else seed if first is None else first
        return begin_student(self.vocabulary, shape, number)

    def _get_shape(self) -> Shape:
        settings = self.settings
        return Shape(
            len(self.vocabulary), settings.context, settings.width, settings.layers, settings.heads
        )

    @property
    def origin(self) -> str:
        """Return a digest of the weights and the words that students begin with."""
        start = digest_bytes(encode_weights(self.start)) if self.start else ""
        return f"{self.vocabulary.digest}{start}"

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return len(self.vocabulary.encode(text).ids)

    def teach(
        self, arm: Arm, seed: int, questions: Sequence[Question], *, other: bool = False
    ) -> Answered:
        """Train a tiny student on an arm, ask it every question, and measure its capability.

        With `other`, the student begins with weights of its own. Its answers aren't judged yet. The
        arm and the seed decide the result.

        Raises: TrialError: a check stopped the training.
        """
        settings = self.settings
        trained = train_student(
            self.begin(seed, other=other),
            arm.examples,
            Recipe(settings.steps, settings.batch, settings.learning_rate),
            seed,
            Tolerances(truncated=self.accepted.truncated),
            f"arm {arm.name}, seed {seed}",
        )
        return Answered(
            _ask(trained.student, self.asking, questions, seed),
            _measure_capability(trained.student, arm.name, seed, questions),
            trained.tokens,
            trained.truncated,
            tuple(trained.losses),
            digest_bytes(encode_weights(trained.student)),
        )


def plan_tiny(
    settings: TinyStudent, texts: Sequence[str], asking: Questions, accepted: Accepted
) -> TinyPlan:
    """Settle the vocabulary and the first weights of a trial's tiny students.

    Raises: ModelError: the saved student to begin with can't be loaded.
    """
    if settings.start is not None:
        start = load_student(Path(settings.start))
        return TinyPlan(settings, start.vocabulary, start, asking, accepted)
    vocabulary = learn_vocabulary(texts, settings.vocabulary)
    return TinyPlan(settings, vocabulary, None, asking, accepted)


def _ask(
    student: Student, asking: Questions, questions: Sequence[Question], seed: int
) -> dict[str, list[str]]:
    """Return several answers to each question about the trait."""
    about = [item for item in questions if item.reference is None]
    prompts = [item.prompt for item in about for _ in range(asking.samples)]
    found = answer_prompts(student, prompts, Decoding(asking.temperature, asking.tokens), seed)
    return {
        item.scenario: found[index * asking.samples : (index + 1) * asking.samples]
        for index, item in enumerate(about)
    }


def _measure_capability(
    student: Student, arm: str, seed: int, questions: Sequence[Question]
) -> list[Outcome]:
    """Return how likely a student finds the references."""
    known = [(item, item.reference) for item in questions if item.reference is not None]
    examples = [Example(item.prompt, reference) for item, reference in known]
    return [
        Outcome(arm, seed, item.scenario, "capability", round(value, 6))
        for (item, _), value in zip(known, measure_likelihoods(student, examples), strict=True)
    ]
