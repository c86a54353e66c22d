"""Which signals of a trait fire on wrong texts and add few right ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from classifiers.banks import TraitModel
from classifiers.guarantees.calibration import Threshold, calibrate
from classifiers.scoring import combine
from schemas.cards import DENSE, Level, Signals
from schemas.notices import format_count
from schemas.scores import COMBINED, fires

LEAST_FEWER = 3
"""How many fewer wrong texts are worth a sentence, at least."""

FEWER_SHARE = 0.25
"""Which share of the wrong texts must go, too."""

LOST_SHARE = 0.1
"""The largest share of the right texts that may go with them, besides a single text."""


CLEAR_SHARES = (0.75, 0.2)
"""If at least the first share of the wrong texts goes, up to the second of the right ones may."""


class SignalCost(NamedTuple):
    """How many texts a trait fires on with all of its signals, and without some of them.

    Both at the same level, or at the same threshold if it was set by hand. `options` says that a
    signal that stays has options, and `is_light` that no signal that stays needs the encoder,
    although one of the others does.
    """

    dropped: tuple[str, ...]
    kept: tuple[str, ...]
    right: int
    right_without: int
    wrong: int
    wrong_without: int
    options: bool
    is_light: bool

    def describe(self, right: str, wrong: str) -> str:
        """Describe the counts, and say what to change in the card.

        `right` and `wrong` name the texts, such as `of the card's 32 positives`.
        """
        them = " and ".join(self.dropped)
        light = ", and needs no encoder" * self.is_light
        edit = (
            f"Delete {them} below `signals` in card.yaml"
            if self.options
            else f"Write `signals: [{', '.join(self.kept)}]` into card.yaml"
        )
        return (
            f"without {them}, it fires on {self.right_without} {right} instead of {self.right} and "
            f"on {self.wrong_without} {wrong} instead of {self.wrong}{light}. {edit}"
        )


class GivenThreshold(NamedTuple):
    """The threshold of a trait's combined score, and the level that gave it, if one did."""

    threshold: float
    level: Level | None


def find_cost(
    trait: TraitModel,
    rule: GivenThreshold,
    right: Mapping[str, np.ndarray],
    wrong: Mapping[str, np.ndarray],
) -> SignalCost | None:
    """Return the signals without which a trait fires on far fewer wrong texts, if there are any.

    `right` and `wrong` hold the scores of all signals for texts that show the trait and texts that
    don't. Each signal is left out alone, and both dense ones together. Of the ways that lose few
    right texts and many wrong ones, that with the fewest wrong ones is returned.
    """
    names = trait.card.signals.names
    if any(name not in scores for name in names for scores in (right, wrong)):
        return None
    whole = _count(names, rule.threshold, right, wrong)
    found = []
    for dropped in _list_choices(names):
        kept = tuple(name for name in names if name not in dropped)
        threshold = _settle(trait, kept, rule)
        counts = (0, 0) if threshold is None else _count(kept, threshold, right, wrong)
        if _is_worth(whole, counts):
            found.append((counts[1], -counts[0], dropped, kept))
    if not found:
        return None
    wrong_without, shown, dropped, kept = min(found)
    return SignalCost(
        dropped,
        kept,
        whole[0],
        -shown,
        whole[1],
        wrong_without,
        _have_options(trait.card.signals, kept),
        any(name in DENSE for name in dropped) and not any(name in DENSE for name in kept),
    )


def _list_choices(names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Yield the sets of signals that are left out, of which each leaves some signal."""
    for name in names if len(names) > 1 else ():
        yield (name,)
    dense = tuple(name for name in names if name in DENSE)
    if 1 < len(dense) < len(names):
        yield dense


def _settle(trait: TraitModel, names: Sequence[str], rule: GivenThreshold) -> float | None:
    """Return the threshold that the rule gives some of the signals."""
    if rule.level is None:
        return rule.threshold
    return calibrate(_combine(trait.calibration, names), rule.level).value


def _combine(scores: Mapping[str, np.ndarray], names: Sequence[str]) -> np.ndarray:
    return combine({name: np.nan_to_num(scores[name]) for name in names})


def _count(
    names: Sequence[str],
    threshold: float,
    right: Mapping[str, np.ndarray],
    wrong: Mapping[str, np.ndarray],
) -> tuple[int, int]:
    first, second = (
        int(fires(_combine(scores, names), threshold).sum()) for scores in (right, wrong)
    )
    return first, second


def _is_worth(whole: tuple[int, int], counts: tuple[int, int]) -> bool:
    """Return whether many wrong texts go, with few right ones: both counts are right, wrong."""
    lost, fewer = whole[0] - counts[0], whole[1] - counts[1]
    if counts[0] == 0 or fewer < LEAST_FEWER:
        return False
    most_wrong, some_right = CLEAR_SHARES
    if fewer >= most_wrong * whole[1] and lost <= some_right * whole[0]:
        return True
    few_lost = lost <= max(1, LOST_SHARE * whole[0])
    return few_lost and fewer >= max(FEWER_SHARE * whole[1], 2 * lost)


def _have_options(signals: Signals, names: Sequence[str]) -> bool:
    """Return whether some of the signals can't be written as names alone."""
    return any(_has_options(getattr(signals, name)) for name in names)


def _has_options(options: Any) -> bool:
    fields = type(options).model_fields.values()
    return any(item.is_required() for item in fields) or options != type(options)()


def measure_cost(
    trait: TraitModel, signal: str, threshold: Threshold, level: Level
) -> SignalCost | None:
    """Return the signals without which a fitted trait fires on far fewer clean texts.

    It is measured on the card's positives, each held out from the fit, and on the clean texts of
    the calibration. The result is None as well if the rule reads a single signal, or if there is no
    threshold.
    """
    if signal != COMBINED or threshold.value is None:
        return None
    rule = GivenThreshold(threshold.value, level if threshold.origin == "calibrated" else None)
    return find_cost(trait, rule, trait.positive_scores, trait.calibration)


def describe_cost(trait: TraitModel, cost: SignalCost) -> str:
    """Describe what `measure_cost` found, which counts only if the clean texts are clean."""
    held = len(trait.positive_scores[COMBINED])
    found = cost.describe(f"of the card's {format_count(held, 'positive')}", "clean texts")
    return f"if the clean texts that it fires on don't show the trait: {found}"
