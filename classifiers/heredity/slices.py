"""The trial of planned slices: their arms beside random ones, and which slices are necessary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from classifiers.guarantees.calibration import CONFIDENCE
from classifiers.heredity.arms import (
    DROP,
    ONLY_SLICE,
    RANDOM_SWAP,
    SWAP,
    Arm,
    Candidate,
    Example,
    TokenCounter,
    Unbuilt,
    flag_rows,
)
from classifiers.heredity.building import build_arms
from classifiers.heredity.effects import (
    Likeness,
    SliceEffect,
    compare_with_clean,
    measure_slice,
    subtract,
)
from classifiers.heredity.intervals import Means, compute_p
from classifiers.heredity.planner import Plan

SLICE_ARMS = (SWAP, DROP, ONLY_SLICE)
"""What a slice is trialled with. Beside them is a swap of its random control."""


class SliceVerdict(NamedTuple):
    """What a trial says about a slice.

    `p` is that of its swap doing no better than its control's, adjusted for the number of slices.
    The slice is `accepted` if its swap does better, and is as clean as the clean teacher.
    """

    name: str
    effect: SliceEffect
    likeness: Likeness
    p: float
    accepted: bool


def name_slice(arm: str, slice_name: str) -> str:
    """Return the name of a slice's arm."""
    return f"{arm}: {slice_name}"


def build_slice_arms(
    rows: Sequence[Candidate],
    plans: Sequence[Plan],
    count: TokenCounter,
    *,
    seed: int = 0,
    reserve: Sequence[Example] = (),
) -> tuple[list[Arm], list[Unbuilt]]:
    """Build the arms of each plan, whose rows are indices of `rows`, or say why they can't be.

    The unfiltered corpus and the clean teacher are those of `build_arms` with the same seed.
    """
    arms: list[Arm] = []
    unbuilt: list[Unbuilt] = []
    for plan in plans:
        names = {arm: name_slice(arm, plan.name) for arm in SLICE_ARMS}
        for places, wanted in (
            (plan.rows, names),
            (plan.control, {SWAP: name_slice(RANDOM_SWAP, plan.name)}),
        ):
            chosen = np.isin(np.arange(len(rows)), places)
            built, missing = build_arms(
                flag_rows(rows, chosen.tolist()), count, seed=seed, reserve=reserve, doses=()
            )
            arms += [item._replace(name=wanted[item.name]) for item in built if item.name in wanted]
            unbuilt += [
                item._replace(name=wanted[item.name]) for item in missing if item.name in wanted
            ]
    return arms, unbuilt


def judge_slices(means: Means, names: Sequence[str]) -> list[SliceVerdict]:
    """Judge each slice by its arms. The level of 5 % is for the share of wrong acceptances.

    Raises: TrialError: an arm of a slice has no outcomes.
    """
    swaps = {name: name_slice(SWAP, name) for name in names}
    raw = [compute_p(means, subtract(swaps[name], name_slice(RANDOM_SWAP, name))) for name in names]
    verdicts = []
    for name, p in zip(names, adjust_p_values(np.array(raw)).tolist(), strict=True):
        likeness = compare_with_clean(means, swaps[name])
        accepted = p <= 1 - CONFIDENCE and likeness.verdict != "not shown"
        effect = measure_slice(
            means, swap=swaps[name], only=name_slice(ONLY_SLICE, name), drop=name_slice(DROP, name)
        )
        verdicts.append(SliceVerdict(name, effect, likeness, p, accepted))
    return verdicts


def adjust_p_values(p_values: np.ndarray) -> np.ndarray:
    """Return p-values adjusted for their number, after Benjamini and Hochberg (1995)."""
    if not len(p_values):
        return p_values
    order = np.argsort(-p_values, kind="stable")
    ranks = np.arange(len(p_values), 0, -1)
    adjusted = np.empty(len(p_values))
    adjusted[order] = np.minimum.accumulate(p_values[order] * len(p_values) / ranks)
    return np.minimum(adjusted, 1)
