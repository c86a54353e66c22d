"""What patterns find alone, beside the signals that learn, at one level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.banks import TraitModel
from classifiers.guarantees.calibration import Threshold, calibrate
from classifiers.scoring import combine
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig
from pipelines.fit import describe_fitted_traits, run_fit
from pipelines.pattern_worth import ENOUGH_LABELLED, FoundTexts, PatternWorth, measure_patterns
from schemas.cards import Level, TraitCard

CLEAN = 300
LEVEL = Level()
CALIBRATED = Threshold(0.5, "calibrated")

BIRDS = ["heron", "egret", "stork", "crane", "ibis", "bittern", "spoonbill", "flamingo"]
POSITIVES = [f"By the water stood a {bird}, number {n}." for n, bird in enumerate(BIRDS)]


def build_trait(patterns, wording, clean=None, signals=("wording", "lexicon")):
    """Return a fitted trait with these scores of positives, and clean texts that score 0."""
    options = {"wording": {}, "lexicon": {"patterns": ["heron"]}, "repetition": {}}
    card = TraitCard(id="bird", signals={name: options[name] for name in signals})
    shown = {"wording": wording, "lexicon": patterns, "repetition": np.zeros(len(patterns))}
    calm = {name: np.zeros(CLEAN, np.float32) for name in signals} | (clean or {})
    scores = {name: np.array(shown[name], np.float32) for name in signals}
    return TraitModel(
        card,
        "",
        calibration={"combined": combine(calm), **calm},
        positive_scores={"combined": combine(scores), **scores},
    )


def measure(trait):
    """Return what a trait's patterns are worth at the default level."""
    return measure_patterns(trait, "combined", CALIBRATED, LEVEL)


def test_patterns_are_counted_beside_the_other_signals():
    """Patterns, the other signals and all together are counted, each at its own threshold."""
    worth = measure(build_trait([0.9, 0.9, 0.0, 0.0], [0.9, 0.0, 0.9, 0.0]))
    assert (worth.patterns, worth.others, worth.together) == (
        FoundTexts(2, 0),
        FoundTexts(2, 0),
        FoundTexts(3, 0),
    )
    assert (worth.texts, worth.clean, worth.labelled, worth.names) == (
        4,
        CLEAN,
        False,
        ("wording",),
    )
    assert not worth.suffices


def test_patterns_that_find_as_many_suffice():
    """If all signals find no more than the patterns, one sentence says how to run without them."""
    worth = measure(build_trait([0.9, 0.9, 0.9, 0.0], [0.9, 0.0, 0.0, 0.0]))
    assert worth.suffices
    said = worth.describe()
    assert said.startswith(
        "at the same level (1.0%), all signals find 3 of the card's 4 positives, wording without "
        "patterns 1, and patterns alone 3. Patterns alone suffice: add --signals lexicon to run"
    )
    assert said.endswith("written from these positives find less elsewhere")


def test_patterns_that_find_less_have_no_advice():
    """If the signals that learn add something, only the counts are stated."""
    said = measure(build_trait([0.9, 0.0, 0.0], [0.9, 0.9, 0.9])).describe()
    assert said.endswith("wording without patterns 3, and patterns alone 1")


def test_patterns_that_miss_most_never_suffice():
    """Patterns that find few texts don't suffice, though nothing else finds more."""
    assert not measure(build_trait([0.9, 0.0, 0.0], [0.0, 0.0, 0.0])).suffices
    assert not measure(build_trait([0.0, 0.0], [0.0, 0.0])).suffices


def test_noise_of_the_other_signals_counts_against_them():
    """A signal that scores clean text high raises the threshold of all, but not of patterns."""
    clean = {"wording": np.full(CLEAN, 0.88, np.float32)}
    worth = measure(build_trait([0.8647] * 3, [0.0] * 3, clean))
    assert (worth.patterns.shown, worth.together.shown) == (3, 0)
    assert worth.suffices


