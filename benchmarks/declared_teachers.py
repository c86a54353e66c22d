"""How often `filter --teacher-answers` contradicts true and false names of teachers.

The models are sorted by the SHA-256 of their names and dealt alternately into two halves, each of
which is compared alone. The limit that one half chooses is tested on the other. Every teacher's
known answers and its lots are answers to different prompts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
from scipy.sparse import csr_matrix

from benchmarks.measure import Report, judge, list_teacher_files, parse_arguments
from classifiers.lineage.authorship import (
    CERTAIN,
    Authors,
    find_common,
    find_rival,
    learn_authors,
    weigh_words,
)
from classifiers.lineage.tokens import count_grams, tokenise
from pipelines.ancestry.declared import MOST_ANSWERS
from schemas.digests import digest_bytes

SIZES = (50, 100, 200, 400)
"""How many answers a lot has."""

FALSE_NAMES = 10
"""Under how many false names each lot is declared."""

KNOWN_SOURCES = frozenset(("helpful_base", "koala"))
"""The prompt sources of known answers where lots have other sources."""

LIMITS = np.arange(1.0, 8.01, 0.5)
"""The limits among which a half chooses."""


class Answers(NamedTuple):
    """The counts of all answers' words, and each answer's model and two ways to split."""

    counts: csr_matrix
    model: np.ndarray
    splits: dict[str, np.ndarray]
    names: list[str]


class Tried(NamedTuple):
    """A lot under a name: the case it belongs to, and how much speaks against the name."""

    split: str
    size: int
    half: int
    is_true: bool
    deviation: float


def read_all(most: int) -> Answers:
    """Read the answers of all models; an answer is known where a split is true."""
    texts, model, prompts = [], [], []
    source: dict[str, str] = {}
    files = list_teacher_files()
    for place, file in enumerate(files):
        table = pq.read_table(file, columns=["messages", "prompt_source"]).slice(0, most)
        for row in table.to_pylist():
            prompt, answer = row["messages"][0]["content"], row["messages"][-1]["content"]
            texts.append(answer)
            model.append(place)
            prompts.append(prompt)
            if row["prompt_source"]:
                source.setdefault(prompt, row["prompt_source"])
    halves = [int(digest_bytes(prompt.encode())[0], 16) % 2 == 0 for prompt in prompts]
    sources = [source.get(prompt) in KNOWN_SOURCES for prompt in prompts]
    splits = {"other prompts": np.array(halves), "other sources": np.array(sources)}
    counts = count_grams(tokenise(texts), 1).counts
    return Answers(counts, np.array(model), splits, [file.stem for file in files])


def deal(names: Sequence[str]) -> list[list[int]]:
    """Return the models of each half."""
    order = sorted(
        range(len(names)), key=lambda place: hashlib.sha256(names[place].encode()).hexdigest()
    )
    return [sorted(order[half::2]) for half in (0, 1)]


def learn(
    answers: Answers, models: Sequence[int], known: np.ndarray, dice: np.random.Generator
) -> tuple[Authors, list[np.ndarray]]:
    """Learn to tell models apart by known answers; return it with each model's other vectors."""
    places = [
        dice.permutation(np.flatnonzero(known & (answers.model == own)))[:MOST_ANSWERS]
        for own in models
    ]
    chosen = np.concatenate(places)
    words = find_common(answers.counts[chosen])
    vectors = weigh_words(answers.counts[:, words])
    author = np.repeat(np.arange(len(places)), [len(own) for own in places])
    authors = learn_authors(vectors[chosen], author, len(places))
    return authors, [vectors[~known & (answers.model == own)] for own in models]


def try_names(
    authors: Authors, lots: list[np.ndarray], size: int, draws: int, dice: np.random.Generator
) -> Iterator[tuple[bool, float]]:
    """Yield for every lot and some names whether one is true, and how much speaks against it."""
    for own, vectors in enumerate(lots):
        for _ in range(draws):
            lot = vectors[dice.permutation(len(vectors))[:size]]
            others = np.delete(np.arange(len(lots)), own)
            for name in (own, *dice.permutation(others)[:FALSE_NAMES].tolist()):
                yield name == own, find_rival(authors, lot, name).deviation


def try_all(answers: Answers, draws: int) -> Iterator[Tried]:
    """Try names in both halves, with known answers to other prompts and to other sources."""
    for half, models in enumerate(deal(answers.names)):
        for split, known in answers.splits.items():
            dice = np.random.default_rng(0)
            authors, lots = learn(answers, models, known, dice)
            for size in SIZES:
                for is_true, deviation in try_names(authors, lots, size, draws, dice):
                    yield Tried(split, size, half, is_true, deviation)


def choose_limit(tried: Sequence[Tried], half: int) -> float:
    """Return the lowest limit at which the other half contradicts no true name."""
    highest = max(item.deviation for item in tried if item.is_true and item.half != half)
    return float(next(limit for limit in LIMITS if limit > highest))


def measure(tried: Sequence[Tried], limits: Sequence[float], is_true: bool) -> float:
    """Return the share of contradicted names, with the limit of each half."""
    return float(
        np.mean([item.deviation >= limits[item.half] for item in tried if item.is_true == is_true])
    )


def main() -> None:
    options = parse_arguments(__doc__.split("\n")[0], answers=1_000, draws=4)
    report = Report("declared_teachers", "Declared teachers against the text of lots")
    answers = read_all(options.answers)
    tried = list(try_all(answers, options.draws))
    chosen = [choose_limit(tried, half) for half in (0, 1)]
    report.say(
        f"Each of {len(answers.names)} models has up to {MOST_ANSWERS} known answers and "
        f"{options.draws} lots with answers to other prompts, or to prompts of other sources. "
        f"Every lot is declared under its true name and under {FALSE_NAMES} others of its half. "
        f"The shipped limit is {CERTAIN:g} standard errors. A chosen limit is the lowest one, in "
        "steps of 0.5, that contradicts no true name of the other half: "
        f"{chosen[0]:g} for the first half and {chosen[1]:g} for the second. The ridge penalty and "
        "the share of common words were chosen on draws from the same models."
    )
    report_shares(report, tried, chosen)
    for label, limits in (("shipped", [CERTAIN, CERTAIN]), ("chosen", chosen)):
        share = measure(tried, limits, is_true=True)
        names = sum(item.is_true for item in tried)
        report.say(
            f"Contradicted true names with the {label} limit: {round(share * names)} of {names}; "
            f"{judge(share, 0.01, at_least=False)}."
        )
    report.finish()


def report_shares(report: Report, tried: Sequence[Tried], chosen: Sequence[float]) -> None:
    """Add the shares of contradicted names for every split and size of lots."""
    rows = []
    for split in dict.fromkeys(item.split for item in tried):
        for size in SIZES:
            own = [item for item in tried if (item.split, item.size) == (split, size)]
            shares = [
                measure(own, limits, is_true)
                for limits in ([CERTAIN, CERTAIN], chosen)
                for is_true in (True, False)
            ]
            highest = max(item.deviation for item in own if item.is_true)
            rows.append((split, size, *shares, highest))
    header = ("known answers", "answers in a lot", "true names", "false names")
    more = ("true names, chosen limit", "false names, chosen limit", "highest of a true")
    report.add_table((*header, *more), rows)


if __name__ == "__main__":
    main()
