"""`congener traits thresholds`: how many rows of a finished run other thresholds would find."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl

from classifiers.guarantees.calibration import FoundShare, calibrate, measure_found
from pipelines.runs.finished import MISFITS, list_outputs, report_damage, scan_folder
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.recorded_settings import RecordedTrait, read_recorded_traits
from pipelines.runs.summaries import STEPS
from schemas.cards import Level
from schemas.errors import RunError
from schemas.manifests import Manifest, SettledThreshold
from schemas.notices import list_names
from schemas.receipts import NearMisses
from schemas.scores import score_column

RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
"""The shown levels. Levels that need more clean text are left out."""


class Choice(NamedTuple):
    """A threshold, its level, and what it would find.

    `rate` is None for a threshold set by hand. `bound` bounds the share of clean rows that it hits.
    `is_in_force` is true for the run's own threshold.
    """

    threshold: float
    rate: float | None
    bound: float | None
    rows: int
    found: FoundShare | None
    is_in_force: bool


class TraitChoices(NamedTuple):
    """A trait's thresholds, from the highest down, and its near misses."""

    trait: str
    near: NearMisses
    choices: list[Choice]


def list_choices(run: str, traits: Sequence[str] = ()) -> list[TraitChoices]:
    """List other thresholds for a finished run's traits.

    Raises: RunError: the run isn't finished, has no such trait, or a file is missing or damaged.
    """
    with report_damage(run, *MISFITS):
        manifest = load_manifest(run)
        rules = select_rules(run, manifest, traits)
        recorded = read_recorded_traits(run, manifest)
        return [_list_for_trait(run, manifest, rule, recorded[rule.trait]) for rule in rules]


def select_rules(run: str, manifest: Manifest, traits: Sequence[str]) -> list[SettledThreshold]:
    """Return the rules of the named traits, or of all traits.

    Raises: RunError: the run has no such trait.
    """
    known = {rule.trait: rule for rule in manifest.thresholds}
    if unknown := [name for name in traits if name not in known]:
        raise RunError(
            f"has no trait {unknown[0]!r}",
            where=run,
            remedy=f"its traits are {list_names(known)}",
        )
    return [known[name] for name in traits] if traits else list(known.values())


def _list_for_trait(
    run: str, manifest: Manifest, rule: SettledThreshold, trait: RecordedTrait
) -> TraitChoices:
    settled = settle_thresholds(rule, trait)
    rows = _count_rows(run, manifest, rule, list(settled))
    positives = trait.positive_scores.get(rule.signal, np.empty(0, np.float32))
    choices = [
        Choice(value, rate, bound, count, measure_found(positives, value), value == rule.threshold)
        for (value, (rate, bound)), count in zip(settled.items(), rows, strict=True)
    ]
    return TraitChoices(rule.trait, manifest.near.get(rule.trait, NearMisses()), choices)


def settle_thresholds(
    rule: SettledThreshold, trait: RecordedTrait, rates: Sequence[float] = RATES
) -> dict[float, tuple[float | None, float | None]]:
    """Return the threshold in force and other levels' thresholds, from the highest down.

    Each threshold has its level and its bound. If several levels have the same threshold, the
    strictest level counts. Levels that need more clean text are left out, and so is the level in
    force. Thresholds below `LIKELY` are listed too, although a run uses them only if they are set
    by hand.
    """
    rate = rule.max_false_positive_rate if rule.origin == "calibrated" else None
    found = {rule.threshold: (rate, rule.bound)}
    clean = trait.calibration.get(rule.signal, np.empty(0, np.float32))
    for other in (other for other in rates if other != rate):
        level = Level(max_false_positive_rate=other, confidence=rule.confidence)
        threshold = calibrate(clean, level, lowest=0)
        if threshold.value is not None:
            found.setdefault(threshold.value, (other, threshold.bound))
    return dict(sorted(found.items(), reverse=True))


def _count_rows(
    run: str, manifest: Manifest, rule: SettledThreshold, thresholds: Sequence[float]
) -> list[int]:
    """Count the rows at or above each threshold, loading parts of the scores at a time."""
    if not list_outputs(manifest, "scores"):
        return [0] * len(thresholds)
    step = (pl.col(score_column(rule.trait, rule.signal)) * STEPS).round().cast(pl.Int32)
    counts = [
        (step >= round(value * STEPS)).sum().alias(str(index))
        for index, value in enumerate(thresholds)
    ]
    frame = scan_folder(run, manifest, "scores").select(counts).collect(engine="streaming")
    return [int(count) for count in frame.row(0)]
