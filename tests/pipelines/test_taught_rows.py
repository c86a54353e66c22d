"""Labelled rows whose text is an exemplar of the card."""

from __future__ import annotations

import shutil

import pytest

from pipelines.config import FilterConfig
from pipelines.evaluation import divide_rows, find_earlier
from pipelines.filter import run_filter
from pipelines.labels import Label
from pipelines.taught_rows import LEAST_CHARACTERS, mark_taught
from tests.support.corpora import write_rows

QUOTED = "A grey heron stood by the water, and nobody dared to move."
SHORT = "A stork."
CARD = "signals: {lexicon: {patterns: [heron]}, wording: {}}\nthreshold: 0.5\n"


@pytest.fixture
def run(tmp_path, card_folder):
    """Filter a row with a pasted exemplar, two with a short one, and two others."""
    folder = card_folder("bird", CARD, [QUOTED, SHORT, "An egret flew.", "A crane."], ["No bird."])
    texts = [f"Listen.  {QUOTED}", SHORT, f"Yes! {SHORT}", "A heron slept here.", "Bread."]
    write_rows(tmp_path / "corpus" / "a.jsonl", [{"text": text} for text in texts])
    (tmp_path / "policy.yaml").write_text("traits: {bird: {action: flag}}\n")
    config = {
        "input": (str(tmp_path / "corpus"),),
        "output": str(tmp_path / "run"),
        "traits": (str(folder),),
        "policy": str(tmp_path / "policy.yaml"),
    }
    run_filter(FilterConfig.model_validate(config))
    return tmp_path / "run", str(folder)


def test_rows_that_the_card_quotes_are_known(run):
    """A long exemplar is found within a row, and a short one only if it is the whole row."""
    assert len(SHORT) < LEAST_CHARACTERS <= len(QUOTED)
    folder, card = run
    population = mark_taught(divide_rows(str(folder), "bird"), range(5), card)
    assert population.taught == {0, 1}
    score = [float(value) for value in population.scores]
    labels = {row: Label("a.jsonl", row, None, True, score[row], row) for row in range(5)}
    assert find_earlier(population, labels) == {0, 1}
    assert mark_taught(population, {3, 4}, card).taught == frozenset()


def test_without_bank_and_card_no_row_is_known(run):
    """The card's folder has the exemplars of a bank without them; a mere id names no folder."""
    folder, card = run
    shutil.rmtree(folder / "bank")
    population = divide_rows(str(folder), "bird")
    assert mark_taught(population, range(5), card).taught == {0, 1}
    assert mark_taught(population, range(5), "bird").taught == frozenset()
