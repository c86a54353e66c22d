"""Train a tiny student on an arm's examples, with a stated number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from classifiers.students.checks import (
    Tolerances,
    require_finite,
    require_useful_masks,
    require_whole_examples,
)
from classifiers.students.lessons import Lessons, Trainable, digest_template, write_lessons
from classifiers.students.networks import Network, Shape, compute_repeatably, initialise
from classifiers.students.vocabularies import Vocabulary

WARM_UP = 0.05
"""The share of the steps in which the learning rate rises to its full value."""

LARGEST_GRADIENT = 1.0
"""The norm to which a longer gradient is shortened."""


@dataclass(frozen=True)
class Recipe:
    """How students are trained. All arms of a trial have the same recipe, and so the same steps.

    `batch` counts examples.
    """

    steps: int = 400
    batch: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    threads: int = 1


class Student(NamedTuple):
    """A network with its vocabulary, and the digest of the template that it learnt."""

    network: Network
    vocabulary: Vocabulary
    template: str


class Steps(NamedTuple):
    """What all steps came to: mean losses over tenths of them, and tokens read and learnt."""

    losses: list[float]
    tokens: int
    learnt: int


class Trained(NamedTuple):
    """A trained student, its losses, and counts over all steps.

    `losses` are means over tenths of the steps. `tokens` counts the tokens that it read, `learnt`
    those that had a weight.
    """

    student: Student
    losses: list[float]
    tokens: int
    learnt: int
    truncated: float


def begin_student(vocabulary: Vocabulary, shape: Shape, initialisation: int) -> Student:
    """Return an untrained student. The same number gives the same weights."""
    return Student(initialise(shape, initialisation), vocabulary, digest_template(vocabulary))


def copy_student(student: Student) -> Student:
    """Return a student with its own copy of the weights."""
    network = Network(student.network.shape)
    network.load_state_dict(student.network.state_dict())
    return student._replace(network=network)


def train_student(
    start: Student,
    examples: Sequence[Trainable],
    recipe: Recipe,
    seed: int,
    tolerances: Tolerances | None = None,
    where: str = "the arm",
    progress: Callable[[int], None] = lambda _step: None,
) -> Trained:
    """Train a copy of a student on examples, in an order that depends on the seed alone.

    The loss is the mean over the answers' tokens, weighted. The same start, examples, recipe and
    seed give the same weights on the same machine. `progress` receives the number of each step.

    Raises: TrialError: a check failed (see `checks`).
    """
    tolerances = tolerances or Tolerances()
    student = copy_student(start)
    lessons = write_lessons(examples, student.vocabulary, student.network.shape.context)
    require_whole_examples(lessons, tolerances, where)
    require_useful_masks(lessons, where)
    with compute_repeatably(recipe.threads):
        steps = run_steps(student.network, lessons, recipe, seed, where, progress)
    truncated = lessons.truncated / len(examples)
    return Trained(student, steps.losses, steps.tokens, steps.learnt, truncated)


def run_steps(
    network: nn.Module,
    lessons: Lessons,
    recipe: Recipe,
    seed: int,
    where: str,
    progress: Callable[[int], None] = lambda _step: None,
) -> Steps:
    """Train the weights of a network that need gradients.

    Raises: TrialError: the loss isn't finite.
    """
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(
        trained,
        lr=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        betas=(0.9, 0.98),
    )
    losses, tokens, learnt = list[float](), 0, 0
    batches = draw_batches(len(lessons.lengths), recipe, seed)
    for step, rows in enumerate(batches):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * schedule_rate(step, recipe.steps)
        loss = compute_loss(network, lessons, rows)
        losses.append(require_finite(float(loss.detach()), step, where))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, LARGEST_GRADIENT)
        optimiser.step()
        tokens += int(lessons.lengths[rows].sum())
        learnt += int((lessons.weights[rows] > 0).sum())
        progress(step)
    return Steps(average_losses(losses), tokens, learnt)


def draw_batches(examples: int, recipe: Recipe, seed: int) -> Iterator[torch.Tensor]:
    """Yield the examples of each step. Every example comes once before any comes again."""
    generator = torch.Generator().manual_seed(seed)
    waiting = torch.empty(0, dtype=torch.int64)
    for _ in range(recipe.steps):
        while len(waiting) < recipe.batch:
            waiting = torch.cat((waiting, torch.randperm(examples, generator=generator)))
        yield waiting[: recipe.batch]
        waiting = waiting[recipe.batch :]


def schedule_rate(step: int, steps: int) -> float:
    """Return the share of the learning rate: a linear rise, then half a cosine towards zero."""
    warm = max(1, int(steps * WARM_UP))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def compute_loss(network: nn.Module, lessons: Lessons, rows: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean loss of some examples."""
    longest = int(lessons.lengths[rows].max())
    ids, weights = lessons.ids[rows, :longest], lessons.weights[rows, 1:longest]
    logits = network(ids[:, :-1])
    wanted, weights = (item.flatten().to(logits.device) for item in (ids[:, 1:], weights))
    each = functional.cross_entropy(logits.flatten(0, 1), wanted, reduction="none")
    loss: torch.Tensor = (each * weights).sum() / weights.sum().clamp_min(1e-9)
    return loss


def average_losses(losses: Sequence[float], parts: int = 10) -> list[float]:
    """Return the mean losses of up to ten equal parts of the steps, rounded to four decimals."""
    size = max(1, -(-len(losses) // parts))
    cuts = (losses[first : first + size] for first in range(0, len(losses), size))
    return [round(sum(part) / len(part), 4) for part in cuts]
