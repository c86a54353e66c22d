"""What a trial found: rates, shares removed, and comparisons with the clean teacher."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from classifiers.guarantees.stratified import Interval
from classifiers.heredity.arms import (
    CLEAN_TEACHER,
    DOSES,
    DROP,
    EVERYTHING,
    MASK,
    ONLY_SLICE,
    OTHER_PROMPTS,
    RANDOM_DROP,
    RANDOM_MASK,
    RANDOM_SWAP,
    SWAP,
    SWAP_MIX,
    Unbuilt,
    name_mix,
    name_other,
)
from classifiers.heredity.effects import (
    TEACHER,
    UNTRAINED,
    Dose,
    Likeness,
    SliceEffect,
    compare_with_clean,
    measure_advantage,
    measure_efficacy,
    measure_gap,
    measure_heritability,
    measure_rate,
    measure_slice,
    trace_doses,
)
from classifiers.heredity.intervals import Means, estimate_means
from classifiers.heredity.outcomes import Metric, Outcome, tabulate
from classifiers.heredity.slices import SliceVerdict, judge_slices
from classifiers.heredity.triage import Triage, find_channel

ORDER = (
    EVERYTHING,
    DROP,
    RANDOM_DROP,
    MASK,
    RANDOM_MASK,
    *map(name_mix, DOSES),
    SWAP,
    RANDOM_SWAP,
    SWAP_MIX,
    ONLY_SLICE,
    CLEAN_TEACHER,
    OTHER_PROMPTS,
    name_other(EVERYTHING),
    name_other(CLEAN_TEACHER),
    UNTRAINED,
)
"""The order of arms in tables and charts."""

CONTROLS = (
    *(EVERYTHING, CLEAN_TEACHER, OTHER_PROMPTS),
    *(name_other(EVERYTHING), name_other(CLEAN_TEACHER), UNTRAINED),
)
"""The arms that remedies are compared with."""

FIXED = (TEACHER, UNTRAINED)
"""The models that nobody trained here."""

OTHER_METRICS: tuple[Metric, ...] = ("capability", "neighbour")

RIVALS = {DROP: RANDOM_DROP, MASK: RANDOM_MASK, SWAP: RANDOM_SWAP}
"""The arm that does the same to rows, or characters, that were drawn at random."""


class ArmFinding(NamedTuple):
    """What an arm's students do.

    `removed` is the efficacy e, and `likeness` says whether they are as clean as the clean
    teacher's. Both are None without such an arm, and for the two arms that define them. `advantage`
    is by how much e exceeds that of the random arm. `neighbours` is the rate of what is close to
    the trait.
    """

    arm: str
    rate: Interval
    removed: Interval | None
    likeness: Likeness | None
    advantage: Interval | None
    capability: Interval | None
    neighbours: Interval | None = None


class Findings(NamedTuple):
    """What a trial found.

    `gap` is what unfiltered students inherit, in points, and `heritability` its share of the
    teacher's trait. What needs an arm that wasn't trained is None.
    """

    seeds: int
    scenarios: int
    arms: list[ArmFinding]
    gap: Interval | None
    heritability: Interval | None
    teacher: Interval | None
    doses: list[Dose]
    slice_effect: SliceEffect | None
    triage: Triage
    unbuilt: list[Unbuilt]
    slices: list[SliceVerdict]

    @property
    def transmits(self) -> bool:
        """Return whether unfiltered students show more of the trait than clean ones."""
        return self.gap is not None and self.gap.low > 0


def draw_findings(
    outcomes: Sequence[Outcome],
    unbuilt: Sequence[Unbuilt],
    *,
    fresh: bool = False,
    slices: Sequence[str] = (),
) -> Findings:
    """Compare the students of all arms, and judge the slices that have arms.

    With `fresh`, every student began with random weights of its own.

    Raises: InputError: an outcome is missing. Raises: TrialError: there is only one seed.
    """
    means = estimate_means(tabulate(outcomes, "trait", fixed=FIXED))
    able, near = (_estimate(outcomes, metric) for metric in OTHER_METRICS)
    is_compared = {EVERYTHING, CLEAN_TEACHER} <= set(means.arms)
    is_taught = is_compared and TEACHER in means.arms
    doses = [dose for dose in DOSES if name_mix(dose) in means.arms]
    is_cut = is_compared and {SWAP, ONLY_SLICE, DROP} <= set(means.arms)
    return Findings(
        means.seeds,
        means.scenarios,
        [_describe_arm(means, able, near, arm, is_compared) for arm in ORDER if arm in means.arms],
        measure_gap(means) if is_compared else None,
        measure_heritability(means) if is_taught else None,
        _bound(measure_rate(means, TEACHER)) if TEACHER in means.arms else None,
        trace_doses(means, doses) if is_compared and doses else [],
        measure_slice(means, swap=SWAP, only=ONLY_SLICE, drop=DROP) if is_cut else None,
        find_channel(means, fresh=fresh),
        list(unbuilt),
        judge_slices(means, slices) if is_compared else [],
    )


def _estimate(outcomes: Sequence[Outcome], metric: Metric) -> Means | None:
    """Return the means of another metric than the trait, or None if it wasn't measured."""
    found = [item for item in outcomes if item.metric == metric]
    return estimate_means(tabulate(found, metric, fixed=FIXED)) if found else None


