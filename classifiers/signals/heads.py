"""Heads: small classifiers on the encoder's vectors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Head:
    """A trained head: layers of (weight [out, in], bias [out]) with ReLU between them.

    The last layer has one output, a logit. `strength` is the chosen inverse regularisation.
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    strength: float

    def compute_logits(self, vectors: np.ndarray) -> np.ndarray:
        """Return the logit of each vector, float64 [n]."""
        values = vectors.astype(np.float64, copy=False)
        for index, (weight, bias) in enumerate(self.layers):
            values = values @ weight.T + bias
            if index < len(self.layers) - 1:
                values = np.maximum(values, 0)
        return values[:, 0]


VECTORS_AT_ONCE = 1_024
"""How many vectors are in memory in double precision at once."""


def compute_logits(heads: Mapping[str, Head], vectors: np.ndarray) -> dict[str, np.ndarray]:
    """Return every head's logit of each vector, float64 [n], from one conversion of the vectors."""
    found = {name: np.empty(len(vectors)) for name in heads}
    for first in range(0, len(vectors) if heads else 0, VECTORS_AT_ONCE):
        part = slice(first, first + VECTORS_AT_ONCE)
        exact = vectors[part].astype(np.float64)
        for name, head in heads.items():
            found[name][part] = head.compute_logits(exact)
    return found
