"""A threshold's worth: notices before a run, and the strongest clean texts."""

from __future__ import annotations

from functools import partial

import pytest

from classifiers.clean_text import split_clean_text
from classifiers.guarantees.calibration import FoundShare
from classifiers.models.interface import EncoderConfig
from classifiers.scoring import load_scorer
from pipelines import worth
from pipelines.banks import prepare_bank
from pipelines.config import FilterConfig
from pipelines.worth import (
    CHECK,
    FIT_AGAIN,
    LISTED,
    STRONGEST,
    CloseTexts,
    StrongText,
    describe_found,
    describe_worth,
    list_close_texts,
)
from schemas.policies import Policy, TraitRule
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
    assert "Most of the positives score below the threshold that was set by hand" in first
    assert all(text.startswith("  clean text 0.8647  ") for text in texts[:STRONGEST])
    assert texts[STRONGEST].endswith("more clean texts that high")
    assert texts[STRONGEST + 1] == (
        "  leave out those that show the trait; this lists such texts as lines for card.yaml: "
        f"{CHECK}"
    )


def test_a_named_trait_is_described(prepared):
    """A named trait has a notice, but a trait of the whole library has none."""
    good = prepared("heron", "egret", "stork", "crane")
    first, *_ = list_notices(good)
    assert first.startswith("trait bird: 4 of the card's 4 positives reach 0.5000")
    assert "(39% to 100% with 95% confidence)" in first
    assert "their median, 0.8647, is 0.3647 above it" in first
    assert list_notices(good, named=()) == []


def test_a_trait_that_finds_its_positives_may_still_have_a_warning(prepared):
    """A single hit that can't reach the threshold is warned of, whatever the positives show."""
    found = prepared("heron", "egret", threshold="level: {max_false_positive_rate: 0.01}\n")
    trait = found.bank.traits["bird"]
    for signal in ("combined", "lexicon"):
        trait.calibration[signal][:60], trait.calibration[signal][60:] = 0.8647, 0
    trait.positive_scores["combined"][:] = 0.99
    first, *texts = list_notices(found)
    assert first.startswith("warning: trait bird: 4 of the card's 4 positives reach 0.8648")
    assert "No single hit of its lexicon reaches 0.8648 (the strongest, 0.8647)" in first
    assert "  and 57 more clean texts that high" in texts
    scorer = load_scorer(found.bank, EncoderConfig())
    (close,) = list_close_texts(scorer, found.plan, {"bird": ("combined", 0.8)}).values()
    assert "and 40 more clean texts that high" in list(close.describe())


def test_clean_texts_at_a_threshold_of_the_policy_are_all_described(prepared):
    """The command that lists texts knows only the card's threshold, so others show more texts."""
    found = prepared("pasta", "egret")
    scorer = load_scorer(found.bank, EncoderConfig())

    def list_texts(policy):
        rules = settle_rules(found.bank.traits, policy)
        return [str(item) for item in describe_worth(rules, scorer, found.plan, ("bird",))]

    own = list_texts(Policy())
    other = list_texts(Policy(traits={"bird": TraitRule(threshold=0.4)}))
    assert sum("clean text 0.8647" in line for line in own) == STRONGEST
    assert sum("clean text 0.8647" in line for line in other) > STRONGEST


def test_every_clean_text_at_the_threshold_is_listed(prepared):
    """The texts are those that reach the threshold or set it, by descending score."""
    found = prepared("the", "water")
    scorer = load_scorer(found.bank, EncoderConfig())
    scores = found.bank.traits["bird"].calibration["combined"]
    scores[:] = 0
    scores[:6] = 0.9, 0.7, 0.6001, 0.6, 0.5999, 0.5998
    find = partial(list_close_texts, scorer, found.plan)
    (texts,) = find({"bird": ("combined", 0.6001)}).values()
    assert [text.score for text in texts.clean] == [0.9, 0.7, 0.6001, 0.6]
    assert texts.more == 0
    (card,) = found.plan.cards
    names = {row.name: row for row in split_clean_text(card, found.plan.clean)[1]}
    assert all(text.text in names[text.name].texts for text in texts.clean)
    assert {text.text[text.start : text.end].lower() for text in texts.clean} <= {
        "the",
        "water",
        "",
    }
    assert texts.reaching == 4
    (few,) = find({"bird": ("combined", 0.95)}).values()
    assert [text.score for text in few.clean] == [0.9, 0.7, 0.6001]
    assert few.reaching == 0
    scores[: LISTED + 5] = 0.9
    (many,) = find({"bird": ("combined", 0.6)}).values()
    assert (len(many.clean), many.more) == (LISTED, 5)
    assert list_close_texts(scorer, None, {"bird": ("combined", 0.6)}) == {}


def test_hard_negatives_that_fire_are_numbered(card_folder):
    """The card's own hard negatives at or above the threshold are named by number."""
    card = "signals: {lexicon: {patterns: [heron]}}\nthreshold: 0.5\n"
    folder = card_folder("bird", card, POSITIVES, ["A crow.", "Heron Street.", "No bird."])
    found = prepare_bank(FilterConfig(traits=(str(folder),)))
    _, fires, quoted, *_ = list_notices(found)
    assert fires == "  fires on 1 of the card's 3 hard negatives: #2"
    assert quoted == "  hard negative #2  Heron Street."


