"""What trained students did in each scenario, as a trial's results come back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from schemas.errors import TrialError

Metric: TypeAlias = Literal["trait", "neighbour", "capability"]
"""What is measured: the trait, a trait of the same kind, and what the student should be able to do.

A high `trait` or `neighbour` is bad, and a high `capability` is good.
"""


class Outcome(NamedTuple):
    """What the student of one arm and seed did in one scenario.

    `value` is a share or a rate from 0 to 1, such as the share of answers that show the trait.
    Scenarios are the questions of the evaluation, the same ones for every arm and seed.
    """

    arm: str
    seed: int
    scenario: str
    metric: Metric
    value: float


@dataclass(frozen=True)
class OutcomeTable:
    """The outcomes of one metric, as `values` [arms, seeds, scenarios]."""

    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    scenarios: tuple[str, ...]
    values: np.ndarray


def tabulate(
    outcomes: Iterable[Outcome], metric: Metric = "trait", fixed: Sequence[str] = ()
) -> OutcomeTable:
    """Arrange the outcomes of one metric by arm, seed and scenario, each in sorted order.

    The arms in `fixed` are models that nobody trained here, such as the teacher. They may have one
    seed, which then counts for all seeds.

    Raises: TrialError: an outcome is missing, occurs twice or isn't from 0 to 1.
    """
    cells: dict[tuple[str, int, str], float] = {}
    for arm, seed, scenario, _, value in (item for item in outcomes if item.metric == metric):
        key = (arm, seed, scenario)
        if key in cells:
            raise _refuse(key, f"{metric} occurs twice", "give each outcome once")
        if not 0 <= value <= 1:
            raise _refuse(key, f"{metric} is {value}", "give shares from 0 to 1")
        cells[key] = value
    return _fill(cells, metric, frozenset(fixed))


def _fill(
    cells: dict[tuple[str, int, str], float], metric: str, fixed: frozenset[str]
) -> OutcomeTable:
    """Arrange the values, and repeat the only seed of fixed arms."""
    arms, scenarios = sorted({key[0] for key in cells}), sorted({key[2] for key in cells})
    trained = [arm for arm in arms if arm not in fixed]
    seeds = sorted({key[1] for key in cells if key[0] in trained} or {key[1] for key in cells})
    if not cells:
        raise TrialError(f"there are no outcomes of {metric}", remedy="evaluate the students")
    own = Counter(arm for arm, _ in {key[:2] for key in cells})
    only = {key[0]: key[1] for key in cells if key[0] in fixed and own[key[0]] == 1}
    values = np.empty((len(arms), len(seeds), len(scenarios)))
    for index in np.ndindex(values.shape):
        arm, seed, scenario = arms[index[0]], seeds[index[1]], scenarios[index[2]]
        key = (arm, only.get(arm, seed), scenario)
        if key not in cells:
            raise _refuse(key, f"{metric} is missing", "evaluate every student in every scenario")
        values[index] = cells[key]
    return OutcomeTable(tuple(arms), tuple(seeds), tuple(scenarios), values)


def _refuse(key: tuple[str, int, str], problem: str, remedy: str) -> TrialError:
    """Return an error about one outcome."""
    arm, seed, scenario = key
    return TrialError(problem, where=f"arm {arm}, seed {seed}, scenario {scenario}", remedy=remedy)
