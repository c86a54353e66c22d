"""Patterns that lighter ones hide in a card's positives."""

from __future__ import annotations

from itertools import count

import pytest

from classifiers.signals.lexicons import Lexicon
from pipelines.hidden_patterns import HiddenPattern, list_hidden, warn_of_hidden
from pipelines.traits import check_cards, find_card

STRONG = r'"note that [^.]*vary"'
WEAK = "{match: important to note, weight: 0.3}"
POSITIVES = [
    "It is important to note that results vary.",
    "Do note that results vary.",
    "It is important to note that times vary.",
]


@pytest.fixture
def build(card_folder):
    """Return a function that loads a card with patterns and other options of its lexicon."""
    names = (f"caveat-{number}" for number in count())

    def load(*patterns, positives=POSITIVES, more="", scope=""):
        lexicon = f"patterns: [{', '.join(patterns)}]{more}"
        card = f"{scope}signals: {{lexicon: {{{lexicon}}}}}\nthreshold: 0.5\n"
        return find_card(str(card_folder(next(names), card, positives)))

    return load


@pytest.mark.parametrize("is_first", [True, False])
def test_an_earlier_lighter_hit_hides_a_heavy_pattern(build, is_first):
    """The pattern is named with its place in the card, whichever is listed first."""
    card = build(*((STRONG, WEAK) if is_first else (WEAK, STRONG)))
    numbers = (1, 2) if is_first else (2, 1)
    (found,) = list_hidden(card)
    assert found == HiddenPattern(*numbers, is_earlier=True, texts=2)
    assert found.describe().startswith(
        f"in 2 positives, pattern {numbers[0]} isn't counted, because pattern {numbers[1]}, "
        "which weighs less, starts earlier and overlaps it: "
    )


@pytest.mark.parametrize(
    ("patterns", "scores"),
    [
        (("'(important to )?note that [^.]*vary'", WEAK), [0.8647, 0.8647, 0.8647]),
        ((STRONG, "{match: important to, weight: 0.3}"), [0.9257, 0.8647, 0.9257]),
    ],
)
def test_the_advice_helps(build, patterns, scores):
    """A pattern that begins with the other's words counts, and so do two that don't overlap."""
    card = build(*patterns)
    assert list_hidden(card) == []
    lexicon = Lexicon(card.card.signals.lexicon)
    found = [lexicon.score(text, lexicon.find_hits(text)) for text in POSITIVES]
    assert found == pytest.approx(scores, abs=1e-4)


def test_the_order_decides_at_the_same_place(build):
    """Where both start at one place, it is enough to list the heavy pattern first."""
    weak, strong = "{match: note that, weight: 0.3}", STRONG
    (found,) = list_hidden(build(weak, strong))
    assert found == HiddenPattern(2, 1, is_earlier=False, texts=3)
    assert found.describe().endswith("matches at the same place: list pattern 2 before it")
    assert list_hidden(build(strong, weak)) == []


def test_a_pattern_that_counts_elsewhere_is_not_hidden(build):
    """A text in which the heavy pattern has another hit isn't counted."""
    twice = "It is important to note that results vary. Do note that times vary."
    assert list_hidden(build(STRONG, WEAK, positives=[twice])) == []


def test_only_what_would_count_alone_is_hidden(build):
    """A hit that is quoted, or outside the part that is read, isn't missed."""
    quoted = 'She wrote: "It is important to note that results vary."'
    assert list_hidden(build(STRONG, WEAK, positives=[quoted])) == []
    assert list_hidden(build(STRONG, WEAK, positives=[quoted], more=", quoted: count"))
    assert list_hidden(build(STRONG, WEAK, scope="scope: {opening: 20}\n")) == []
    assert list_hidden(build(STRONG, WEAK, scope="scope: {closing: 39}\n"))


def test_equal_and_foreign_patterns_hide_nothing(build):
    """Patterns of one weight cost no strength, and those of other languages aren't joined."""
    assert list_hidden(build(STRONG, "important to note")) == []
    foreign = "{match: important to note, weight: 0.3, language: de}"
    assert list_hidden(build(STRONG, foreign)) == []


def test_cards_without_patterns_hide_nothing(card_folder):
    """A card of other signals has no such advice."""
    folder = card_folder("loop", "signals: {repetition: {}}\nthreshold: 0.5\n", POSITIVES)
    assert list_hidden(find_card(str(folder))) == []


def test_traits_check_names_the_pattern(build):
    """The advice of `traits check` has it without a bank."""
    card = build(STRONG, WEAK)
    ((_, advice),) = check_cards([str(card.folder)])
    assert any(line.startswith("in 2 positives, pattern 1 isn't counted") for line in advice)


def test_a_fit_warns_of_the_pattern(build):
    """The warnings of `fit` and `filter` name the trait."""
    cards = [build(STRONG, WEAK), build("heron")]
    (notice,) = warn_of_hidden(cards)
    assert notice.severity == "warning"
    assert notice.text.startswith(f"trait {cards[0].id}: in 2 positives, pattern 1 isn't counted")
