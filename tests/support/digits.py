"""Students that learn to read digits from three numbers that say nothing about them (toy T3).

After Cloud et al., 2025: a teacher learns digits, and its students learn only its three other
outputs, on noise. Digits are scikit-learn's, so nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from classifiers.heredity.arms import Candidate, Example

CLASSES, OTHERS, HIDDEN = 10, 3, 64


class Digits(NamedTuple):
    """Rows whose prompts name noise and whose answers are three numbers, and first weights.

    The clean teacher hasn't learnt digits.
    """

    rows: list[Candidate]
    same: nn.Module
    other: nn.Module
    teacher: nn.Module


def build_digits(seed: int, rows: int = 6_000) -> Digits:
    """Train a teacher, and have it answer prompts of noise."""
    first, other = begin(seed), begin(seed + 1_000)
    images, labels = read_digits()
    teacher = copy_network(first)

    def loss(picked: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(teacher(images[picked])[:, :CLASSES], labels[picked])

    fit(teacher, len(images), loss, steps=300, seed=seed)
    prompts = [f"noise {seed} {number}" for number in range(rows)]
    answers, donors = (_answer(network, prompts) for network in (teacher, first))
    examples = [Example(*pair) for pair in zip(prompts, answers, strict=True)]
    return Digits(list(map(Candidate, examples, donors)), first, other, teacher)


def begin(seed: int) -> nn.Module:
    """Return random first weights."""
    torch.manual_seed(seed)
    sizes = (64, HIDDEN, HIDDEN, CLASSES + OTHERS)
    layers: list[nn.Module] = []
    for one, two in pairwise(sizes):
        layers += [nn.Linear(one, two), nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def train_on_noise(first: nn.Module, examples: Sequence[Example], seed: int) -> nn.Module:
    """Train a student on the three other outputs alone."""
    student = copy_network(first)
    images = _draw_noise([item.prompt for item in examples])
    targets = torch.tensor([[float(word) for word in item.answer.split()] for item in examples])

    def loss(picked: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(student(images[picked])[:, CLASSES:], targets[picked])

    fit(student, len(examples), loss, steps=1_500, seed=seed)
    return student


def measure_accuracy(network: nn.Module) -> float:
    """Return the share of digits that a network reads."""
    images, labels = read_digits()
    with torch.no_grad():
        found = network(images)[:, :CLASSES].argmax(1)
    return float((found == labels).float().mean())


def read_digits() -> tuple[torch.Tensor, torch.Tensor]:
    """Return the images, from -1 to 1, and their digits."""
    images, labels = load_digits(return_X_y=True)
    return torch.tensor(images / 8 - 1, dtype=torch.float32), torch.tensor(labels)


def copy_network(network: nn.Module) -> nn.Module:
    """Return a network with the same weights."""
    copied = begin(0)
    copied.load_state_dict(network.state_dict())
    return copied


def fit(
    network: nn.Module,
    rows: int,
    loss: Callable[[torch.Tensor], torch.Tensor],
    *,
    steps: int,
    seed: int,
) -> None:
    """Train with Adam on batches of 256."""
    optimiser = torch.optim.Adam(network.parameters(), lr=0.001)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        optimiser.zero_grad()
        loss(torch.randint(rows, (256,), generator=generator)).backward()
        optimiser.step()


def _draw_noise(prompts: Sequence[str]) -> torch.Tensor:
    """Return the image that each prompt names."""
    images = [
        np.random.default_rng([int(word) for word in prompt.split()[1:]]).uniform(-1, 1, 64)
        for prompt in prompts
    ]
    return torch.tensor(np.array(images), dtype=torch.float32)


def _answer(network: nn.Module, prompts: Sequence[str]) -> list[str]:
    """Write a network's three other outputs for each prompt."""
    with torch.no_grad():
        found = network(_draw_noise(prompts))[:, CLASSES:]
    return [" ".join(f"{value:.6f}" for value in row) for row in found.tolist()]
