"""How much 100 labels raise precision and recall, on models that weren't labelled.

Labels of the answers in `../shared/data/labels` stand for a reader's work: of one half of the
models, the answers with the highest scores are labelled, as on the review page in the order of the
score. They are fitted as `congener fit --labels` fits them. Precision and recall are those on the
other half of the models, without prompts that were labelled; then the halves change places.
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

COUNTS = (0, 100)
TRAITS = (
    "ai-disclaimer,knowledge-cutoff,over-refusal,pipeline-leak,sycophantic-opening,turn-leak,"
    "vendor-phrasing"
)
"""The library's traits that at least nine of the answers show in their wording."""

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
    """Counts on tested answers, and the average precision of their scores.

    Of the `rows` that show the trait, `top` are among as many rows with the highest scores.
    """

    flags: int
    right: int
    rows: int
    top: int
    ranked: float


def main() -> None:
    options = parse_arguments(__doc__ or "", traits=TRAITS)
    names = (find_data("labels") / "rows-read.txt").read_text(encoding="utf-8").split()
    labels, answers = read_labels(names), read_answers(names)
    cards = {card.id: card for card in find_cards()}
    clean = CleanText(collect_background(cards.values()))
    report = Report("label_curve", "Precision and recall with and without 100 labels")
    report.say(
        f"{len(names):,} real answers of {len(set(answers.models))} models, read for all traits; "
        "models with an even and an odd place in the alphabet take turns in being labelled and "
        "tested, added up. A label counts as yes for a sure or borderline case. The card is the "
        f"library's, if it learns, or one with only the signal `wording` and {FEW} of the "
        "library's positives (few), as for a new trait. Flags are rows at or above the calibrated "
        "threshold. Precision at R is the share of right rows among the R highest scores, where R "
        "is the number of rows that show the trait. AP is the mean average precision of the score. "
        "The brackets hold exact 95 % intervals."
    )
    whole: dict[tuple[str, int], list[Outcome]] = {}
    rows = []
    for trait in options.traits.split(","):
        for kind, card in (("few", cut_card(cards[trait])), ("library", cards[trait])):
            if not card.card.learns_from_exemplars or card.card.uses_encoder:
                continue
            for count, outcomes in measure_card(card, labels[trait], answers, clean).items():
                rows.append((trait, kind, count, *describe(outcomes)))
                whole.setdefault((kind, count), []).extend(outcomes)
                print(rows[-1], flush=True)
    rows += [("all", kind, count, *describe(found)) for (kind, count), found in whole.items()]
    header = ["trait", "card", "labels", "flags", "precision", "recall", "precision at R", "AP"]
    report.add_table(header, rows)
    report.say(
        "A card with few positives ranks the rows of other models better with labels, but the "
        "lowest threshold of 0.5 lets so few of them through that the precision of its flags can't "
        "be seen to rise. The library's cards have few wrong flags that labels could remove."
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
    card: LoadedCard, labels: Labels, answers: Answers, clean: CleanText
) -> dict[int, list[Outcome]]:
    """Return the outcomes of one card for each number of labels."""
    shown = np.isin(np.arange(len(answers.texts)), list(labels.shown))
    base, threshold = score(card, answers, clean)
    found: dict[int, list[Outcome]] = {count: [] for count in COUNTS}
    for split in split_models(answers, base):
        for count in COUNTS:
            scores, value = base, threshold
            if count:
                judged = [
                    JudgedRow((answers.texts[row],), answers.prompts[row], bool(shown[row]))
                    for row in split.labelled[:count]
                ]
                scores, value = score(replace(card, labels=split_labels(judged)), answers, clean)
            found[count].append(count_outcome(scores[split.tested], shown[split.tested], value))
    return found


def count_outcome(scores: np.ndarray, shown: np.ndarray, threshold: float) -> Outcome:
    """Return the outcome of tested rows, of which those in `shown` show the trait."""
    flagged, rows = fires(scores, threshold), int(shown.sum())
    highest = np.argsort(-scores, kind="stable")[:rows]
    right = int((flagged & shown).sum())
    return Outcome(int(flagged.sum()), right, rows, int(shown[highest].sum()), rank(shown, scores))


def split_models(answers: Answers, scores: np.ndarray) -> Iterator[Split]:
    """Yield each half of the models with the other one as the tested half."""
    models = np.unique(answers.models)
    order = np.argsort(-scores, kind="stable")
    for half in (models[::2], models[1::2]):
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
    flags, right, rows, top = (sum(item[place] for item in outcomes) for place in range(4))
    pairs = ((right, flags), (right, rows), (top, rows))
    shares = [format_share(*pair) if pair[1] else "–" for pair in pairs]
    return flags, *shares, f"{np.nanmean([item.ranked for item in outcomes]):.2f}"


if __name__ == "__main__":
    main()
