"""Students of a trial that are Hugging Face causal models with an adapter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from classifiers.heredity.arms import Arm, Example
from classifiers.heredity.outcomes import Outcome
from classifiers.models.loading import choose_dtype
from classifiers.students.adapters import (
    AdaptedNetwork,
    AdapterShape,
    attach_adapter,
    load_peft,
    require_working_adapter,
)
from classifiers.students.answers import Decoding
from classifiers.students.causal_models import (
    CausalFiles,
    answer_tokens,
    find_causal,
    find_context,
    list_ends,
    load_causal,
    settle_device,
)
from classifiers.students.checks import (
    Tolerances,
    require_same_template,
    require_useful_masks,
    require_whole_examples,
)
from classifiers.students.lessons import Lessons, stack_lessons
from classifiers.students.likelihoods import measure_likelihood
from classifiers.students.networks import compute_repeatably
from classifiers.students.training import Recipe, Steps, run_steps
from pipelines.teaching.chat_lessons import ChatLessons
from pipelines.teaching.rows import Question
from pipelines.teaching.students import Answered
from schemas.digests import digest_bytes, digest_config
from schemas.trials import Accepted, HubModel, LoraStudent, Questions

COMPARED = 2
"""On how many examples logits with and without the adapter are compared."""


@dataclass(frozen=True)
class Learner:
    """A loaded model with its lessons, and the tokens that end its answers."""

    model: Any
    lessons: ChatLessons
    ends: frozenset[int]


@dataclass(frozen=True)
class LoraPlan:
    """How all students with an adapter are trained and asked.

    `other` are the files of a model of another family, or None. One model is loaded at a time.
    """

    settings: LoraStudent
    found: CausalFiles
    other: CausalFiles | None
    device: torch.device
    asking: Questions
    accepted: Accepted
    held: dict[Any, Any] = field(default_factory=dict, compare=False)

    @property
    def has_one_start(self) -> bool:
        """Return whether all seeds begin with the same weights, which may be the teacher's."""
        return True

    @property
    def has_others(self) -> bool:
        """Return whether the controls are trained from other weights, too."""
        return self.other is not None

    @property
    def asks_untrained(self) -> bool:
        """Return whether the student is asked before training, too."""
        return True

    @property
    def is_parallel(self) -> bool:
        """Return whether students may be trained in several processes."""
        return False

    @property
    def description(self) -> str:
        """Return what the students are."""
        return f"LoRA on {self.found.files.name}, on {self.device.type}"

    def describe(self) -> dict[str, Any]:
        """Return what identifies the models, and the device, for the trial's summary."""
        return {
            "device": self.device.type,
            "precision": str(choose_dtype(self.settings.precision, self.device)),
            "model": self.found.identity,
            "other": self.other.identity if self.other else None,
        }

    @property
    def origin(self) -> str:
        """Return a digest of what students begin with and are computed on."""
        return digest_config([self.describe(), torch.__version__])

    @property
    def recipe(self) -> Recipe:
        """Return how students are trained."""
        own = self.settings
        return Recipe(own.steps, own.batch, own.learning_rate, 0.0, own.threads)

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return ChatLessons(self.found.tokenizer, self.settings.context).count(text)

    def teach(
        self, arm: Arm, seed: int, questions: Sequence[Question], *, other: bool = False
    ) -> Answered:
        """Train a student on an arm, ask it every question, and measure its capability.

        An arm without examples stands for the student before training. Its answers aren't judged
        yet. The arm and the seed decide the result, on the same machine.

        Raises: TrialError: a check stopped the training. Raises: ModelError: the model can't be
        used.
        """
        where = f"arm {arm.name}, seed {seed}"
        learner = self._hold("learner", other, lambda: self._load(other))
        with compute_repeatably(self.settings.threads):
            if not arm.examples:
                return self._question(learner, learner.model, None, arm, seed, questions)
            lessons = self._hold(
                "lessons", (arm.name, other), lambda: self._prepare(learner, arm, where)
            )
            with self._attach(learner, seed) as network:
                steps = run_steps(network, lessons, self.recipe, seed, where)
                require_working_adapter(network, _take_whole(lessons), where)
                answered = self._question(learner, network, steps, arm, seed, questions)
                weights = digest_bytes(network.encode_weights())
        truncated = lessons.truncated / len(arm.examples)
        return answered._replace(weights=weights, truncated=truncated)

    def _hold(self, kind: str, key: Any, build: Any) -> Any:
        """Return what was built last for a key, or build it in the place of the last one."""
        if self.held.get(kind, (None,))[0] != (key,):
            self.held.pop(kind, None)  # before another is built: two models may not fit
            self.held[kind] = ((key,), build())
        return self.held[kind][1]

    def _load(self, other: bool) -> Learner:
        found = self.other if other and self.other else self.found
        model = load_causal(found, self.device, self.settings.precision)
        context = find_context(model, self.settings.context)
        lessons = ChatLessons(found.tokenizer, context)
        return Learner(model, lessons, list_ends(model, found.tokenizer, lessons.last))

    def _prepare(self, learner: Learner, arm: Arm, where: str) -> Lessons:
        """Write an arm's examples as tokens, and check them."""
        lessons = learner.lessons.write_all(arm.examples, where)
        require_whole_examples(lessons, Tolerances(truncated=self.accepted.truncated), where)
        require_useful_masks(lessons, where)
        return lessons

    @contextmanager
    def _attach(self, learner: Learner, seed: int) -> Iterator[AdaptedNetwork]:
        own = self.settings
        shape = AdapterShape(own.rank, own.alpha, own.targets)
        trained = learner.lessons.template
        with attach_adapter(learner.model, shape, seed) as network:
            yield network
            require_same_template(trained, learner.lessons.template, "the student")

    def _question(
        self,
        learner: Learner,
        network: torch.nn.Module,
        steps: Steps | None,
        arm: Arm,
        seed: int,
        questions: Sequence[Question],
    ) -> Answered:
        """Ask every question about a trait, and measure how likely the references are."""
        about = [item for item in questions if item.reference is None]
        asking = self.asking
        asked = [
            learner.lessons.fit_question(item.prompt, asking.tokens)
            for item in about
            for _ in range(asking.samples)
        ]
        decoding = Decoding(asking.temperature, asking.tokens, self.settings.threads)
        found = answer_tokens(learner.model, asked, decoding, learner.ends, seed)
        texts = [learner.lessons.tokenizer.decode(ids, skip_special_tokens=True) for ids in found]
        size = asking.samples
        answers = {
            item.scenario: texts[index * size : (index + 1) * size]
            for index, item in enumerate(about)
        }
        known = _measure(learner, network, arm.name, seed, questions)
        if steps is None:
            return Answered(answers, known)
        return Answered(answers, known, steps.tokens, 0.0, tuple(steps.losses))


