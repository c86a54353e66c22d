"""Toy students in numpy: a network with a hidden layer or none, Adam, and prompts as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from classifiers.heredity.arms import Example

BATCH = 128


class Net(NamedTuple):
    """The weights of inputs → tanh → logits. Without inner weights, inputs lead to logits."""

    inner: np.ndarray
    bias: np.ndarray
    outer: np.ndarray
    last: np.ndarray


def begin_net(inputs: int, hidden: int, outputs: int, seed: int) -> Net:
    """Return random first weights."""
    random = np.random.default_rng(seed)
    return Net(
        random.normal(0, 1 / np.sqrt(inputs), (inputs, hidden)),
        np.zeros(hidden),
        random.normal(0, 1 / np.sqrt(hidden), (hidden, outputs)),
        np.zeros(outputs),
    )


def begin_linear(inputs: int, outputs: int) -> Net:
    """Return first weights of 0 without a hidden layer."""
    empty = np.zeros((inputs, 0))
    return Net(empty, np.zeros(0), np.zeros((inputs, outputs)), np.zeros(outputs))


def _activate(net: Net, inputs: np.ndarray) -> np.ndarray:
    """Return the hidden layer, or the inputs themselves."""
    return np.tanh(inputs @ net.inner + net.bias) if net.bias.size else inputs


def predict(net: Net, inputs: np.ndarray, allowed: np.ndarray | None = None) -> np.ndarray:
    """Return the probability of each output, among the allowed ones if these are given."""
    logits = _activate(net, inputs) @ net.outer + net.last
    if allowed is not None:
        logits = np.where(allowed, logits, -np.inf)
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def train_net(
    net: Net,
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    steps: int,
    rate: float,
    seed: int,
    allowed: np.ndarray | None = None,
    body_alone: bool = False,
) -> Net:
    """Train with Adam on the cross-entropy to `targets` [rows, outputs], over allowed outputs.

    With `body_alone`, the weights after the hidden layer stay.
    """
    random = np.random.default_rng(seed)
    first = [np.zeros_like(part) for part in net]
    second = [np.zeros_like(part) for part in net]
    for step in range(1, steps + 1):
        rows = random.integers(0, len(inputs), BATCH)
        hidden = _activate(net, inputs[rows])
        error = (predict(net, inputs[rows], allowed) - targets[rows]) / BATCH
        back = (error @ net.outer.T) * (1 - hidden**2) if net.bias.size else np.zeros((BATCH, 0))
        gradients = (inputs[rows].T @ back, back.sum(0), hidden.T @ error, error.sum(0))
        parts = []
        for index, (part, gradient) in enumerate(zip(net, gradients, strict=True)):
            first[index] = 0.9 * first[index] + 0.1 * gradient
            second[index] = 0.999 * second[index] + 0.001 * gradient**2
            size = np.sqrt(second[index] / (1 - 0.999**step)) + 1e-8
            move = 0.0 if body_alone and index > 1 else rate
            parts.append(part - move * first[index] / (1 - 0.9**step) / size)
        net = Net(*parts)
    return net


def write_numbers(rows: np.ndarray) -> list[str]:
    """Write each row of numbers as a text, which a toy student reads as its prompt."""
    return [" ".join(map(repr, row)) for row in rows.tolist()]


def read_examples(examples: Sequence[Example], outputs: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of all prompts, and the answers' numbers as one-hot rows."""
    prompts = np.array([[float(word) for word in item.prompt.split()] for item in examples])
    return prompts, np.eye(outputs)[[int(item.answer) for item in examples]]


def draw_answers(chances: np.ndarray, random: np.random.Generator) -> list[str]:
    """Draw an answer for each row of probabilities."""
    drawn = (chances.cumsum(1) < random.random((len(chances), 1))).sum(1)
    return [str(answer) for answer in np.minimum(drawn, chances.shape[1] - 1)]
