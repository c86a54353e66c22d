"""How often traits fire in two runs on different rows, and whether the difference is chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from classifiers.guarantees.group_differences import compute_p_values
from classifiers.lots.permutations import adjust_p_values
from pipelines.runs.queries import FIRED, scan_ledger
from pipelines.runs.recorded_settings import read_recorded_policy
from pipelines.teacher_shares import describe_shares
from schemas.manifests import Manifest
from schemas.policies import TraitRule
from schemas.shares import format_percent

LEVEL = 0.05
"""The share of false findings among the shifts that are called one."""

REMOVED = ("quarantine", "drop")
"""The decisions that take a row out of the corpus because of a trait."""

BUDGETS = ("removal_budget", "reject_budget", "unread_budget", "expected_unread")
"""The fields of a policy that stop a run or warn, and change no finding."""

ONLY_ACTIONS = (
    "the runs' policies differ in actions or budgets, so what is removed may differ for that "
    "reason too; how often traits fire doesn't depend on it"
)
"""What is said of policies that change no finding."""


class RateShift(NamedTuple):
    """On how many of the rows of two runs a trait fires, or how many were removed (None).

    `p` is the p-value of Fisher's exact test, and `q` the one that is adjusted for the number of
    traits (Benjamini, Hochberg 1995). The line about removed rows is one test, so both are equal.
    """

    trait: str | None
    before: int
    rows_before: int
    after: int
    rows_after: int
    p: float
    q: float

    @property
    def has_shifted(self) -> bool:
        """Return whether the difference is more than chance, at `LEVEL`."""
        return self.q <= LEVEL


class RateShifts(NamedTuple):
    """The removed rows and each trait's rows in two runs, and what else differs between them.

    The traits are those that both runs look for, the most certain shift first. `notes` says in
    sentences if the runs were made with other policies or banks, or have other shares of teachers.
    """

    removed: RateShift
    traits: list[RateShift]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the shifts as objects."""
        traits = [item._asdict() for item in self.traits]
        return {"removed": self.removed._asdict(), "traits": traits, "notes": self.notes}


def compare_rates(
    runs: tuple[str, str], manifests: tuple[Manifest, Manifest], trait: str | None = None
) -> RateShifts:
    """Compare how often traits fire, and how many rows are removed, in two runs on other rows.

    With a `trait`, only removed rows count on which it fired. Rejects and duplicates are rows like
    others. The test takes the rows of both runs for independent, so it says nothing about two runs
    on the same rows.

    Raises: RunError: a ledger is missing or damaged.
    """
    one, two = (_count(run, manifest, trait) for run, manifest in zip(runs, manifests, strict=True))
    known = [{rule.trait: None for rule in manifest.thresholds} for manifest in manifests]
    shared = [name for name in known[0] if name in known[1]]
    found = _test(
        [(name, one.fired.get(name, 0), two.fired.get(name, 0)) for name in shared], one, two
    )
    (removed,) = _test([(None, one.removed, two.removed)], one, two)
    ranked = sorted(found, key=lambda item: (item.q, item.p, item.trait or ""))
    shares = describe_shares(one.teachers, two.teachers)
    notes = [*filter(None, [shares]), *describe_differences(*manifests)]
    return RateShifts(removed, ranked, notes)


class _Counts(NamedTuple):
    """The rows of a run, the removed ones, those on which each trait fires, and each teacher's."""

    rows: int
    removed: int
    fired: dict[str, int]
    teachers: dict[str, int]


def _count(run: str, manifest: Manifest, trait: str | None) -> _Counts:
    rows = scan_ledger(run, manifest).select("decision", "teacher", fired=FIRED.list.unique())
    gone = pl.col("decision").is_in(REMOVED)
    if trait is not None:
        gone &= pl.col("fired").list.contains(trait)
    names = rows.explode("fired").drop_nulls("fired").group_by("fired").len()
    teachers = rows.group_by("teacher").len()
    totals, fired, shares = pl.collect_all(
        [rows.select(pl.len(), gone=gone.sum()), names, teachers], engine="streaming"
    )
    (whole, removed), *_ = totals.rows()
    return _Counts(whole, removed, dict(fired.iter_rows()), dict(shares.iter_rows()))


def _test(
    counted: Sequence[tuple[str | None, int, int]], one: _Counts, two: _Counts
) -> list[RateShift]:
    before, after = (np.array([item[at] for item in counted], np.int64) for at in (1, 2))
    totals = [np.full(len(counted), rows, np.int64) for rows in (one.rows, two.rows)]
    p = compute_p_values(before, totals[0], after, totals[1])
    return [
        RateShift(name, was, one.rows, now, two.rows, float(own), float(adjusted))
        for (name, was, now), own, adjusted in zip(counted, p, adjust_p_values(p), strict=True)
    ]


def describe_shift(shift: RateShift, has_p: bool = True) -> str:
    """Return both counts with their totals and shares, and the p-value."""
    sides = [
        f"{count:,} of {rows:,} ({format_percent(count / rows if rows else 0)})"
        for count, rows in (
            (shift.before, shift.rows_before),
            (shift.after, shift.rows_after),
        )
    ]
    p = f"; p = {shift.p:.2g} (Fisher's exact test)" if has_p else ""
    return f"{sides[0]} before, {sides[1]} now{p}"


def describe_differences(first: Manifest, second: Manifest) -> list[str]:
    """Say which of policy, thresholds and bank differ, so that rates may differ for that reason.

    Policies that differ in nothing but actions and budgets change what is removed, not what fires.
    """
    limits = [
        {rule.trait: rule.threshold for rule in manifest.thresholds} for manifest in (first, second)
    ]
    others = {
        "policies": first.identity.policy_digest != second.identity.policy_digest,
        "thresholds": limits[0] != limits[1],
        "banks": first.identity.bank_digest != second.identity.bank_digest,
    }
    differing = [name for name, differs in others.items() if differs]
    if not differing:
        return []
    if differing == ["policies"] and _leave_out_actions(first) == _leave_out_actions(second):
        return [ONLY_ACTIONS]
    listed = " and ".join(filter(None, (", ".join(differing[:-1]), differing[-1])))
    return [f"the runs' {listed} differ, so rates may differ for that reason too"]


def _leave_out_actions(manifest: Manifest) -> dict[str, Any]:
    """Return the parts of a policy, beside rules' thresholds, on which it depends what fires."""
    policy = read_recorded_policy(manifest)
    usual = TraitRule()
    rules = {
        name: (rule.signal, rule.sides)
        for name, rule in policy.traits.items()
        if (rule.signal, rule.sides) != (usual.signal, usual.sides)
    }
    limits = [
        item.model_copy(update={"action": None, "reason": ""})
        for item in policy.exceptions
        if item.threshold is not None
    ]
    others = policy.model_dump(exclude={"traits", "exceptions", *BUDGETS})
    return {**others, "rules": rules, "limits": limits}
