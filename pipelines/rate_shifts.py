"""How often traits fire in two runs on different rows, and whether the difference is chance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from pipelines.rate_tests import Hits, RateShift, compare_hits
from pipelines.runs.queries import SIGNALLED_TRAITS, scan_ledger
from pipelines.runs.recorded_settings import read_recorded_policy
from pipelines.teacher_shares import describe_shares, list_incomparable
from schemas.manifests import Manifest
from schemas.notices import choose_form, format_count
from schemas.policies import TraitRule

REMOVED = ("quarantine", "drop")
"""The decisions that take a row out of the corpus because of a trait."""

BUDGETS = ("removal_budget", "reject_budget", "unread_budget", "expected_unread")
"""The fields of a policy that stop a run or warn, and change no finding."""

ONLY_ACTIONS = (
    "the runs' policies differ in actions or budgets, so what is removed may differ for that "
    "reason too; how often traits fire doesn't depend on it"
)
"""What is said of policies that change no finding."""


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
        traits = [item.to_json() for item in self.traits]
        return {"removed": self.removed.to_json(), "traits": traits, "notes": self.notes}


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
    rows = one.rows, two.rows
    found = compare_hits(
        [(name, one.fired.get(name, {}), two.fired.get(name, {})) for name in shared], rows
    )
    (removed,) = compare_hits([(None, one.removed, two.removed)], rows)
    ranked = sorted(found, key=_rank)
    notes = [
        *(describe_overlap(runs, manifests) if removed.p is not None else ()),
        *describe_teachers(*rows, two.fired),
        *describe_differences(*manifests),
    ]
    return RateShifts(removed, ranked, notes)


def describe_overlap(runs: tuple[str, str], manifests: tuple[Manifest, Manifest]) -> Iterator[str]:
    """Say how many rows of the same content are in both runs, and what that does to the tests.

    A row that both runs treat alike adds the same to both counts, so the counts differ less by
    chance than those of independent rows, and p-values are too high rather than too low.
    """
    first, second = manifests
    if first.identity.digest_key != second.identity.digest_key:
        yield (
            "the runs' digests have different keys, so the rows that are in both can't be counted"
        )
        return
    if shared := count_shared(runs, manifests):
        verb = choose_form(shared, "is", "are")
        yield (
            f"{format_count(shared, 'row')} {verb} in both runs, and the tests take all rows as "
            "independent: p-values are too high rather than too low if both runs treat them alike"
        )


def count_shared(runs: tuple[str, str], manifests: tuple[Manifest, Manifest]) -> int:
    """Count the rows of the same content in both runs; the second copy is matched with the second.

    Raises: RunError: a ledger is missing or damaged.
    """
    one, two = (
        scan_ledger(run, manifest).group_by("content_digest").len()
        for run, manifest in zip(runs, manifests, strict=True)
    )
    both = one.join(two, on="content_digest", suffix="_after")
    fewer = pl.min_horizontal("len", "len_after").cast(pl.Int64)
    return int(both.select(fewer.sum()).collect(engine="streaming").item())


def _rank(shift: RateShift) -> tuple[float, float, str]:
    """Return the order of a shift: the most certain one first."""
    certain = (1.0, 1.0) if shift.q is None or shift.p is None else (shift.q, shift.p)
    return *certain, shift.trait or ""


class _Counts(NamedTuple):
    """The rows of a run, the removed ones, and those on which each trait fires, by teacher."""

    rows: dict[str, int]
    removed: dict[str, int]
    fired: dict[str, dict[str, int]]


def _count(run: str, manifest: Manifest, trait: str | None) -> _Counts:
    rows = scan_ledger(run, manifest).select("decision", "teacher", fired=SIGNALLED_TRAITS)
    gone = pl.col("decision").is_in(REMOVED)
    if trait is not None:
        gone &= pl.col("fired").list.contains(trait)
    names = _group_fired(rows)
    teachers = rows.group_by("teacher").agg(pl.len(), gone=gone.sum()).sort("teacher")
    totals, fired = pl.collect_all([teachers, names], engine="streaming")
    own = totals["teacher"].to_list()
    counts = (totals[column].to_list() for column in ("len", "gone"))
    whole, removed = (dict(zip(own, column, strict=True)) for column in counts)
    return _Counts(whole, removed, _index_fired(fired))


def count_fired(
    run: str, manifest: Manifest, decisions: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Count the rows with these decisions on which each trait fires, by trait and teacher.

    Raises: RunError: a ledger is missing or damaged.
    """
    chosen = scan_ledger(run, manifest).filter(pl.col("decision").is_in(decisions))
    rows = chosen.select("teacher", fired=SIGNALLED_TRAITS)
    return _index_fired(_group_fired(rows).collect(engine="streaming"))


def _group_fired(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Count rows by trait and teacher."""
    return rows.explode("fired").drop_nulls("fired").group_by("fired", "teacher").len()


def _index_fired(counted: pl.DataFrame) -> dict[str, dict[str, int]]:
    hits: dict[str, dict[str, int]] = {}
    for name, teacher, count in counted.iter_rows():
        hits.setdefault(name, {})[teacher] = count
    return hits


def describe_teachers(
    before: Hits, now: Hits, fired: Mapping[str, Hits] | None = None
) -> list[str]:
    """Say whether the teachers' shares of the rows differ, and which teachers aren't in both runs.

    The first two arguments count rows by teacher, and `fired` the rows of `now` by trait.
    """
    shares = describe_shares(before, now)
    return [shares, *list_incomparable(before, now, fired)] if shares else []


def describe_tests(shifts: RateShifts) -> str:
    """Say which rows were counted, and which test gave the q of each trait."""
    adjusted = f"adjusted for {format_count(len(shifts.traits), 'trait')} (Benjamini-Hochberg)"
    within = shifts.removed.within
    if within is None:
        return f"q: Fisher's exact test, {adjusted}"
    if shifts.removed.p is None:
        return "no q: no teacher is in both runs, so no rate can be compared"
    return (
        f"rows and share: the teachers in both runs, {within.rows_before:,} rows before and "
        f"{within.rows_after:,} now; q: Cochran-Mantel-Haenszel test within teachers, {adjusted}"
    )


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
        if item.threshold is not None or item.takes_out_row
    ]
    others = policy.model_dump(exclude={"traits", "exceptions", *BUDGETS})
    return {**others, "rules": rules, "limits": limits}
