"""Rules with explicit thresholds, and exceptions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from classifiers.guarantees.calibration import Threshold
from schemas.cards import Action, Level
from schemas.lots import LotPattern
from schemas.policies import LotException
from transforms.rules import Rule


def build_rule(
    trait: str = "owl",
    threshold: float = 0.5,
    action: Action = "quarantine",
    exceptions: Iterable[LotException] = (),
    signal: str = "combined",
) -> Rule:
    """Return a rule with an explicit threshold."""
    return Rule(trait, signal, Threshold(threshold, "explicit"), Level(), action, tuple(exceptions))


def build_exception(
    lot: Mapping[str, str] | None = None, trait: str = "owl", **change: Any
) -> LotException:
    """Return an exception for the lots that match, or for all lots."""
    return LotException(trait=trait, lot=LotPattern(**(lot or {})), reason="test", **change)
