"""The traits of a finished run, as its manifest and its calibration scores record them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl

from pipelines.runs.finished import read_table
from schemas.cards import TraitCard
from schemas.manifests import Manifest
from schemas.runs import CALIBRATION


class RecordedTrait(NamedTuple):
    """A trait of a finished run: its card, and its calibration scores (float32) by signal."""

    card: TraitCard
    calibration: dict[str, np.ndarray]
    calibrated_on: str


def read_traits(run: str, manifest: Manifest) -> dict[str, RecordedTrait]:
    """Read the cards and the calibration scores of a finished run, by trait."""
    scores: dict[str, dict[str, np.ndarray]] = {}
    for output in manifest.outputs:
        if output.path == CALIBRATION:
            frame = pl.DataFrame(read_table(run, output))
            for (trait, signal), part in frame.group_by("trait", "signal", maintain_order=True):
                own = scores.setdefault(str(trait), {})
                own[str(signal)] = part["score"].to_numpy()
    calibrated_on = {item.trait: item.calibrated_on for item in manifest.thresholds}
    return {
        name: RecordedTrait(
            TraitCard.model_validate(card), scores.get(name, {}), calibrated_on[name]
        )
        for name, card in manifest.cards.items()
    }
