"""A card's exemplars that a fitted bank finds or misses."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.config import FilterConfig
from pipelines.fit import run_fit
from pipelines.recall import _judge_signal, list_missed, load_for_check
from pipelines.signal_worth import read_worth
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
    assert list_missed([find_card(str(folder))], *load_for_check(bank))[0][:6] == [
        "fitted on all of them, the trait doesn't find #3, #4 of the 4 positives",
        "positive #3 scores 0.0000 of 0.8000: A stork slept.",
        "positive #4 scores 0.0000 of 0.8000: The crane sang.",
        "the trait as a whole fires on #2 of the hard negatives",
        "held out from the fit, as new rows are, #3, #4 of the 4 positives wouldn't be found",
        "lexicon doesn't find #3, #4 of the 4 positives",
    ]


def test_hits_that_score_too_low_or_do_not_count_are_told_from_none(card_folder, tmp_path):
    """A pattern that matches isn't called broken, and an ignored hit has its reason."""
    card = (
        "scope: {closing: 24}\nsignals: {lexicon: {patterns: [{match: heron, weight: 0.4}]}}\n"
        "threshold: 0.6\n"
    )
    quoted = "```\nA heron = 1\n```\nThe line was `heron = 1`."
    folder = card_folder("bird", card, ["A heron stood there.", quoted, "A stork.", "No heron."])
    run_fit(FilterConfig(traits=(str(folder),)), str(tmp_path / "bank"))
    (notes,) = list_missed([find_card(str(folder))], *load_for_check(str(tmp_path / "bank")))
    assert (
        "lexicon matches #1 of the 4 positives, but its score (0.5507) is below its threshold, "
        "0.6000"
    ) in notes
    assert "lexicon doesn't find #2, #3, #4 of the 4 positives" in notes
    assert [note for note in notes if "ignored" in note] == [
        "positive #2: 1 hit ignored: quoted",
        "positive #4: 1 hit ignored: denied",
    ]


def test_a_positive_that_one_signal_misses_is_shown(card_folder, tmp_path):
    """A text that another signal finds is named by its first words; a quoted one isn't repeated."""
    card = "signals: {lexicon: {patterns: [heron]}, repetition: {}}\nthreshold: 0.5\n"
    loop = "The stork said hello. " * 40
    folder = card_folder("bird", card, ["A heron.", loop, "A crane."])
    run_fit(FilterConfig(traits=(str(folder),)), str(tmp_path / "bank"))
    (notes,) = list_missed([find_card(str(folder))], *load_for_check(str(tmp_path / "bank")))
    assert "lexicon doesn't find #2, #3 of the 3 positives" in notes
    assert f"positive #2: {loop[:60]}…" in notes
    assert [note for note in notes if note.startswith("positive #3")] == [
        "positive #3 scores 0.0000 of 0.5000: A crane."
    ]


def test_a_signal_that_finds_none_says_so(card_folder, tmp_path):
    """A signal that finds no positive is named."""
    card = "signals: {lexicon: {patterns: [the]}}\nthreshold: 0.5\n"
    folder = card_folder("bird", card, ["A heron stood.", "A stork."])
    run_fit(FilterConfig(traits=(str(folder),)), str(tmp_path / "bank"))
    (notes,) = list_missed([find_card(str(folder))], *load_for_check(str(tmp_path / "bank")))
    assert "lexicon finds none of the 2 positives" in notes


def test_the_basis_of_a_fitted_signal_is_named():
    """A fitted signal that has seen the positives says so; a lexicon sees none."""
    scores = np.array([0.9, 0.1])
    (line,) = _judge_signal("head", scores, 0.5)
    assert line == "head, fitted on all of them, doesn't find #2 of the 2 positives"
    assert next(_judge_signal("wording", scores, 0.95)).startswith("wording, fitted on all")
    assert list(_judge_signal("repetition", scores, 0.95)) == [
        "repetition finds none of the 2 positives"
    ]


def test_the_check_lists_them_beside_other_advice(fitted):
    """With a bank, `traits check` lists missed exemplars."""
    folder, bank = fitted
    ((_, advice, _),) = check_cards([str(folder)], bank)
    assert "positive #3 scores 0.0000 of 0.8000: A stork slept." in advice
    assert any("seen_in is empty" in note for note in advice)
    ((_, advice, _),) = check_cards([str(folder)])
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


def test_a_bank_of_some_signals_is_checked_too(card_folder, tmp_path):
    """A run with `--signals` leaves the card unchanged, and the check says what it leaves out."""
    card = "signals: {lexicon: {patterns: [heron]}, repetition: {}}\nthreshold: 0.8\n"
    folder, bank = card_folder("bird", card, POSITIVES), str(tmp_path / "bank")
    run_fit(FilterConfig(traits=(str(folder),), signals=("lexicon",)), bank)
    ((_, advice, _),) = check_cards([str(folder)], bank)
    assert any("positive #3 scores 0.0000 of 0.8000" in note for note in advice)
    assert any(
        note.startswith("the bank was fitted with lexicon alone (--signals)")
        and note.endswith("the card's repetition")
        for note in advice
    )
    assert [item.signal for item in read_worth(find_card(str(folder)), bank).signals] == [
        "lexicon",
        "combined",
    ]
    changed = (folder / "card.yaml").read_text("utf-8").replace("heron", "egret")
    (folder / "card.yaml").write_text(changed, encoding="utf-8")
    with pytest.raises(CardError, match="trait bird from another version of the card"):
        check_cards([str(folder)], bank)


@pytest.mark.parametrize(
    ("count", "words"), [(1, "the only positive, but its"), (3, "all 3 positives, but their")]
)
def test_weak_hits_in_all_positives_are_named(count, words):
    """A lexicon that matches all positives, but too weakly, says so of one and of several."""
    (line,) = _judge_signal("lexicon", np.full(count, 0.4), 0.5)
    assert line == f"lexicon matches {words} score (0.4000) is below its threshold, 0.5000"
