"""Decide every row from scores, spans, lots and rules, and record every reason.

`filter` calls `decide` on the shards that it scores. To decide a finished run again, call `decide`
on the run's own `scores/`, `spans/` and `ledger/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas.cards import Action
from schemas.lots import Lot
from schemas.policies import PUBLISHED, SEVERITY
from schemas.scores import (
    COMBINED,
    SIDES,
    TIE_ORDER,
    Side,
    fires,
    is_trained,
    name_side,
    score_column,
)
from transforms.named_removals import BY_PERSON, find_named_removals, find_named_rows
from transforms.notes import join_masks
from transforms.rules import Rule
from transforms.spans import Span, choose_evidence

NOTED = ("flag", "mask")
"""The actions that a clean row's field `congener` names."""


class Reason(NamedTuple):
    """Why a trait fired on a row: the score, the threshold, and the span that scored highest.

    If the text is rejected or untrained, the signal's name ends in `@` followed by the side.
    """

    trait: str
    signal: str
    score: float
    threshold: float
    field_path: str
    start: int
    end: int
    action: Action
    evidence: str
    """The signal with the evidence: the rule's signal, or the best signal of a combined score.

    It is `BY_PERSON` if an exception for the row gave the reason; then there is no span.
    """


@dataclass
class Decisions:
    """A decision for every row, and reasons and masks for the rows that have them.

    `swaps` lists the rows that wait for another teacher's answer.
    """

    decisions: list[str]
    reasons: dict[int, list[Reason]] = field(default_factory=dict)
    masks: dict[int, list[Span]] = field(default_factory=dict)
    swaps: set[int] = field(default_factory=set)

    def list_noted(self, row: int) -> list[str]:
        """Return the traits that flag or mask a row, in the order of the rules."""
        found = self.reasons.get(row, ())
        return list(dict.fromkeys(item.trait for item in found if item.action in NOTED))


class Evidence(NamedTuple):
    """The basis of the decisions, aligned row by row.

    `scores` maps column names (see `score_column`) to float32 arrays. `spans` holds a list of
    `SIGNAL_SPAN` for every row.
    """

    scores: Mapping[str, np.ndarray]
    spans: pa.ListArray
    lots: Sequence[Lot]


def decide(
    evidence: Evidence,
    rules: Sequence[Rule],
    repeats: Mapping[int, Sequence[Lot]] | None = None,
) -> Decisions:
    """Decide every row, including whether it is a duplicate.

    `repeats` maps each row that has earlier copies to the lots of the copies that may have another
    decision. The row is a duplicate if an earlier copy is published, or is held or dropped for the
    same reasons. Without lots, the earlier copies have the row's own decision.
    """
    result = _decide_alone(evidence, rules)
    for row in _find_duplicates(evidence, rules, result, repeats or {}):
        result.decisions[row] = "duplicate"
        result.swaps.discard(row)
    return result


def _decide_alone(evidence: Evidence, rules: Sequence[Rule]) -> Decisions:
    """Decide every row without comparing it with its copies."""
    result = Decisions(["keep"] * len(evidence.lots))
    for rule, side in product(rules, SIDES):
        for row, reason, masks in _find_fired(rule, evidence, side):
            result.reasons.setdefault(row, []).append(reason)
            if reason.action == "mask":
                result.masks.setdefault(row, []).extend(masks)
    result.masks = {row: join_masks(masks) for row, masks in result.masks.items()}
    for row, reason in list(_list_named(rules, evidence, result.reasons)):
        result.reasons.setdefault(row, []).append(reason)
    for row, reasons in result.reasons.items():
        severity = max(SEVERITY.index(reason.action) for reason in reasons)
        result.decisions[row] = SEVERITY[severity]
        if SEVERITY[severity] == "swap":  # the row is held until a new completion is ready
            result.swaps.add(row)
            result.decisions[row] = "quarantine"
    return result


def _list_named(
    rules: Sequence[Rule], evidence: Evidence, reasons: Mapping[int, Sequence[Reason]]
) -> Iterator[tuple[int, Reason]]:
    """Yield the rows that the policy takes out by name, with reasons that no score gives."""
    if not any(item.takes_out_row for rule in rules for item in rule.exceptions):
        return
    for row in find_named_rows(evidence.lots):
        own = reasons.get(row, ())
        fired = {reason.trait for reason in own if is_trained(reason.signal)}
        lot = evidence.lots[row]
        for rule, action, score in find_named_removals(evidence.scores, row, lot, rules, fired):
            span = Span("", 0, 0)
            yield row, Reason(rule.trait, rule.signal, score, 0.0, *span, action, BY_PERSON)


