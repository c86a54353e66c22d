"""How often a trial's intervals hold the truth, against simpler ones, on simulated outcomes.

Outcomes have an effect of each student's seed, of each scenario and of neither. The interval is
that of the difference of two arms and of the efficacy. The simpler intervals are percentiles of a
bootstrap over seeds alone, and over seeds and scenarios.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from benchmarks.measure import Report, judge, parse_arguments
from classifiers.heredity.arms import CLEAN_TEACHER, DROP, EVERYTHING
from classifiers.heredity.effects import compare_with_clean, measure_efficacy, subtract
from classifiers.heredity.intervals import estimate_means, measure_contrast
from classifiers.heredity.outcomes import OutcomeTable

ARMS = (CLEAN_TEACHER, DROP, EVERYTHING)
RATES = np.array([0.1, 0.3, 0.5])
DRAWS = 500


class Design(NamedTuple):
    """A trial's size, and the standard deviations of seeds, scenarios and the rest."""

    seeds: int
    scenarios: int
    by_seed: float
    by_scenario: float
    rest: float


DESIGNS = (
    Design(3, 20, 0.03, 0.1, 0.1),
    Design(5, 20, 0.03, 0.1, 0.1),
    Design(5, 20, 0.08, 0.1, 0.1),
    Design(5, 50, 0.0, 0.0, 0.2),
    Design(5, 50, 0.05, 0.0, 0.1),
    Design(5, 50, 0.0, 0.2, 0.05),
    Design(10, 100, 0.03, 0.1, 0.2),
)


def main() -> None:
    options = parse_arguments(__doc__.split("\n")[0], trials=1_000)
    report = Report("trial_intervals", "Intervals of a trial, on simulated outcomes")
    report.say(
        f"{options.trials:,} simulated trials a line. The columns say in which share of them the "
        "95 % interval holds the truth. `clean` is the share of trials in which an arm exactly at "
        "the margin passes as clean, of which 5 % is the level."
    )
    rows = [(*design, *simulate(design, options.trials)) for design in DESIGNS]
    header = (
        *("seeds", "scenarios", "sd of seeds", "sd of scenarios", "sd of the rest", "difference"),
        *("efficacy", "percentiles of seeds", "percentiles of both", "clean"),
    )
    report.add_table(header, rows)
    least = min(min(row[5:7]) for row in rows)
    noise = 3 * (0.95 * 0.05 / options.trials) ** 0.5
    report.say(f"The least share: {least:.3f}, {judge(least, round(0.95 - noise, 3))}.")
    report.finish()


def simulate(design: Design, trials: int) -> tuple[float, ...]:
    """Return the shares of trials in which each interval holds the truth, and clean ones."""
    random = np.random.default_rng(17)
    return tuple(np.mean([_try(draw(random, design), random) for _ in range(trials)], 0).tolist())


def draw(random: np.random.Generator, design: Design) -> np.ndarray:
    """Draw a trial's outcomes."""
    shape = (len(ARMS), design.seeds, design.scenarios)
    shared = random.normal(0, design.by_scenario, design.scenarios)
    return (
        RATES[:, None, None]
        + random.normal(0, design.by_seed, (*shape[:2], 1))
        + shared * np.array([0.5, 1, 1.5])[:, None, None]
        + random.normal(0, design.rest, shape)
    )


def _try(values: np.ndarray, random: np.random.Generator) -> list[bool]:
    """Say which intervals hold the truth."""
    means = _estimate(values)
    difference = measure_contrast(means, subtract(DROP, CLEAN_TEACHER))
    efficacy = measure_efficacy(means, DROP)
    paired = values[1] - values[0]
    seeds, scenarios = paired.shape
    own = random.multinomial(seeds, np.full(seeds, 1 / seeds), DRAWS) / seeds
    inner = random.multinomial(scenarios, np.full(scenarios, 1 / scenarios), DRAWS) / scenarios
    alone = np.quantile(own @ paired.mean(1), [0.025, 0.975])
    both = np.quantile(np.einsum("ds,sq,dq->d", own, paired, inner), [0.025, 0.975])
    at_margin = values.copy()
    at_margin[1] -= 0.2 - 0.1 * (RATES[2] - RATES[0])
    return [
        difference.low <= 0.2 <= difference.high,
        efficacy.low <= 0.5 <= efficacy.high,
        bool(alone[0] <= 0.2 <= alone[1]),
        bool(both[0] <= 0.2 <= both[1]),
        compare_with_clean(_estimate(at_margin), DROP).verdict != "not shown",
    ]


def _estimate(values: np.ndarray):
    _, seeds, scenarios = values.shape
    table = OutcomeTable(ARMS, tuple(range(seeds)), tuple(map(str, range(scenarios))), values)
    return estimate_means(table, draws=DRAWS)


if __name__ == "__main__":
    main()
