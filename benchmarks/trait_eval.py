"""Whether the intervals of `congener traits eval` contain the truth, on rows that were all read.

Every row of a run is labelled, so the true precision and recall of each trait's threshold are
known. Rows are then drawn as the command draws them, many times, and the intervals are compared
with the truth.

    python benchmarks/trait_eval.py RUN LABELS.jsonl

The labels are in the command's own format, with `trait` on each line. A row without a label for a
trait counts as one that doesn't show the trait.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from classifiers.guarantees import stratified
from classifiers.guarantees.stratified import Stratum, measure_accuracy
from pipelines.evaluation import Population, allot_reading, divide_rows, match_labels
from pipelines.labels import read_labels

SAMPLES = 200
ROWS_READ = 100


def main(run: str, labels: Path) -> None:
    """Print a line for each trait that some row shows."""
    stratified.DRAWS = 2_000
    traits = {json.loads(line)["trait"] for line in labels.read_text().splitlines()}
    print("| trait | rows found | precision | recall | missed | width of the intervals |")
    print("|---|---:|---:|---:|---:|---:|")
    for trait in sorted(traits):
        population = divide_rows(run, trait)
        found = match_labels(population, read_labels(labels, trait), str(labels))
        shows = np.zeros(len(population.scores), bool)
        shows[[index for index, label in found.items() if label.shows]] = True
        print(describe(trait, population, shows))


def describe(trait: str, population: Population, shows: np.ndarray) -> str:
    """Draw samples of one trait's rows, and compare the intervals with the truth."""
    generator = np.random.default_rng(0)
    ranges = population.ranges
    counts = allot_reading(ranges, ROWS_READ)
    found = sum(item.lowest >= population.rule.threshold for item in ranges)
    right = [int(shows[item.rows].sum()) for item in ranges]
    rows = sum(len(item.rows) for item in ranges[:found])
    truths = (sum(right[:found]) / max(rows, 1), sum(right[:found]) / max(sum(right), 1))
    missed, widths = np.zeros(2), np.zeros(2)
    for _ in range(SAMPLES):
        strata = []
        for item, count in zip(ranges, counts, strict=True):
            read = generator.choice(item.rows, count, replace=False)
            strata.append(Stratum(len(item.rows), count, int(shows[read].sum())))
        intervals = measure_accuracy(strata, found)
        missed += [
            not low - 1e-9 <= truth <= high + 1e-9
            for truth, (_, low, high) in zip(truths, intervals, strict=True)
        ]
        widths += [high - low for _, low, high in intervals]
    shares, sizes = missed / SAMPLES, widths / SAMPLES
    return (
        f"| {trait} | {rows} | {truths[0]:.2f} | {truths[1]:.2f} | "
        f"{shares[0]:.1%}, {shares[1]:.1%} | {sizes[0]:.2f}, {sizes[1]:.2f} |"
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
