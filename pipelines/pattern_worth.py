"""What a trait's patterns find alone, beside the signals that learn, on held-out texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from classifiers.banks import TraitModel
from classifiers.guarantees.calibration import Threshold, calibrate
from classifiers.scoring import combine
from schemas.cards import FITTED, Level
from schemas.notices import format_count
from schemas.scores import COMBINED, fires
from schemas.shares import format_limit

PATTERNS = "lexicon"

ENOUGH_LABELLED = 10
"""How many labelled rows outside the fit decide instead of the card's positives.

Patterns are usually written with the positives in view, so labelled rows are the fairer judges, but
fewer of them say little.
"""


class FoundTexts(NamedTuple):
    """How many texts with the trait some signals find, and how many clean texts they hit."""

    shown: int
    clean: int


class PatternWorth(NamedTuple):
    """What patterns find alone, what the other signals find, and what all of them find.

    Each has the threshold that the same level gives. `texts` counts the held-out texts that show
    the trait: rows from labels if `labelled`, or else the card's positives. `clean` counts the
    calibration texts. `names` are the other signals.
    """

    texts: int
    clean: int
    labelled: bool
    share: float
    names: tuple[str, ...]
    patterns: FoundTexts
    others: FoundTexts
    together: FoundTexts

    @property
    def suffices(self) -> bool:
        """Return whether the patterns find most of the texts, and no fewer than all signals."""
        found = self.patterns.shown
        return 2 * found > self.texts and found >= self.together.shown

    def describe(self) -> str:
        """Describe the counts in words, and say whether the patterns suffice."""
        texts = (
            f"{format_count(self.texts, 'labelled row')} that no fit learnt from"
            if self.labelled
            else f"the card's {format_count(self.texts, 'positive')}"
        )
        counted = (
            f"at the same level ({format_limit(self.share)}), all signals find "
            f"{self.together.shown} of {texts}, {' and '.join(self.names)} without patterns "
            f"{self.others.shown}, and patterns alone {self.patterns.shown}"
        )
        return f"{counted}. {self._conclude()}" if self.suffices else counted

    def to_json(self) -> dict[str, Any]:
        """Return the counts, and whether the patterns suffice."""
        groups = ("patterns", "others", "together")
        found = {name: getattr(self, name)._asdict() for name in groups}
        return {**self._asdict(), **found, "suffices": self.suffices}

    def _conclude(self) -> str:
        advice = (
            f"Patterns alone suffice: add --signals {PATTERNS} to run without a fitted model (it "
            "limits all traits of the run)"
        )
        if self.labelled:
            return advice
        return f"{advice}. But patterns that were written from these positives find less elsewhere"


def measure_patterns(
    trait: TraitModel, signal: str, threshold: Threshold, level: Level
) -> PatternWorth | None:
    """Measure a trait's patterns beside its signals that learn, all at one level.

    Only texts that took no part in the fit count. The result is None if the rule reads one signal
    or has a threshold that no level gives, if the trait has no patterns or nothing that learns, or
    if it has no held-out texts.
    """
    if signal != COMBINED or threshold.origin != "calibrated":
        return None
    names = trait.card.signals.names
    shown = trait.labelled_positives
    labelled = len(shown.get(PATTERNS, ())) >= ENOUGH_LABELLED
    shown = shown if labelled else trait.positive_scores
    learns = any(name in FITTED for name in names)
    if PATTERNS not in names or not learns or any(name not in shown for name in names):
        return None
    others = tuple(name for name in names if name != PATTERNS)
    counts = (_count(trait, shown, chosen, level) for chosen in ((PATTERNS,), others, names))
    texts, clean = len(shown[PATTERNS]), len(trait.calibration[PATTERNS])
    return PatternWorth(texts, clean, labelled, level.max_false_positive_rate, others, *counts)


def _count(
    trait: TraitModel, shown: Mapping[str, np.ndarray], names: Sequence[str], level: Level
) -> FoundTexts:
    """Count the texts that some signals find at the threshold that the level gives them."""
    clean, wanted = (
        combine({name: scores[name] for name in names}) for scores in (trait.calibration, shown)
    )
    threshold = calibrate(clean, level).value
    lowest = np.inf if threshold is None else threshold
    return FoundTexts(int(fires(wanted, lowest).sum()), int(fires(clean, lowest).sum()))
