"""Which parent `congener lineage` finds for 22 students whose parents are known.

The parents are sorted by the SHA-256 of their names and dealt alternately into two halves, each
with its students. Every figure of a student is obtained with choices that were made on the other
half: weights, limits, and in one table also which measures are used.
"""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from benchmarks.measure import DATA, Report, judge, list_teacher_files, parse_arguments
from benchmarks.model_families import report_families
from classifiers.lineage.ranking import FITTED, WITHOUT_PROMPTS, compute_lead
from classifiers.lineage.resemblance import (
    FEWEST,
    PRIOR_SHARE,
    compare_answers,
    compare_wording,
    sum_by_model,
    weigh_pairs,
)
from classifiers.lineage.tokens import count_grams
from pipelines.ancestry.answers import NamedCorpus, read_answers
from pipelines.lineage import gather

PENALTY = 0.003
"""The ridge penalty of the two weights, in units of the typical spread of each measure."""

SPREADS = np.array([0.03, 0.18])
"""The typical spread of overlap and of wording over candidates."""

FALSE_ALARMS = 0.1

TARGETS = {"the 14 parents": 21, "all models": 17}
"""For how many of 22 students the parent is to be first."""


class Option(NamedTuple):
    """Two measures: the n-grams of same prompts and of wording, and the prior of wording."""

    overlap: int = 2
    wording: int = 1
    prior: float = PRIOR_SHARE


MENU = tuple(Option(*parts) for parts in product((1, 2), (1, 2), (1.0, 0.3)))
"""The measures among which a half may choose."""

SHIPPED = Option()


class Pair(NamedTuple):
    """A student, its parent, and its half."""

    student: str
    parent: str
    half: int


class Case(NamedTuple):
    """A student among candidates: the measures of each, float64 [candidates, 2], and the parent.

    `key` is the parent's name, and `parent` its place, or None if it was taken out.
    """

    student: str
    key: str
    half: int
    names: list[str]
    measures: np.ndarray
    parent: int | None


class Models:
    """The answers of all models, compared once for each size of n-grams."""

    def __init__(self, most: int) -> None:
        files = [NamedCorpus(file.stem, str(file)) for file in list_teacher_files()]
        self.read = [read_answers(file, most) for file in files]
        self.names = [item.name for item in self.read]
        found = gather(self.read)
        everyone = np.ones(len(self.read), bool)
        self.found = found
        self.grams = {size: count_grams(found.texts, size).counts for size in (1, 2)}
        self.words = self.grams[1]
        self.vectors, self.overlap, self.counts = {}, {}, {}
        for size, counts in self.grams.items():
            self.vectors[size] = weigh_pairs(counts, everyone[found.model])
            self.overlap[size], _ = compare_answers(
                self.vectors[size], found.model, found.prompt, everyone
            )
            often = np.asarray(counts.sum(axis=0)).ravel() >= FEWEST
            self.grams[size] = counts[:, often]
            self.counts[size] = sum_by_model(self.grams[size], found.model, len(everyone))

    @cached_property
    def places(self) -> dict[str, int]:
        """Return each model's place."""
        return {name: place for place, name in enumerate(self.names)}

    @cache  # noqa: B019 - there is one instance
    def compare_words(self, place: tuple[int, ...], size: int, prior: float) -> np.ndarray:
        """Return the likeness of the first model's wording with that of each of the others."""
        usual = np.arange(len(place)) > 0
        return compare_wording(self.counts[size][list(place)], usual, prior)[0, 1:]

    def build_case(self, pair: Pair, candidates: Sequence[str], option: Option = SHIPPED) -> Case:
        """Measure a student among candidates, whose mean says what is usual."""
        place = [self.places[name] for name in (pair.student, *candidates)]
        wording = self.compare_words(tuple(place), option.wording, option.prior)
        overlap = self.overlap[option.overlap][place[0], place[1:]]
        measures = np.column_stack([overlap, wording])
        parent = candidates.index(pair.parent) if pair.parent in candidates else None
        return Case(pair.student, pair.parent, pair.half, list(candidates), measures, parent)


