"""How much of a trait students inherit, and how much of it each remedy removes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from classifiers.guarantees.calibration import CONFIDENCE
from classifiers.guarantees.stratified import Interval
from classifiers.heredity.arms import CLEAN_TEACHER, DOSES, EVERYTHING, name_mix
from classifiers.heredity.intervals import Means, compute_p, measure_contrast, measure_ratio

TEACHER = "teacher"
"""The name under which the teacher's own outcomes come back. It is a fixed model."""

UNTRAINED = "before training"
"""The name under which the outcomes of the student before training come back. It is no baseline."""

LEAST_MARGIN = 0.01
"""The margin of "as clean as": one point, or a tenth of what is inherited if that is more."""

GAP_MARGIN = 0.1


class Likeness(NamedTuple):
    """Whether an arm is as clean as the clean teacher's students.

    `above` is the p-value against being dirtier by the margin or more, and `below` against being
    cleaner by the margin or more. Both together are two one-sided tests (TOST).
    """

    difference: Interval
    margin: float
    above: float
    below: float

    @property
    def verdict(self) -> Literal["as clean", "cleaner", "not shown"]:
        """What the tests say. Without evidence, nothing is shown, not even a difference."""
        if self.above > 1 - CONFIDENCE:
            return "not shown"
        return "as clean" if self.below <= 1 - CONFIDENCE else "cleaner"


class Dose(NamedTuple):
    """A point of the dose curve: the clean share, the rate and the efficacy.

    `beyond` is by how much the efficacy exceeds the clean share, which is what dilution alone would
    remove if the effect were proportional.
    """

    clean: float
    rate: Interval
    efficacy: Interval
    beyond: Interval


class SliceEffect(NamedTuple):
    """What a slice does: shares of the inherited trait.

    `necessity` is what swapping the slice removes, and `sufficiency` what the slice alone installs.
    `leak` is what is left if the slice is dropped. A slice that is necessary and leaks can't be
    dropped: its neighbours teach the same.
    """

    necessity: Interval
    sufficiency: Interval
    leak: Interval


def weigh_gap(clean: str = CLEAN_TEACHER, unfiltered: str = EVERYTHING) -> Mapping[str, float]:
    """Return the weights of what is inherited: unfiltered students less the clean teacher's."""
    return subtract(unfiltered, clean)


def subtract(one: str, other: str) -> dict[str, float]:
    """Return the weights of one arm less another."""
    return {one: 1.0, other: -1.0} if one != other else {}


def measure_rate(means: Means, arm: str) -> Interval:
    """Return an arm's mean with its interval."""
    return measure_contrast(means, {arm: 1.0})


def measure_gap(means: Means) -> Interval:
    """Return what unfiltered students inherit, in points.

    What they are compared with are students of a clean teacher on the same prompts, never the
    student before training, because training alone moves rates.
    """
    return measure_contrast(means, weigh_gap())


def measure_heritability(means: Means, teacher: str = TEACHER) -> Interval:
    """Return the share of the teacher's trait that unfiltered students inherit.

    h = (r(unfiltered) - r(clean)) / (r(teacher) - r(clean)).
    """
    return measure_ratio(means, weigh_gap(), subtract(teacher, CLEAN_TEACHER))


def measure_efficacy(means: Means, arm: str) -> Interval:
    """Return the share of the inherited trait that an arm removes. It is negative if it backfires.

    e = 1 - (r(arm) - r(clean)) / (r(unfiltered) - r(clean)).
    """
    return measure_ratio(means, subtract(EVERYTHING, arm), weigh_gap())


def measure_advantage(means: Means, arm: str, rival: str) -> Interval:
    """Return by how much an arm's efficacy exceeds a rival's, such as that of random rows."""
    return measure_ratio(means, subtract(rival, arm), weigh_gap())


def trace_doses(means: Means, doses: Sequence[int] = DOSES) -> list[Dose]:
    """Return the dose curve, from the unfiltered corpus to the clean teacher."""
    arms = [(0, EVERYTHING), *((dose, name_mix(dose)) for dose in doses), (100, CLEAN_TEACHER)]
    return [_measure_dose(means, dose / 100, arm) for dose, arm in arms]


def _measure_dose(means: Means, clean: float, arm: str) -> Dose:
    """Measure one point of the dose curve."""
    beyond = _reduce(subtract(EVERYTHING, arm), clean)
    return Dose(
        clean,
        measure_rate(means, arm),
        measure_efficacy(means, arm),
        measure_ratio(means, beyond, weigh_gap()),
    )


def measure_slice(means: Means, *, swap: str, only: str, drop: str) -> SliceEffect:
    """Return how necessary and sufficient a slice is, from the arms that are about it."""
    gap = weigh_gap()
    return SliceEffect(
        measure_efficacy(means, swap),
        measure_ratio(means, subtract(only, CLEAN_TEACHER), gap),
        measure_ratio(means, subtract(drop, CLEAN_TEACHER), gap),
    )


def compare_with_clean(means: Means, arm: str) -> Likeness:
    """Test whether an arm is as clean as the clean teacher's students, within a margin.

    The margin is one point or a tenth of what is inherited, whichever is more. Where the tenth
    counts, its own uncertainty counts as well.
    """
    gap = measure_gap(means).estimate or 0.0
    share = GAP_MARGIN if GAP_MARGIN * gap > LEAST_MARGIN else 0.0
    fixed = 0.0 if share else LEAST_MARGIN
    above = _reduce(subtract(arm, CLEAN_TEACHER), share)
    below = _reduce(subtract(CLEAN_TEACHER, arm), share)
    return Likeness(
        measure_contrast(means, subtract(arm, CLEAN_TEACHER)),
        max(LEAST_MARGIN, GAP_MARGIN * gap),
        compute_p(means, above, fixed),
        compute_p(means, below, fixed),
    )


def _reduce(weights: Mapping[str, float], share: float) -> dict[str, float]:
    """Return weights less a share of what is inherited."""
    gap = weigh_gap()
    arms = [*weights, *(arm for arm in gap if arm not in weights)]
    return {arm: weights.get(arm, 0.0) - share * gap.get(arm, 0.0) for arm in arms}
