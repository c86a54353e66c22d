"""Clean text: disjoint training and calibration rows with their origins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from classifiers.clean_text import (
    CleanRow,
    CleanText,
    collect_background,
    is_held_out,
    present_as_answers,
    require_known_texts,
    select_suitable,
    split_clean_text,
)
from classifiers.guarantees.calibration import count_texts_needed
from classifiers.labelled_rows import CardLabels, Half
from classifiers.library import LoadedCard, find_cards
from schemas.cards import Level, TraitCard
from schemas.errors import CardError

LIBRARY_IDS = [card.id for card in find_cards()]


@pytest.fixture(scope="module")
def library():
    """Return the library's cards, keyed by id."""
    return {card.id: card for card in find_cards()}


@pytest.fixture(scope="module")
def shipped(library):
    """Return the clean text that ships with congener."""
    return CleanText(collect_background(library.values()))


@pytest.mark.parametrize("name", LIBRARY_IDS)
def test_no_calibration_text_is_a_training_text(library, shipped, name):
    """No text of a trait is in both training and calibration."""
    card = library[name]
    training, calibration = split_clean_text(card, shipped)
    trained = {text for row in training for text in row.texts} | {*card.positives, *card.negatives}
    calibrated = [text for row in calibration for text in row.texts]
    assert calibrated
    assert trained.isdisjoint(calibrated)


@pytest.mark.parametrize("name", LIBRARY_IDS)
def test_only_clean_text_is_used(library, shipped, name):
    """Positives of a trait and of its related traits aren't clean text for that trait."""
    card = library[name]
    rows = [row for side in split_clean_text(card, shipped) for row in side]
    origins = {row.origin for row in rows if row.polarity == "positive"}
    assert origins == set(LIBRARY_IDS) - {name} - set(card.card.related)
    assert name not in {row.origin for row in rows}
    assert {row.origin for row in rows if row.polarity == "negative"} == set(LIBRARY_IDS) - {name}


@pytest.mark.parametrize("name", LIBRARY_IDS)
def test_the_library_alone_calibrates_the_default_level(library, shipped, name):
    """Half of the shipped text is enough for the default level and the card's own level."""
    training, calibration = split_clean_text(library[name], shipped)
    assert len(calibration) >= max(
        count_texts_needed(Level()), count_texts_needed(library[name].card.level)
    )
    assert 0.4 < len(calibration) / (len(training) + len(calibration)) < 0.6


@pytest.mark.parametrize("name", LIBRARY_IDS)
def test_the_users_background_is_used_entirely_for_calibration(library, shipped, name):
    """A user's sample serves for calibration, and all shipped text for training."""
    user = tuple(
        CleanRow((f"Sentence {number}.", "And another."), "user", "clean") for number in range(50)
    )
    training, calibration = split_clean_text(
        library[name], replace(shipped, user=user, name="--background")
    )
    assert calibration == list(user)
    assert not set(user) & set(training)
    assert training == select_suitable(library[name], shipped.shipped)


def test_the_background_is_conversations_and_exemplars(library, shipped):
    """The background has each exemplar and each conversation once, with its origin."""
    kinds = {
        kind: sum(row.polarity == kind for row in shipped.shipped)
        for kind in ("clean", "negative", "positive")
    }
    assert kinds["positive"] == sum(len(card.positives) for card in library.values())
    assert kinds["negative"] == sum(len(card.negatives) for card in library.values())
    assert kinds["clean"] >= 300
    assert {row.origin for row in shipped.shipped if row.polarity == "clean"} == {"background"}


POOL = [f"text {number}" for number in range(16)]
TEXTS = st.lists(st.sampled_from(POOL), unique=True, max_size=4)


@st.composite
def draw_rows(draw):
    """Draw rows of one or two texts, without repeats."""
    left = list(POOL)
    rows = []
    for size in draw(st.lists(st.integers(1, 2), max_size=8)):
        origin = draw(st.sampled_from(["background", "one", "two", "three"]))
        rows.append(
            CleanRow(
                tuple(left.pop() for _ in range(size)),
                origin,
                draw(st.sampled_from(["clean", "negative", "positive"])),
            )
        )
    return rows


