"""Whether a run's rows are like the texts on which its thresholds are calibrated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from classifiers.guarantees.calibration import count_texts_needed
from classifiers.guarantees.likeness import measure_excess
from pipelines.config import OWN_CORPUS
from pipelines.corpus_sample import SAMPLED_ROWS
from pipelines.runs.finished import list_outputs, read_table
from schemas.cards import Level
from schemas.manifests import Manifest
from schemas.notices import Notice, format_count, list_names, warn
from schemas.receipts import Output
from schemas.scores import score_column
from schemas.shares import format_percent

COMPARED_ROWS = 20_000
"""About how many rows' scores are compared, from evenly spread shards."""

LEAST_EXCESS = 0.1
"""The smallest share of rows that leads to a warning.

Rows that show the trait score higher than clean text too, but few traits show in a tenth of a
corpus's rows.
"""

SIGNIFICANCE = 0.001
"""The probability of a false warning about any trait of a run."""


def warn_of_unlike(
    run: str, manifest: Manifest, calibration: Mapping[str, Mapping[str, np.ndarray]]
) -> Iterator[Notice]:
    """Warn of traits that score much higher on the corpus than on the calibration texts.

    `calibration` holds the calibration texts' scores by trait and signal.
    """
    rules = [item for item in manifest.thresholds if item.origin == "calibrated"]
    columns = {rule.trait: score_column(rule.trait, rule.signal) for rule in rules}
    found = _read_scores(run, _choose_shards(manifest), columns)
    unlike: dict[str, dict[str, str]] = {}
    for rule in rules:
        excess = measure_excess(found[rule.trait], calibration[rule.trait][rule.signal])
        if excess and excess.share >= LEAST_EXCESS and excess.p <= SIGNIFICANCE / len(rules):
            share = format_percent(excess.share, 0)
            unlike.setdefault(rule.calibrated_on, {})[rule.trait] = share
    for name, shares in unlike.items():
        listed = list_names([f"{trait} ({share})" for trait, share in shares.items()])
        yield warn(
            f"the corpus is unlike the {name}, on which thresholds are calibrated: these traits "
            "score higher on many of its rows than on such texts, so they may fire on more clean "
            "rows than their levels allow. The percentage is roughly the share of the rows that "
            f"score too high: {listed}. {_advise(manifest)}"
        )._replace(remarks=tuple((trait, _doubt(share)) for trait, share in shares.items()))


def _doubt(share: str) -> str:
    """Say beside a trait's bound why it may not hold."""
    return f"may not hold: about {share} of the rows score higher than its clean texts do"


def _advise(manifest: Manifest) -> str:
    """Say how to calibrate on text like the corpus; a sample of it needs enough rows."""
    needed = max(
        count_texts_needed(
            Level(max_false_positive_rate=item.max_false_positive_rate, confidence=item.confidence)
        )
        for item in manifest.thresholds
        if item.origin == "calibrated"
    )
    rows = manifest.conservation.rows_in
    if min(rows, SAMPLED_ROWS) >= needed:
        return f"--background {OWN_CORPUS} calibrates on a sample of the corpus"
    return (
        f"--background FILE calibrates on clean text like the corpus; this run's levels need "
        f"{needed:,} rows of it, so this run's own {format_count(rows, 'row')} can't serve as that "
        "sample"
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
