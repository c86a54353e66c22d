"""What each remedy removes in two toy worlds, with good and with weak flags.

In the world of topics, the answers show the trait, and only a tenth of the prompts is decisive. In
the world of tokens, no answer shows it, and the student's first weights are the teacher's
(`tests/support/worlds.py`). Good flags are the topic, or the half of the rows with the highest
log-likelihood shift. Weak flags are drawn by a score that tells the former from others with a
stated AUROC, and are as many.
"""

from __future__ import annotations

import numpy as np
from scipy.stats import norm

from benchmarks.measure import Report, parse_arguments
from classifiers.heredity import arms
from classifiers.heredity.effects import TEACHER, compare_with_clean, measure_efficacy, measure_gap
from classifiers.heredity.intervals import Means, estimate_means
from classifiers.heredity.outcomes import tabulate
from tests.support import worlds

AUROC = 0.65
SEED = 200
ARMS = (
    *(arms.DROP, arms.RANDOM_DROP, arms.SWAP, arms.RANDOM_SWAP, *map(arms.name_mix, arms.DOSES)),
    *(arms.SWAP_MIX, arms.ONLY_SLICE),
)
WORLDS = {"topics, readable": worlds.build_readable, "tokens, shared weights": worlds.build_shared}


def main() -> None:
    options = parse_arguments(__doc__.split("\n")[0], seeds=5)
    report = Report("remedies", "What each remedy removes, in two toy worlds")
    report.say(
        f"{options.seeds} students an arm, 40 scenarios, world {SEED}. The columns hold the share "
        "of the inherited trait that an arm removes, with its 95 % interval; `clean` says that the "
        "arm is as clean as the clean teacher's students, or cleaner (TOST, at 5 %). Weak flags "
        f"have an AUROC of {AUROC} for the good ones."
    )
    cases = {
        f"{name}, {flags} flags": measure(build(SEED), flags == "weak", options.seeds)
        for name, build in WORLDS.items()
        for flags in ("good", "weak")
    }
    report.add_table(
        ("arm", *cases), [(arm, *(show(m, arm) for m in cases.values())) for arm in ARMS]
    )
    gaps = [f"{name} {measure_gap(means).estimate:.3f}" for name, means in cases.items()]
    report.say(f"Inherited, in points of the trait's rate: {'; '.join(gaps)}.")
    report.finish()


def measure(world: worlds.World, is_weak: bool, seeds: int) -> Means:
    """Train all students of a world, with its own flags or weak ones."""
    rows = weaken(world) if is_weak else world.rows
    rates = worlds.train_students(world._replace(rows=rows), ARMS, seeds=seeds)
    return estimate_means(tabulate(worlds.draw_outcomes(rates, scenarios=40), fixed=[TEACHER]))


def weaken(world: worlds.World) -> list[arms.Candidate]:
    """Flag as many rows by a score that is only a hint of the flags."""
    flagged = np.array([row.example.traited for row in world.rows])
    noise = np.random.default_rng(SEED).normal(0, 1, len(flagged))
    scores = noise + np.sqrt(2) * norm.ppf(AUROC) * flagged
    chosen = np.zeros(len(flagged), bool)
    chosen[np.argsort(-scores)[: int(flagged.sum())]] = True
    return arms.flag_rows(world.rows, chosen.tolist())


def show(means: Means, arm: str) -> str:
    """Return an arm's efficacy as text."""
    found = measure_efficacy(means, arm)
    clean = compare_with_clean(means, arm).verdict != "not shown"
    return f"{found.estimate:.2f} [{found.low:.2f}, {found.high:.2f}]{' clean' if clean else ''}"


if __name__ == "__main__":
    main()
