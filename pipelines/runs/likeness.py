"""Whether a run's rows are like the texts on which its thresholds are calibrated."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

import numpy as np

from classifiers.guarantees.calibration import count_texts_needed
from classifiers.guarantees.likeness import Excess, measure_excess
from pipelines.runs.finished import list_outputs, read_table
from schemas.cards import Level
from schemas.manifests import Manifest
from schemas.notices import Notice, list_names, warn
from schemas.receipts import Output
from schemas.scores import fires, score_column
from schemas.shares import format_percent

COMPARED_ROWS = 20_000
"""About how many rows' scores are compared, from evenly spread shards."""

LEAST_EXCESS = 0.1
"""The smallest share of rows that leads to a warning.

Rows that show the trait score higher than clean text too, but few traits show in a tenth of a
corpus's rows.
"""

NEAR = 0.5
"""From which part of a threshold on scores are compared."""

SIGNIFICANCE = 0.001
"""The probability of a false warning about any trait of a run."""


def warn_of_unlike(
    run: str, manifest: Manifest, calibration: Mapping[str, Mapping[str, np.ndarray]]
) -> Iterator[Notice]:
    """Warn of traits that score high on many more rows than calibration texts.

    `calibration` holds the calibration texts' scores by trait and signal. Only scores from half of
    the threshold up are compared, because lower ones say nothing about what reaches it. A trait
    that fires on no more rows than its bound allows keeps its promise here, whatever it scores.
    """
    rules = [item for item in manifest.thresholds if item.origin == "calibrated"]
    columns = {rule.trait: score_column(rule.trait, rule.signal) for rule in rules}
    found = _read_scores(run, _choose_shards(manifest), columns)
    unlike: dict[str, dict[str, Excess]] = {}
    for rule in rules:
        scores, clean = found[rule.trait], calibration[rule.trait][rule.signal]
        excess = measure_excess(scores, clean, rule.threshold * NEAR)
        if not excess:
            continue
        if rule.bound is not None and fires(scores, rule.threshold).mean() <= rule.bound:
            continue
        if excess.share >= LEAST_EXCESS and excess.p <= SIGNIFICANCE / len(rules):
            unlike.setdefault(rule.calibrated_on, {})[rule.trait] = excess
    for name, traits in unlike.items():
        remarks = tuple((trait, _doubt(excess)) for trait, excess in traits.items())
        yield warn(_describe(run, manifest, name, traits))._replace(remarks=remarks)


def _describe(run: str, manifest: Manifest, name: str, traits: Mapping[str, Excess]) -> str:
    """Say which traits score high on many rows, the two possible reasons, and what to do."""
    listed = list_names([f"{trait} ({_compare(excess)})" for trait, excess in traits.items()])
    trait = next(iter(traits))
    return (
        f"the corpus is unlike the {name}, on which thresholds are calibrated, or these traits are "
        f"common here: {listed}. Read some rows on which a trait fired (congener inspect "
        f"{shlex.quote(run)} --trait {trait}): if most of them show it, it is common; if not, it "
        "fires on more clean rows than its level allows, and --background FILE, with "
        f"{_count_needed(manifest):,} or more clean rows like the corpus, corrects its threshold"
    )


def _compare(excess: Excess) -> str:
    rows, texts = (format_percent(share, 0) for share in (excess.corpus, excess.clean))
    return f"{rows} of the rows score {excess.score:.4f} or more, and {texts} of those texts"


def _doubt(excess: Excess) -> str:
    """Say beside a trait's bound why it may not hold."""
    rows, texts = (format_percent(share, 0) for share in (excess.corpus, excess.clean))
    return (
        f"may not hold: {rows} of the rows score {excess.score:.4f} or more, and {texts} of its "
        "clean texts"
    )


def _count_needed(manifest: Manifest) -> int:
    """Return how many clean rows the strictest level of a calibrated threshold needs."""
    return max(
        count_texts_needed(
            Level(max_false_positive_rate=item.max_false_positive_rate, confidence=item.confidence)
        )
        for item in manifest.thresholds
        if item.origin == "calibrated"
    )


def _choose_shards(manifest: Manifest) -> list[Output]:
    """Return evenly spread score files that together have about `COMPARED_ROWS` rows."""
    outputs = list_outputs(manifest, "scores")
    rows = sum(output.rows for output in outputs)
    return outputs[:: max(1, -(-rows // COMPARED_ROWS))]


def _read_scores(
    run: str, outputs: list[Output], columns: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Return the scores in the chosen files, by trait; a null score is NaN."""
    parts: dict[str, list[np.ndarray]] = {trait: [np.empty(0, np.float32)] for trait in columns}
    for output in outputs:
        table = read_table(run, output, list(columns.values()))
        for trait, column in columns.items():
            parts[trait].append(table.column(column).to_numpy(zero_copy_only=False))
    return {trait: np.concatenate(arrays) for trait, arrays in parts.items()}
