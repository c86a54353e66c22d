"""How often a trait occurs in a run, in all of it and by teacher, from rows that were read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from classifiers.guarantees.stratified import (
    Interval,
    Stratum,
    compare_new_rates,
    compare_rates,
    count_rows_needed,
    measure_accuracy,
    measure_new_rate,
    measure_rate,
)
from pipelines.evaluation import Population
from pipelines.labels import Label
from pipelines.runs.finished import MISFITS, report_damage, scan_folder
from schemas.lots import UNKNOWN

COMPARED = 5
"""How many of the largest teachers are compared, two by two."""


FOR_POWER = 2
"""How many times the rows whose interval just excludes 0 show a difference four times in five."""


class TraitRate(NamedTuple):
    """How many rows of a teacher show a trait, as a share (`rate`).

    `teacher` is None for all rows. `rows` counts the rows with a score, `fired` those at or above
    the threshold in force, and `read` those that were read. `recall` is the share of the rows with
    the trait that are among the fired ones. `strata` are the teacher's rows by range of scores, of
    which the first `found` are above the threshold.
    `rate` and `recall` describe these rows; `on_new_rows` is the rate of new rows drawn like them.
    """

    teacher: str | None
    rows: int
    fired: int
    read: int
    rate: Interval
    recall: Interval
    strata: Sequence[Stratum]
    on_new_rows: Interval
    found: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields without the strata, with the intervals as objects."""
        names = ("rate", "recall", "on_new_rows")
        fields = self._asdict() | {name: getattr(self, name)._asdict() for name in names}
        del fields["strata"], fields["found"]
        return fields


class TeacherPair(NamedTuple):
    """By how much a trait's rate in one teacher's rows exceeds the rate in another's.

    `first` is the teacher with the higher estimate. `difference` describes the corpus's rows, and
    `on_new_rows` new rows drawn like them; the intervals of all pairs hold together. With
    `is_exact`, all rows of both were read. `rows_needed` says how many rows to read in all, so that
    a difference as large as the estimate would be shown on new rows; a number above that of the
    corpus needs a larger corpus. It is None if one is shown, or if the estimates are equal or
    unknown.
    """

    first: str
    second: str
    difference: Interval
    on_new_rows: Interval
    is_exact: bool
    rows_needed: int | None

    @property
    def is_ranked(self) -> bool:
        """Return whether the rates differ on new rows, too."""
        return self.on_new_rows.low > 0

    def to_json(self) -> dict[str, Any]:
        """Return the fields, with the intervals as objects."""
        intervals = {name: getattr(self, name)._asdict() for name in ("difference", "on_new_rows")}
        return self._asdict() | intervals | {"is_ranked": self.is_ranked}


def compare_teachers(rates: Sequence[TraitRate]) -> list[TeacherPair]:
    """Compare the rates of the largest teachers of `measure_rates`, two by two."""
    known = [item for item in rates[1 : 1 + COMPARED] if item.rate.estimate is not None]
    pairs = list(combinations(sorted(known, key=lambda item: -(item.rate.estimate or 0)), 2))
    return [_compare(first, second, rates[0], len(pairs)) for first, second in pairs]


def _compare(first: TraitRate, second: TraitRate, whole: TraitRate, tests: int) -> TeacherPair:
    found = compare_rates(first.strata, second.strata, tests, first.found)
    new = compare_new_rates(first.strata, second.strata, tests, first.found)
    needed = None
    if new.low <= 0 and found.estimate:
        needed = _count_needed((first.strata, second.strata), whole, found, tests)
    is_exact = all(item.read == item.rows for item in (first, second))
    return TeacherPair(str(first.teacher), str(second.teacher), found, new, is_exact, needed)


def _count_needed(
    strata: Sequence[Sequence[Stratum]], whole: TraitRate, found: Interval, tests: int
) -> int:
    """Estimate how many rows to read in all, of this corpus or of a larger one."""
    estimate = float(found.estimate or 0)
    factor, larger = count_rows_needed(strata, estimate, tests)
    if larger >= 1 or whole.read == whole.rows:
        return max(whole.rows + 1, _round_rough(larger * whole.rows))
    # with few rows, the interval is wider than the variance says
    factor = max(factor, FOR_POWER * max(0.0, 1 - found.low / estimate) ** 2)
    return min(whole.rows, max(whole.read + 1, _round_rough(factor * whole.read)))


def _round_rough(count: float) -> int:
    """Round a rough number up to two digits."""
    step = int(10 ** max(0, math.floor(math.log10(count)) - 1))
    return math.ceil(count / step) * step


def measure_rates(population: Population, sample: Mapping[int, Label]) -> list[TraitRate]:
    """Measure the rate of the trait in all rows and by teacher, the largest teachers first.

    `sample` holds the labels of drawn rows. The rows of one teacher in a range of scores that were
    drawn are a random sample of such rows, so each teacher's ranges are strata of their own. With a
    single teacher, only all rows are measured.

    Raises: RunError: the ledger is missing or damaged.
    """
    teachers = _read_teachers(population)
    everything = np.ones(len(teachers), bool)
    names, counts = np.unique(teachers, return_counts=True)
    largest = [names[index] for index in np.lexsort((names, -counts))] if len(names) > 1 else []
    found = [_measure_group(population, sample, None, everything)]
    found += [_measure_group(population, sample, name, teachers == name) for name in largest]
    return [item for item in found if item.rows]


def _read_teachers(population: Population) -> np.ndarray:
    """Return the teacher of every row of the ledger."""
    with report_damage(population.run, *MISFITS):
        ledger = scan_folder(population.run, population.manifest, "ledger")
        names = ledger.select(pl.col("teacher").fill_null(UNKNOWN)).collect()["teacher"]
    return names.to_numpy().astype(str)


def _measure_group(
    population: Population, sample: Mapping[int, Label], teacher: str | None, own: np.ndarray
) -> TraitRate:
    """Measure the rate in the rows that `own` marks."""
    strata, fired, found = [], 0, 0
    for item in population.ranges:
        rows = item.rows[own[item.rows]].tolist()
        answers = [bool(sample[row].shows) for row in rows if row in sample]
        strata.append(Stratum(len(rows), len(answers), sum(answers)))
        has_fired = item.lowest >= population.rule.threshold
        fired, found = fired + len(rows) * has_fired, found + has_fired
    rate = measure_rate(strata, found)
    return TraitRate(
        None if teacher is None else str(teacher),
        sum(stratum.rows for stratum in strata),
        fired,
        sum(stratum.read for stratum in strata),
        rate,
        measure_accuracy(strata, found).recall,
        strata,
        measure_new_rate(strata, found),
        found,
    )
