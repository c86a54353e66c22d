"""The clean texts that raise a card's threshold, as a list to prune."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from classifiers.clean_text import collect_background
from classifiers.library import find_cards
from classifiers.signals.exemplars import build_index
from pipelines.config import FilterConfig
from pipelines.fit import run_fit
from pipelines.pruning import LISTED, HighText, HighTexts, list_high_texts
from pipelines.recall import load_for_check
from pipelines.traits import check_cards, find_card

SIGNALS = "signals: {lexicon: {patterns: [WORD]}}\n"


@pytest.fixture
def check(card_folder, tmp_path):
    """Return a function that fits a card and lists its clean texts that score high."""

    def fit_and_list(name, card):
        folder, bank = card_folder(name, card, ["A heron.", "A stork."]), str(tmp_path / name / "b")
        run_fit(FilterConfig(traits=(str(folder),)), bank + "ank")
        return list_high_texts(find_card(str(folder)), *load_for_check(bank + "ank"))

    return fit_and_list


def test_the_block_is_yaml_that_a_card_takes(check):
    """The pasted block leaves out exactly the listed texts, and a second list is without scores."""
    card = SIGNALS.replace("WORD", "pharmacist")
    found = check("bird", card)
    names = [item.name for item in found.texts]
    lines = list(found.describe())
    assert lines[0] == "leave_out:  # delete the lines of texts that don't show the trait"
    assert lines[1] == "  # in card.yaml; congener traits show NAME prints a text whole"
    assert yaml.safe_load("\n".join(lines)) == {"leave_out": names}
    assert 2 < len(names) < LISTED
    assert all("pharmacist" in item.text.lower() for item in found.texts)
    again = check("owl", card + "\n".join(lines) + "\n")
    assert [item.name for item in again.texts] == names
    assert {item.score for item in again.texts} == {None}
    assert list(again.describe()) == []


def test_a_frequent_word_fills_the_list_and_the_rest_is_counted(check):
    """No more than `LISTED` texts are listed, and a line counts the others."""
    found = check("bird", SIGNALS.replace("WORD", "the"))
    assert len(found.texts) == LISTED
    assert (
        list(found.describe())[-1]
        == f"  # and {found.more:,} more texts with a score of 0.5 or more"
    )


def test_texts_below_the_threshold_are_marked():
    """One line separates the texts that reach the threshold from the next ones to set it."""
    texts = [
        HighText("coercion/000000000000", "positive of coercion", "Heron: a # b"),
        HighText("background/111111111111", "background", "Two", 0.9),
        HighText("background/222222222222", "background", "Three", 0.6),
        HighText("background/333333333333", "background", "Four", 0.5),
    ]
    assert list(HighTexts(texts, 0.8).describe())[1:] == [
        "  # in place of the card's leave_out; congener traits show NAME prints a text whole",
        "  - coercion/000000000000  # left out, positive of coercion: Heron: a # b",
        "  - background/111111111111  # 0.9000, background: Two",
        "  # below the threshold, 0.8000, and the next ones to set it:",
        "  - background/222222222222  # 0.6000, background: Three",
        "  - background/333333333333  # 0.5000, background: Four",
    ]
    assert HighTexts(texts, 0.8).to_json()[1] == {
        "name": "background/111111111111",
        "kind": "background",
        "text": "Two",
        "score": 0.9,
        "near": 0,
    }


def test_negatives_near_positives_end_the_block():
    """A training negative near positives is listed even if no clean text scores high."""
    near = [HighText("coercion/000000000000", "hard negative of coercion", "Ask me.", near=4)]
    found = HighTexts((), 0.8, near=near)
    assert list(found.describe()) == [
        "leave_out:  # delete the lines of texts that don't show the trait",
        "  # in card.yaml; congener traits show NAME prints a text whole",
        "  # negatives of the trait's training, nearest to its positives:",
        "  - coercion/000000000000  # nearest to 4 positives, hard negative of coercion: Ask me.",
    ]
    assert found.to_json() == [near[0]._asdict()]


def test_training_negatives_are_listed_by_the_positives_that_they_are_near(card_folder, tmp_path):
    """A text of the library's training half has no score, but is named with its positives."""
    folder = card_folder("bird", SIGNALS.replace("WORD", "heron"), ["A heron.", "A stork."])
    run_fit(FilterConfig(traits=(str(folder),)), str(tmp_path / "bank"))
    card, (bank, scorer) = find_card(str(folder)), load_for_check(str(tmp_path / "bank"))
    row = next(row for row in collect_background(find_cards()) if row.polarity == "negative")
    trait, vectors = bank.traits["bird"], np.eye(2, dtype=np.float32)
    trait.positives, trait.negatives = card.positives, (row.texts[0], "A crane.")
    trait.positive_index, trait.negative_index = build_index(vectors), build_index(vectors)
    (near,) = list_high_texts(card, bank, scorer).near
    assert (near.name, near.near, near.score) == (row.name, 2, None)
    assert near.kind == f"hard negative of {row.origin}"


def test_a_bank_calibrated_on_other_text_lists_none(card_folder, tmp_path):
    """The library's texts don't set the threshold of a bank with another background."""
    folder = card_folder("bird", SIGNALS.replace("WORD", "the"), ["A heron.", "A stork."])
    run_fit(FilterConfig(traits=(str(folder),)), str(tmp_path / "bank"))
    bank, scorer = load_for_check(str(tmp_path / "bank"))
    bank.background["digest"] = "0" * 64
    assert list_high_texts(find_card(str(folder)), bank, scorer).texts == ()


def test_the_check_has_the_list_only_with_a_bank(card_folder, tmp_path):
    """`traits check` lists the texts apart from its advice."""
    folder = card_folder("bird", SIGNALS.replace("WORD", "pharmacist"), ["A heron.", "A stork."])
    run_fit(FilterConfig(traits=(str(folder),)), str(tmp_path / "bank"))
    ((_, advice, high),) = check_cards([str(folder)], str(tmp_path / "bank"))
    assert high is not None
    assert {item.kind for item in high.texts} >= {"background"}
    assert not any("clean text" in line for line in advice)
    ((_, _, none),) = check_cards([str(folder)])
    assert none is None
