"""The reasons why a threshold finds few positives, from the scores that a fit leaves."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.banks import TraitModel
from classifiers.guarantees.calibration import Threshold, calibrate, measure_found
from classifiers.scoring import combine
from pipelines.diagnosis import LEAVE_OUT, OWN_TEXTS, diagnose
from schemas.cards import Level, TraitCard

LEVEL = Level()
PATTERNS = {"patterns": ["heron", {"match": "egret", "weight": 0.3}]}


def make_trait(signals, clean, positives):
    """Return a trait with these scores of 1,000 clean texts and of positives, for each signal."""
    card = TraitCard.model_validate({"id": "bird", "signals": signals})
    trait = TraitModel(card, "", calibrated_on="library background")
    for group, given in ((trait.calibration, clean), (trait.positive_scores, positives)):
        scores = {name: np.array(values, np.float32) for name, values in given.items()}
        group.update({"combined": combine(scores), **scores})
    return trait


def pad(*scores):
    """Return these scores and zeros, 1,000 in all."""
    return [*scores, *[0.0] * (1000 - len(scores))]


def explain(trait, threshold=None):
    """Return the diagnosis of a trait at its level, or at a threshold set by hand."""
    settled = (
        calibrate(trait.calibration["combined"], LEVEL)
        if threshold is None
        else Threshold(threshold, "explicit")
    )
    found = measure_found(trait.positive_scores["combined"], settled.value)
    return diagnose(trait, "combined", settled, LEVEL, found)


def test_a_good_threshold_needs_no_explanation():
    """A threshold that finds most positives has no diagnosis."""
    assert explain(make_trait(["wording"], {"wording": pad()}, {"wording": [0.9] * 12})) == ""


def test_a_signal_that_learnt_nothing_is_named():
    """At the floor, a milder level can't help, so it isn't suggested."""
    text = explain(make_trait(["wording"], {"wording": pad(0.0083)}, {"wording": [0.0] * 14}))
    assert text == (
        "The threshold is the lowest that a level gives, so a milder level doesn't help: wording "
        "finds none of the positives when each is held out. Add a lexicon of the trait's phrases, "
        f"then write about 30 positives whose phrases recur. {OWN_TEXTS}"
    )
    assert "even if the trait gets better on real rows" in text


def test_positives_unlike_the_others_are_counted():
    """If some positives are found at the floor, the others are unlike them."""
    scores = [0.9] * 10 + [0.0] * 30
    text = explain(make_trait(["wording"], {"wording": pad()}, {"wording": scores}))
    assert "30 positives are too unlike the others" in text
    assert "add positives like those that are missed" in text


def test_a_lexicon_at_the_floor_needs_patterns():
    """Positives without a hit need patterns of their own, and no milder level."""
    trait = make_trait({"lexicon": PATTERNS}, {"lexicon": pad()}, {"lexicon": [0.0, 0.0, 0.8647]})
    text = explain(trait)
    assert text.endswith("2 positives need patterns of their own")
    assert "a milder level doesn't help" in text


@pytest.mark.parametrize("found", [0.0, 0.99])
def test_a_single_hit_that_cannot_reach_the_threshold_is_explained(found):
    """The cause is the same whether or not the positives have several hits each."""
    clean = pad(*[0.8647] * 40)
    text = explain(make_trait({"lexicon": PATTERNS}, {"lexicon": clean}, {"lexicon": [found] * 4}))
    assert text.startswith(
        "No single hit of its lexicon reaches 0.8648 (the strongest, 0.8647), because 40 clean "
        "texts of 1,000 score as high. Narrow the patterns"
    )
    assert LEAVE_OUT in text
    assert text.endswith("--background FILE calibrates on text like yours")


def test_a_hit_that_was_meant_to_be_weak_is_no_mistake():
    """A pattern whose single hit is below the floor never was meant to fire alone."""
    trait = make_trait(
        {"lexicon": {"patterns": [{"match": "egret", "weight": 0.3}]}},
        {"lexicon": pad(*[0.6] * 40)},
        {"lexicon": [0.99] * 4},
    )
    assert explain(trait) == ""
    strong = make_trait(
        {"lexicon": PATTERNS}, {"lexicon": pad(*[0.8647] * 40)}, {"lexicon": [0.99] * 4}
    )
    assert explain(strong, threshold=0.9) == ""  # its author chose the threshold


def test_a_single_hit_is_not_explained_by_clean_text_that_has_none():
    """If no clean text has such a hit, another signal set the threshold."""
    clean, own = {"lexicon": pad(), "wording": pad(*[0.9] * 40)}, [0.99] * 4
    trait = make_trait(
        {"lexicon": PATTERNS, "wording": {}}, clean, {"lexicon": own, "wording": own}
    )
    assert explain(trait) == ""


def test_encoder_signals_that_drown_the_others_are_named():
    """If the other signals find more alone, the first remedy is to drop the encoder's."""
    clean = {"wording": pad(), "exemplars": pad(*[0.9] * 40), "head": pad(*[0.9] * 40)}
    own = {"wording": [0.8] * 12, "exemplars": [0.01] * 12, "head": [0.01] * 12}
    text = explain(make_trait(["wording", "exemplars", "head"], clean, own))
    assert text.startswith("The threshold sits in the noise")
    order = [
        "Take exemplars and head out of the card's signals (wording alone finds 12 of 12)",
        "add a lexicon",
        "write about 30 positives",
        "leave out the clean texts",
    ]
    assert [text.index(part) for part in order] == sorted(text.index(part) for part in order)


