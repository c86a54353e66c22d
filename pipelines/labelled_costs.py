"""Which signals of a run's trait fire on rows that don't show it, by labels, and add few others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from classifiers.banks import INDEX_FILE, TraitModel, read_bank
from pipelines.evaluation import Population
from pipelines.labels import Label
from pipelines.runs.finished import MISFITS, report_damage, scan_folder
from pipelines.signal_costs import GivenThreshold, SignalCost, find_cost
from schemas.cards import Level
from schemas.errors import ModelError
from schemas.runs import BANK
from schemas.scores import COMBINED, score_column
from transforms.files import storage


def find_labelled_cost(population: Population, labels: Mapping[int, Label]) -> SignalCost | None:
    """Return the signals without which a run's trait fires on far fewer labelled wrong rows.

    The result is None as well if the rule reads a single signal, or if the run has no bank that
    this version reads.

    Raises: RunError: a file of the run is missing or damaged.
    """
    settled = population.rule
    if settled.signal != COMBINED or not labels or (trait := read_trait(population)) is None:
        return None
    level = None
    if settled.origin == "calibrated":
        level = Level(
            max_false_positive_rate=settled.max_false_positive_rate, confidence=settled.confidence
        )
    scores = _read_signals(population, trait)
    shows = {row: bool(label.shows) for row, label in labels.items()}
    right, wrong = ([row for row, own in shows.items() if own is kind] for kind in (True, False))
    groups = ({name: own[rows] for name, own in scores.items()} for rows in (right, wrong))
    return find_cost(trait, GivenThreshold(settled.threshold, level), *groups)


def read_trait(population: Population) -> TraitModel | None:
    """Return the fitted trait of a run's own bank."""
    folder = storage.join(population.run, BANK)
    if not storage.exists(storage.join(folder, INDEX_FILE)):
        return None
    try:
        bank = read_bank(
            lambda name: storage.read_bytes(storage.join(folder, name)), folder, indexes=False
        )
    except ModelError:  # verify says what is wrong with a bank
        return None
    return bank.traits.get(population.rule.trait)


def _read_signals(population: Population, trait: TraitModel) -> dict[str, np.ndarray]:
    """Return each signal's score of every row of the run, with 0 where there is none."""
    names: Any = trait.card.signals.names
    columns = {name: score_column(trait.card.id, name) for name in names}
    with report_damage(population.run, *MISFITS):
        found = scan_folder(population.run, population.manifest, "scores")
        known = [column for column in columns.values() if column in found.collect_schema().names()]
        table = found.select(pl.col(known).fill_null(0)).collect()
    return {
        name: table[column].to_numpy().astype(np.float32)
        for name, column in columns.items()
        if column in known
    }
