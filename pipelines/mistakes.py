"""The rows that a trait judges differently from a reader, and the thresholds that they suggest."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from pipelines.evaluation import (
    STEPS,
    Measured,
    Population,
    Range,
    find_rows,
    measure,
    read_texts,
)
from pipelines.labels import Label
from pipelines.runs.finished import MISFITS, report_damage, scan_folder
from pipelines.runs.unread_hits import UnreadHit, find_unread_hit
from schemas.scores import SCORE_DECIMALS, score_column

SUGGESTED = 3
"""How many scores of missed rows become thresholds in the table."""

EXPLAINED = 20
"""How many missed rows are looked at for patterns that match outside the part that is read."""


class Mistake(NamedTuple):
    """A row that the trait judges differently from its reader: its file, number and score.

    `unread` says that a pattern of the card matches just outside the part that it reads. `signal`
    is the signal with the highest score in a row that was found wrongly.
    """

    source: str
    row: int
    score: float
    unread: str = ""
    signal: str = ""

    @property
    def name(self) -> str:
        """Return the row's name for `congener inspect --row`."""
        return f"{self.source}:{self.row}"


class Mistakes(NamedTuple):
    """The rows found wrongly and the rows missed, from the highest score down."""

    wrong: list[Mistake]
    missed: list[Mistake]


def list_mistakes(population: Population, labels: Mapping[int, Label]) -> Mistakes:
    """List the labelled rows that the threshold in force judges differently from their labels.

    Raises: RunError: a file of the run is missing or damaged.
    """
    lowest = round(population.rule.threshold * STEPS)
    fired = {row: _count_steps(population, row) >= lowest for row in labels}
    wrong = [row for row, label in labels.items() if fired[row] and not label.shows]
    missed = [row for row, label in labels.items() if not fired[row] and label.shows]
    names = _name_rows(population, [*wrong, *missed])
    strongest = _find_strongest(population, wrong)
    names |= {row: names[row]._replace(signal=signal) for row, signal in strongest.items()}
    return Mistakes(*(_sort(names[row] for row in rows) for rows in (wrong, missed)))


def explain_missed(population: Population, mistakes: Mistakes) -> Mistakes:
    """Add to missed rows that a pattern matches just outside the part that the trait reads.

    Only the texts of the first `EXPLAINED` are read, if the run has them.

    Raises: RunError: a file of the run is missing or damaged.
    """
    if not mistakes.missed:
        return mistakes
    card = population.manifest.cards[population.rule.trait]
    stored = {row for item in population.ranges for row in item.rows.tolist()}
    named = [(item.source, item.row) for item in mistakes.missed[:EXPLAINED]]
    places = find_rows(population, named)
    rows = {index: name for name in named for index in places[name] if index in stored}
    texts = read_texts(population, list(rows))
    hits = {
        name: find_unread_hit(card, text.text)
        for name, text in zip(rows.values(), texts, strict=True)
    }
    return mistakes._replace(missed=[_add_hit(item, hits) for item in mistakes.missed])


def _add_hit(item: Mistake, hits: Mapping[tuple[str, int], UnreadHit | None]) -> Mistake:
    hit = hits.get((item.source, item.row))
    return item if hit is None else item._replace(unread=hit.describe())


def _sort(mistakes: Iterable[Mistake]) -> list[Mistake]:
    return sorted(mistakes, key=lambda item: (-item.score, item.source, item.row))


def _count_steps(population: Population, row: int) -> int:
    """Return a row's score in rounding steps, or -1 without a score."""
    score = float(population.scores[row])
    return -1 if np.isnan(score) else round(score * STEPS)


def _name_rows(population: Population, rows: list[int]) -> dict[int, Mistake]:
    """Return the source, number and score of rows, keyed by their indexes in the ledger."""
    if not rows:
        return {}
    wanted = pl.Series(rows, dtype=pl.get_index_type()).implode()
    with report_damage(population.run, *MISFITS):
        found = (
            scan_folder(population.run, population.manifest, "ledger", row_index="index")
            .filter(pl.col("index").is_in(wanted))
            .select("index", "source", "row")
            .collect()
        )
    return {
        index: Mistake(source, row, round(float(population.scores[index]), SCORE_DECIMALS))
        for index, source, row in found.iter_rows()
    }


def _find_strongest(population: Population, rows: list[int]) -> dict[int, str]:
    """Return the signal with the highest score of each row, if the run has signals' scores."""
    if not rows:
        return {}
    prefix = score_column(population.rule.trait, "")
    with report_damage(population.run, *MISFITS):
        scores = scan_folder(population.run, population.manifest, "scores", row_index="index")
        own = [
            name
            for name in scores.collect_schema().names()
            if name.startswith(prefix) and "@" not in name
        ]
        wanted = pl.Series(rows, dtype=pl.get_index_type()).implode()
        found = scores.filter(pl.col("index").is_in(wanted)).select("index", *own).collect()
    best = {}
    for index, *values in found.iter_rows():
        known = {
            name.removeprefix(prefix): value
            for name, value in zip(own, values, strict=True)
            if value is not None and value > 0
        }
        best[index] = max(known, key=known.__getitem__, default="")
    return best


def suggest_thresholds(population: Population, labels: Mapping[int, Label]) -> Population:
    """Add the highest scores of missed rows to the thresholds, and divide the ranges there.

    Rows are read in random order, so the read rows of a part are a random sample of its rows.
    """
    lowest = round(population.rule.threshold * STEPS)
    steps = {_count_steps(population, row) for row, label in labels.items() if label.shows}
    known = {round(value * STEPS) for value in population.thresholds}
    new = sorted({step for step in steps if 0 < step < lowest} - known, reverse=True)[:SUGGESTED]
    added = dict.fromkeys((step / STEPS for step in new), None)
    thresholds = dict(sorted({**population.thresholds, **added}.items(), reverse=True))
    ranges = [
        part for item in population.ranges for part in _divide(population.scores, item, list(added))
    ]
    return replace(population, ranges=ranges, thresholds=thresholds)


def measure_thresholds(population: Population, labels: Mapping[int, Label]) -> list[Measured]:
    """Measure the thresholds in force and of levels, and those at the scores of missed rows.

    Only the latter need ranges that are divided there. The others are measured by the ranges from
    which the rows were drawn, as rates are, so that a threshold has one recall everywhere.
    """
    known = {item.threshold: item for item in measure(population, labels)}
    divided = measure(suggest_thresholds(population, labels), labels)
    return [known.get(item.threshold, item) for item in divided]


def _divide(scores: np.ndarray, item: Range, edges: list[float]) -> Iterator[Range]:
    """Yield the nonempty parts of a range between descending edges."""
    rows, steps = item.rows, np.round(scores[item.rows] * STEPS)
    for edge in edges:
        above = steps >= round(edge * STEPS)
        if edge > item.lowest and above.any() and not above.all():
            yield Range(edge, rows[above])
            rows, steps = rows[~above], steps[~above]
    yield Range(item.lowest, rows)
