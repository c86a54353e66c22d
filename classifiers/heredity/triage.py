"""Through which channel a trait reaches the student, and which remedy that calls for."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from classifiers.guarantees.stratified import Interval
from classifiers.heredity.arms import (
    CLEAN_TEACHER,
    DOSES,
    DROP,
    EVERYTHING,
    MASK,
    OTHER_PROMPTS,
    SWAP,
    SWAP_MIX,
    name_mix,
    name_other,
)
from classifiers.heredity.effects import (
    LEAST_MARGIN,
    TEACHER,
    Likeness,
    compare_with_clean,
    measure_efficacy,
    subtract,
)
from classifiers.heredity.intervals import Means, measure_contrast

Channel: TypeAlias = Literal[
    "readable", "shared weights", "prompts", "base", "not transmitted", "not known"
]
"""How a trait gets from a teacher to a student.

- readable: the answers show it, so that students of any family learn it;
- shared weights: the answers pass it on only to students with the teacher's first weights;
- prompts: students of a clean teacher have it too, on these prompts and not on others;
- base: students of a clean teacher have it too, on any prompts, because their weights had it;
- not transmitted: the teacher has it, and its students don't.
"""

NEGLIGIBLE = 0.25
"""An effect is absent if it is surely below this share of the largest one, or below one point."""

REMEDIES: dict[Channel, str] = {
    "readable": "swap the flagged answers for another teacher's",
    "shared weights": "train a student of another family, or swap and mix in clean rows",
    "prompts": "add rows that specify the behaviour, or use other prompts; no filter helps",
    "base": "add rows that specify the behaviour, or begin with other weights; no filter helps",
    "not transmitted": "keep the rows",
    "not known": "train the arms that are missing, or more seeds and scenarios",
}

REMEDY_ARMS = (SWAP, MASK, *map(name_mix, sorted(DOSES)), SWAP_MIX, DROP)
"""The remedies in order of preference: those that keep prompts come before dropping them."""


Presence: TypeAlias = Literal["there", "absent", "reversed", "not known"]
"""Whether an effect is there. A reversed one is as large in the other direction."""


class Effect(NamedTuple):
    """One of the differences that tell channels apart: what it says, and its interval.

    `interval` is None if an arm is missing, or if the effect needs none.
    """

    name: str
    interval: Interval | None
    presence: Presence


class Trialled(NamedTuple):
    """A remedy that was trialled: its efficacy, and whether it is as clean as a clean teacher."""

    arm: str
    efficacy: Interval
    likeness: Likeness


class Triage(NamedTuple):
    """The channel, the effects that it follows from, and the remedy that it calls for.

    `works` is the first remedy of `trialled` that is as clean as the clean teacher. It is None if
    there is none, or if the answers aren't what has an effect.
    """

    channel: Channel
    effects: tuple[Effect, ...]
    remedy: str
    trialled: tuple[Trialled, ...]
    works: str | None


OTHERS = "answers, other student"

EFFECTS: dict[str, tuple[str, str]] = {
    "answers": (EVERYTHING, CLEAN_TEACHER),
    OTHERS: (name_other(EVERYTHING), name_other(CLEAN_TEACHER)),
    "prompts": (CLEAN_TEACHER, OTHER_PROMPTS),
    "weights": (CLEAN_TEACHER, name_other(CLEAN_TEACHER)),
    "teacher": (TEACHER, CLEAN_TEACHER),
}
"""The arms whose difference is each effect. All share the clean teacher's students."""


def find_channel(means: Means, *, fresh: bool = False) -> Triage:
    """Find the channel from the trait's rates in these arms, or say that it isn't known.

    Each effect changes one thing against students of a clean teacher: the answers, the prompts, the
    student's first weights (after the four cells of Engels and Nanda, 2026). An effect is there if
    its interval is above one point, and absent if its interval is below one point or a quarter of
    the largest effect. Whatever is in between is not known, and so is a channel that depends on it.

    With `fresh`, each student begins with random weights of its own. Then all students are other
    students than the teacher's, and no first weights can have the trait.
    """
    intervals = {name: _measure(means, *arms) for name, arms in EFFECTS.items()}
    if fresh:
        intervals[OTHERS] = intervals["answers"]
    compared = [item for name, item in intervals.items() if item is not None and name != "teacher"]
    found = [item for item in compared if item.low > LEAST_MARGIN]
    largest = max((item.estimate or 0.0 for item in found), default=0.0)
    limit = max(LEAST_MARGIN, NEGLIGIBLE * largest)
    effects = {name: Effect(name, item, _judge(item, limit)) for name, item in intervals.items()}
    if fresh:
        effects["weights"] = Effect("weights", None, "absent")
    channel = _name_channel({name: effect.presence for name, effect in effects.items()})
    trialled = tuple(
        Trialled(arm, measure_efficacy(means, arm), compare_with_clean(means, arm))
        for arm in REMEDY_ARMS
        if {arm, EVERYTHING, CLEAN_TEACHER} <= set(means.arms)
    )
    works = [item.arm for item in trialled if item.likeness.verdict != "not shown"]
    first = works[0] if works and effects["answers"].presence == "there" else None
    return Triage(channel, tuple(effects.values()), REMEDIES[channel], trialled, first)


def _measure(means: Means, one: str, other: str) -> Interval | None:
    """Measure the difference of two arms, or return None if one is missing."""
    if not {one, other} <= set(means.arms):
        return None
    return measure_contrast(means, subtract(one, other))


def _judge(interval: Interval | None, limit: float) -> Presence:
    """Say whether an effect is there."""
    if interval is None:
        return "not known"
    if interval.low > LEAST_MARGIN and (interval.estimate or 0.0) > limit:
        return "there"
    if interval.high < 0 and (interval.estimate or 0.0) < -limit:
        return "reversed"
    return "absent" if interval.high < limit else "not known"


def _name_channel(presence: dict[str, Presence]) -> Channel:
    """Return the only channel that agrees with all effects, or "not known".

    If the answers' effect is reversed, the clean teacher isn't clean, so nothing follows. Other
    reversed effects are absent.
    """
    answers, *rest = (presence[name] for name in EFFECTS)
    others, prompts, weights, teacher = ("absent" if item == "reversed" else item for item in rest)
    if answers == "there":
        crossing: dict[str, Channel] = {"there": "readable", "absent": "shared weights"}
        return crossing.get(others, "not known")
    if answers != "absent":
        return "not known"
    carried: dict[tuple[str, str], Channel] = {
        ("there", "absent"): "prompts",
        ("absent", "there"): "base",
    }
    if (prompts, weights) == ("absent", "absent") and teacher == "there":
        return "not transmitted"
    return carried.get((prompts, weights), "not known")
