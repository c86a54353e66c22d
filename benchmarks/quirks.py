"""Measure the library's traits on texts held out from them: benchmarks/heldout/<trait>.jsonl, with the library's own thresholds."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from benchmarks.measure import ROOT, Report, arguments
from classifiers.fitting import CleanRow, as_answers, library_background
from classifiers.guarantees.calibration import STEP, auroc
from classifiers.library import find_cards
from classifiers.scoring import Scorer, Scores, load_scorer
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig, Hardware
from schemas.cards import SIGNALS
from schemas.policies import Policy
from transforms.decide import Rule, settle_rules

HELDOUT = ROOT / "benchmarks" / "heldout"


class Heldout(NamedTuple):
    """A trait's held-out texts, whether each shows it, and how many were left out because the library has them too."""

    texts: list[str]
    shown: np.ndarray
    left_out: int


def main() -> None:
    options = arguments(__doc__ or "", traits="all")
    config = FilterConfig(
        traits=() if options.traits == "all" else tuple(options.traits.split(",")),
        hardware=Hardware(device="cpu"),
    )
    bank, encoder = prepare_bank(config)
    scorer = load_scorer(bank, config.encoder_config(), encoder)
    known = {text for row in library_background(find_cards()) for text in row.texts}
    rules = settle_rules(bank, Policy())
    found = [
        (rule, texts, scored(texts, scorer))
        for rule in rules
        for texts in [heldout(rule.trait, known)]
    ]
    report = Report("quirks", "The library's traits on held-out texts")
    left_out = {rule.trait: texts.left_out for rule, texts, _ in found if texts.left_out}
    report.say(
        f"{len(found)} traits fitted and calibrated with the defaults (bank {bank.digest[:12]}), on texts of benchmarks/heldout. In brackets exact "
        "(Clopper-Pearson) 95 % intervals. Left out, because the library was fitted or calibrated on them: "
        f"{', '.join(f'{count} of {trait}' for trait, count in left_out.items()) or 'none'}."
    )
    report.say("## At the calibrated threshold, combined score")
    report.table(
        ["trait", "texts", "threshold", "precision", "recall", "false positive rate"],
        [decided(*item) for item in found],
    )
    report.say("## AUROC of each signal")
    report.table(
        ["trait", *SIGNALS, "combined"],
        [areas(rule.trait, texts, scores) for rule, texts, scores in found],
    )
    report.finish()


def heldout(trait: str, known: Collection[str]) -> Heldout:
    """Read a trait's held-out texts, without those that the library was fitted or calibrated on."""
    entries = [
        json.loads(line)
        for line in (HELDOUT / f"{trait}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    new = [entry for entry in entries if entry["text"] not in known]
    return Heldout(
        [entry["text"] for entry in new],
        np.array([entry["label"] == 1 for entry in new]),
        len(entries) - len(new),
    )


def scored(texts: Heldout, scorer: Scorer) -> Scores:
    """Score texts as answers of an assistant, by every trait of the bank."""
    return scorer.score(
        len(texts.texts),
        as_answers([CleanRow((text,), "heldout", "clean") for text in texts.texts]),
    )


def decided(rule: Rule, texts: Heldout, scores: Scores) -> tuple[object, ...]:
    """Return a trait's row of the table of decisions."""
    fired = scores.score(rule.trait, rule.signal) >= rule.threshold.value - STEP / 2
    hits, false = int((fired & texts.shown).sum()), int((fired & ~texts.shown).sum())
    positives, negatives = int(texts.shown.sum()), int((~texts.shown).sum())
    return (
        rule.trait,
        f"{positives} + {negatives}",
        f"{rule.threshold.value:.4f}",
        share(hits, hits + false),
        share(hits, positives),
        share(false, negatives),
    )


def share(count: int, total: int) -> str:
    if not total:
        return "none fired"
    low, high = binomtest(count, total).proportion_ci(0.95, method="exact")
    return f"{count / total:.2f} [{low:.2f}, {high:.2f}]"


def areas(trait: str, texts: Heldout, scores: Scores) -> Iterator[object]:
    yield trait
    for signal in (*SIGNALS, "combined"):
        if signal != "combined" and signal not in scores.signals[trait]:
            yield "–"
        else:
            values = scores.score(trait, signal)
            yield auroc(values[texts.shown], values[~texts.shown])


if __name__ == "__main__":
    main()
