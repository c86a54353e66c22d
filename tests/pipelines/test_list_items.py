"""List items in a card's positives that its wording classifier takes for the trait."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from classifiers.signals.sentences import find_sentences
from classifiers.signals.wording import Wording
from pipelines.config import FilterConfig
from pipelines.fit import run_fit
from pipelines.list_items import (
    ITEM,
    NAMED,
    TakenItem,
    describe_taken_items,
    find_taken_items,
    select_own,
    warn_of_taken_items,
)
from pipelines.traits import check_cards
from schemas.events import Noticed

NOUNS = ["trust", "rain", "bread", "paper", "salt", "wool", "light", "stone"]
LISTS = [f"- {noun}\n- more {noun}\n\nOverall, {noun} is the key to it." for noun in NOUNS]


def make_wording(*words, weight=40.0):
    """Return a classifier for which a sentence with one of these tokens shows the trait."""
    found = find_sentences(pa.array(words, pa.large_string()))
    keys = np.unique(found.grams[: len(words)])
    return Wording(keys, np.full(len(keys), weight, np.float32), 0.0)


def test_the_highest_item_of_each_positive_is_returned():
    """A classifier of bullets takes the items of a list, and each positive counts once."""
    positives = ["No list here.", "- trust\n- rain\n\nOverall, yes.", "1. One\nOverall, no."]
    (found,) = find_taken_items(positives, make_wording("-"))
    assert (found.positive, found.text) == (2, "- trust")
    assert found.score > 0.99
    both = find_taken_items(positives, make_wording("-", "one"))
    assert [(item.positive, item.text) for item in both] == [(2, "- trust"), (3, "1. One")]
    best = find_taken_items(positives, make_wording("rain"))
    assert [item.text for item in best] == ["- rain"]


def test_other_sentences_do_not_count():
    """A sentence outside the list may show the trait, and so may a positive that is one item."""
    overall = make_wording("overall")
    assert find_taken_items(["- trust\n\nOverall, yes."], overall) == []
    assert find_taken_items(["- trust", "no list"], make_wording("-")) == []
    assert find_taken_items([], overall) == []


@pytest.mark.parametrize(
    ("line", "is_item"),
    [("- a", 1), ("  * a", 1), ("• a", 1), ("12. a", 1), ("3) a", 1), ("-a", 0), ("2026 a", 0)],
)
def test_bullets_and_numbers_begin_items(line, is_item):
    """An item has a bullet or a number, a blank and a text."""
    assert len(ITEM.findall(f"Before.\n{line}\nAfter.")) == is_item


@given(texts=st.lists(st.text(max_size=60), max_size=6))
def test_any_text_has_sound_items(texts):
    """Whatever the texts, each item is a part of its positive and scores at least one half."""
    for item in find_taken_items(texts, make_wording("-", "a")):
        assert item.text in texts[item.positive - 1]
        assert 0.5 <= item.score <= 1


def test_the_description_names_positives_and_an_item():
    """The sentence names the positives and the highest item, and counts the rest."""
    assert list(describe_taken_items([])) == []
    (line,) = describe_taken_items([TakenItem(14, "- Trust", 0.954)])
    assert line == (
        "wording takes list items of positive #14 for the trait («- Trust» scores 0.95), so other "
        "lists with such marks may fire: if the list doesn't show the trait, cut it out of the "
        "positive"
    )
    items = [TakenItem(number, "- rain", number / 10) for number in range(1, NAMED + 3)]
    (line,) = describe_taken_items(items)
    assert "positives #1, #2, #3, #4, #5 and 2 more" in line
    assert "scores 0.70" in line
    assert line.endswith("cut it out of the positives")


def test_a_fit_and_a_check_warn_of_a_card_with_lists(card_folder, tmp_path):
    """`fit` warns, `traits check --bank` advises, and a card without lists has neither."""
    folder = card_folder("recap", "signals: [wording]\n", LISTS)
    plain = card_folder("plain", "signals: [wording]\n", [text.split("\n\n")[1] for text in LISTS])
    notices = []

    def listen(event):
        if isinstance(event, Noticed):
            notices.append(str(event.notice))

    bank = str(tmp_path / "bank")
    fitted = run_fit(FilterConfig(traits=(str(folder), str(plain))), bank, listener=listen)
    (warning,) = [text for text in notices if "list items" in text]
    assert warning.startswith("warning: trait recap: wording takes list items of positives #1, ")
    checked = {item.card: item.advice for item in check_cards([str(folder), str(plain)], bank)}
    advice = {card.id: " ".join(notes) for card, notes in checked.items()}
    assert "wording takes list items" in advice["recap"]
    assert "wording takes list items" not in advice["plain"]
    assert select_own(None) == []
    cards = [*checked]
    (notice,) = warn_of_taken_items(cards, fitted.bank.traits)
    assert notice.severity == "warning"
    assert list(warn_of_taken_items(cards, {})) == []
    assert json.dumps(advice)
