"""Train heads in torch, to convergence in float64.

Importing this module loads torch, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch

from classifiers.signals.heads import Head
from schemas.cards import HeadOptions

STRENGTHS = (3.0, 10.0, 30.0, 100.0)
"""The inverse regularisation strengths (scikit-learn's C) to choose from.

They ascend, because each fit starts from the previous fit.
"""

FOLDS = 5
STEPS = 200

Layer = tuple[torch.Tensor, torch.Tensor]


class TrainedHead(NamedTuple):
    """A head, and each text's logit from a head that was trained without the text's fold.

    `held_out` is None if there were too few texts for folds.
    """

    head: Head
    held_out: np.ndarray | None = None


class Labelled(NamedTuple):
    """Training data: vectors [n, d], labels 0 or 1 [n], and weights [n]."""

    vectors: np.ndarray
    labels: np.ndarray
    weights: np.ndarray


def balance_weights(labels: np.ndarray, hard: np.ndarray | None = None) -> np.ndarray:
    """Return weights with mean 1 and equal totals for positives and negatives.

    The hard negatives (a mask) get half of the negatives' weight. Otherwise, hundreds of background
    texts would outweigh a card's own negatives.
    """
    groups = np.where(labels == 1, 0, 1 if hard is None else np.where(hard, 1, 2))
    shares = {0: 0.5, 1: 0.25, 2: 0.25} if len(np.unique(groups)) == 3 else {0: 0.5, 1: 0.5, 2: 0.5}
    weights = np.empty(len(labels))
    for group in np.unique(groups):
        weights[groups == group] = shares[int(group)] / (groups == group).sum()
    return weights * len(labels)


def train_head(data: Labelled, options: HeadOptions) -> TrainedHead:
    """Train a head deterministically, with the best strength on held-out folds.

    The criterion is the weighted log loss. If a label has fewer than two texts, there are no folds,
    and the second strength is used.
    """
    folds = min(FOLDS, int(np.bincount(data.labels.astype(int), minlength=2).min()))
    if folds < 2:
        return TrainedHead(_fit(data, options, STRENGTHS[1]))
    held_out = _predict_folds(data, options, folds)
    losses = {strength: _measure_loss(data, logits) for strength, logits in held_out.items()}
    strength = min(losses, key=lambda item: losses[item])
    return TrainedHead(_fit(data, options, strength), held_out[strength])


def _measure_loss(data: Labelled, logits: np.ndarray) -> float:
    """Return the logits' weighted log loss."""
    signed = np.where(data.labels == 1, -1.0, 1.0) * logits
    return float((np.logaddexp(0, signed) * data.weights).sum())


def _predict_folds(data: Labelled, options: HeadOptions, folds: int) -> dict[float, np.ndarray]:
    """For each strength, return the logits from heads that were trained without the text's fold.

    The texts of each label are assigned to folds in turn.
    """
    fold_of = np.empty(len(data.labels), int)
    for label in (0, 1):
        rows = np.flatnonzero(data.labels == label)
        fold_of[rows] = np.arange(len(rows)) % folds
    logits = {strength: np.empty(len(data.labels)) for strength in STRENGTHS}
    for fold in range(folds):
        inside, outside = fold_of != fold, fold_of == fold
        head: Head | None = None
        for strength in STRENGTHS:
            head = _fit(Labelled(*(item[inside] for item in data)), options, strength, head)
            logits[strength][outside] = head.compute_logits(data.vectors[outside])
    return logits


def _fit(data: Labelled, options: HeadOptions, strength: float, start: Head | None = None) -> Head:
    """Fit a head with L-BFGS, starting from `start` if given.

    The objective is strength × weighted log loss + half the sum of squared weights. Biases aren't
    regularised.
    """
    sizes = [data.vectors.shape[1], *([options.hidden] if options.kind == "mlp" else []), 1]
    layers = _copy_layers(start) if start else _initialise_layers(sizes)
    vectors, labels, weights = (torch.as_tensor(item, dtype=torch.float64) for item in data)
    optimiser = torch.optim.LBFGS(
        [item for layer in layers for item in layer],
        max_iter=STEPS,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-4,
        tolerance_change=1e-9,
    )

    def compute_loss() -> torch.Tensor:
        optimiser.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(
            _compute_logits(layers, vectors), labels, weights, reduction="sum"
        )
        value = strength * loss + sum(0.5 * (weight**2).sum() for weight, _ in layers)
        value.backward()
        return value

    optimiser.step(compute_loss)
    return Head(
        tuple((weight.detach().numpy(), bias.detach().numpy()) for weight, bias in layers), strength
    )


def _copy_layers(head: Head) -> list[Layer]:
    return [
        (torch.tensor(weight, requires_grad=True), torch.tensor(bias, requires_grad=True))
        for weight, bias in head.layers
    ]


def _initialise_layers(sizes: Sequence[int]) -> list[Layer]:
    """Return zeros for a linear head, whose loss is convex, and otherwise small seeded noise."""
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


def _compute_logits(layers: Sequence[Layer], values: torch.Tensor) -> torch.Tensor:
    for index, (weight, bias) in enumerate(layers):
        values = values @ weight.T + bias
        if index < len(layers) - 1:
            values = torch.relu(values)
    return values[:, 0]


def fit_scale(margins: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Return the slope and offset that turn a margin into a logit (Platt 1999).

    The fit is lightly regularised.
    """
    head = _fit(Labelled(margins[:, None], labels, weights), HeadOptions(), 10.0)
    ((weight, bias),) = head.layers
    return float(weight[0, 0]), float(bias[0])
