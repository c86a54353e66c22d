"""Read a finished run's traits and policy from its manifest and calibration scores."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import polars as pl

from classifiers.guarantees.calibration import FoundShare, Threshold
from pipelines.runs.finished import read_table
from schemas.cards import Action, Level, TraitCard
from schemas.manifests import Manifest, SettledThreshold
from schemas.outputs import CALIBRATION_SCORES
from schemas.policies import Policy
from schemas.runs import CALIBRATION_FILES
from transforms.rules import Rule


class RecordedTrait(NamedTuple):
    """A trait of a finished run: its card, and its calibration scores.

    The scores are float32, keyed by signal.
    """

    card: TraitCard
    calibration: dict[str, np.ndarray]
    positive_scores: dict[str, np.ndarray]
    calibrated_on: str


def read_recorded_traits(run: str, manifest: Manifest) -> dict[str, RecordedTrait]:
    """Read a finished run's cards and calibration scores, keyed by trait.

    Raises: ValueError: a card is invalid, or the file of calibration scores has the wrong columns.
    """
    clean, positives = (_read_scores(run, manifest, path) for path in CALIBRATION_FILES)
    calibrated_on = {item.trait: item.calibrated_on for item in manifest.thresholds}
    return {
        name: RecordedTrait(
            TraitCard.model_validate(card),
            clean.get(name, {}),
            positives.get(name, {}),
            calibrated_on[name],
        )
        for name, card in manifest.cards.items()
    }


def _read_scores(run: str, manifest: Manifest, path: str) -> dict[str, dict[str, np.ndarray]]:
    """Return the scores in a calibration file, by trait and signal."""
    scores: dict[str, dict[str, np.ndarray]] = {}
    for output in manifest.outputs:
        if output.path == path:
            frame = pl.DataFrame(read_table(run, output).cast(CALIBRATION_SCORES))
            for (trait, signal), part in frame.group_by("trait", "signal", maintain_order=True):
                scores.setdefault(str(trait), {})[str(signal)] = part["score"].to_numpy()
    return scores


def read_recorded_policy(manifest: Manifest) -> Policy:
    """Return a finished run's policy.

    Raises: ValueError: the policy is invalid.
    """
    return Policy.model_validate(_drop_nulls(manifest.policy))


def read_recorded_rules(manifest: Manifest) -> list[Rule]:
    """Return a finished run's rules, in the order of its thresholds.

    `congener verify` checks these rules against the cards, the policy and the calibration scores.

    Raises: ValueError: the policy is invalid.
    """
    policy = read_recorded_policy(manifest)
    return [_read_rule(item, policy) for item in manifest.thresholds]


def _read_rule(item: SettledThreshold, policy: Policy) -> Rule:
    own = policy.get_rule(item.trait).sides
    return Rule(
        item.trait,
        item.signal,
        Threshold(item.threshold, item.origin, item.clean_texts, item.exceeding, item.bound),
        Level(max_false_positive_rate=item.max_false_positive_rate, confidence=item.confidence),
        cast("Action", item.action),
        tuple(found for found in policy.exceptions if found.trait in (item.trait, "*")),
        own.rejected or policy.sides.rejected or "keep",
        own.untrained or policy.sides.untrained or "keep",
        _read_found(item),
    )


def _read_found(item: SettledThreshold) -> FoundShare | None:
    low, high, median = item.found_low, item.found_high, item.median_positive
    if low is None or high is None or median is None:
        return None
    return FoundShare(item.positives, item.positives_found, low, high, median)


def _drop_nulls(value: Any) -> Any:
    """Leave out null fields, which lots in a policy refuse."""
    if isinstance(value, dict):
        return {name: _drop_nulls(below) for name, below in value.items() if below is not None}
    return [_drop_nulls(below) for below in value] if isinstance(value, list) else value