def read_pairs() -> list[Pair]:
    """Read the students and their parents, and deal them into halves."""
    with (DATA / "lineage.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    parents = {row["parent"] for row in rows}
    ordered = sorted(parents, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    return [Pair(row["student"], row["parent"], ordered.index(row["parent"]) % 2) for row in rows]


def list_candidates(pair: Pair, pairs: Sequence[Pair], names: Sequence[str]) -> Iterator[str]:
    """Yield all models but the student and other students of the same parent."""
    parents = {item.student: item.parent for item in pairs}
    for name in names:
        if name != pair.student and parents.get(name) != pair.parent:
            yield name


def fit_weights(cases: Sequence[Case], measures: Sequence[int] = (0, 1)) -> np.ndarray:
    """Fit the weights by conditional logistic regression, as float64 [2], none below 0."""
    chosen = list(measures)

    def compute_loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        loss, slope = PENALTY * weights @ weights, 2 * PENALTY * weights
        for case in cases:
            scaled = (case.measures / SPREADS)[:, chosen]
            evidence = scaled @ weights
            shares = np.exp(evidence - evidence.max())
            shares /= shares.sum()
            loss -= np.log(shares[case.parent]) / len(cases)
            slope = slope - (scaled[case.parent] - shares @ scaled) / len(cases)
        return loss, slope

    start = np.full(len(chosen), 0.5)
    found = minimize(compute_loss, start, jac=True, bounds=[(0, None)] * len(chosen)).x
    weights = np.zeros(2)
    weights[chosen] = found
    return weights / SPREADS


def find_rank(case: Case, weights: np.ndarray) -> int:
    """Return the rank of the parent."""
    evidence = case.measures @ weights
    return 1 + int((evidence > evidence[case.parent]).sum())


def rank_across(
    cases: Sequence[Case], fitting: Sequence[Case], measures: Sequence[int]
) -> list[int]:
    """Return the parent's rank in each case, with weights from the other half."""
    weights = [
        fit_weights([case for case in fitting if case.half != half], measures) for half in (0, 1)
    ]
    return [find_rank(case, weights[case.half]) for case in cases]


def choose_option(cases: dict[Option, list[Case]], half: int) -> Option:
    """Return the measures that suit the other half best.

    Measures are compared by the mean log-probability of the parents, each with weights from the
    half's other parents.
    """
    scores = {}
    for option, every in cases.items():
        kept = [case for case in every if case.half != half]
        scores[option] = np.mean(
            [
                find_log_share(case, fit_weights([c for c in kept if c.key != case.key]))
                for case in kept
            ]
        )
    return max(scores, key=lambda option: scores[option])


def find_log_share(case: Case, weights: np.ndarray) -> float:
    """Return the logarithm of the parent's probability."""
    evidence = case.measures @ weights
    return float(evidence[case.parent] - np.logaddexp.reduce(evidence))


class NoneResult(NamedTuple):
    """How well leads tell whether the parent is there."""

    detected: float
    false_alarms: float
    area: float


def measure_none(
    present: Sequence[Case], absent: Sequence[Case], weights: np.ndarray
) -> NoneResult:
    """Choose the lead below which it is none on one half, and test it on the other."""
    own, gone = (
        np.array([compute_lead(c.measures @ weights) for c in cases]) for cases in (present, absent)
    )
    halves = np.array([case.half for case in present])
    detected = alarms = 0.0
    for half in (0, 1):
        limit = np.quantile(own[halves != half], FALSE_ALARMS)
        detected += (gone[halves == half] < limit).sum() / len(gone)
        alarms += (own[halves == half] < limit).sum() / len(own)
    area = (own[:, None] > gone[None]).mean()
    return NoneResult(detected, alarms, float(area))


def fit_none(
    present: Sequence[Case], absent: Sequence[Case], weights: np.ndarray
) -> tuple[float, float]:
    """Fit the lead at which none is as likely as some candidate, and the slope of the odds."""
    leads = np.array([compute_lead(case.measures @ weights) for case in (*present, *absent)])
    signs = np.repeat([1.0, -1.0], [len(present), len(absent)])

    def compute_loss(values: np.ndarray) -> float:
        return float(np.logaddexp(0, -signs * values[1] * (leads - values[0])).mean())

    at, slope = minimize(compute_loss, [5.0, 0.5], method="Nelder-Mead").x
    return float(at), float(slope)


def time_command() -> tuple[float, int]:
    """Return the seconds of the whole command with 30 candidates, and its exit code."""
    names = [file for file in list_teacher_files() if file.stem != "vicuna-13b"][:30]
    with tempfile.TemporaryDirectory() as folder:
        given = [
            sys.executable,
            "-m",
            "congener",
            "lineage",
            "--quiet",
            "--output",
            f"{folder}/out",
        ]
        given += ["--model", f"m={DATA}/teachers/vicuna-13b.parquet"]
        given += [part for file in names for part in ("--candidates", f"{file.stem}={file}")]
        began = time.perf_counter()
        code = subprocess.run(
            given, check=False, stdout=subprocess.DEVNULL, cwd=Path.cwd()
        ).returncode
        return time.perf_counter() - began, code


def main() -> None:
    options = parse_arguments(__doc__.split("\n")[0], answers=1_000, timed=1)
    report = Report("lineage", "Parents found among candidates")
    pairs = read_pairs()
    models = Models(options.answers)
    parents = sorted({pair.parent for pair in pairs})
    among = {
        "the 14 parents": [models.build_case(pair, parents) for pair in pairs],
        "all models": [
            models.build_case(pair, list(list_candidates(pair, pairs, models.names)))
            for pair in pairs
        ],
    }
    fitting = [case for cases in among.values() for case in cases]
    report_ranks(report, among, fitting)
    report_choice(report, models, pairs, among)
    report_none(report, models, pairs, among)
    report_families(report, models)
    if options.timed:
        seconds, code = time_command()
        report.say(
            f"`congener lineage` with 30 candidates of some 800 answers: {seconds:.1f} s, exit "
            f"code {code}; {judge(seconds, 60, at_least=False)}."
        )
    report.finish()


def report_ranks(report: Report, among: dict[str, list[Case]], fitting: Sequence[Case]) -> None:
    """Add the ranks of parents, and the students whose parent isn't first."""
    rows, missed = [], []
    for measures, label in (((0, 1), "wording and same prompts"), ((1,), "wording alone")):
        for name, cases in among.items():
            ranks = rank_across(cases, fitting, measures)
            first = sum(rank == 1 for rank in ranks)
            target = judge(first, TARGETS[name]) if len(measures) == 2 else ""
            rows.append(
                (name, label, first, len(ranks), float(np.mean(1 / np.array(ranks))), target)
            )
            if len(measures) == 2:
                missed += [
                    (name, case.student, case.names[case.parent], rank)
                    for case, rank in zip(cases, ranks, strict=True)
                    if rank > 1
                ]
    header = ("candidates", "measures", "parent first", "of", "mean reciprocal rank", "target")
    report.say(
        "Each student is ranked with weights that were fitted on the other half: the students of "
        "the other parents. Which two measures are used was decided with all students in view."
    )
    report.add_table(header, rows)
    report.add_table(("candidates", "student", "parent", "rank"), missed)
    weights = [fit_weights(fitting, measures) for measures in ((0, 1), (1,))]
    report.say(
        f"Fitted on all: overlap {weights[0][0]:.1f} and wording {weights[0][1]:.1f} (shipped: "
        f"{FITTED.overlap:g} and {FITTED.wording:g}); wording alone {weights[1][1]:.1f} (shipped: "
        f"{WITHOUT_PROMPTS.wording:g})."
    )


def report_choice(
    report: Report, models: Models, pairs: Sequence[Pair], among: dict[str, list[Case]]
) -> None:
    """Add how many parents are found if each half chooses its measures by the other half.

    Below are those that are found if no measure is chosen, but all count alike.
    """
    cases = {
        option: [
            models.build_case(pair, case.names, option)
            for every in among.values()
            for pair, case in zip(pairs, every, strict=True)
        ]
        for option in MENU
    }
    chosen = {half: choose_option(cases, half) for half in (0, 1)}
    report.say(
        f"The same with the measures chosen too, among {len(MENU)}: n-grams of one or two tokens "
        "for same prompts and for wording, and a prior of 1.0 or 0.3. Each half has the measures "
        "that give the other half's parents the largest log-probability, when weights come from "
        f"its other parents. Chosen: {chosen[0]} for the first half, {chosen[1]} for the second. "
        f"In the rows without a choice, the log-probabilities of all {len(MENU)} are averaged, "
        "each with weights from the other half."
    )
    rows = []
    for name, begin in zip(among, range(0, len(cases[SHIPPED]), len(pairs)), strict=True):
        places = range(begin, begin + len(pairs))
        for label in ("chosen by the other half", "all, averaged"):
            first = dict.fromkeys(chosen, 0)
            for half, option in chosen.items():
                used = [option] if label.startswith("chosen") else MENU
                first[half] = count_first(cases, used, places, half)
            total = sum(first.values())
            target = judge(total, TARGETS[name])
            rows.append((name, label, *first.values(), total, len(pairs), target))
    header = ("candidates", "measures", "first half", "second half", "parent first", "of", "target")
    report.add_table(header, rows)


def count_first(
    cases: dict[Option, list[Case]], used: Sequence[Option], places: Sequence[int], half: int
) -> int:
    """Return for how many students of a half the mean evidence of several options is right."""
    weights = {
        option: fit_weights([case for case in cases[option] if case.half != half])
        for option in used
    }
    first = 0
    for place in places:
        every = [cases[option][place] for option in used]
        if every[0].half == half:
            evidence = [
                case.measures @ weights[option] for case, option in zip(every, used, strict=True)
            ]
            first += int(np.mean(evidence, axis=0).argmax()) == every[0].parent
    return first


def report_none(
    report: Report, models: Models, pairs: Sequence[Pair], among: dict[str, list[Case]]
) -> None:
    """Add how often "none of these" is right once the parent is taken out."""
    rows, fitted = [], []
    for name, present in among.items():
        absent = [
            models.build_case(pair, [item for item in case.names if item != pair.parent])
            for pair, case in zip(pairs, present, strict=True)
        ]
        for weights, label in ((FITTED, "both"), (WITHOUT_PROMPTS, "wording alone")):
            factors = np.array([weights.overlap, weights.wording])
            found = measure_none(present, absent, factors)
            target = judge(found.detected, 0.8) if weights is FITTED else ""
            rows.append((name, label, *found, target))
            at, slope = fit_none(present, absent, factors)
            leads = [compute_lead(case.measures @ factors) for case in present]
            limit = np.quantile(leads, FALSE_ALARMS)
            fitted.append(f"{name}, {label}: {at:.2f}, {slope:.2f} and {limit:.2f}")
    report.say(
        "None of these: the lead below which no candidate is named was chosen on one half of the "
        "students at 10 % false alarms, and tested on the other."
    )
    header = ("candidates", "measures", "none found", "false alarms", "AUROC of the lead", "target")
    report.add_table(header, rows)
    report.say(
        "Lead at even odds, slope, and lead with 10 % false alarms on all students: "
        f"{'; '.join(fitted)}."
    )


if __name__ == "__main__":
    main()
