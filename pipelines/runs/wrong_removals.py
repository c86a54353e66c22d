"""How many of a run's removed rows may be clean, over all traits together."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from classifiers.guarantees.calibration import (
    CONFIDENCE,
    compute_upper_bound,
    count_allowed,
    split_confidence,
)
from pipelines.runs.parent_policies import list_reviews
from pipelines.runs.recorded_settings import read_recorded_policy, read_recorded_rules
from schemas.cards import Level
from schemas.manifests import Manifest, SettledThreshold
from schemas.notices import choose_form, format_count, list_names
from schemas.policies import TAKING_OUT
from schemas.scores import LIKELY, Side
from schemas.shares import format_exact
from transforms.rules import Rule


class WrongRemovals(NamedTuple):
    """The number of removed rows, and an upper bound on how many of them are clean.

    `removed` leaves out duplicates. `most` may be as large as `removed`. For the traits in
    `unbounded` nothing is promised, so `most` counts all their rows. The bound of those in
    `doubtful` may not hold for the corpus. Nor is anything promised for the `named` rows, which
    exceptions take out by name. It `is_read` if labels led to the policy, so rows were read.
    """

    removed: int
    most: int
    unbounded: tuple[str, ...]
    doubtful: tuple[str, ...]
    named: int = 0
    is_read: bool = False


def bound_wrong_removals(manifest: Manifest) -> WrongRemovals:
    """Bound the number of clean rows among the removed ones, for all traits at once.

    Each trait's bound holds at a confidence of 1 - 5 % / m, for the m traits that remove rows and
    have a calibrated threshold, so that all of them hold together with 95 % (Bonferroni). A trait
    counts with its bound times the number of readable rows, but with no more than the rows on which
    it fired. A trait without a bound counts with all of these: its threshold was set by hand, an
    exception changes it, or it fired in text that isn't trained on.
    """
    counts = manifest.conservation.by_decision
    removed = sum(counts.get(name, 0) for name in ("quarantine", "drop"))
    rules = [rule for rule in read_recorded_rules(manifest) if _removes(rule, "trained")]
    fired = {rule.trait: manifest.count_fired(rule.trait) for rule in rules}
    limits = _limit_clean_rows(rules, manifest)
    others, named = dict(_count_other_sides(manifest)), _count_named(manifest)
    most = sum(min(count, limits.get(trait, count)) for trait, count in fired.items())
    unbounded = [trait for trait, count in fired.items() if count and trait not in limits]
    remarks = manifest.list_remarks()
    return WrongRemovals(
        removed,
        min(removed, math.ceil(most + sum(others.values()) + named)),
        tuple(dict.fromkeys([*unbounded, *others])),
        tuple(trait for trait in limits if fired[trait] and trait in remarks),
        named,
        bool(list_reviews(manifest.policy.get("exceptions", ()))),
    )


def _count_named(manifest: Manifest) -> int:
    """Count the rows that exceptions take out by name and that would stay without them."""
    exceptions = read_recorded_policy(manifest).exceptions
    return sum(
        change.rows
        for item, effect in zip(exceptions, manifest.exceptions, strict=False)
        for change in effect.changed
        if item.takes_out_row and change.before not in TAKING_OUT and change.after in TAKING_OUT
    )


def _limit_clean_rows(rules: Sequence[Rule], manifest: Manifest) -> dict[str, float]:
    """Return how many clean rows each trait with a bound may fire on, for all of them at once."""
    settled = {item.trait: item for item in manifest.thresholds}
    bounded = [rule.trait for rule in rules if _has_bound(rule, settled[rule.trait])]
    confidence = split_confidence(CONFIDENCE, len(bounded))
    counts = manifest.conservation
    rows = counts.rows_in - counts.by_decision.get("reject", 0)
    return {
        trait: rows
        * compute_upper_bound(
            count_bounding(settled[trait]), settled[trait].clean_texts, confidence
        )
        for trait in bounded
    }


def count_bounding(rule: SettledThreshold) -> int:
    """Return the number of clean texts for which a calibrated threshold's bound is stated."""
    if rule.threshold <= LIKELY:
        return rule.exceeding
    level = Level(max_false_positive_rate=rule.max_false_positive_rate, confidence=rule.confidence)
    return count_allowed(rule.clean_texts, level)


def _removes(rule: Rule, side: Side) -> bool:
    """Return whether a trait may take rows out because of its findings on a side."""
    lots = (item for item in rule.exceptions if item.row is None)
    given = {item.action for item in lots if item.side == side}
    return not {rule.get_action(side), *given}.isdisjoint(TAKING_OUT)


def _has_bound(rule: Rule, settled: SettledThreshold) -> bool:
    changed = any(item.threshold is not None for item in rule.exceptions)
    return settled.origin == "calibrated" and not changed


def _count_other_sides(manifest: Manifest) -> Iterator[tuple[str, int]]:
    """Yield the traits that remove rows because of text that isn't trained on, with the rows."""
    sides = [side for side in manifest.list_found_sides() if side != "trained"]
    for rule in read_recorded_rules(manifest):
        counts = [manifest.count_fired(rule.trait, side) for side in sides if _removes(rule, side)]
        if any(counts):
            yield rule.trait, sum(counts)


def describe_wrong_removals(found: WrongRemovals) -> str:
    """Say how many of the removed rows may be clean, or nothing if no row was removed.

    Reading tells more, but rows of a run with released ones were read already.
    """
    if not found.removed:
        return ""
    rows = format_count(found.removed, "removed row")
    why = list(_explain(found))
    if found.most >= found.removed:
        which = "the removed row is" if found.removed == 1 else f"all {rows} are"
        said = f"wrong removals: the bounds of all traits together allow that {which} clean"
    else:
        said = (
            f"wrong removals: of {rows}, at most about {found.most:,} "
            f"{choose_form(found.most, 'is', 'are')} clean by the bounds of all traits together, "
            f"with {format_exact(CONFIDENCE)} confidence"
        )
    more = [] if found.is_read else ["read the rows to know more"]
    return "; ".join([said, *why, *more])


def _explain(found: WrongRemovals) -> Iterator[str]:
    if found.removed < 2 * found.most < 2 * found.removed:
        yield "that says little, because so few rows were removed"
    if found.unbounded:
        yield f"nothing is promised for {list_names(found.unbounded)}, so all their rows count"
    if found.named:
        rows = format_count(found.named, "row")
        yield f"{rows} that exceptions take out {choose_form(found.named, 'counts', 'count')}, too"
    if found.doubtful:
        bounds = choose_form(len(found.doubtful), "bound", "bounds")
        yield f"the {bounds} of {list_names(found.doubtful)} may not hold for this corpus"
