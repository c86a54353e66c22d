"""Whether rates differ between two sets of rows: in total, or within the teachers of both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from classifiers.guarantees.group_differences import (
    POWER,
    compute_p_values,
    find_detectable_share,
)
from classifiers.guarantees.stratified_differences import compute_stratified_p_values
from classifiers.lots.permutations import adjust_p_values
from pipelines.teacher_shares import have_moved
from schemas.shares import format_percent

LEVEL = 0.05
"""The share of false findings among the shifts that are called one."""

Hits = Mapping[str, int]
"""Rows of a kind, by teacher."""


class Within(NamedTuple):
    """The hits and the rows of the teachers that both sets have."""

    before: int
    rows_before: int
    after: int
    rows_after: int


class TeacherShift(NamedTuple):
    """The hits of one teacher in two sets, which may have no rows of it in one of them.

    `p` is the p-value of Fisher's exact test, and `q` the one that is adjusted for all tests of
    teachers beside it (Benjamini, Hochberg 1995). Both are None if the teacher isn't in both sets.
    """

    teacher: str
    before: int
    rows_before: int
    after: int
    rows_after: int
    p: float | None
    q: float | None


class RateShift(NamedTuple):
    """On how many of the rows of two runs a trait fires, or how many were removed (None).

    `p` is the p-value of Fisher's exact test, and `q` the one that is adjusted for the number of
    traits (Benjamini, Hochberg 1995). The line about removed rows is one test, so both are equal.

    If the teachers' shares of the rows differ, `within` has the counts of the teachers that both
    runs have, `teachers` those of each teacher, the largest first, and the test compares rates
    within teachers (`compute_stratified_p_values`). If no teacher is in both runs, nothing can be
    tested, and `p` and `q` are None.
    """

    trait: str | None
    before: int
    rows_before: int
    after: int
    rows_after: int
    p: float | None
    q: float | None
    within: Within | None = None
    teachers: tuple[TeacherShift, ...] = ()

    @property
    def has_shifted(self) -> bool:
        """Return whether the difference is more than chance, at `LEVEL`."""
        return self.q is not None and self.q <= LEVEL

    def to_json(self) -> dict[str, Any]:
        """Return the counts as objects."""
        return {
            **self._asdict(),
            "within": self.within and self.within._asdict(),
            "teachers": [item._asdict() for item in self.teachers],
        }


def compare_hits(
    counted: Sequence[tuple[str | None, Hits, Hits]], rows: tuple[Hits, Hits]
) -> list[RateShift]:
    """Test whether rates differ between two sets: each trait's hits before and after, by teacher.

    `rows` are the rows of both sets by teacher. Rates are compared within teachers if the teachers'
    shares of the rows differ, and in total otherwise.
    """
    pairs = [(before, after) for _, before, after in counted]
    names = [name for name, _, _ in counted]
    sums = (sum(rows[0].values()), sum(rows[1].values()))
    totals = [
        (sum(before.values()), sums[0], sum(after.values()), sums[1]) for before, after in pairs
    ]
    if not have_moved(*rows):
        p = compute_p_values(*np.array(totals, np.int64).reshape(-1, 4).T)
        q = adjust_p_values(p)
        return [
            RateShift(name, *total, float(own), float(adjusted))
            for name, total, own, adjusted in zip(names, totals, p, q, strict=True)
        ]
    whole = zip(names, totals, *_compare_within(pairs, rows), strict=True)
    return [RateShift(name, *total, *found) for name, total, *found in whole]


def _compare_within(
    pairs: Sequence[tuple[Hits, Hits]], rows: tuple[Hits, Hits]
) -> tuple[list[float | None], list[float | None], list[Within], list[tuple[TeacherShift, ...]]]:
    """Return p, q, the counts of shared teachers, and those of each teacher, for each trait."""
    shared = [name for name in rows[0] if rows[0][name] and rows[1].get(name)]
    tables = np.array(
        [
            [
                [hits[0].get(name, 0), rows[0][name], hits[1].get(name, 0), rows[1][name]]
                for name in shared
            ]
            for hits in pairs
        ],
        np.int64,
    ).reshape(len(pairs), len(shared), 4)
    within = [Within(*map(int, table.sum(0))) for table in tables]
    teachers = _compare_teachers(pairs, rows, shared, tables)
    if not shared:
        return [None] * len(pairs), [None] * len(pairs), within, teachers
    p = compute_stratified_p_values(*np.moveaxis(tables, 2, 0))
    return p.tolist(), adjust_p_values(p).tolist(), within, teachers


def _compare_teachers(
    pairs: Sequence[tuple[Hits, Hits]],
    rows: tuple[Hits, Hits],
    shared: Sequence[str],
    tables: np.ndarray,
) -> list[tuple[TeacherShift, ...]]:
    """Return the counts of each teacher for each trait, those with most rows first."""
    p = compute_p_values(*tables.reshape(-1, 4).T)
    tests = np.stack([p, adjust_p_values(p)], axis=1).reshape(len(pairs), len(shared), 2)
    sizes = {name: rows[0].get(name, 0) + rows[1].get(name, 0) for name in {**rows[0], **rows[1]}}
    ordered = sorted(sizes, key=lambda name: (-sizes[name], name))
    places = {name: place for place, name in enumerate(shared)}
    return [
        tuple(
            TeacherShift(
                name,
                *(hits[0].get(name, 0), rows[0].get(name, 0)),
                *(hits[1].get(name, 0), rows[1].get(name, 0)),
                *(own[places[name]].tolist() if name in places else (None, None)),
            )
            for name in ordered
        )
        for hits, own in zip(pairs, tests, strict=True)
    ]


def differs_in_total(shift: RateShift) -> bool:
    """Return whether the shares of all rows differ, as Fisher's exact test says at `LEVEL`.

    Where the teachers' shares differ too, this says nothing about any teacher.
    """
    columns = (np.array([value]) for value in shift[1:5])
    return bool(compute_p_values(*columns)[0] <= LEVEL)


def describe_power(shift: RateShift) -> str:
    """Say which higher share the test would have found, or nothing if it found a difference.

    Where rates were compared within teachers, the rows are those of the teachers in both sets, and
    the share is that of Fisher's exact test on them.
    """
    if shift.p is None or shift.p <= LEVEL:
        return ""
    counts = shift.within or Within(*shift[1:5])
    least = find_detectable_share(counts.before, counts.rows_before, counts.rows_after, LEVEL)
    if least is None:
        return "so few rows that no rise would have been found"
    return f"a rise to {format_percent(least)} would have been found with {POWER:.0%} probability"


def describe_shift(shift: RateShift, has_p: bool = True) -> str:
    """Return both counts with their totals and shares, and the p-value of the test that was made.

    Where rates were compared within teachers, their counts follow if they are others.
    """
    total = _describe_counts(Within(*shift[1:5]))
    if not has_p:
        return total
    if shift.within is None:
        return f"{total}; p = {shift.p:.2g} (Fisher's exact test)"
    if shift.p is None:
        return f"{total}; not tested, because no teacher is in both runs"
    within = ""
    if shift.within != shift[1:5]:
        within = f"of the teachers in both runs {_describe_counts(shift.within)}; "
    return f"{total}; {within}p = {shift.p:.2g} within teachers (Cochran-Mantel-Haenszel test)"


def _describe_counts(counts: Within) -> str:
    sides = ((counts.before, counts.rows_before), (counts.after, counts.rows_after))
    before, now = (
        f"{count:,} of {rows:,} ({format_percent(count / rows if rows else 0)})"
        for count, rows in sides
    )
    return f"{before} before, {now} now"
