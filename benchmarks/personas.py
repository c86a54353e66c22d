"""Measure how well 32 + 32 exemplars find 68 persona traits, compared with scikit-learn."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.measure import Report, find_data, judge, parse_arguments
from classifiers.banks import TraitModel
from classifiers.dense import score_dense
from classifiers.fitting import fit_dense
from classifiers.guarantees.calibration import compute_auroc, compute_recall
from classifiers.models.encoders import load_encoder
from classifiers.models.interface import EncoderConfig
from classifiers.scoring import combine
from schemas.cards import TraitCard
from schemas.digests import digest_config

CACHE = Path(tempfile.gettempdir()) / "congener-benchmarks"
FALSE_POSITIVES = 0.01
AUROC_TARGET, RECALL_TARGET = 0.935, 0.53
ORACLE = "scikit-learn LogisticRegression(C=10), last layer"


class Statements(NamedTuple):
    """A trait's statements: their labels, and vectors from the default and the last layers."""

    ours: np.ndarray
    plain: np.ndarray
    labels: np.ndarray


class Figures(NamedTuple):
    """How well one score finds a trait with one draw of exemplars."""

    trait: int
    score: str
    auroc: float
    recall: float


def main() -> None:
    options = parse_arguments(__doc__ or "", exemplars=32, draws=2, traits=68)
    files = sorted(find_data("personas").glob("*.jsonl"))[: options.traits]
    traits = embed_statements(
        [[json.loads(line) for line in file.open(encoding="utf-8")] for file in files]
    )
    found = [
        figures
        for number, trait in enumerate(traits)
        for draw in range(options.draws)
        for figures in measure_scores(number, trait, options.exemplars, draw)
    ]
    report = Report("personas", "Persona traits from a few exemplars")
    report.say(
        f"{len(files)} traits, {options.exemplars} positives and {options.exemplars} negatives "
        "each as exemplars, the remaining statements as test, mean over "
        f"{options.draws} draws. Settings were chosen on the development half, which has the even "
        "numbers in alphabetical order."
    )
    halves = {
        "development half": lambda trait: trait % 2 == 0,
        "held half": lambda trait: trait % 2 == 1,
        "all": lambda _: True,
    }
    for name, inside in halves.items():
        report.say(f"## {name.capitalize()}: {sum(map(inside, range(len(files))))} traits")
        report.add_table(
            ["score", "AUROC", "recall at 1 % false positives"],
            list(build_rows([item for item in found if inside(item.trait)])),
        )
    auc, recall = average([item for item in found if item.score == "combined"])
    report.say("## Targets, all traits, combined score")
    report.add_table(
        ["measure", "value", "verdict"],
        [
            ("AUROC", auc, judge(auc, AUROC_TARGET)),
            ("recall", recall, judge(recall, RECALL_TARGET)),
        ],
    )
    report.finish()


def embed_statements(files: Sequence[Sequence[Mapping[str, object]]]) -> Iterator[Statements]:
    """Embed the statements of all traits together, and yield them trait by trait."""
    texts = list(dict.fromkeys(str(row["text"]) for rows in files for row in rows))
    index_of = {text: index for index, text in enumerate(texts)}
    ours, plain = (
        embed(texts, EncoderConfig(device="cpu")),
        embed(texts, EncoderConfig(device="cpu", layer_depths=(1.0,))),
    )
    for rows_ in files:
        indices = [index_of[str(row["text"])] for row in rows_]
        yield Statements(ours[indices], plain[indices], np.array([row["label"] for row in rows_]))


def embed(texts: Sequence[str], config: EncoderConfig) -> np.ndarray:
    """Return the vectors of some texts, cached in the temporary folder."""
    encoder = load_encoder(config)
    cached = CACHE / f"personas-{digest_config([encoder.identity, texts])[:16]}.npy"
    if not cached.is_file():
        CACHE.mkdir(exist_ok=True)
        np.save(cached, encoder.encode(encoder.take_whole(texts)))
    return np.load(cached)


def measure_scores(number: int, trait: Statements, exemplars: int, draw: int) -> Iterator[Figures]:
    """Fit on one draw of exemplars, and measure every score on the remaining statements."""
    generator = np.random.default_rng([draw, number])
    shuffled = [generator.permutation(np.flatnonzero(trait.labels == label)) for label in (1, 0)]
    chosen = np.concatenate([indices[:exemplars] for indices in shuffled])
    left = np.concatenate([indices[exemplars:] for indices in shuffled])
    for score, values in fit_scores(trait, chosen, left).items():
        positives, negatives = values[trait.labels[left] == 1], values[trait.labels[left] == 0]
        yield Figures(
            number,
            score,
            compute_auroc(positives, negatives),
            compute_recall(positives, negatives, FALSE_POSITIVES),
        )


def fit_scores(trait: Statements, chosen: np.ndarray, left: np.ndarray) -> dict[str, np.ndarray]:
    """Fit on the chosen statements, and return every score of the remaining statements."""
    model = TraitModel(TraitCard(id="persona"), "")
    labels = trait.labels[chosen]
    positives, negatives = trait.ours[chosen][labels == 1], trait.ours[chosen][labels == 0]
    fit_dense(model, positives, negatives, len(negatives))
    dense = score_dense(model, trait.ours[left])
    oracle = LogisticRegression(C=10, max_iter=1000).fit(trait.plain[chosen], labels)
    return {
        **dense,
        "combined": combine(dense),
        ORACLE: oracle.decision_function(trait.plain[left]),
    }


def build_rows(found: Sequence[Figures]) -> Iterator[tuple[str, float, float]]:
    for score in dict.fromkeys(item.score for item in found):
        yield (score, *average([item for item in found if item.score == score]))


def average(found: Sequence[Figures]) -> tuple[float, float]:
    return float(np.mean([item.auroc for item in found])), float(
        np.mean([item.recall for item in found])
    )


if __name__ == "__main__":
    main()
