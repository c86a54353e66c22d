"""Heads: small classifiers on the encoder's vectors."""

from __future__ import annotations

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
        values = vectors.astype(np.float64)
        for index, (weight, bias) in enumerate(self.layers):
            values = values @ weight.T + bias
            if index < len(self.layers) - 1:
                values = np.maximum(values, 0)
        return values[:, 0]
