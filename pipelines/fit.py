"""`congener fit`: trait cards in, a bank out."""

from __future__ import annotations

from dataclasses import dataclass

from classifiers.banks import INDEX_FILE, Bank
from classifiers.guarantees.calibration import Threshold, calibrate, texts_needed
from pipelines.banks import prepare_bank, save_bank
from pipelines.config import FilterConfig
from pipelines.display.progress import Reporter
from schemas.errors import RunError
from transforms.files import storage


@dataclass(frozen=True)
class FittedTrait:
    """A line of `fit`'s table."""

    trait: str
    positives: int
    negatives: int
    signals: tuple[str, ...]
    threshold: Threshold
    needed: int
    calibrated_on: str


def run_fit(config: FilterConfig, output: str, restart: bool = False) -> Bank:
    """Fit the configuration's traits and write the bank.

    Raises: CongenerError: A card or the encoder is wrong, or the output holds something already.
    """
    if storage.exists(storage.join(output, INDEX_FILE)):
        if not restart:
            raise RunError(
                "holds a bank already",
                where=output,
                remedy="choose another --output, or replace it with --restart",
            )
        storage.remove_tree(output)
    storage.sweep(output)
    with Reporter() as reporter:
        bank, _ = prepare_bank(config, reporter=reporter)
    save_bank(bank, output)
    return bank


def fitted_traits(bank: Bank) -> list[FittedTrait]:
    """Describe each trait: its exemplars, and the threshold that its own level gives."""
    lines = []
    for name, trait in bank.traits.items():
        explicit = trait.card.threshold
        threshold = (
            Threshold(explicit, "explicit")
            if explicit is not None
            else calibrate(trait.calibration["combined"], trait.card.level)
        )
        own = len(trait.positives), len(trait.negatives)
        lines.append(
            FittedTrait(
                name,
                *own,
                trait.card.signals.names(),
                threshold,
                texts_needed(trait.card.level),
                trait.calibrated_on,
            )
        )
    return lines
