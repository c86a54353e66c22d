"""The effects of a policy's exceptions: which rows each one changed, and from which action."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

from schemas.lots import Lot
from schemas.policies import SEVERITY, LotException
from schemas.receipts import ActionChange, ExceptionEffect
from schemas.scores import SIDES, fires, score_column
from transforms.named_removals import find_named_removals
from transforms.rules import Rule


class ChangedRow(NamedTuple):
    """A row whose strongest action an exception changed; `number` counts exceptions from 1."""

    number: int
    before: str
    after: str


class _Step(NamedTuple):
    """One exception's step: the rows in its lots, and their actions before and after it.

    The actions are indexes in `SEVERITY`, as arrays of shape (traits and sides, rows).
    """

    rows: np.ndarray
    before: np.ndarray
    after: np.ndarray


def measure_effects(
    scores: Mapping[str, np.ndarray],
    lots: Sequence[Lot],
    decisions: Sequence[str],
    rules: Sequence[Rule],
    exceptions: Sequence[LotException],
) -> tuple[ExceptionEffect, ...]:
    """Measure what each exception of a policy did to some rows, in the policy's order.

    Each exception is compared with the policy without it and without those after it, so an
    exception that repeats an earlier one changes nothing. `decisions` are those on the rows:
    duplicates count among the rows of a lot, but not among changed rows.
    """
    if not exceptions:
        return ()
    is_counted = np.array([decision != "duplicate" for decision in decisions], bool)
    steps = _apply_in_turn(scores, lots, rules, exceptions)
    return tuple(_count_changes(step, is_counted) for step in steps)


def explain_row(
    scores: Mapping[str, float | None],
    lot: Lot,
    rules: Sequence[Rule],
    exceptions: Sequence[LotException],
) -> list[ChangedRow]:
    """Return the exceptions that changed one row's strongest action, in the policy's order."""
    columns = {
        name: np.array([np.nan if score is None else score], np.float32)
        for name, score in scores.items()
    }
    found = []
    for number, step in enumerate(_apply_in_turn(columns, [lot], rules, exceptions), 1):
        for before, after in zip(step.before.max(0), step.after.max(0), strict=True):
            if before != after:
                found.append(ChangedRow(number, SEVERITY[before], SEVERITY[after]))
    return found


def _apply_in_turn(
    scores: Mapping[str, np.ndarray],
    lots: Sequence[Lot],
    rules: Sequence[Rule],
    exceptions: Sequence[LotException],
) -> Iterator[_Step]:
    """Yield the step of each exception, each on top of those before it."""
    known = list(dict.fromkeys(lots))
    numbers = {lot: number for number, lot in enumerate(known)}
    own = np.array([numbers[lot] for lot in lots], np.int64)
    takes_out = any(item.takes_out_row for item in exceptions)
    for number, item in enumerate(exceptions):
        is_inside = [item.matches(lot.for_side(item.side)) for lot in known]
        rows = np.flatnonzero(np.array(is_inside, bool)[own])
        parts = {name: values[rows] for name, values in scores.items()}
        before, after = (
            _find_actions(parts, own[rows], known, _limit_rules(rules, exceptions[:end]), takes_out)
            for end in (number, number + 1)
        )
        yield _Step(rows, before, after)


def _limit_rules(rules: Sequence[Rule], exceptions: Sequence[LotException]) -> list[Rule]:
    """Return the rules as they would be if the policy had only these exceptions."""
    return [
        rule._replace(
            exceptions=tuple(item for item in exceptions if item.trait in (rule.trait, "*"))
        )
        for rule in rules
    ]


def _find_actions(
    scores: Mapping[str, np.ndarray],
    own: np.ndarray,
    lots: Sequence[Lot],
    rules: Sequence[Rule],
    takes_out: bool,
) -> np.ndarray:
    """Return each rule's action on each row, for each side of its texts, as severities.

    `own` holds the index of each row's lot. A trait that doesn't fire keeps the row, unless the
    policy takes the row out by name; `takes_out` is False if it does that with no row.
    """
    present = sorted(set(own.tolist()))
    found = [np.zeros(len(own), np.int64)]
    fired: dict[str, np.ndarray] = {}
    for rule, side in product(rules, SIDES):
        values = scores.get(score_column(rule.trait, rule.signal, side))
        if values is None:
            continue
        thresholds, severities = np.full(len(lots), np.inf), np.zeros(len(lots), np.int64)
        for number in present:
            thresholds[number], action = rule.apply_exceptions(lots[number], side)
            severities[number] = SEVERITY.index(action)
        is_fired = fires(values, thresholds[own])
        found.append(np.where(is_fired, severities[own], 0))
        if side == "trained":
            fired[rule.trait] = is_fired
    if takes_out:
        found.append(_find_named_actions(scores, own, lots, rules, fired))
    return np.stack(found)


def _find_named_actions(
    scores: Mapping[str, np.ndarray],
    own: np.ndarray,
    lots: Sequence[Lot],
    rules: Sequence[Rule],
    fired: Mapping[str, np.ndarray],
) -> np.ndarray:
    """Return the strongest action with which the policy takes out each row by name."""
    found = np.zeros(len(own), np.int64)
    named = [number for number in set(own.tolist()) if lots[number].names]
    for row in np.flatnonzero(np.isin(own, named)).tolist():
        known = {trait for trait, marks in fired.items() if marks[row]}
        for _, action, _ in find_named_removals(scores, row, lots[own[row]], rules, known):
            found[row] = max(found[row], SEVERITY.index(action))
    return found


def _count_changes(step: _Step, is_counted: np.ndarray) -> ExceptionEffect:
    kept = is_counted[step.rows]
    before, after = step.before[:, kept], step.after[:, kept]
    first, last = before.max(0), after.max(0)
    pairs = Counter(zip(first[first != last].tolist(), last[first != last].tolist(), strict=True))
    changed = (
        ActionChange(before=SEVERITY[one], after=SEVERITY[other], rows=rows)
        for (one, other), rows in sorted(pairs.items())
    )
    overruled = (before != after).any(0) & (first == last)
    return ExceptionEffect(
        rows=len(step.rows), changed=tuple(changed), overruled=int(overruled.sum())
    )