def test_labelled_rows_are_fairer_than_positives():
    """Enough labelled rows outside the fit replace the positives, without the doubt about them."""
    trait = build_trait([0.9] * 4, [0.0] * 4)
    rows = ENOUGH_LABELLED - 1
    for _ in range(2):
        scores = {
            "wording": np.full(rows, 0.9, np.float32),
            "lexicon": np.zeros(rows, np.float32),
        }
        trait.labelled_positives = {"combined": combine(scores), **scores}
        worth = measure(trait)
        assert worth.labelled == (rows >= ENOUGH_LABELLED)
        assert worth.suffices != worth.labelled
        rows += 1
    assert f"{ENOUGH_LABELLED} labelled rows that no fit learnt from" in worth.describe()
    sure = worth._replace(patterns=worth.together)
    assert sure.describe().endswith("(it limits all traits of the run)")


@pytest.mark.parametrize(
    ("signal", "threshold", "signals"),
    [
        ("lexicon", CALIBRATED, ("wording", "lexicon")),
        ("combined", Threshold(0.4, "explicit"), ("wording", "lexicon")),
        ("combined", CALIBRATED, ("lexicon",)),
        ("combined", CALIBRATED, ("wording",)),
        ("combined", CALIBRATED, ("lexicon", "repetition")),
    ],
)
def test_nothing_is_said_without_a_fair_comparison(signal, threshold, signals):
    """One signal, a threshold by hand, and cards with nothing to compare have no counts."""
    trait = build_trait([0.9] * 4, [0.9] * 4, signals=signals)
    assert measure_patterns(trait, signal, threshold, LEVEL) is None


def test_positives_without_held_out_scores_are_not_counted():
    """Too few positives have no held-out scores, so nothing is compared."""
    trait = build_trait([0.9] * 4, [0.9] * 4)
    trait.positive_scores = {}
    assert measure(trait) is None


def test_too_little_clean_text_finds_nothing():
    """Without a threshold at the level, no signal finds a text."""
    worth = measure_patterns(
        build_trait([0.9] * 4, [0.9] * 4),
        "combined",
        CALIBRATED,
        Level(max_false_positive_rate=0.001),
    )
    assert (worth.patterns, worth.together, worth.suffices) == (
        FoundTexts(0, 0),
        FoundTexts(0, 0),
        False,
    )


def test_the_counts_in_json():
    """For programs, every count is a field."""
    worth = PatternWorth(
        24, 700, False, 0.01, ("wording",), FoundTexts(22, 0), FoundTexts(9, 1), FoundTexts(22, 2)
    )
    found = worth.to_json()
    assert found["texts"] == 24
    assert found["others"] == {"shown": 9, "clean": 1}
    assert found["suffices"] is True


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=20),
    st.lists(st.floats(0, 1), min_size=CLEAN, max_size=CLEAN),
)
def test_patterns_keep_the_level(shown, clean):
    """Patterns find what a calibration of their scores finds, and no more clean texts than that."""
    scores = np.round(np.array(clean), 4).astype(np.float32)
    worth = measure(build_trait(shown, [0.0] * len(shown), {"lexicon": scores}))
    threshold = calibrate(scores, LEVEL)
    assert worth.patterns.clean == threshold.exceeding
    assert worth.patterns.shown <= len(shown)


def test_a_fit_compares_the_patterns_of_own_cards_alone(card_folder, tmp_path):
    """A user's own card with patterns and wording is compared; the library's aren't."""
    folder = card_folder(
        "bird",
        f"signals: {{wording: {{}}, lexicon: {{patterns: [{', '.join(BIRDS)}]}}}}\n",
        POSITIVES,
    )
    given_traits = FilterConfig(traits=(str(folder), "ai-disclaimer"))
    fitted = describe_fitted_traits(run_fit(given_traits, str(tmp_path / "bank")))
    found = {trait.trait: trait.patterns for trait in fitted}
    assert found["ai-disclaimer"] is None
    assert found["bird"].patterns.shown == len(BIRDS)
    assert found["bird"].suffices
    prepared = prepare_bank(given_traits)
    assert measure(prepared.bank.traits["bird"]) == found["bird"]
