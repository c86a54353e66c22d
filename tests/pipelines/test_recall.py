"""A card's exemplars that a fitted bank finds or misses."""

from __future__ import annotations

import pytest

from pipelines.config import FilterConfig
from pipelines.fit import run_fit
from pipelines.recall import list_missed, load_for_check
from pipelines.traits import check_cards, find_card
from schemas.errors import CardError, ModelError

CARD = "signals: {lexicon: {patterns: [heron, egret]}}\nthreshold: 0.8\n"
POSITIVES = ["A heron stood there.", "An egret flew.", "A stork slept.", "The crane sang."]


@pytest.fixture
def fitted(card_folder, tmp_path):
    """Return a card with two positives that its lexicon misses, and its bank."""
    folder = card_folder("bird", CARD, POSITIVES, ["No bird is here.", "Look at this heron."])
    bank = tmp_path / "bank"
    run_fit(FilterConfig(traits=(str(folder),)), str(bank))
    return folder, str(bank)


def test_missed_exemplars_are_named(fitted):
    """Missed positives and firing negatives are listed by number."""
    folder, bank = fitted
    assert list_missed([find_card(str(folder))], *load_for_check(bank)) == [
        [
            "the trait as a whole doesn't find #3, #4 of the 4 positives",
            "positive #3 scores 0.0000 of 0.8000: A stork slept.",
            "positive #4 scores 0.0000 of 0.8000: The crane sang.",
            "the trait as a whole fires on #2 of the hard negatives",
            "held out from the fit, #3, #4 of the 4 positives wouldn't be found",
            "lexicon doesn't find #3, #4 of the 4 positives",
        ]
    ]


def test_the_check_lists_them_beside_other_advice(fitted):
    """With a bank, `traits check` lists missed exemplars."""
    folder, bank = fitted
    ((_, advice),) = check_cards([str(folder)], bank)
    assert "positive #3 scores 0.0000 of 0.8000: A stork slept." in advice
    assert any("seen_in is empty" in note for note in advice)
    ((_, advice),) = check_cards([str(folder)])
    assert not any("#3" in note for note in advice)


def test_a_card_that_is_not_in_the_bank_is_refused(fitted, card_folder):
    """A card that isn't in the bank, or has changed, is an error."""
    folder, bank = fitted
    with (folder / "positives.jsonl").open("a") as file:
        file.write('{"text": "Another heron."}\n')
    with pytest.raises(CardError, match="trait bird from another version of the card"):
        check_cards([str(folder)], bank)
    other = card_folder("other", CARD, POSITIVES)
    with pytest.raises(CardError, match="the bank has no trait other"):
        check_cards([str(other)], bank)
    with pytest.raises(ModelError, match="is not a trait bank"):
        check_cards([str(folder)], str(folder))