def _rate(means: Means | None, arm: str) -> Interval | None:
    """Return an arm's mean, or None if it wasn't measured."""
    return _bound(measure_rate(means, arm)) if means is not None and arm in means.arms else None


def _describe_arm(
    means: Means, able: Means | None, near: Means | None, arm: str, is_compared: bool
) -> ArmFinding:
    is_remedy = is_compared and arm not in CONTROLS
    rival = RIVALS.get(arm)
    has_rival = is_remedy and rival in means.arms
    return ArmFinding(
        arm,
        _bound(measure_rate(means, arm)),
        measure_efficacy(means, arm) if is_remedy else None,
        compare_with_clean(means, arm) if is_remedy else None,
        measure_advantage(means, arm, str(rival)) if has_rival else None,
        _rate(able, arm),
        _rate(near, arm),
    )


def _bound(rate: Interval) -> Interval:
    """Return a rate's interval without the part that no rate can have."""
    return Interval(rate.estimate, max(0.0, rate.low), min(1.0, rate.high))


def describe_findings(findings: Findings) -> dict[str, Any]:
    """Return the findings for JSON. An unbounded end of an interval is null."""
    described = _simplify(findings._asdict())
    return {**described, "transmits": findings.transmits}


def format_share(share: float | None) -> str:
    """Return a share as a percentage with one decimal, or a dash."""
    return "–" if share is None else f"{100 * share:.1f} %"


def format_interval(interval: Interval) -> str:
    """Return the ends of an interval in percent. An unbounded interval is `any`."""
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return "any"
    return f"{100 * interval.low:.1f} to {100 * interval.high:.1f}"


def _simplify(value: Any) -> Any:
    """Return a value for JSON: named tuples by name, rounded numbers, no infinity."""
    if hasattr(value, "_asdict"):
        return {name: _simplify(below) for name, below in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _simplify(below) for name, below in value.items()}
    if isinstance(value, list | tuple):
        return [_simplify(below) for below in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def list_sentences(findings: Findings, *, circular: bool) -> Iterator[str]:
    """Yield what a reader must know about the findings, sentence by sentence."""
    if circular:
        yield (
            "The same detector chose the flagged rows and judged the answers, so the trial can't "
            "see what it misses: name another judge in measure."
        )
    if findings.gap is None:
        yield (
            "Without a clean teacher's arm, nothing says how much is inherited: give donors that "
            "answer most of the prompts."
        )
    elif not findings.transmits:
        yield (
            "Unfiltered students don't show more of the trait than the clean teacher's, so no "
            "remedy can be told from another."
        )
    if findings.heritability is not None and findings.heritability.estimate is not None:
        share, ends = findings.heritability.estimate, format_interval(findings.heritability)
        yield f"Unfiltered students inherit {format_share(share)} of the trait ({ends})."
    yield from _list_remedies(findings)
    yield from _list_slices(findings)
    yield f"Channel: {findings.triage.channel}. What it calls for: {findings.triage.remedy}."
    for item in findings.unbuilt:
        yield f"Not built: {item.name} ({item.reason})."


def _list_slices(findings: Findings) -> Iterator[str]:
    """Yield which slices are enough to swap."""
    if not findings.slices or not findings.transmits:
        return
    accepted = [item.name for item in findings.slices if item.accepted]
    if accepted:
        yield f"Enough to swap: {', '.join(accepted)}."
    else:
        yield (
            "No slice is shown to be enough to swap; the trait may be spread over the corpus, and "
            "then only another teacher for all rows is left."
        )


def _list_remedies(findings: Findings) -> Iterator[str]:
    """Yield which remedies are shown to be as clean as the clean teacher."""
    if not findings.transmits:
        return
    real = [item for item in findings.arms if item.likeness and item.arm not in RIVALS.values()]
    clean = [item.arm for item in real if item.likeness and item.likeness.verdict != "not shown"]
    if clean:
        yield f"Shown to be as clean as the clean teacher: {', '.join(clean)}."
    elif real:
        yield "No remedy is shown to be as clean as the clean teacher."
