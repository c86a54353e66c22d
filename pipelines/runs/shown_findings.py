"""The findings of a run on one row: each trait that fired or came near, and its evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from classifiers.phrase_weights import WeighedPhrase
from pipelines.runs.negatives import find_owner
from schemas.lots import Lot
from schemas.policies import SEVERITY
from schemas.scores import NEAR_MISS, SCORE_DECIMALS, TIE_ORDER, name_side, score_column, split_side
from transforms.records.field_paths import get_field_text
from transforms.records.formats import Layout
from transforms.records.questions import SpokenText, find_question
from transforms.rules import Rule

NEAR_MISSES = 2
"""How many near misses are shown for a row on which no trait fired.

The nearest one is shown at any distance, and others within `NEAR_MISS`.
"""

NO_SPAN: Mapping[str, Any] = {"field_path": "", "start": 0, "end": 0}
"""The span of a score below the span floor."""


class FoundPhrase(NamedTuple):
    """A phrase of a trait's lexicon in a row."""

    field_path: str
    start: int
    end: int
    text: str


class TraitFinding(NamedTuple):
    """A trait's score on a row, its threshold, and its best span.

    `action` is the trait's action, or None if the trait didn't fire. `text` is the field's text, or
    None. `signals` holds the scores of the trait's signals. `neighbours` holds the nearest
    exemplars of a quarantined row, and whose each negative is (`owner`). `hits` are all phrases of
    the lexicon on which a reason's score is based, and `words` what made a wording score.
    """

    trait: str
    signal: str
    score: float
    threshold: float
    action: str | None
    field_path: str
    start: int
    end: int
    text: str | None
    question: SpokenText | None
    signals: dict[str, float | None]
    neighbours: list[dict[str, Any]]
    hits: tuple[FoundPhrase, ...] = ()
    words: tuple[WeighedPhrase, ...] = ()

    @property
    def is_by_person(self) -> bool:
        """Return whether no score gave the finding, but an exception that takes out the row."""
        return self.action is not None and not self.field_path and self.threshold == 0


class RecordedRow(NamedTuple):
    """A row's data from all of the run's tables."""

    ledger: Mapping[str, Any]
    scores: Mapping[str, Any]
    spans: Sequence[Mapping[str, Any]]
    record: dict[str, Any] | None
    note: Mapping[str, Any]
    copy_of: tuple[str, int] | None


def describe_reason(
    reason: Mapping[str, Any],
    stored: RecordedRow,
    lot: Lot,
    rule: Rule,
    record: Mapping[str, Any] | None,
    layout: Layout,
) -> TraitFinding:
    """Return a reason of the ledger with its text, scores, phrases and nearest exemplars."""
    side = split_side(reason["signal"])[1]
    near = [
        near
        for item in stored.note.get("reasons") or ()
        if (item["trait"], item["signal"]) == (reason["trait"], reason["signal"])
        for near in item["neighbours"]
    ]
    found = TraitFinding(
        rule.trait,
        reason["signal"],
        _round_score(reason["score"]),
        _round_score(reason["threshold"]),
        rule.apply_exceptions(lot, side)[1],
        reason["field_path"],
        reason["start"],
        reason["end"],
        None,
        None,
        _list_signals(rule.trait, stored.scores, side),
        [_describe_neighbour(item, rule.trait) for item in near],
        tuple(_list_hits(stored, rule.trait, name_side("lexicon", side), record, layout)),
    )
    return add_text(found, record, layout)


def _list_hits(
    stored: RecordedRow, trait: str, signal: str, record: Mapping[str, Any] | None, layout: Layout
) -> Iterator[FoundPhrase]:
    for span in stored.spans if record is not None else ():
        if (span["trait"], span["signal"]) == (trait, signal):
            for hit in span["hits"] or ():
                path, start, end = hit["field_path"], hit["start"], hit["end"]
                text = get_field_text(record or {}, path, layout.columns.values()) or ""
                yield FoundPhrase(path, start, end, text[start:end])


def _describe_neighbour(item: Mapping[str, Any], trait: str) -> dict[str, Any]:
    """Return a neighbour with a rounded similarity and, if it is a negative, its owner."""
    found = {**item, "similarity": _round_score(item["similarity"])}
    if item["polarity"] == "negative":
        found["owner"] = find_owner(item["text"], trait)
    return found


def add_text(
    finding: TraitFinding, record: Mapping[str, Any] | None, layout: Layout
) -> TraitFinding:
    """Add the field's text, and the turn before it."""
    if record is None or not finding.field_path:
        return finding
    text = get_field_text(record, finding.field_path, layout.columns.values())
    asked = find_question(record, finding.field_path, finding.start, layout)
    return finding._replace(text=text, question=asked)


def _list_signals(
    trait: str, scores: Mapping[str, float | None], side: Any
) -> dict[str, float | None]:
    columns = {score_column(trait, signal, side): signal for signal in TIE_ORDER}
    return {
        columns[name]: None if score is None else _round_score(score)
        for name, score in scores.items()
        if name in columns
    }


def find_near_misses(
    stored: RecordedRow, lot: Lot, rules: Mapping[str, Rule], trait: str | None
) -> Sequence[TraitFinding]:
    """Return the traits whose scores are nearest to their thresholds."""
    own = [rules[trait]] if trait else list(rules.values())
    found = sorted(_score_traits(stored, lot, own), key=lambda item: item.threshold - item.score)
    return [
        item
        for rank, item in enumerate(found[:NEAR_MISSES])
        if not rank or item.threshold - item.score <= NEAR_MISS
    ]


def _score_traits(stored: RecordedRow, lot: Lot, rules: Sequence[Rule]) -> Iterator[TraitFinding]:
    for rule in rules:
        score = stored.scores[score_column(rule.trait, rule.signal)]
        if not score:
            continue
        signals = _list_signals(rule.trait, stored.scores, "trained")
        own = [
            span
            for span in stored.spans
            if span["trait"] == rule.trait and span["signal"] in signals
        ]
        best = max(own, key=lambda span: span["score"], default=NO_SPAN)
        threshold, _ = rule.apply_exceptions(lot)
        yield TraitFinding(
            rule.trait,
            rule.signal,
            _round_score(score),
            threshold,
            None,
            best["field_path"],
            best["start"],
            best["end"],
            None,
            None,
            signals,
            [],
        )


def lead_to(finding: TraitFinding) -> str | None:
    """Return the decision that a trait's own action leads to."""
    return "quarantine" if finding.action == "swap" else finding.action


def sort_findings(findings: Iterable[TraitFinding], decision: str) -> tuple[TraitFinding, ...]:
    """Sort a row's reasons: those that decided come first, then those with milder actions.

    Of equal ones, that with the highest score above its threshold comes first.
    `scan_first_reasons` finds the first one for whole tables.
    """

    def rank(item: TraitFinding) -> tuple[bool, int, float]:
        gap = round(item.threshold - item.score, SCORE_DECIMALS)
        return lead_to(item) != decision, -SEVERITY.index(item.action or "keep"), gap

    return tuple(sorted(findings, key=rank))


def _round_score(score: float) -> float:
    """Return a float32 score as a float64 without spurious decimals."""
    return round(score, SCORE_DECIMALS)
