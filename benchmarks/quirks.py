"""Measure the library's traits at their calibrated thresholds on their held-out texts."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from scipy.stats import binomtest

from benchmarks.measure import ROOT, Report, parse_arguments
from classifiers.clean_text import collect_background
from classifiers.guarantees.calibration import compute_auroc
from classifiers.library import HELD_OUT, LIBRARY, find_cards
from classifiers.scoring import Scorer, Scores, load_scorer
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig, Hardware
from schemas.cards import SIGNALS
from schemas.policies import Policy
from schemas.scores import fires
from schemas.shares import round_down, round_up
from transforms.rules import Rule, settle_rules

HELDOUT = ROOT / "benchmarks" / "heldout"
VARIED = HELDOUT / "varied"
DECISION_HEADER = [
    "trait",
    "texts",
    "threshold",
    "precision",
    "recall",
    "false positive rate",
]


class Heldout(NamedTuple):
    """A trait's held-out texts, and whether each one shows the trait.

    A text without a prompt has an empty one. `left_out` counts texts that aren't used because the
    library contains them.
    """

    texts: list[str]
    prompts: list[str]
    shown: np.ndarray
    left_out: int


def main() -> None:
    options = parse_arguments(__doc__ or "", traits="all")
    config = FilterConfig(
        traits=() if options.traits == "all" else tuple(options.traits.split(",")),
        hardware=Hardware(device="cpu"),
    )
    bank, encoder, _ = prepare_bank(config)
    scorer = load_scorer(bank, config.build_encoder_config(), encoder)
    known = {text for row in collect_background(find_cards()) for text in row.texts}
    rules = settle_rules(bank.traits, Policy())
    found = [
        (rule, texts, score_texts(texts, scorer))
        for rule in rules
        for texts in [read_heldout(LIBRARY / rule.trait / HELD_OUT, known)]
    ]
    report = Report("quirks", "The library's traits on held-out texts")
    left_out = [f"{texts.left_out} of {rule.trait}" for rule, texts, _ in found if texts.left_out]
    report.say(
        f"{len(found)} traits, fitted and calibrated with the defaults (bank {bank.digest[:12]}), "
        "on the held-out texts in the traits' folders. The brackets hold exact (Clopper-Pearson) "
        "95 % intervals. Left out, because the library was fitted or calibrated on them: "
        f"{', '.join(left_out) or 'none'}."
    )
    report.say("## At the calibrated threshold, combined score")
    report.add_table(DECISION_HEADER, [build_decision_row(*item) for item in found])
    report.say(
        "## On more varied wordings\n\n"
        "The writers of these texts knew the library's exemplars and avoided their phrases."
    )
    report.add_table(
        DECISION_HEADER,
        [
            build_decision_row(rule, texts, score_texts(texts, scorer))
            for rule in rules
            if (VARIED / f"{rule.trait}.jsonl").exists()
            for texts in [read_heldout(VARIED / f"{rule.trait}.jsonl", known)]
        ],
    )
    report.say("## AUROC of each signal")
    report.add_table(
        ["trait", *SIGNALS, "combined"],
        [measure_areas(rule.trait, texts, scores) for rule, texts, scores in found],
    )
    report.finish()


def read_heldout(path: Path, known: Collection[str]) -> Heldout:
    """Read a trait's held-out texts, without those that the library contains."""
    entries = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    new = [entry for entry in entries if entry["text"] not in known]
    return Heldout(
        [entry["text"] for entry in new],
        [entry.get("prompt", "") for entry in new],
        np.array([entry["label"] == 1 for entry in new]),
        len(entries) - len(new),
    )


@dataclass
class _Exchanges:
    """A prompt and an answer in each row, as segments."""

    rows: np.ndarray
    text: pa.LargeStringArray

    def find_in_scope(self, roles: Iterable[str], channels: Iterable[str]) -> np.ndarray:
        """Return the prompts for the user's role, and the answers for the assistant's."""
        wanted = ["user" in roles, "assistant" in roles and "answer" in channels]
        return np.flatnonzero(np.tile(wanted, len(self.rows) // 2))


def score_texts(texts: Heldout, scorer: Scorer) -> Scores:
    """Score texts as an assistant's answers, for every trait in the bank."""
    both = [text for pair in zip(texts.prompts, texts.texts, strict=True) for text in pair]
    rows = np.repeat(np.arange(len(texts.texts)), 2)
    return scorer.score(len(texts.texts), _Exchanges(rows, pa.array(both, pa.large_string())))


def build_decision_row(rule: Rule, texts: Heldout, scores: Scores) -> tuple[object, ...]:
    """Return a trait's row in the decision table."""
    fired = fires(scores.get_scores(rule.trait, rule.signal), rule.threshold.value)
    hits, false = int((fired & texts.shown).sum()), int((fired & ~texts.shown).sum())
    positives, negatives = int(texts.shown.sum()), int((~texts.shown).sum())
    return (
        rule.trait,
        f"{positives} + {negatives}",
        f"{rule.threshold.value:.4f}",
        format_share(hits, hits + false),
        format_share(hits, positives),
        format_share(false, negatives),
    )


def format_share(count: int, total: int) -> str:
    if not total:
        return "none fired"
    low, high = binomtest(count, total).proportion_ci(0.95, method="exact")
    return f"{count / total:.2f} [{round_down(low, 2):.2f}, {round_up(high, 2):.2f}]"


def measure_areas(trait: str, texts: Heldout, scores: Scores) -> Iterator[object]:
    yield trait
    for signal in (*SIGNALS, "combined"):
        if signal != "combined" and signal not in scores.signals[trait]:
            yield "–"
        else:
            values = scores.get_scores(trait, signal)
            yield compute_auroc(values[texts.shown], values[~texts.shown])


if __name__ == "__main__":
    main()