def test_texts_of_a_background_are_left_out_in_its_file():
    """The library's texts have the command that lists them all; those of a user are in a file."""
    texts = [StrongText(0.9 - n / 10, f"coercion/{n}", "a", origin="coercion") for n in range(4)]
    *_, last = CloseTexts(texts, len(texts)).describe(1)
    assert last.endswith(f"as lines for card.yaml: {CHECK}")
    own = CloseTexts([text._replace(name=f"user/{text.score}") for text in texts], 4)
    assert not own.are_shipped
    _, more, last = own.describe(1, FIT_AGAIN)
    assert more == f"and 3 more clean texts that high; {FIT_AGAIN} lists more"
    assert last == "take those that show the trait out of the file of --background"


def test_texts_below_the_threshold_are_not_left_out():
    """Clean texts that don't set the threshold are shown, without advice to leave them out."""
    texts = [StrongText(0.0146, "coercion/1", "a", origin="coercion"), StrongText(0.01, "b/2", "b")]
    assert list(CloseTexts(texts, 0).describe()) == [
        "no clean text reaches the threshold; the highest:",
        *(f"clean text {text.describe()}" for text in texts),
    ]
    *_, last = CloseTexts(texts, 1).describe()
    assert last.startswith("leave out those that show the trait")


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


@pytest.mark.parametrize(
    ("start", "end", "shown_part"),
    [
        (0, 0, "d d heron!"),
        (405, 415, "d d heron!"),
        (10, 415, "d d heron!"),
        (4, 9, "c c c"),
    ],
)
def test_a_trait_that_reads_ends_has_them_shown(start, end, shown_part):
    """A closing is shown up to its end, a long one without its beginning."""
    text = f"{'c ' * 200}{'d ' * 5}heron!"[-415:]
    shown = StrongText(0.5, "background/0", text, start, end, reads_end=True).describe()
    assert shown_part in shown
    assert shown.endswith("heron!") == (end != 9)
    assert 70 <= len(shown) < 150


def test_a_short_closing_is_shown_whole():
    """A text that fits on the line has no ellipsis."""
    shown = StrongText(0.5, "background/0", "A heron!", reads_end=True).describe()
    assert shown == "0.5000  background/0  A heron!"


def test_a_library_trait_that_nobody_named_has_no_warning(prepared, monkeypatch):
    """A user can't change the cards of the library; a trait of a given bank still has a warning."""
    found = prepared("pasta", "egret")
    assert list_notices(found, named=())[0].startswith("warning: trait bird")
    (card,) = found.plan.cards
    monkeypatch.setattr(worth, "list_shipped_ids", lambda: {card.id})
    assert list_notices(found, named=()) == []
    assert list_notices(found)[0].startswith("warning: trait bird")


def test_beside_an_own_card_the_library_has_one_line(card_folder, monkeypatch):
    """The advice on a user's own card isn't buried under that on cards of the library."""
    card = "signals: {lexicon: {patterns: [pasta]}}\nthreshold: 0.5\n"
    folders = tuple(str(card_folder(name, card, POSITIVES)) for name in ("ant", "bird", "cod"))
    found = prepare_bank(FilterConfig(traits=folders))
    library = [item for item in found.plan.cards if item.id != "bird"]
    monkeypatch.setattr(worth, "list_shipped_ids", lambda: {card.id for card in library})
    first, *others = list_notices(found, named=folders)
    assert first.startswith("warning: trait bird")
    assert not any("warning" in line for line in others)
    assert others[-1] == (
        "the library's ant, cod can be improved only by changing a copy of their cards; "
        "congener fit --traits ant --traits cod --output BANK shows how"
    )


def test_the_positives_of_labels_are_mentioned():
    """With labels, the positives aren't only the card's."""
    found = FoundShare(12, 9, 0.4, 0.9, 0.75)
    assert describe_found(found, 0.5).startswith("9 of the card's 12 positives reach 0.5000")
    labelled = describe_found(found, 0.5, labelled=True)
    assert labelled.startswith("9 of the card's and the labels' 12 positives reach 0.5000")
    assert "0.2500 above it" in labelled


def test_patterns_are_compared_before_a_run(card_folder):
    """Below an own trait's notice is what its patterns find without the signals that learn."""
    birds = ["heron", "egret", "stork", "crane", "ibis"]
    card = f"signals: {{wording: {{}}, lexicon: {{patterns: [{', '.join(birds)}]}}}}\n"
    folder = card_folder("bird", card, [f"By the water stood a {bird}." for bird in birds])
    found = prepare_bank(FilterConfig(traits=(str(folder),)))
    _, compared, *_ = list_notices(found)
    assert compared.startswith("trait bird: at the same level (1.0%), all signals find 5 of the")
    assert "patterns alone 5. Patterns alone suffice: add --signals lexicon" in compared
