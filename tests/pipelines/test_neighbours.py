"""The negatives nearest to a trait's positives, and their origins."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from classifiers.banks import TraitModel
from classifiers.clean_text import CleanRow
from classifiers.library import LoadedCard
from classifiers.signals.exemplars import build_index
from pipelines import neighbours
from pipelines.neighbours import (
    NearText,
    cut_near,
    describe_neighbours,
    list_near_texts,
    name_negatives,
)
from schemas.cards import Scope, TraitCard

SHIPPED = (
    CleanRow(("Boil the pasta for nine minutes. Then drain it.",), "background", "clean"),
    CleanRow(("Paris is the capital of France.",), "coercion", "negative"),
)


@pytest.fixture
def card():
    """Return a card with two negatives."""
    return LoadedCard(TraitCard(id="owl"), ("An owl.",), ("A toy owl.", "Owl is a word."), Path())


def test_negatives_are_named_by_where_they_are_from(card):
    """Each negative is named as the card's own, or by its library text's name."""
    windows = ["A toy owl.", "Then drain it.", "Paris is the capital of France.", "Elsewhere."]
    names = name_negatives(windows, card, SHIPPED)
    assert list(names.values()) == [
        "own negative #1",
        SHIPPED[0].name,
        SHIPPED[1].name,
        "a text of another library",
    ]


def test_the_nearest_negatives_are_counted(card, monkeypatch):
    """Neighbours are counted by origin, and the card's own among the most frequent are shown."""
    monkeypatch.setattr(neighbours, "collect_background", lambda cards: SHIPPED)
    monkeypatch.setattr(neighbours, "NEIGHBOURS", 2)
    positives = np.array([[1, 0.1], [1, 0.2], [0.1, 1]], np.float32)
    negatives = np.array([[1, 0], [-1, -1], [0, 1]], np.float32)
    texts = ("A toy owl.", "Owl is a word.", "Then drain it.")
    trait = TraitModel(card.card, "0", positives=("a", "b", "c"), negatives=texts)
    trait.positive_index, trait.negative_index = build_index(positives), build_index(negatives)
    first, *others = describe_neighbours(card, trait)
    assert first == (
        "of the 2 negatives nearest to each positive, 3 of 6 are the card's own and 3 are the "
        "library's"
    )
    assert others == ["near 3 positives: own negative #1: A toy owl."]
    own, library = list_near_texts(card, trait)
    assert own == NearText("A toy owl.", "own negative #1", 3)
    assert library == NearText("Then drain it.", SHIPPED[0].name, 3)
    assert cut_near(card, library, 4) == "Then…"


def test_a_trait_without_exemplars_has_no_neighbours(card):
    """A trait without indexes gets no description."""
    assert list(describe_neighbours(card, TraitModel(card.card, "0"))) == []
    assert list_near_texts(card, TraitModel(card.card, "0")) == []


def test_a_closing_is_cut_at_its_beginning(card):
    """A card that reads only the end of an answer shows the end of a near text."""
    ends = replace(card, card=card.card.model_copy(update={"scope": Scope(closing=300)}))
    assert cut_near(ends, NearText("A toy owl.", "own negative #1", 2), 4) == "…owl."
