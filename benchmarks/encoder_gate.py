"""Measure a gate before the encoder: rows with low wording scores aren't encoded.

For each trait that uses the encoder, a wording classifier is trained on the card's exemplars. A row
is encoded if one of these traits has a sentence above the trait's cut-off, which is a quantile of
the clean texts that calibrate the trait. The other rows count as rows on which no such trait fires.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.measure import Report, judge, parse_arguments, read_answers
from classifiers.banks import TraitModel
from classifiers.clean_text import (
    CleanRow,
    CleanText,
    collect_background,
    present_as_answers,
    split_clean_text,
)
from classifiers.fitting import collect_texts, fit_wording
from classifiers.library import HELD_OUT, LIBRARY, LoadedCard, find_cards
from classifiers.scoring import Scorer, load_scorer
from classifiers.signals.wording import Wording, score_sentences
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig, Hardware
from schemas.policies import Policy
from schemas.scores import fires
from transforms.rules import settle_rules

ASKED = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
"""The shares of clean texts that pass a trait's gate."""

AT_ONCE = 200
SPEED, SAME = 5.0, 0.999
"""The targets: how many times as fast, and the share of rows with the same decisions."""


class Measured(NamedTuple):
    """The texts on which a trait fires, and their highest logits of wording."""

    fired: np.ndarray
    logits: np.ndarray


def main() -> None:
    options = parse_arguments(__doc__ or "", rows=2_000)
    cards = [card for card in find_cards() if card.card.uses_encoder]
    clean = CleanText(collect_background(find_cards()))
    names = tuple(card.id for card in cards)
    config = FilterConfig(
        input=("none",), output="none", traits=names, hardware=Hardware(device="cpu")
    )
    prepared = prepare_bank(config)
    rules = settle_rules(prepared.bank.traits, Policy())
    thresholds = {rule.trait: rule.threshold.value for rule in rules}
    scorer = load_scorer(prepared.bank, config.build_encoder_config(), prepared.encoder)
    gates = {card.id: train_gate(card, clean) for card in cards}
    answers = read_answers(options.rows)
    real = measure(scorer, gates, thresholds, answers)
    held_out = {}
    for card in cards:
        texts = read_positives(card.id)
        held_out[card.id] = measure(scorer, gates, thresholds, texts)[card.id]
    calibration = {
        card.id: find_highest(
            gates[card.id],
            ["\n".join(row.texts) for row in split_clean_text(card, clean)[1]],
        )
        for card in cards
    }
    write_report(real, held_out, calibration)


def train_gate(card: LoadedCard, clean: CleanText) -> Wording:
    """Return a wording classifier for a card, trained as for a card that asks for one."""
    trait = TraitModel(card.card, card.digest)
    fit_wording(trait, *collect_texts(card, clean))
    assert trait.wording is not None
    return trait.wording


def measure(
    scorer: Scorer,
    gates: Mapping[str, Wording],
    thresholds: Mapping[str, float],
    texts: Sequence[str],
) -> dict[str, Measured]:
    """Return, for each trait, which texts it fires on, and each text's highest logit."""
    scores: dict[str, list[np.ndarray]] = {name: [] for name in gates}
    for first in range(0, len(texts), AT_ONCE):
        rows = [CleanRow((text,), "", "") for text in texts[first : first + AT_ONCE]]
        found = scorer.score(len(rows), present_as_answers(rows))
        for name, parts in scores.items():
            parts.append(found.combined[name])
        print(f"  {first + len(rows)} of {len(texts)} texts", flush=True)
    return {
        name: Measured(
            fires(np.concatenate(parts), thresholds[name]), find_highest(gates[name], texts)
        )
        for name, parts in scores.items()
    }


def find_highest(gate: Wording, texts: Sequence[str]) -> np.ndarray:
    """Return the highest logit of each text's sentences, or minus infinity without any."""
    highest = np.full(len(texts), -np.inf)
    found = score_sentences([gate], pa.array(texts, pa.large_string()))
    np.maximum.at(highest, found.text, found.logits[0])
    return highest


def read_positives(trait: str) -> list[str]:
    """Return the held-out texts that show a trait."""
    path = LIBRARY / trait / HELD_OUT
    lines = map(json.loads, path.read_text(encoding="utf-8").splitlines())
    return [line["text"] for line in lines if line["label"] == 1]


def write_report(
    real: Mapping[str, Measured],
    held_out: Mapping[str, Measured],
    calibration: Mapping[str, np.ndarray],
) -> None:
    """Write the table of cut-offs."""
    rows = len(next(iter(real.values())).logits)
    fired = np.any([item.fired for item in real.values()], axis=0)
    report = Report("encoder_gate", "Wording as a gate before the encoder")
    report.say(
        f"{rows:,} answers of teachers/ and the traits that use the encoder: {', '.join(real)}. "
        f"They fire on {int(fired.sum())} of these answers without a gate, and on "
        f"{sum(int(item.fired.sum()) for item in held_out.values())} of "
        f"{sum(len(item.fired) for item in held_out.values())} held-out positives. "
        "Cut-offs are quantiles of the clean texts that calibrate a trait."
    )
    table = []
    verdicts = []
    for share in ASKED:
        cuts = {name: float(np.quantile(values, 1 - share)) for name, values in calibration.items()}
        asked = np.any([real[name].logits >= cut for name, cut in cuts.items()], axis=0)
        changed = int((fired & ~asked).sum())
        found = sum(
            int((item.fired & (item.logits >= cuts[name])).sum()) for name, item in held_out.items()
        )
        same = 1 - changed / rows
        speed = rows / max(1, int(asked.sum()))
        table.append((f"{share:.0%}", f"{asked.mean():.1%}", speed, changed, f"{same:.2%}", found))
        verdicts.append(speed if same >= SAME else 0.0)
    report.add_table(
        [
            "clean texts that pass a trait's gate",
            "answers encoded",
            "answers / encoded answers",
            "answers with other decisions",
            "with the same",
            "held-out positives found",
        ],
        table,
    )
    best = max(verdicts)
    report.add_table(
        ["measure", "value", "verdict"],
        [
            (
                f"most answers / encoded answers with the same decisions on {SAME:.1%}",
                best,
                judge(best, SPEED),
            )
        ],
    )
    report.finish()


if __name__ == "__main__":
    main()
