"""How precision and recall change with the number of labels, on models that weren't labelled.

Labels of the answers in `../shared/data/labels` stand for a reader's work: of one half of the
models, the answers with the highest scores are labelled, as in a quarantine and just below the
threshold. They are fitted as `congener fit --labels` fits them, which uses only half of them.
Precision and recall are those on the other half of the models, without prompts that were labelled.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from benchmarks.labelled_answers import Labels, collect_answers, read_labels
from benchmarks.measure import Report, find_data, parse_arguments
from benchmarks.quirks import format_share
from classifiers.clean_text import CleanRow, CleanText, collect_background, present_as_answers
from classifiers.fitting import fit_bank
from classifiers.guarantees.calibration import calibrate
from classifiers.labelled_rows import JudgedRow, split_labels
from classifiers.library import LoadedCard, find_cards
from classifiers.models.interface import EncoderConfig
from classifiers.scoring import load_scorer
from schemas.scores import COMBINED, fires

COUNTS = (0, 25, 50, 100, 200)
FEW = 12
"""How many of the library's positives a card that somebody has just begun has."""


class Answers(NamedTuple):
    """The answers, with their prompts and models."""

    texts: list[str]
    prompts: list[str]
    models: np.ndarray


class Split(NamedTuple):
    """The answers of one half of the models from the highest score down, and those of the other."""

    labelled: np.ndarray
    tested: np.ndarray


class Outcome(NamedTuple):
    """Counts on tested answers, and the average precision of their scores."""

    flags: int
    right: int
    sure: int
    found: int
    ranked: float


def main() -> None:
    options = parse_arguments(
        __doc__ or "", traits="ai-disclaimer,pipeline-leak,sycophantic-opening", splits=3
    )
    names = (find_data("labels") / "rows-read.txt").read_text(encoding="utf-8").split()
    labels, answers = read_labels(names), read_answers(names)
    cards = {card.id: card for card in find_cards()}
    clean = CleanText(collect_background(cards.values()))
    report = Report("label_curve", "Precision and recall with 0 to 200 labels")
    report.say(
        f"{len(names):,} real answers of {len(set(answers.models))} models, read for all traits; "
        f"{options.splits} random halves of the models, added up. A label counts as yes for a sure "
        "or borderline case. The card is the library's, or one with only the signal `wording` and "
        f"{FEW} of the library's positives (few), as for a new trait. AP is the mean average "
        "precision of the score. The brackets hold exact 95 % intervals, which are too narrow, "
        "since the halves overlap."
    )
    rows = [
        row
        for trait in options.traits.split(",")
        for card in (cards[trait], cut_card(cards[trait]))
        for row in measure_card(card, labels[trait], answers, clean, options.splits)
    ]
    header = ["trait", "card", "labels", "flags", "precision", "sure cases", "recall", "AP"]
    report.add_table(header, rows)
    report.say(
        "The target, a measurable rise in precision with 100 labels, is missed. The library's card "
        "has few wrong flags that labels could remove, and most of them are hits of its lexicon, "
        "which doesn't learn. For a card with few positives, labels make the ranking worse. A "
        "likely reason is that the fit picks wrong sentences from labelled rows with a yes."
    )
    report.finish()


def read_answers(names: Sequence[str]) -> Answers:
    """Read the named answers with their prompts and models."""
    rows = collect_answers(names).to_pylist()
    turns = [{turn["role"]: turn["content"] for turn in row["messages"]} for row in rows]
    return Answers(
        [turn["assistant"] for turn in turns],
        [turn["user"] for turn in turns],
        np.array([row["teacher"] for row in rows]),
    )


def cut_card(card: LoadedCard) -> LoadedCard:
    """Return a card with a few evenly spread positives, no hard negatives, and only wording."""
    chosen = np.linspace(0, len(card.positives) - 1, FEW).astype(int)
    positives = tuple(card.positives[index] for index in chosen)
    own = card.card.limit_signals(["wording"])
    return replace(card, card=own, positives=positives, negatives=())


def measure_card(
    card: LoadedCard, labels: Labels, answers: Answers, clean: CleanText, splits: int
) -> Iterator[tuple[object, ...]]:
    """Yield the table rows of one card."""
    sure, shown = (
        np.isin(np.arange(len(answers.texts)), list(found)) for found in (labels.sure, labels.shown)
    )
    base, threshold = score(card, answers, clean)
    found: dict[int, list[Outcome]] = {count: [] for count in COUNTS}
    for split in draw_splits(answers, base, splits):
        for count in COUNTS:
            scores, value = base, threshold
            if count:
                judged = [
                    JudgedRow((answers.texts[row],), answers.prompts[row], bool(shown[row]))
                    for row in split.labelled[:count]
                ]
                scores, value = score(replace(card, labels=split_labels(judged)), answers, clean)
            tested = split.tested
            flagged = fires(scores[tested], value)
            outcome = Outcome(
                int(flagged.sum()),
                int((flagged & shown[tested]).sum()),
                int(sure[tested].sum()),
                int((flagged & sure[tested]).sum()),
                rank(shown[tested], scores[tested]),
            )
            print(card.id, count, outcome, flush=True)
            found[count].append(outcome)
    kind = "library" if card.negatives else "few"
    for count, outcomes in found.items():
        yield (card.id, kind, count, *describe(outcomes))


def draw_splits(answers: Answers, scores: np.ndarray, splits: int) -> Iterator[Split]:
    """Yield seeded halves of the models."""
    models = np.unique(answers.models)
    order = np.argsort(-scores, kind="stable")
    for seed in range(splits):
        half = np.random.default_rng(seed).permutation(models)[: len(models) // 2]
        inside = np.isin(answers.models, half)
        labelled = order[inside[order]][: COUNTS[-1]]
        known = {answers.prompts[row] for row in labelled}
        new = np.array([prompt not in known for prompt in answers.prompts])
        yield Split(labelled, np.flatnonzero(~inside & new))


def score(card: LoadedCard, answers: Answers, clean: CleanText) -> tuple[np.ndarray, float]:
    """Fit a card, and return the answers' scores and its threshold."""
    bank = fit_bank([card], clean, None, EncoderConfig())
    trait = bank.traits[card.id]
    rows = [CleanRow((text,), "", "") for text in answers.texts]
    found = load_scorer(bank, EncoderConfig()).score(len(rows), present_as_answers(rows))
    value = calibrate(trait.calibration[COMBINED], card.card.level).value
    return found.combined[card.id], float("inf") if value is None else value


def rank(right: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision of scores."""
    ordered = right[np.argsort(-scores, kind="stable")]
    hits = np.flatnonzero(ordered)
    return float((np.arange(1, len(hits) + 1) / (hits + 1)).mean()) if len(hits) else float("nan")


def describe(outcomes: Sequence[Outcome]) -> tuple[object, ...]:
    """Return the cells for the sum of the outcomes."""
    flags, right, sure, found = (sum(item[place] for item in outcomes) for place in range(4))
    shares = [format_share(*pair) if pair[1] else "–" for pair in ((right, flags), (found, sure))]
    ranked = float(np.nanmean([item.ranked for item in outcomes]))
    return flags, shares[0], sure, shares[1], f"{ranked:.2f}"


if __name__ == "__main__":
    main()
