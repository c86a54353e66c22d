"""Measure recognition of 68 persona traits from 32 + 32 exemplars: the defaults against scikit-learn on plain vectors."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.linear_model import LogisticRegression

from benchmarks.measure import Report, arguments, data, verdict
from classifiers.banks import TraitModel
from classifiers.fitting import fit_dense
from classifiers.guarantees.calibration import auroc, recall_at
from classifiers.models.encoders import EncoderConfig, load_encoder
from classifiers.scoring import combine, dense_scores
from schemas.cards import TraitCard
from schemas.digests import config_digest

CACHE = Path(tempfile.gettempdir()) / "congener-benchmarks"
FALSE_POSITIVES = 0.01
AUROC_TARGET, RECALL_TARGET = 0.935, 0.53
ORACLE = "scikit-learn LogisticRegression(C=10), last layer"


class Statements(NamedTuple):
    """A trait's statements: their vectors by the default layers and by the last layer alone, and their labels."""

    ours: np.ndarray
    plain: np.ndarray
    labels: np.ndarray


class Figures(NamedTuple):
    """How well one score tells a trait's remaining statements apart, in one draw."""

    place: int
    score: str
    auroc: float
    recall: float


def main() -> None:
    options = arguments(__doc__ or "", exemplars=32, draws=2, traits=68)
    files = sorted(data("personas").glob("*.jsonl"))[: options.traits]
    traits = statements(
        [[json.loads(line) for line in file.open(encoding="utf-8")] for file in files]
    )
    found = [
        figures
        for place, trait in enumerate(traits)
        for draw in range(options.draws)
        for figures in measured(place, trait, options.exemplars, draw)
    ]
    report = Report("personas", "Persona traits from a few exemplars")
    report.say(
        f"{len(files)} traits, {options.exemplars} positives and {options.exemplars} negatives each as exemplars, the remaining statements as test, "
        f"mean over {options.draws} draws. Settings were chosen on the development half (even places in alphabetical order)."
    )
    halves = {
        "development half": lambda place: place % 2 == 0,
        "held half": lambda place: place % 2 == 1,
        "all": lambda _: True,
    }
    for name, inside in halves.items():
        report.say(f"## {name.capitalize()}: {sum(map(inside, range(len(files))))} traits")
        report.table(
            ["score", "AUROC", "recall at 1 % false positives"],
            list(rows([item for item in found if inside(item.place)])),
        )
    auc, recall = means([item for item in found if item.score == "combined"])
    report.say("## Targets, all traits, combined score")
    report.table(
        ["measure", "value", "verdict"],
        [
            ("AUROC", auc, verdict(auc, AUROC_TARGET)),
            ("recall", recall, verdict(recall, RECALL_TARGET)),
        ],
    )
    report.finish()


def statements(files: Sequence[Sequence[Mapping[str, object]]]) -> Iterator[Statements]:
    """Yield every trait's statements, embedded together."""
    texts = list(dict.fromkeys(str(row["text"]) for rows in files for row in rows))
    place = {text: at for at, text in enumerate(texts)}
    ours, plain = (
        embedded(texts, EncoderConfig(device="cpu")),
        embedded(texts, EncoderConfig(device="cpu", layer_depths=(1.0,))),
    )
    for rows_ in files:
        at = [place[str(row["text"])] for row in rows_]
        yield Statements(ours[at], plain[at], np.array([row["label"] for row in rows_]))


def embedded(texts: Sequence[str], config: EncoderConfig) -> np.ndarray:
    """Return the texts' vectors; those of an earlier run with the same texts and encoder are kept in the temporary folder."""
    encoder = load_encoder(config)
    kept = CACHE / f"personas-{config_digest([encoder.identity, texts])[:16]}.npy"
    if not kept.is_file():
        CACHE.mkdir(exist_ok=True)
        np.save(kept, encoder.encode(encoder.whole(texts)))
    return np.load(kept)


def measured(place: int, trait: Statements, exemplars: int, draw: int) -> Iterator[Figures]:
    """Fit on one draw of exemplars and measure every score on the statements that are left."""
    generator = np.random.default_rng([draw, place])
    shuffled = [generator.permutation(np.flatnonzero(trait.labels == label)) for label in (1, 0)]
    chosen = np.concatenate([places[:exemplars] for places in shuffled])
    left = np.concatenate([places[exemplars:] for places in shuffled])
    for score, values in scores(trait, chosen, left).items():
        positives, negatives = values[trait.labels[left] == 1], values[trait.labels[left] == 0]
        yield Figures(
            place,
            score,
            auroc(positives, negatives),
            recall_at(positives, negatives, FALSE_POSITIVES),
        )


def scores(trait: Statements, chosen: np.ndarray, left: np.ndarray) -> dict[str, np.ndarray]:
    """Return every score of the statements that are left, fitted on those chosen."""
    model = TraitModel(TraitCard(id="persona"), "")
    labels = trait.labels[chosen]
    positives, negatives = trait.ours[chosen][labels == 1], trait.ours[chosen][labels == 0]
    fit_dense(model, positives, negatives, len(negatives))
    dense = dense_scores(model, trait.ours[left])
    oracle = LogisticRegression(C=10, max_iter=1000).fit(trait.plain[chosen], labels)
    return {
        **dense,
        "combined": combine(dense),
        ORACLE: oracle.decision_function(trait.plain[left]),
    }


def rows(found: Sequence[Figures]) -> Iterator[tuple[str, float, float]]:
    for score in dict.fromkeys(item.score for item in found):
        yield (score, *means([item for item in found if item.score == score]))


def means(found: Sequence[Figures]) -> tuple[float, float]:
    return float(np.mean([item.auroc for item in found])), float(
        np.mean([item.recall for item in found])
    )


if __name__ == "__main__":
    main()
