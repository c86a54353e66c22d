"""How often triage names the right channel in toy worlds that were built for one.

Each trial trains numpy students from a world that was built to order (`tests/support/worlds.py`):
rows, donors, clean rows for other prompts, and students with two kinds of first weights. The same
students are evaluated well and scantily. The seeds weren't used to develop the worlds or the rules.
"""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from benchmarks.measure import Report, judge, parse_arguments
from classifiers.heredity.arms import DROP, SWAP
from classifiers.heredity.effects import TEACHER
from classifiers.heredity.intervals import estimate_means
from classifiers.heredity.outcomes import tabulate
from classifiers.heredity.triage import Triage, find_channel
from tests.support import worlds

CHANNELS = {
    "readable": worlds.build_readable,
    "shared weights": worlds.build_shared,
    "prompts": worlds.build_prompted,
    "base": worlds.build_locked,
    "not transmitted": worlds.build_untransmitted,
}
FIRST_SEED = 300


class Evaluation(NamedTuple):
    """How students are evaluated; `samples` is None for exact rates."""

    seeds: int
    scenarios: int
    samples: int | None

    def describe(self) -> str:
        """Say how many seeds, scenarios and answers there are."""
        answers = "exact rates" if self.samples is None else f"{self.samples} answers each"
        return f"{self.seeds} seeds, {self.scenarios} scenarios, {answers}"


EVALUATIONS = (
    Evaluation(5, 100, None),
    Evaluation(5, 100, 100),
    Evaluation(5, 50, 20),
    Evaluation(3, 10, 5),
)


def main() -> None:
    options = parse_arguments(__doc__.split("\n")[0], trials=10)
    report = Report("triage", "The channel of a trait, in worlds that were built for one")
    report.say(
        f"{options.trials} trials a channel, seeds {FIRST_SEED} to "
        f"{FIRST_SEED + options.trials - 1}. Students of 7 arms are trained in each trial; the "
        "outcomes of the first 3 or all 5 seeds are used. `right`, `not known` and `wrong` count "
        "trials. `drop works` and `swap works` count those in which the arm is as clean as the "
        "clean teacher's students or cleaner (TOST, at 5 %) and the answers have an effect."
    )
    found = {
        channel: [run_trial(channel, FIRST_SEED + number) for number in range(options.trials)]
        for channel in CHANNELS
    }
    rows = [
        count(evaluation, channel, [trial[evaluation] for trial in trials])
        for evaluation in EVALUATIONS
        for channel, trials in found.items()
    ]
    header = ("evaluation", "channel", "right", "not known", "wrong", "drop works", "swap works")
    report.add_table(header, rows)
    best = [row[2] for row in rows if row[0] == EVALUATIONS[0].describe()]
    wrong = max(row[4] for row in rows)
    report.say(
        f"Right with exact rates, the least of all channels: {min(best)} of {options.trials}, "
        f"{judge(min(best) / options.trials, 0.9)}. Wrong, the most in any line: {wrong}."
    )
    report.finish()


def run_trial(channel: str, seed: int) -> dict[Evaluation, Triage]:
    """Build a world, train its students, and find the channel at each evaluation."""
    rates = worlds.train_students(CHANNELS[channel](seed), (DROP, SWAP), seeds=5, seed=seed)
    found = {}
    for evaluation in EVALUATIONS:
        kept = {key: values for key, values in rates.items() if key[1] < evaluation.seeds}
        outcomes = worlds.draw_outcomes(
            kept, scenarios=evaluation.scenarios, samples=evaluation.samples, seed=seed
        )
        found[evaluation] = find_channel(estimate_means(tabulate(outcomes, fixed=[TEACHER])))
    return found


def count(evaluation: Evaluation, channel: str, trials: list[Triage]) -> tuple[object, ...]:
    """Return a row of the table."""
    named = Counter(trial.channel for trial in trials)
    unknown = named["not known"]
    works = Counter(
        item.arm
        for trial in trials
        for item in trial.trialled
        if item.likeness.verdict != "not shown" and trial.effects[0].presence == "there"
    )
    wrong = len(trials) - named[channel] - unknown
    return (
        evaluation.describe(),
        channel,
        named[channel],
        unknown,
        wrong,
        works[DROP],
        works[SWAP],
    )


if __name__ == "__main__":
    main()