def _find_duplicates(
    evidence: Evidence,
    rules: Sequence[Rule],
    alone: Decisions,
    repeats: Mapping[int, Sequence[Lot]],
) -> set[int]:
    """Return the rows that are duplicates.

    Copies have equal scores, so an earlier copy's lot and this row's scores give the earlier copy's
    decision.
    """
    copies = [(row, lot) for row, lots in repeats.items() for lot in lots]
    found = {row for row, lots in repeats.items() if not lots}
    rows = np.array([row for row, _ in copies], np.int64)
    others = _decide_alone(_take_as_copies(evidence, rows, [lot for _, lot in copies]), rules)
    for index, (row, _) in enumerate(copies):
        decision, reasons = others.decisions[index], others.reasons.get(index)
        alike = decision == alone.decisions[row] and reasons == alone.reasons.get(row)
        if decision in PUBLISHED or alike:
            found.add(row)
    return found


def _take_as_copies(evidence: Evidence, rows: np.ndarray, lots: Sequence[Lot]) -> Evidence:
    """Return the evidence for the given rows, with these lots instead of their own."""
    scores = {name: values[rows] for name, values in evidence.scores.items()}
    return Evidence(scores, evidence.spans.take(pa.array(rows)), lots)


def _find_fired(
    rule: Rule, evidence: Evidence, side: Side
) -> Iterator[tuple[int, Reason, list[Span]]]:
    """Yield each row on which a rule fires for one side, with the reason and the masks."""
    column = score_column(rule.trait, rule.signal, side)
    if side != "trained" and column not in evidence.scores:  # the corpus has no such text
        return
    values = evidence.scores[column]
    limits = {lot: rule.apply_exceptions(lot, side) for lot in dict.fromkeys(evidence.lots)}
    lowest = min((threshold for threshold, _ in limits.values()), default=np.inf)
    candidates = np.flatnonzero(fires(values, lowest))
    thresholds = np.array([limits[evidence.lots[row]][0] for row in candidates.tolist()])
    rows = candidates[fires(values[candidates], thresholds)]
    signals = _find_evidence_signals(rule, evidence.scores, rows, side)
    named = [name_side(signal, side) for signal in signals]
    stored = _find_spans(evidence.spans, rows, rule.trait, named)
    own = _list_spans(stored)
    masks = _list_masks(stored, any(action == "mask" for _, action in limits.values()))
    for row, signal, span, masked in zip(rows.tolist(), signals, own, masks, strict=True):
        threshold, action = limits[evidence.lots[row]]
        name, score = name_side(rule.signal, side), float(values[row])
        reason = Reason(rule.trait, name, score, threshold, *span, action, signal)
        yield row, reason, masked or ([span] if span.end > span.start else [])


def _find_evidence_signals(
    rule: Rule, scores: Mapping[str, np.ndarray], rows: np.ndarray, side: Side
) -> list[str]:
    if rule.signal != COMBINED:
        return [rule.signal] * len(rows)
    columns = {signal: score_column(rule.trait, signal, side) for signal in TIE_ORDER}
    own = {signal: scores[name][rows] for signal, name in columns.items() if name in scores}
    return [str(signal) for signal in choose_evidence(own)]


def _find_spans(
    spans: pa.ListArray, rows: np.ndarray, trait: str, signals: Sequence[str]
) -> pa.StructArray:
    """Return the span that a trait's signal has on each of the rows."""
    found = spans.take(pa.array(rows, pa.int64()))
    flat, owners = pc.list_flatten(found), pc.list_parent_indices(found)
    names = pa.array(signals, pa.string()).take(owners)
    is_own = pc.and_(pc.equal(flat.field("trait"), trait), pc.equal(flat.field("signal"), names))
    return flat.filter(is_own)


def _list_masks(stored: pa.StructArray, wanted: bool) -> list[list[Span]]:
    """Return the masks of spans, if they are wanted: a long row may have a million of them."""
    if not wanted:
        return [[]] * len(stored)
    lists = stored.field("masks")
    flat = pc.list_flatten(lists)
    masks = _list_spans(flat)
    ends = np.cumsum(pc.list_value_length(lists).to_numpy()).tolist()
    return [masks[begin:end] for begin, end in pairwise([0, *ends])]


def _list_spans(array: pa.StructArray) -> list[Span]:
    columns = (array.field(name).to_pylist() for name in Span._fields)
    return [Span(*item) for item in zip(*columns, strict=True)]