@settings(max_examples=200)
@given(draw_rows(), TEXTS, TEXTS)
def test_a_users_card_keeps_its_texts_apart_too(rows, positives, negatives):
    """Training and calibration share no text, even if exemplars copy shipped text."""
    card = LoadedCard(
        TraitCard(id="one", related=("two",)), tuple(positives), tuple(negatives), None
    )
    training, calibration = split_clean_text(card, CleanText(tuple(rows)))
    trained = {*positives, *negatives, *(text for row in training for text in row.texts)}
    assert trained.isdisjoint(text for row in calibration for text in row.texts)
    for row in (*training, *calibration):
        assert row.origin != "one"
        assert (row.origin, row.polarity) != ("two", "positive")


def test_half_is_held_out_by_digest():
    """A row's text decides whether the row is held out, and about half of all rows are."""
    rows = [
        CleanRow((f"Sentence number {number}.",), "background", "clean") for number in range(2000)
    ]
    assert 900 < sum(map(is_held_out, rows)) < 1100
    assert all(
        is_held_out(row) == is_held_out(row._replace(origin="elsewhere", polarity="negative"))
        for row in rows[:100]
    )


def test_a_text_that_utf8_cannot_encode_is_assigned_too():
    """A text with a lone surrogate can be held out too."""
    rows = [CleanRow((f"\ud800 {number}",), "a", "clean") for number in range(100)]
    assert 25 < sum(map(is_held_out, rows)) < 75


def test_every_text_is_an_answer():
    """Each text in a row becomes one segment, and blank texts are skipped."""
    batch = present_as_answers(
        [
            CleanRow(("one", " ", "two"), "a", "clean"),
            CleanRow(("",), "a", "clean"),
            CleanRow(("three",), "a", "clean"),
        ]
    )
    assert batch.rows.tolist() == [0, 0, 2]
    assert batch.text.to_pylist() == ["one", "two", "three"]
    assert batch.find_in_scope(("assistant", "user"), ("answer",)).tolist() == [0, 1, 2]
    assert not len(batch.find_in_scope(("user",), ("answer",)))


def test_a_card_can_leave_out_a_library_text(library, shipped):
    """A named library text serves neither for training nor for calibration."""
    card = library["coercion"]
    for side in range(2):
        row = split_clean_text(card, shipped)[side][0]
        without = replace(card, card=card.card.model_copy(update={"leave_out": (row.name,)}))
        require_known_texts(without, shipped.shipped)
        left = [row for rows in split_clean_text(without, shipped) for row in rows]
        assert row not in left
        assert len(left) == sum(map(len, split_clean_text(card, shipped))) - 1


def test_a_label_takes_a_row_with_the_trait_out_of_the_sample():
    """Rows of the user's sample with a yes are left out, but none with a no or with other texts."""
    user = tuple(CleanRow(texts, "user", "clean") for texts in (("a",), ("b",), ("a", "c")))
    shipped = (CleanRow(("a",), "background", "clean"), CleanRow(("d",), "background", "clean"))
    labels = CardLabels(Half((("a",),), (("b",),)))
    card = LoadedCard(TraitCard(id="x"), (), (), None, labels)
    training, calibration = split_clean_text(card, CleanText(shipped, user))
    assert calibration == list(user[1:])
    assert training == list(shipped[1:])


def test_a_name_says_where_a_text_is_from(shipped):
    """Each library text's name is unique, and begins with the text's origin."""
    names = [row.name for row in shipped.shipped]
    assert len(set(names)) == len({row.texts for row in shipped.shipped})
    assert all(row.name.startswith(f"{row.origin}/") for row in shipped.shipped)


def test_a_text_that_the_library_lacks_cant_be_left_out(shipped):
    """The error for an unknown name of a text names the card's file."""
    card = LoadedCard(TraitCard(id="a", leave_out=("background/0123456789ab",)), (), (), Path("a"))
    with pytest.raises(CardError, match=r"no such text") as caught:
        require_known_texts(card, shipped.shipped)
    assert caught.value.where == "a/card.yaml"
