"""The scores of dense signals: exemplars and heads, from the vectors of windows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import numpy as np

from classifiers.banks import TraitModel
from classifiers.signals.exemplar_tables import Exemplars, ExemplarTable
from classifiers.signals.heads import compute_logits
from schemas.cards import SignalName

DenseScores = dict[SignalName, np.ndarray]
"""The scores of a trait's dense signals, each float32 [vectors] in [0, 1]."""


def apply_logistic(values: np.ndarray) -> np.ndarray:
    """Return 1 / (1 + exp(-x)) without overflow. NaN stays NaN."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.exp(-np.logaddexp(0, -values)))


class DenseTraits:
    """The dense signals of traits that read the same texts, scored together."""

    def __init__(self, traits: Mapping[str, TraitModel], device: str = "cpu") -> None:
        """Collect the traits; exemplars are searched on a device."""
        self.names, self._device = tuple(traits), device
        self._searched = {
            name: item for name, item in traits.items() if item.card.signals.exemplars
        }
        self._heads = {
            name: trait.head
            for name, trait in traits.items()
            if trait.card.signals.head and trait.head
        }

    @cached_property
    def _table(self) -> ExemplarTable:
        return ExemplarTable(list(_list_exemplars(self._searched.values())), self._device)

    def score(self, vectors: np.ndarray) -> dict[str, DenseScores]:
        """Return every trait's scores for these vectors."""
        found: dict[str, DenseScores] = {name: {} for name in self.names}
        if self._searched:
            margins = self._table.contrast(np.ascontiguousarray(vectors, np.float32))
            for (name, trait), margin in zip(self._searched.items(), margins, strict=True):
                slope, offset = trait.scale
                found[name]["exemplars"] = apply_logistic(slope * margin + offset).astype(
                    np.float32
                )
        for name, logits in compute_logits(self._heads, vectors).items():
            found[name]["head"] = apply_logistic(logits).astype(np.float32)
        return found


def _list_exemplars(traits: Iterable[TraitModel]) -> Iterator[Exemplars]:
    for trait in traits:
        if options := trait.card.signals.exemplars:
            yield Exemplars(trait.positive_index, trait.negative_index, options.neighbours)


def score_dense(trait: TraitModel, vectors: np.ndarray) -> DenseScores:
    """Score vectors with a single trait's dense signals."""
    return DenseTraits({trait.card.id: trait}).score(vectors)[trait.card.id]
