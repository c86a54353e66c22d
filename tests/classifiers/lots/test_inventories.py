"""Inventories: what is counted, what is a candidate, and what is stored."""

import numpy as np
import pytest

from classifiers.lots.discovery import KINDS
from classifiers.lots.formats import HABITS
from classifiers.lots.inventories import (
    FEWEST_TEXTS,
    INVENTORY,
    LONGEST_NAME,
    MOST_TEXTS,
    Inventory,
    take_inventory,
)
from tests.support.audits import plant
from tests.support.generations import TEXTS, count_generation
from tests.support.lots import build_sample, write_answers


@pytest.fixture(scope="module")
def inventory() -> Inventory:
    """Count a generation in which one text in ten ends with the habit, once."""
    return count_generation(1, 10)


def find_rows(inventory, text):
    """Return the rows with a name."""
    return [row for row in inventory.table.to_pylist() if row["text"] == text]


def test_the_counts_are_those_of_the_texts(inventory):
    """A planted phrase is counted in both halves, and the totals are all texts."""
    (row,) = [
        row for row in find_rows(inventory, "Mind the gap.") if KINDS[row["kind"]] == "phrase"
    ]
    assert row["learning"] + row["confirming"] == TEXTS // 10
    assert sum(inventory.totals) == TEXTS
    assert inventory.table.schema.equals(INVENTORY)


def test_parts_of_a_phrase_are_counted_without_a_name(inventory):
    """A shorter phrase that a longer one covers is kept, so that later generations can use it."""
    names = inventory.table.column("text").to_pylist()
    assert "Mind the" not in names
    assert names.count(None) > len(names) / 4


def test_what_is_rare_is_left_out(inventory):
    """Everything but formats is in at least `fewest` texts, and candidates in as many to learn."""
    assert inventory.fewest == FEWEST_TEXTS
    for row in inventory.table.to_pylist():
        if KINDS[row["kind"]] != "format":
            assert row["learning"] + row["confirming"] >= inventory.fewest
            assert row["text"] is None or row["learning"] >= inventory.fewest


def test_formats_are_counted_however_rare(inventory):
    """Each habit of formatting has a row."""
    rows = [row for row in inventory.table.to_pylist() if KINDS[row["kind"]] == "format"]
    assert {row["text"] for row in rows} == set(HABITS)


def test_keys_identify_rows(inventory):
    """No two rows have the same key, and the same phrase has the same key in another inventory."""
    assert len(np.unique(inventory.keys)) == inventory.table.num_rows
    other = count_generation(2, 10)
    keys = [
        dict(zip(item.table.column("text").to_pylist(), item.keys.tolist(), strict=True))
        for item in (inventory, other)
    ]
    assert keys[0]["an em dash"] == keys[1]["an em dash"]
    shared = (keys[0].keys() & keys[1].keys()) - {None}
    assert len(shared) > 30


def test_an_inventory_can_be_stored(inventory):
    """Bytes are read back as the same inventory, and are the same each time."""
    data = inventory.encode()
    again = Inventory.decode(data, inventory.totals, inventory.fewest)
    assert again.table.equals(inventory.table)
    assert again.encode() == data == count_generation(1, 10).encode()


def test_names_are_as_they_are_written():
    """Openings and closings have names of their edge of the text, and patterns have gaps."""
    own = [f"Well, {text} It is not one but two. The end." for text in write_answers(80)]
    found = take_inventory(build_sample(own, [])).table.to_pylist()
    names = {(KINDS[row["kind"]], row["text"]) for row in found if row["text"]}
    assert ("opening", "Well,") in names
    assert any(kind == "closing" and text.endswith("The end.") for kind, text in names)
    assert any(kind == "pattern" and "not … but …" in text for kind, text in names)
    assert all(len(text) <= LONGEST_NAME for _, text in names)


def test_candidates_depend_on_the_learning_half_alone():
    """A phrase in the confirming half alone is counted, and is no candidate."""
    answers = write_answers(200)
    sample = build_sample(answers, [])
    texts = [
        f"{text} Quite so indeed." if confirms else text
        for text, confirms in zip(sample.texts.to_pylist(), sample.confirms.tolist(), strict=True)
    ]
    prompts = sample.prompts.to_pylist()
    ordered = [texts[prompts.index(f"Question {number}?")] for number in range(200)]
    found = take_inventory(build_sample(ordered, []))
    assert not any("Quite" in (row["text"] or "") for row in found.table.to_pylist())
    assert max(found.counts[found.counts[:, 0] == 0, 1]) > 50


def test_an_empty_half_is_counted():
    """A handful of texts gives an inventory, however small its halves are."""
    found = take_inventory(build_sample(plant(write_answers(4), 1), []))
    assert sum(found.totals) == 4
    assert MOST_TEXTS > 4
