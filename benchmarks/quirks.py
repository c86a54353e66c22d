"""Measure the library's traits on texts held out from them: benchmarks/heldout/<trait>.jsonl, with the library's own thresholds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import binomtest

from benchmarks.measure import ROOT, Report, arguments
from classifiers.calibration import STEP, auroc
from classifiers.fitting import CleanRow, as_answers, library_background
from classifiers.library import find_cards
from classifiers.scoring import Scorer, Scores, load_scorer
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig, Hardware
from schemas.cards import SIGNALS
from schemas.policies import Policy
from transforms.decide import Rule, settle_rules

HELDOUT = ROOT / "benchmarks" / "heldout"


class Heldout(NamedTuple):
    """A trait's held-out texts and whether each shows it."""

    texts: list[str]
    shown: np.ndarray


def main() -> None:
    options = arguments(__doc__ or "", traits="all")
    config = FilterConfig(traits=() if options.traits == "all" else tuple(options.traits.split(",")), hardware=Hardware(device="cpu"))
    bank, encoder = prepare_bank(config)
    scorer = load_scorer(bank, config.encoder_config(), encoder)
    found = [(rule, *scored(rule.trait, scorer)) for rule in settle_rules(bank, Policy())]
    report = Report("quirks", "The library's traits on held-out texts")
    report.say(
        f"{len(found)} traits fitted and calibrated with the defaults (bank {bank.digest[:12]}). The held-out texts were written apart from the cards; "
        "negatives are hard ones: mentions, quotations, correct uses. In brackets exact (Clopper-Pearson) 95 % intervals."
    )
    report.say("## At the calibrated threshold, combined score")
    report.table(["trait", "texts", "threshold", "precision", "recall", "false positive rate"], [decided(*item) for item in found])
    report.say("## AUROC of each signal")
    report.table(["trait", *SIGNALS, "combined"], [areas(rule.trait, texts, scores) for rule, texts, scores in found])
    report.say(f"Traits with a held-out text that the library was fitted or calibrated on: {', '.join(seen(found)) or 'none'}.")
    report.finish()


def scored(trait: str, scorer: Scorer) -> tuple[Heldout, Scores]:
    """Score a trait's held-out texts as answers of an assistant, by every trait of the bank."""
    entries = [json.loads(line) for line in (HELDOUT / f"{trait}.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = Heldout([entry["text"] for entry in entries], np.array([entry["label"] == 1 for entry in entries]))
    return texts, scorer.score(len(entries), as_answers([CleanRow((text,), "heldout", "clean") for text in texts.texts]))


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


def seen(found: Sequence[tuple[Rule, Heldout, Scores]]) -> list[str]:
    """Return the traits with a held-out text that stands in the library too: their figures would be worth nothing."""
    library = {text for row in library_background(find_cards()) for text in row.texts}
    return [rule.trait for rule, texts, _ in found if library.intersection(texts.texts)]


if __name__ == "__main__":
    main()
