"""Simulate thresholds that are calibrated on a sample that holds rows with the trait.

Clean scores are uniform, so that the share of clean rows above a threshold is known exactly. The
scores of rows with the trait are the largest of `m` uniform numbers; with m = 1 they are like clean
scores. Each draw calibrates on a fresh sample.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest

from benchmarks.measure import Report, judge, parse_arguments
from classifiers.guarantees import calibration
from classifiers.guarantees.calibration import calibrate, compute_upper_bound, count_allowed
from pipelines.corpus_sample import SAMPLED_ROWS
from schemas.cards import Level
from schemas.scores import SCORE_STEP

SHARES = (0.0, 0.002, 0.006, 0.01, 0.02, 0.05)
SEPARATIONS = (1, 30, 1000)


class Outcome(NamedTuple):
    """The draws that kept to a level, for two bounds on clean rows, and the mean share found."""

    kept: float
    kept_by_share: float
    found: float


def main() -> None:
    options = parse_arguments(__doc__ or "", draws=2000, rows=SAMPLED_ROWS, seed=11)
    level = Level(max_false_positive_rate=0.01, confidence=0.95)
    report = Report("contaminated_background", "Thresholds calibrated on the corpus itself")
    report.say(
        f"{options.draws:,} simulated samples of {options.rows:,} rows per line, level 1 % at "
        f"95 % confidence; at most {count_allowed(options.rows, level)} rows of a sample may reach "
        "the threshold. `kept` is the share of samples whose threshold at most 1 % of the clean "
        "rows reach, and `kept, any scores` allows 1 % divided by the share of clean rows, which "
        "holds whatever the trait rows score. `found` is the mean share of the trait rows that "
        "reach the threshold, and `found, clean sample` is the same for a sample without them."
    )
    generator, rows, kept = np.random.default_rng(options.seed), [], []
    for power in SEPARATIONS:
        clean = simulate(generator, options.rows, 0.0, power, level, options.draws)
        for share in SHARES:
            found = simulate(generator, options.rows, share, power, level, options.draws)
            kept.append(min(found.kept, found.kept_by_share))
            rows.append([f"largest of {power}", f"{share:.1%}", *found, clean.found])
    report.add_table(
        [
            "trait rows' scores",
            "share of the sample",
            "kept",
            "kept, any scores",
            "found",
            "found, clean sample",
        ],
        rows,
    )
    noise = 3 * (0.95 * 0.05 / options.draws) ** 0.5
    report.say(f"Least share kept: {min(kept):.3f}, {judge(min(kept), round(0.95 - noise, 3))}.")
    report.finish()


def simulate(
    generator: np.random.Generator, rows: int, share: float, power: int, level: Level, draws: int
) -> Outcome:
    """Calibrate on `draws` samples in which a share of the rows has the trait."""
    bound = level.max_false_positive_rate
    with pytest.MonkeyPatch.context() as patch:
        # every draw needs the same few bounds, which scipy computes slowly
        patch.setattr(calibration, "compute_upper_bound", cache(compute_upper_bound))
        reached, found = np.empty(draws), np.empty(draws)
        for draw in range(draws):
            scores = generator.random(rows)
            shown = generator.random(rows) < share
            scores[shown] **= 1 / power
            value = calibrate(scores, level, lowest=0).value
            edge = min(1.0, (value if value is not None else np.inf) - SCORE_STEP / 2)
            reached[draw], found[draw] = 1 - edge, 1 - edge**power
    return Outcome(
        float((reached <= bound).mean()),
        float((reached <= bound / (1 - share)).mean()),
        float(found.mean()),
    )


if __name__ == "__main__":
    main()
