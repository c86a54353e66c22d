"""How likely a student finds given answers: what it is able to do, apart from any trait."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import nn

from classifiers.students.lessons import Lessons, Trainable, write_lessons
from classifiers.students.networks import compute_repeatably
from classifiers.students.training import Student, compute_loss


def measure_likelihoods(student: Student, examples: Sequence[Trainable]) -> list[float]:
    """Return the mean probability of each answer's tokens, from 0 to 1.

    The mean is geometric, so it is exp(-loss). An answer of which nothing is learnt has 0.
    """
    context = student.network.shape.context
    with compute_repeatably():
        return [
            measure_likelihood(student.network, write_lessons([item], student.vocabulary, context))
            for item in examples
        ]


def measure_likelihood(network: nn.Module, lessons: Lessons) -> float:
    """Return the mean probability of the tokens that the first of some lessons teaches."""
    if not lessons.learnt:
        return 0.0
    with torch.inference_mode():
        return math.exp(-float(compute_loss(network, lessons, torch.tensor([0]))))
