"""A threshold's worth: notices before a run, and the strongest clean texts."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.clean_text import split_clean_text
from classifiers.guarantees.calibration import FoundShare
from classifiers.models.encoders import EncoderConfig
from classifiers.scoring import load_scorer
from pipelines import worth
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig
from pipelines.worth import (
    STRONGEST,
    StrongText,
    describe_found,
    describe_worth,
    list_strongest,
)
from schemas.policies import Policy
from transforms.rules import settle_rules

POSITIVES = ["Pasta and a heron.", "An egret.", "A stork.", "A crane."]


@pytest.fixture
def prepared(card_folder):
    """Return a function that fits a lexicon for given words, with four positives."""

    def fit(*words, threshold="threshold: 0.5\n"):
        card = f"signals: {{lexicon: {{patterns: [{', '.join(words)}]}}}}\n{threshold}"
        folder = card_folder("bird", card, POSITIVES)
        return prepare_bank(FilterConfig(traits=(str(folder),)))

    return fit


def list_notices(prepared, named=("bird",)):
    """Return the printed notices about a bank's thresholds."""
    rules = settle_rules(prepared.bank.traits, Policy())
    scorer = load_scorer(prepared.bank, EncoderConfig())
    return [str(item) for item in describe_worth(rules, scorer, prepared.plan, named)]


def test_a_threshold_in_the_noise_is_warned_of(prepared):
    """A threshold that misses half of the positives gives a warning with clean texts."""
    first, *texts = list_notices(prepared("pasta", "egret"))
    assert first.startswith("warning: trait bird: 2 of the card's 4 positives reach 0.5000")
    assert "sits in the noise" in first
    assert all(text.startswith("  clean text 0.8647  ") for text in texts)
    assert len(texts) == STRONGEST


def test_hits_that_all_score_the_same_need_other_patterns(prepared):
    """A lexicon that hits clean text too often needs other patterns."""
    level = "level: {max_false_positive_rate: 0.01}\n"
    found = prepared("egret", threshold=level)
    found.bank.traits["bird"].calibration["combined"][:60] = 0.8647
    first, *_ = list_notices(found)
    assert "0 of the card's 4 positives reach 0.8648" in first
    assert "Every hit of its lexicon scores the same, 0.8647" in first
    assert "more clean texts hit than the level allows" in first
    assert "Narrow the patterns" in first
    assert "--background FILE" in first
    assert "Add positives" not in first
    found.bank.traits["bird"].calibrated_on = "--background mine.jsonl"
    assert "--background FILE" not in list_notices(found)[0]


def test_a_lexicon_of_hits_that_differ_needs_patterns_too(prepared):
    """A lexicon's warning never asks for positives."""
    first, *_ = list_notices(prepared("pasta", "egret"))
    assert "sits in the noise" in first
    assert "Positives that are missed need patterns of their own" in first
    assert "Add positives" not in first


def test_a_named_trait_is_described(prepared):
    """A named trait has a notice, but a trait of the whole library has none."""
    good = prepared("heron", "egret", "stork", "crane")
    first, *_ = list_notices(good)
    assert first.startswith("trait bird: 4 of the card's 4 positives reach 0.5000")
    assert "(39% to 100% with 95% confidence)" in first
    assert "their median, 0.8647, is 0.3647 above it" in first
    assert list_notices(good, named=()) == []


def test_the_strongest_clean_texts_are_those_with_the_highest_scores(prepared):
    """The strongest texts are the trait's held-out rows by descending score."""
    found = prepared("the", "water")
    scorer = load_scorer(found.bank, EncoderConfig())
    (texts,) = list_strongest(scorer, found.plan, {"bird": "combined"}).values()
    (card,) = found.plan.cards
    rows = split_clean_text(card, found.plan.clean)[1]
    scores = found.bank.traits["bird"].calibration["combined"]
    assert [text.score for text in texts] == pytest.approx(np.sort(scores)[::-1][:STRONGEST])
    names = {row.name: row for row in rows}
    assert all(text.text in names[text.name].texts for text in texts)
    assert {text.text[text.start : text.end].lower() for text in texts} <= {"the", "water"}
    assert list_strongest(scorer, None, {"bird": "combined"}) == {}


def test_a_long_text_is_cut():
    """A long clean text is cut to one line."""
    text = "a\nb " + "c " * 200
    shown = StrongText(0.5, "background/0", text).describe()
    assert shown.startswith("0.5000  background/0  a↵b c c")
    assert shown.endswith("…")
    assert "\n" not in shown
    assert len(shown) < 140


def test_a_strong_text_is_cut_around_what_scored():
    """A hit far from the start is shown with the words around it, and so is a long window."""
    text = f"{'c ' * 200}the heron {'d ' * 200}"
    shown = StrongText(0.5, "background/0", text, 404, 409).describe()
    assert "… c c" in shown
    assert "the heron d d" in shown
    assert len(shown) < 140
    whole = StrongText(0.5, "background/0", text, 400, len(text)).describe()
    assert "background/0  … the heron d d" in whole
    assert len(whole) < 160


def test_a_library_trait_that_nobody_named_has_no_warning(prepared, monkeypatch):
    """A user can't change the cards of the library; a trait of a given bank still has a warning."""
    found = prepared("pasta", "egret")
    assert list_notices(found, named=())[0].startswith("warning: trait bird")
    (card,) = found.plan.cards
    monkeypatch.setattr(worth, "find_cards", lambda: [card])
    assert list_notices(found, named=()) == []
    assert list_notices(found)[0].startswith("warning: trait bird")


def test_the_positives_of_labels_are_mentioned():
    """With labels, the positives aren't only the card's."""
    found = FoundShare(12, 9, 0.4, 0.9, 0.75)
    assert describe_found(found, 0.5).startswith("9 of the card's 12 positives reach 0.5000")
    labelled = describe_found(found, 0.5, labelled=True)
    assert labelled.startswith("9 of the card's and the labels' 12 positives reach 0.5000")
    assert "0.2500 above it" in labelled
