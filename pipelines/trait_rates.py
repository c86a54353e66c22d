"""How often a trait occurs in a run, in all of it and by teacher, from rows that were read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from classifiers.guarantees.stratified import Interval, Stratum, measure_rate
from pipelines.evaluation import Population
from pipelines.labels import Label
from pipelines.runs.finished import MISFITS, report_damage, scan_folder
from schemas.lots import UNKNOWN


class TraitRate(NamedTuple):
    """How many rows of a teacher show a trait, as a share (`rate`).

    `teacher` is None for all rows. `rows` counts the rows with a score, `fired` those at or above
    the threshold in force, and `read` those that were read.
    """

    teacher: str | None
    rows: int
    fired: int
    read: int
    rate: Interval

    def to_json(self) -> dict[str, Any]:
        """Return the fields, with the interval as an object."""
        return {**self._asdict(), "rate": self.rate._asdict()}


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
    strata, fired = [], 0
    for item in population.ranges:
        rows = item.rows[own[item.rows]].tolist()
        answers = [bool(sample[row].shows) for row in rows if row in sample]
        strata.append(Stratum(len(rows), len(answers), sum(answers)))
        fired += len(rows) if item.lowest >= population.rule.threshold else 0
    rate = measure_rate(strata)
    return TraitRate(
        None if teacher is None else str(teacher),
        sum(stratum.rows for stratum in strata),
        fired,
        sum(stratum.read for stratum in strata),
        rate,
    )
