"""What labels changed, in numbers and in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from classifiers.banks import Bank, TraitModel, serialise_bank
from classifiers.clean_text import CleanRow, CleanText
from classifiers.fitting import fit_bank
from classifiers.labelled_rows import NO_ROWS, CardLabels, Half
from classifiers.library import LoadedCard
from pipelines.label_effects import (
    LabelEffect,
    describe_labels,
    describe_trait_labels,
    drop_idle_labels,
    measure_effect,
    measure_labels,
    record_effects,
)
from schemas.cards import TraitCard
from schemas.scores import COMBINED

PLACES = ("reeds", "marsh", "pond", "mill", "lake", "creek")
HALF = Half(
    tuple((f"A heron by the {place} again.",) for place in PLACES),
    tuple((f"The crane by the {place} lifts a beam.",) for place in PLACES),
)


def build_card(signals, labels):
    """Return a card with labels."""
    card = TraitCard.model_validate({"id": "bird", "signals": signals, "threshold": 0.5})
    positives = tuple(f"One egret by the {place} again." for place in PLACES)
    return LoadedCard(card, positives, (), None, labels)


def fit(card):
    """Fit a card on a few clean texts, and record what its labels changed."""
    rows = tuple(CleanRow((f"Chair {n} costs {n}.",), "background", "clean") for n in range(60))
    clean = CleanText(rows)
    bank = fit_bank([card], clean, None, None)
    before = bank.digest
    record_effects(bank, [card], clean, None)
    assert bank.digest != before
    return bank.traits["bird"], bank


def test_labels_change_what_a_wording_finds():
    """Labelled rows teach a word that no exemplar has, and the trait says what it found before."""
    trait, bank = fit(build_card(["wording"], CardLabels(HALF, HALF, 2)))
    assert trait.labels["after"] == {"threshold": 0.5, "found": 6, "wrong": 0}
    assert trait.labels["before"]["found"] < 6
    assert trait.labels["unsure"] == 2
    first, second, third = (notice.text for notice in describe_labels(bank))
    assert first == (
        "bird: labels: 6 true and 6 false in the fit; 6 true and 6 false to measure it; 2 unsure"
    )
    assert "it finds 6 of 6 rows labelled true (54% to 100% with 95% confidence)" in second
    assert "Without labels in the fit" in second
    assert "overstates what the trait finds in a corpus" in third
    assert "congener traits eval bird --run RUN --labels FILE" in third
    files = serialise_bank(bank)
    assert not any(b"crane" in data for data in files.values())


def test_labels_only_measure_what_doesnt_learn():
    """A lexicon has no effect to compare, and its lines say that nothing learns."""
    trait, _ = fit(
        build_card({"lexicon": {"patterns": ["egret", "crane"]}}, CardLabels(HALF, HALF))
    )
    assert trait.labels["after"] == {"threshold": 0.5, "found": 0, "wrong": 6}
    assert "before" not in trait.labels
    lines = list(describe_trait_labels(trait))
    assert "none of its signals learns" in lines[0]
    assert "0 of the 6 labelled rows that it finds show it" in lines[1]


CLEAN = CleanText(
    tuple(CleanRow((f"Chair {n} costs {n}.",), "background", "clean") for n in range(60))
)
PATTERNS = {"lexicon": {"patterns": ["egret", "crane"]}}


@pytest.mark.parametrize(
    ("signals", "labels"),
    [
        (PATTERNS, CardLabels(HALF, HALF, 1)),
        (PATTERNS, CardLabels(HALF, NO_ROWS)),
        (["wording"], CardLabels(NO_ROWS, HALF, 3)),
        ({"wording": {}, **PATTERNS}, CardLabels(NO_ROWS, NO_ROWS, 2)),
    ],
)
def test_idle_labels_are_added_to_a_fitted_trait(signals, labels):
    """A trait with labels added is the trait that a fit with these labels gives."""
    card = build_card(signals, labels)
    bare = drop_idle_labels(card, CLEAN)
    assert bare.labels is None
    bank = fit_bank([bare], CLEAN, None, None)
    bank.traits["bird"] = measure_labels(card, bank.traits["bird"], None, None)
    record_effects(bank, [card], CLEAN, None)
    other = fit_bank([card], CLEAN, None, None)
    record_effects(other, [card], CLEAN, None)
    assert bank.digest == other.digest


def test_a_trait_without_labels_gets_none():
    """Nothing is added for a card without labels."""
    card = build_card(["wording"], None)
    trait = fit_bank([card], CLEAN, None, None).traits["bird"]
    assert drop_idle_labels(card, CLEAN) is card
    assert measure_labels(card, trait, None, None) is trait


def test_labels_that_a_fit_depends_on_arent_idle():
    """Labels count if a signal learns from them, or if they leave out a text of the calibration."""
    learning = build_card(["wording"], CardLabels(HALF, HALF))
    assert drop_idle_labels(learning, CLEAN) is learning
    own = CleanText(CLEAN.shipped, (CleanRow(HALF.positives[0], "user", "clean"), *CLEAN.shipped))
    card = build_card(PATTERNS, CardLabels(NO_ROWS, HALF))
    assert drop_idle_labels(card, own) is card
    assert drop_idle_labels(card, CLEAN) is not card


def test_cards_without_labels_have_no_effects():
    """Nothing is recorded or said about a card without labels."""
    card = replace(build_card({"lexicon": {"patterns": ["egret"]}}, None))
    bank = fit_bank([card], CleanText(()), None, None)
    record_effects(bank, [card], CleanText(()), None)
    assert bank.traits["bird"].labels is None
    assert list(describe_labels(bank)) == []


def test_without_a_threshold_nothing_is_found():
    """With too little clean text for the level, the labels can't be counted."""
    scores = {COMBINED: np.array([0.9, 0.2], np.float32)}
    labels = CardLabels(NO_ROWS, HALF).describe()
    trait = TraitModel(
        TraitCard(id="bird"),
        "",
        calibration=scores,
        labels=labels | {"after": {"threshold": None, "found": 0, "wrong": 0}},
        labelled_positives=scores,
    )
    assert measure_effect(trait) == LabelEffect(None, 0, 0)
    assert "no threshold" in list(describe_trait_labels(trait))[1]
    explicit = replace(trait, card=TraitCard(id="bird", threshold=0.5))
    assert measure_effect(explicit) == LabelEffect(0.5, 1, 0)
    assert list(describe_labels(Bank({"bird": replace(trait, labels=None)}, None, {}))) == []