def test_no_signal_is_dropped_without_need():
    """The encoder's signals stay if the others find no more alone."""
    clean = {"wording": pad(), "exemplars": pad(*[0.9] * 40)}
    own = {"wording": [0.01] * 12, "exemplars": [0.01] * 12}
    text = explain(make_trait(["wording", "exemplars"], clean, own))
    assert "sits in the noise" in text
    assert "out of the card's signals" not in text


def test_a_threshold_by_hand_is_not_called_noise():
    """A threshold that was set by hand may be too high; clean text says nothing about it."""
    trait = make_trait({"lexicon": PATTERNS}, {"lexicon": pad()}, {"lexicon": [0.1] * 4})
    text = explain(trait, threshold=0.9)
    assert text.startswith("Most of the positives score below the threshold that was set by hand")
    assert "noise" not in text


@pytest.mark.parametrize(
    ("signals", "signal"),
    [
        ({"lexicon": {**PATTERNS, "per_words": 100}}, "combined"),  # a hit's score varies
        ({"lexicon": PATTERNS, "wording": {}}, "wording"),  # the lexicon doesn't decide
        (["wording"], "combined"),
    ],
)
def test_a_single_hit_is_explained_only_where_it_has_one_score_that_counts(signals, signal):
    """Densities, other signals and cards without a lexicon have no such explanation."""
    clean, own = pad(*[0.8647] * 40), [0.99] * 4
    names = [name for name in ("lexicon", "wording") if name in signals]
    trait = make_trait(signals, dict.fromkeys(names, clean), dict.fromkeys(names, own))
    settled = calibrate(trait.calibration[signal], LEVEL)
    found = measure_found(trait.positive_scores[signal], settled.value)
    assert diagnose(trait, signal, settled, LEVEL, found) == ""


def test_only_the_strongest_hit_has_to_reach_the_threshold():
    """A weak pattern may be meant to fire only with others; the strongest one is named."""
    weak = [{"match": "a", "weight": 0.5}, {"match": "b", "weight": 0.8}]
    clean, own = {"lexicon": pad(*[0.8] * 40)}, {"lexicon": [0.99]}
    assert explain(make_trait({"lexicon": {"patterns": weak}}, clean, own)).startswith(
        "No single hit of its lexicon reaches 0.8001 (the strongest, 0.7981), because 40"
    )
    assert explain(make_trait({"lexicon": {"patterns": [*weak, "c"]}}, clean, own)) == ""


def test_a_card_calibrated_on_a_file_is_not_sent_to_calibrate_on_one():
    """The remedy doesn't name an option that is already given."""
    trait = make_trait({"lexicon": PATTERNS}, {"lexicon": pad(*[0.8647] * 40)}, {"lexicon": [0.1]})
    assert "--background FILE" in explain(trait)
    trait.calibrated_on = "--background mine.jsonl"
    assert "--background FILE" not in explain(trait)


def test_a_lexicon_in_the_noise_needs_other_patterns():
    """A lexicon learns nothing from positives, so none are asked for."""
    patterns = {"patterns": [{"match": "egret", "weight": 0.3}]}
    trait = make_trait(
        {"lexicon": patterns}, {"lexicon": pad(*[0.6988] * 40)}, {"lexicon": [0.4512] * 4}
    )
    text = explain(trait)
    assert "sits in the noise" in text
    assert "Narrow the patterns, give them different weights" in text
    assert "positives whose phrases recur" not in text
