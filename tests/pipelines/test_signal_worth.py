"""What signals are worth: counts of held-out positives and clean texts, alone and left out."""

from __future__ import annotations

import numpy as np
import pytest

from classifiers.banks import Bank, TraitModel
from classifiers.library import load_card
from classifiers.scoring import combine
from pipelines.banks import save_bank
from pipelines.signal_worth import TraitWorth, measure_worth, read_worth
from schemas.cards import TraitCard
from schemas.errors import CardError

CLEAN = 300
POSITIVES = {
    "wording": [0.9, 0.8, 0.7, 0.1, 0.0],
    "lexicon": [0.9, 0.0, 0.0, 0.0, 0.6],
}


def build_trait(positives=POSITIVES, card=None, clean=None):
    """Return a fitted trait with these scores of positives, and clean texts that score 0."""
    options = {"wording": {}, "lexicon": {"patterns": ["heron"]}}
    card = card or TraitCard(id="bird", signals={name: options[name] for name in positives})
    scores = {name: np.array(values, np.float32) for name, values in positives.items()}
    calm = {name: np.zeros(CLEAN, np.float32) for name in positives} | (clean or {})
    combined = [{"combined": combine(group), **group} if group else {} for group in (calm, scores)]
    return TraitModel(card, "", calibration=combined[0], positive_scores=combined[1])


def show(worth: TraitWorth) -> str:
    """Return the page's texts, and the cells of its table."""
    parts = list(worth.render())
    cells = [cell for part in parts if not isinstance(part, str) for cell in list_cells(part)]
    return "\n".join([*(part for part in parts if isinstance(part, str)), *cells])


def list_cells(table):
    """Return a table's cells, column by column."""
    return [str(cell) for column in table.columns for cell in column.cells]


def test_a_signal_is_counted_alone_and_left_out():
    """Each signal has its own count, and the count of the others without it."""
    worth = measure_worth(build_trait())
    found = {item.signal: (item.positives, item.positives_without) for item in worth.signals}
    assert found == {"wording": (3, 2), "lexicon": (2, 3), "combined": (4, None)}
    assert (worth.positives, worth.clean, worth.share) == (5, CLEAN, 0.01)


def test_clean_texts_raise_a_signals_own_threshold():
    """A signal that scores clean text high has a higher threshold than the other signal."""
    clean = {"wording": np.full(CLEAN, 0.75, np.float32)}
    worth = measure_worth(build_trait(clean=clean))
    found = {item.signal: (item.threshold, item.positives, item.clean) for item in worth.signals}
    assert found["wording"] == (pytest.approx(0.7501), 2, 0)
    assert found["lexicon"] == (0.5, 2, 0)


def test_an_explicit_threshold_counts():
    """The card's own threshold is used for every signal."""
    card = TraitCard(id="bird", threshold=0.05, signals=["wording"])
    (alone, together) = measure_worth(build_trait({"wording": [0.9, 0.1, 0.0]}, card)).signals
    assert (alone.threshold, alone.positives, alone.positives_without) == (0.05, 2, None)
    assert together.positives == 2


def test_a_card_without_positives_has_no_worth():
    """Without held-out positives, the page says that nothing is known."""
    trait = build_trait()
    trait.positive_scores = {}
    worth = measure_worth(trait)
    assert worth.signals == ()
    assert show(worth) == (
        "\nWhat each signal is worth isn't known: the card has too few positives."
    )


def test_the_page_names_the_evidence():
    """The page says on how many texts and at which level the counts were made."""
    page = show(measure_worth(build_trait()))
    assert "5 positives that were held out from the fit and 300 clean texts" in page
    assert "at a level of 1.0%" in page
    assert "wording\nlexicon\ncombined" in page
    assert "\n3\n2\n4\n" in page
    assert page.endswith("2\n3\n–")


def test_the_json_has_every_count():
    """The JSON has the same counts as the page."""
    found = measure_worth(build_trait()).to_json()
    assert found["positives"] == 5
    assert found["signals"][0] == {
        "signal": "wording",
        "threshold": 0.5,
        "positives": 3,
        "clean": 0,
        "labelled_positives": 0,
        "labelled_negatives": 0,
        "positives_without": 2,
    }


def test_labels_are_evidence():
    """Labelled rows outside the fit are counted for each signal, as right or wrong."""
    trait = build_trait()
    assert "label" not in show(measure_worth(trait))
    scores = {"wording": np.array([0.9, 0.9], np.float32), "lexicon": np.zeros(2, np.float32)}
    trait.labelled_positives = {"combined": combine(scores), **scores}
    trait.labelled_negatives = {name: values[:1] for name, values in scores.items()}
    trait.labelled_negatives["combined"] = combine(trait.labelled_negatives)
    worth = measure_worth(trait)
    found = [(item.labelled_positives, item.labelled_negatives) for item in worth.signals]
    assert found == [(2, 1), (0, 0), (2, 1)]
    page = show(worth)
    assert "say that 2 rows show the trait, and 1 row does not." in page
    assert page.endswith("\n2\n0\n2\n1\n0\n1\n2\n3\n–")


def test_a_bank_has_the_worth_of_its_cards(card_folder, tmp_path):
    """A bank's trait is measured; another version of the card is refused."""
    folder = card_folder("bird", "signals: {lexicon: {patterns: [heron]}}\n", ["A heron."])
    card = load_card(folder)
    trait = build_trait({"lexicon": [0.9]}, card.card)
    trait.card_digest = card.digest
    save_bank(Bank({"bird": trait}, None, {}), str(tmp_path / "bank"))
    assert read_worth(card, str(tmp_path / "bank")).signals[0].positives == 1
    (folder / "positives.jsonl").write_text('{"text": "An egret."}\n')
    with pytest.raises(CardError, match="another version of the card"):
        read_worth(load_card(folder), str(tmp_path / "bank"))
