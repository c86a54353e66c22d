"""Split real statements again and again, and see whether thresholds keep what they promise.

Scores are those of a logistic regression on words, fitted on statements of their own. For each
trait, the other statements are split 200 times into calibration texts and rows.
"""

from __future__ import annotations

import json
from typing import NamedTuple

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from benchmarks.measure import Report, find_data, judge, parse_arguments
from classifiers.guarantees.calibration import calibrate, count_allowed
from classifiers.guarantees.conformal import CountedScores, count_scores, select_findings
from classifiers.guarantees.misses import control_expected_misses
from schemas.cards import Level
from schemas.scores import fires

FITTED = 100
"""How many statements of each label fit the regression."""

RATE, CONFIDENCE, SHARE, MISSES = 0.05, 0.95, 0.1, 0.2
TRAITED = 30
"""How many of the rows show the trait."""


class Scored(NamedTuple):
    """The scores of a trait's statements, without those that fitted the regression."""

    clean: np.ndarray
    traited: np.ndarray


def main() -> None:
    options = parse_arguments(__doc__ or "", traits=20, splits=200)
    files = sorted(find_data("personas").glob("*.jsonl"))[: options.traits]
    traits = {file.stem: score_statements(file) for file in files}
    splits = [split(traits, seed) for seed in range(options.splits)]
    exceeding, rates, shares, misses = (np.array(values) for values in zip(*splits, strict=True))
    half = len(next(iter(traits.values())).clean) // 2
    report = Report("guarantees", "Thresholds on real statements that are split again and again")
    report.say(
        f"{len(traits)} traits of persona statements, {options.splits} splits each: about {half} "
        f"clean calibration texts, about {half} clean rows and {TRAITED} rows with the trait. "
        f"The level is {RATE:.0%} at {CONFIDENCE:.0%} confidence, the share of clean findings "
        f"{SHARE:.0%} over all traits together, and the share of misses {MISSES:.0%} on average. "
        "The rate of a split is that of its rows, which are few, so it exceeds the level more "
        "often than the true rate does: the limit is the share of splits that is expected of "
        "exchangeable scores without ties."
    )
    expected = expect_exceeding(half, len(traits))
    report.add_table(
        ["promise", "measure", "value", "limit", "verdict"],
        [
            _row("level", "splits whose rows exceed the rate", exceeding.mean(), expected),
            _row("level", "mean rate of the rows", rates.mean(), RATE),
            _row("share", "mean share of clean findings", shares.mean(), SHARE),
            _row("misses", "mean share of missed rows", misses.mean(), MISSES),
        ],
    )
    report.finish()


def _row(promise: str, measure: str, value: float, limit: float) -> tuple[object, ...]:
    return promise, measure, float(value), float(limit), judge(value, limit * 1.02, at_least=False)


def score_statements(path) -> Scored:
    """Fit a regression on some statements of a trait, and score the others."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    dice = np.random.default_rng(0)
    by_label = {
        label: dice.permutation([row["text"] for row in rows if row["label"] == label])
        for label in (0, 1)
    }
    fitted = [text for texts in by_label.values() for text in texts[:FITTED]]
    model = make_pipeline(TfidfVectorizer(sublinear_tf=True), LogisticRegression(C=10))
    model.fit(fitted, [0] * FITTED + [1] * FITTED)
    scores = [np.round(model.predict_proba(texts[FITTED:])[:, 1], 4) for texts in by_label.values()]
    return Scored(*scores)


def split(traits: dict[str, Scored], seed: int) -> tuple[float, float, float, float]:
    """Split every trait's statements; return how its promises were kept, averaged over traits."""
    dice = np.random.default_rng(seed)
    level = Level(max_false_positive_rate=RATE, confidence=CONFIDENCE)
    rates, misses, counts, rows = [], [], {}, {}
    for name, scored in traits.items():
        clean, traited = dice.permutation(scored.clean), dice.permutation(scored.traited)
        half = len(clean) // 2
        threshold = calibrate(clean[:half], level, lowest=0).value
        rates.append(float(fires(clean[half:], threshold).mean()))
        known = control_expected_misses(traited[TRAITED:], MISSES).value
        misses.append(float((traited[:TRAITED] < known).mean()))
        rows[name] = clean[half:], traited[:TRAITED]
        both = count_scores(np.concatenate(rows[name]))
        counts[name] = CountedScores(both, count_scores(clean[:half]))
    found = select_findings(counts, SHARE)
    wrong = sum(
        int(fires(rows[name][0], threshold).sum())
        for name, threshold in found.thresholds.items()
        if threshold is not None
    )
    share = wrong / max(1, sum(found.findings.values()))
    exceeding = float(np.mean([rate > RATE for rate in rates]))
    return exceeding, float(np.mean(rates)), share, float(np.mean(misses))


def expect_exceeding(size: int, seed: int) -> float:
    """Return how often as many rows as calibration texts exceed the rate, without ties."""
    level = Level(max_false_positive_rate=RATE, confidence=CONFIDENCE)
    allowed = count_allowed(size, level)
    dice = np.random.default_rng(seed)
    reached = dice.binomial(size, dice.beta(allowed + 1, size - allowed, 200_000))
    return float((reached > RATE * size).mean())


if __name__ == "__main__":
    main()
