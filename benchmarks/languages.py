"""Measure how many held-out texts of other languages the library finds, language by language.

The texts in benchmarks/heldout/languages were written by one author, who isn't a native reader of
most of these languages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.measure import Report, parse_arguments
from benchmarks.quirks import HELDOUT, Heldout, score_texts
from classifiers.scoring import load_scorer
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig, Hardware
from schemas.policies import Policy
from schemas.scores import fires
from transforms.rules import settle_rules

FOLDER = HELDOUT / "languages"
NAMES = {
    "ar": "Arabic",
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "hi": "Hindi",
    "ja": "Japanese",
    "ko": "Korean",
    "pt": "Portuguese",
    "ru": "Russian",
    "th": "Thai",
    "zh": "Chinese",
}


class Outcome(NamedTuple):
    """A held-out text's language, whether it shows the trait, and whether the trait fired."""

    language: str
    shown: bool
    fired: bool


def main() -> None:
    parse_arguments(__doc__ or "")
    traits = sorted(path.stem for path in FOLDER.glob("*.jsonl"))
    config = FilterConfig(traits=tuple(traits), hardware=Hardware(device="cpu"))
    bank, encoder, _ = prepare_bank(config)
    scorer = load_scorer(bank, config.build_encoder_config(), encoder)
    outcomes = {}
    for rule in settle_rules(bank.traits, Policy()):
        languages, texts = read_texts(rule.trait)
        scores = score_texts(texts, scorer).get_scores(rule.trait, rule.signal)
        fired = fires(scores, rule.threshold.value)
        outcomes[rule.trait] = [
            Outcome(*item)
            for item in zip(languages, texts.shown.tolist(), fired.tolist(), strict=True)
        ]
    report = Report("languages", "The library's traits on held-out texts in other languages")
    report.say(
        f"{sum(map(len, outcomes.values()))} texts, default thresholds. Each cell has the "
        "positives that are found, and after the comma the clean texts that are flagged. One "
        "author wrote the texts, and isn't a native reader of most of these languages."
    )
    report.add_table(
        ["language", *traits],
        [
            *([name, *build_row(outcomes.values(), code)] for code, name in NAMES.items()),
            ["all", *build_row(outcomes.values(), "")],
        ],
    )
    report.finish()


def read_texts(trait: str) -> tuple[list[str], Heldout]:
    """Read a trait's texts, each with its language."""
    lines = (FOLDER / f"{trait}.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    shown = np.array([entry["label"] == 1 for entry in entries])
    return (
        [entry["language"] for entry in entries],
        Heldout([entry["text"] for entry in entries], [""] * len(entries), shown, 0),
    )


def build_row(traits: Iterable[Sequence[Outcome]], language: str) -> Iterator[str]:
    """Yield each trait's cell for a language, or for all languages if it is empty."""
    for outcomes in traits:
        chosen = [item for item in outcomes if language in ("", item.language)]
        positives = [item.fired for item in chosen if item.shown]
        negatives = [item.fired for item in chosen if not item.shown]
        yield (
            f"{sum(positives)} of {len(positives)}, {sum(negatives)} of {len(negatives)}"
            if chosen
            else "–"
        )


if __name__ == "__main__":
    main()