def plan_lora(settings: LoraStudent, asking: Questions, accepted: Accepted) -> LoraPlan:
    """Find the models of a trial's students and load their tokenizers, but not their weights.

    Raises: ModelError: peft isn't installed, a model can't be found or isn't pinned, or there is no
    such device.
    """
    load_peft()
    found = _find(settings)
    other = _find(settings.other) if settings.other else None
    return LoraPlan(settings, found, other, settle_device(settings.device), asking, accepted)


def _find(wanted: HubModel) -> CausalFiles:
    return find_causal(wanted.model, wanted.revision)


def _take_whole(lessons: Lessons) -> torch.Tensor:
    """Return the tokens of the shortest examples, [examples, length], cut to the same length."""
    rows = lessons.lengths.argsort(stable=True)[:COMPARED]
    return lessons.ids[rows, : int(lessons.lengths[rows].min())]


def _measure(
    learner: Learner, network: torch.nn.Module, arm: str, seed: int, questions: Sequence[Question]
) -> list[Outcome]:
    """Return how likely a student finds the references."""
    plain = network if isinstance(network, AdaptedNetwork) else AdaptedNetwork(network, None, ())
    outcomes = []
    for item in questions:
        if item.reference is not None:
            lesson = learner.lessons.write(Example(item.prompt, item.reference), item.scenario)
            value = measure_likelihood(plain, stack_lessons([lesson]))
            outcomes.append(Outcome(arm, seed, item.scenario, "capability", round(value, 6)))
    return outcomes
