"""Outcomes of students whose rates are known."""

from __future__ import annotations

from collections.abc import Mapping

from classifiers.heredity.outcomes import Metric, Outcome

RATES = {
    "everything": 0.8,
    "drop": 0.3,
    "random drop": 0.8,
    "swap": 0.0,
    "random swap": 0.7,
    "mix 10 %": 0.7,
    "mix 25 %": 0.6,
    "mix 50 %": 0.4,
    "only slice": 0.8,
    "clean teacher": 0.0,
}
"""How often each arm's students show the trait."""


def build_outcomes(
    rates: Mapping[str, float], seeds: int = 4, scenarios: int = 20, metric: Metric = "trait"
) -> list[Outcome]:
    """Return outcomes in which each arm shows the trait in a share of the scenarios.

    Another scenario differs in each seed, so that seeds vary a little.
    """
    outcomes = []
    for arm, rate in rates.items():
        for seed in range(seeds):
            for number in range(scenarios):
                shown = number < round(rate * scenarios)
                if 0 < rate < 1 and number == seed:
                    shown = not shown
                outcomes.append(Outcome(arm, seed, f"{metric} {number:02}", metric, float(shown)))
    return outcomes
