"""The rows that exceptions of a policy take out by name, although no trait fires on them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from schemas.cards import Action
from schemas.lots import Lot
from schemas.scores import SCORE_DECIMALS, score_column
from transforms.rules import Rule

BY_PERSON = "person"
"""The evidence of a reason that no score gives, but a person's exception for this one row."""


class NamedRemoval(NamedTuple):
    """A trait for which an exception takes out one row, with the row's score."""

    rule: Rule
    action: Action
    score: float


def find_named_rows(lots: Sequence[Lot]) -> Iterator[int]:
    """Yield the rows that a policy names."""
    return (row for row, lot in enumerate(lots) if lot.names)


def find_named_removals(
    scores: Mapping[str, np.ndarray],
    row: int,
    lot: Lot,
    rules: Sequence[Rule],
    fired: Collection[str],
) -> list[NamedRemoval]:
    """Return the traits for which a person takes out a row, apart from those that `fired` on it.

    An exception for every trait changes the actions of the traits that fired. If none did, it is
    for the trait whose score is nearest to its threshold, or for the first one without any score.
    """
    found = [(rule, rule.find_removal(lot)) for rule in rules if rule.trait not in fired]
    named = [(rule, item) for rule, item in found if item is not None and item.trait != "*"]
    if not named and not fired:
        own = [(rule, item) for rule, item in found if item is not None]
        named = sorted(own, key=lambda pair: _measure_gap(pair[0], scores, row))[:1]
    return [
        NamedRemoval(rule, item.action, _read_score(rule, scores, row))
        for rule, item in named
        if item is not None and item.action is not None
    ]


def _read_score(rule: Rule, scores: Mapping[str, np.ndarray], row: int) -> float:
    """Return a row's score, or 0 if the trait reads none of its text."""
    values = scores.get(score_column(rule.trait, rule.signal))
    return 0.0 if values is None or np.isnan(values[row]) else float(values[row])


def _measure_gap(rule: Rule, scores: Mapping[str, np.ndarray], row: int) -> float:
    threshold = rule.threshold.value
    limit = np.inf if threshold is None else threshold
    return round(limit - _read_score(rule, scores, row), SCORE_DECIMALS)
