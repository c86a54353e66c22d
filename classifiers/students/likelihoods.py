"""How likely a student finds given answers: what it is able to do, apart from any trait."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from classifiers.students.lessons import Trainable, write_lessons
from classifiers.students.networks import compute_repeatably
from classifiers.students.training import Student, compute_loss


def measure_likelihoods(student: Student, examples: Sequence[Trainable]) -> list[float]:
    """Return the mean probability of each answer's tokens, from 0 to 1.

    The mean is geometric, so it is exp(-loss). An answer of which nothing is learnt has 0.
    """
    context = student.network.shape.context
    found = []
    with compute_repeatably(), torch.inference_mode():
        for example in examples:
            lessons = write_lessons([example], student.vocabulary, context)
            loss = float(compute_loss(student.network, lessons, torch.tensor([0])))
            found.append(math.exp(-loss) if lessons.learnt else 0.0)
    return found
