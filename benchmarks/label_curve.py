"""How much 100 labels raise precision and recall, on models that weren't labelled.

Labels of the answers in `../shared/data/labels` stand for a reader's work: of one half of the
models, the answers with the highest scores are labelled, as on the review page in the order of the
score. They are fitted as `congener fit --labels` fits them. Precision and recall are those on the
other half of the models, without prompts that were labelled; then the halves change places.

With `--read FOLDER`, a reader's own labels are used instead, which stay outside the project:
`FOLDER/labels.jsonl` has the labels of some models, as the review page writes them, and
`FOLDER/judged.jsonl` what the reader said, blind, about every row of the other models that a trait
finds with or without these labels.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

from benchmarks.labelled_answers import Labels, collect_answers, read_labels
from benchmarks.measure import Report, find_data, list_teacher_files, parse_arguments
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
    options = parse_arguments(__doc__ or "", traits=TRAITS, read="")
    if options.read:
        report_reading(Path(options.read))
        return
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


SEED = 12
"""What draws the half of the models whose answers are labelled."""

Place = tuple[str, int]
"""A file of a model's answers, and the row."""


Line = Mapping[str, object]
"""A line of a file of labels."""


class Models(NamedTuple):
    """All answers of some models, and where each one is."""

    answers: Answers
    places: list[Place]

    def list_places(self, flags: np.ndarray) -> set[Place]:
        """Return where the flagged answers are."""
        return {self.places[row] for row in np.flatnonzero(flags).tolist()}


def report_reading(folder: Path) -> None:
    """Measure a reader's labels of half of the models on the reader's judgements of the others."""
    given, judged = (read_lines(folder / f"{name}.jsonl") for name in ("labels", "judged"))
    taught, tested = draw_halves([path.name for path in list_teacher_files()])
    own, answers = read_models(taught), read_models(tested)
    report = Report("labels_by_reader", "What 100 labels by a reader change on other models")
    report.say(
        f"Labels are of answers of {len(taught)} models, drawn with seed {SEED}: those with the "
        f"trait's highest scores. Flags are counted in all {len(answers.places):,} answers of the "
        f"other {len(tested)} models. One reader, a language model, gave the labels on the review "
        "page, and judged every flag, shuffled, without seeing which fit found it. Unsure counts "
        "as wrong. With labels, half of them teach, chosen by prompt, as `fit --labels` does, and "
        "the others measure. New prompts are those of no labelled row. "
        "Right flags are kept if the card finds them without labels, too. The brackets hold exact "
        "95 % intervals."
    )
    header = ["trait", "prompts", "labels", "flags", "precision", "right flags kept"]
    report.add_table(header, measure_reading(given, judged, own, answers))
    report.finish()


def measure_reading(
    given: Sequence[Line], judged: Sequence[Line], own: Models, answers: Models
) -> Iterator[tuple[object, ...]]:
    """Yield the rows of the table: each trait without labels and with them."""
    cards = {card.id: card for card in find_cards()}
    clean = CleanText(collect_background(cards.values()))
    for trait in dict.fromkeys(str(line["trait"]) for line in given):
        labels, truth = (
            {find_place(line): line["label"] for line in lines if line["trait"] == trait}
            for lines in (given, judged)
        )
        rows = list(judge(labels, own))
        fits = {0: None, len(rows): split_labels(rows)}
        flags = {
            count: fires(*score(replace(cards[trait], labels=halves), answers.answers, clean))
            for count, halves in fits.items()
        }
        known = {row.prompt for row in rows}
        new = np.array([prompt not in known for prompt in answers.answers.prompts])
        for prompts, part in (("all", new | True), ("new", new)):
            right = {place for place, label in truth.items() if label is True}
            before = answers.list_places(flags[0] & part)
            for count, flag in flags.items():
                found = answers.list_places(flag & part)
                if unread := found - truth.keys():
                    raise SystemExit(f"{trait}: {len(unread)} flags aren't in judged.jsonl")
                share = format_share(len(found & right), len(found))
                kept = f"{len(found & before & right)} of {len(before & right)}"
                yield trait, prompts, count, len(found), share, kept
                print(trait, prompts, count, len(found), share, kept, flush=True)


def draw_halves(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the models whose answers are labelled, and the others."""
    shuffled = sorted(names)
    random.Random(SEED).shuffle(shuffled)
    return sorted(shuffled[: len(names) // 2]), sorted(shuffled[len(names) // 2 :])


def read_models(names: Sequence[str]) -> Models:
    """Read all answers of some models."""
    texts, prompts, models, places = [], [], [], []
    for name in names:
        table = pq.read_table(find_data("teachers") / name)
        for row, messages in enumerate(table["messages"].to_pylist()):
            turns = {turn["role"]: turn["content"] for turn in messages}
            texts.append(turns["assistant"])
            prompts.append(turns["user"])
            models.append(name)
            places.append((name, row))
    return Models(Answers(texts, prompts, np.array(models)), places)


def read_lines(path: Path) -> list[Line]:
    """Read a file of JSON Lines."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def find_place(line: Line) -> Place:
    return str(line["source"]), int(str(line["row"]))


def judge(labels: Mapping[Place, object], models: Models) -> Iterator[JudgedRow]:
    """Yield the labelled rows."""
    answers = models.answers
    for row, place in enumerate(models.places):
        if place in labels:
            label = labels[place]
            shows = label if isinstance(label, bool) else None
            yield JudgedRow((answers.texts[row],), answers.prompts[row], shows)


if __name__ == "__main__":
    main()
