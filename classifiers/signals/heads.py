"""Small classifiers on the encoder's vectors: logistic regression or one hidden layer, trained to the optimum in float64."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from schemas.cards import HeadOptions

STRENGTHS = (3.0, 10.0, 30.0, 100.0)
"""Inverse regularisation (scikit-learn's C) to choose from on held-out folds, weakest first: each fit starts from the last."""

FOLDS = 5
STEPS = 200


@dataclass(frozen=True)
class Head:
    """A trained head: layers of (weight [out, in], bias [out]), ReLU between them; the last has one output, a logit."""

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    strength: float

    def logits(self, vectors: np.ndarray) -> np.ndarray:
        """Return the logit of each vector, float64 [n]."""
        values = vectors.astype(np.float64)
        for place, (weight, bias) in enumerate(self.layers):
            values = values @ weight.T + bias
            if place < len(self.layers) - 1:
                values = np.maximum(values, 0)
        return values[:, 0]


class Labelled(NamedTuple):
    """Training texts as vectors [n, d], labels 0 or 1 [n], and weights [n]."""

    vectors: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def balanced(labels: np.ndarray, hard: np.ndarray | None = None) -> np.ndarray:
    """Return weights that give positives and negatives equal sums, and hard negatives half of the negatives' (mean 1).

    Without that, a background of hundreds would drown a card's own negatives.
    """
    groups = np.where(labels == 1, 0, 1 if hard is None else np.where(hard, 1, 2))
    shares = {0: 0.5, 1: 0.25, 2: 0.25} if len(np.unique(groups)) == 3 else {0: 0.5, 1: 0.5, 2: 0.5}
    weights = np.empty(len(labels))
    for group in np.unique(groups):
        weights[groups == group] = shares[int(group)] / (groups == group).sum()
    return weights * len(labels)


def train_head(data: Labelled, options: HeadOptions) -> Head:
    """Train a head, its regularisation chosen by weighted log loss on held-out folds; deterministic.

    Folds are dealt out in order within each label. With fewer than two of a label no fold can be held out and the
    second strength is taken.
    """
    folds = min(FOLDS, int(np.bincount(data.labels.astype(int), minlength=2).min()))
    losses = _held_out_losses(data, options, folds) if folds > 1 else {}
    return _fitted(
        data,
        options,
        min(losses, key=lambda strength: losses[strength]) if losses else STRENGTHS[1],
    )


def _held_out_losses(data: Labelled, options: HeadOptions, folds: int) -> dict[float, float]:
    """Return the weighted log loss on held-out folds for each strength."""
    fold_of = np.empty(len(data.labels), int)
    for label in (0, 1):
        places = np.flatnonzero(data.labels == label)
        fold_of[places] = np.arange(len(places)) % folds
    losses = dict.fromkeys(STRENGTHS, 0.0)
    for fold in range(folds):
        inside, outside = fold_of != fold, fold_of == fold
        head: Head | None = None
        for strength in STRENGTHS:
            head = _fitted(Labelled(*(item[inside] for item in data)), options, strength, head)
            signed = np.where(data.labels[outside] == 1, -1.0, 1.0) * head.logits(
                data.vectors[outside]
            )
            losses[strength] += float((np.logaddexp(0, signed) * data.weights[outside]).sum())
    return losses


def _fitted(
    data: Labelled, options: HeadOptions, strength: float, start: Head | None = None
) -> Head:
    """Minimise strength × weighted log loss + half the squared weights (biases free) with L-BFGS, from `start` if given."""
    sizes = [data.vectors.shape[1], *([options.hidden] if options.kind == "mlp" else []), 1]
    layers = _started(start) if start else _initial(sizes)
    vectors, labels, weights = (torch.as_tensor(item, dtype=torch.float64) for item in data)
    parameters = [item for layer in layers for item in layer]
    optimiser = torch.optim.LBFGS(
        parameters,
        max_iter=STEPS,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-4,
        tolerance_change=1e-9,
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        fit = torch.nn.functional.binary_cross_entropy_with_logits(
            _forward(layers, vectors), labels, weights, reduction="sum"
        )
        value = strength * fit + sum(0.5 * (weight**2).sum() for weight, _ in layers)
        value.backward()
        return value

    optimiser.step(loss)
    return Head(
        tuple((weight.detach().numpy(), bias.detach().numpy()) for weight, bias in layers), strength
    )


def _started(head: Head) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [
        (torch.tensor(weight, requires_grad=True), torch.tensor(bias, requires_grad=True))
        for weight, bias in head.layers
    ]


def _initial(sizes: Sequence[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Zeros for a linear head (the problem is convex), small seeded noise for hidden layers."""
    generator = torch.Generator().manual_seed(0)
    spread = 0.0 if len(sizes) == 2 else 0.5
    return [
        (
            (
                torch.randn(b, a, generator=generator, dtype=torch.float64) * spread / a**0.5
            ).requires_grad_(),
            torch.zeros(b, dtype=torch.float64, requires_grad=True),
        )
        for a, b in pairwise(sizes)
    ]


def _forward(
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]], values: torch.Tensor
) -> torch.Tensor:
    for place, (weight, bias) in enumerate(layers):
        values = values @ weight.T + bias
        if place < len(layers) - 1:
            values = torch.relu(values)
    return values[:, 0]


def train_scale(
    margins: np.ndarray, labels: np.ndarray, weights: np.ndarray
) -> tuple[float, float]:
    """Fit slope and offset that turn a margin into a logit (Platt 1999), with a little regularisation."""
    head = _fitted(Labelled(margins[:, None], labels, weights), HeadOptions(), 10.0)
    ((weight, bias),) = head.layers
    return float(weight[0, 0]), float(bias[0])
