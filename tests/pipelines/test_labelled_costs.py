"""Signals of a run's trait that fire on rows which a reader judged wrong."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from pipelines.config import FilterConfig
from pipelines.evaluation import divide_rows
from pipelines.filter import run_filter
from pipelines.labelled_costs import find_labelled_cost
from pipelines.labels import Label
from schemas.manifests import SettledThreshold
from tests.support.corpora import write_rows

LOOP = "so it goes on and on " * 60
ROWS = 40
CARD = "id: bird\nsignals: {lexicon: {patterns: [heron]}, repetition: {}}\nthreshold: 0.5\n"


@pytest.fixture(scope="module")
def birds(tmp_path_factory):
    """Filter herons, loops and other answers by patterns and repetition."""
    folder = tmp_path_factory.mktemp("birds")
    (folder / "bird").mkdir()
    (folder / "bird" / "card.yaml").write_text(CARD)
    texts = ["A heron by the water.", LOOP, "Bread needs flour.", "Salt is a mineral."]
    rows = [{"text": f"{texts[number % 4]} {number}."} for number in range(ROWS)]
    write_rows(folder / "corpus" / "a.jsonl", rows)
    (folder / "policy.yaml").write_text("traits: {bird: {action: flag}}\n")
    config = {
        "input": (str(folder / "corpus"),),
        "output": str(folder / "run"),
        "traits": (str(folder / "bird"),),
        "policy": str(folder / "policy.yaml"),
    }
    run_filter(FilterConfig.model_validate(config))
    return folder / "run"


def label_rows(*kinds):
    """Return labels by which the rows of these kinds show the trait."""
    return {row: Label("a.jsonl", row, None, row % 4 in kinds, None, row) for row in range(ROWS)}


def test_the_signal_behind_wrong_rows_is_named(birds):
    """If only herons show the trait, the repetition fires on ten rows that don't."""
    population = divide_rows(str(birds), "bird")
    found = find_labelled_cost(population, label_rows(0))
    assert found.dropped == ("repetition",)
    assert (found.right, found.right_without) == (10, 10)
    assert (found.wrong, found.wrong_without) == (10, 0)


def test_labels_that_agree_name_nothing(birds):
    """If loops show the trait, too, no signal can go, and without labels nothing is known."""
    population = divide_rows(str(birds), "bird")
    assert find_labelled_cost(population, label_rows(0, 1)) is None
    assert find_labelled_cost(population, {}) is None


def test_a_single_signal_has_no_cost(birds):
    """A rule that reads one signal can't do without it."""
    population = divide_rows(str(birds), "bird")
    rule = SettledThreshold(**{**population.rule.model_dump(), "signal": "lexicon"})
    assert find_labelled_cost(replace(population, rule=rule), label_rows(0)) is None


def test_a_level_gives_another_threshold(birds):
    """Under a level, the patterns alone have the lowest threshold, because no clean text has them.

    With the threshold by hand that no hit reaches, nothing is left, and nothing is named.
    """
    population = divide_rows(str(birds), "bird")
    fields = population.rule.model_dump() | {"threshold": 0.9}
    by_hand = replace(population, rule=SettledThreshold(**fields))
    assert find_labelled_cost(by_hand, label_rows(0)) is None
    level = replace(population, rule=SettledThreshold(**fields | {"origin": "calibrated"}))
    found = find_labelled_cost(level, label_rows(0))
    assert (found.right, found.right_without) == (0, 10)
    assert (found.dropped, found.wrong, found.wrong_without) == (("repetition",), 10, 0)


def test_a_run_without_a_sound_bank_says_nothing(birds, tmp_path):
    """Without a bank, or with one that can't be read, nothing is named; verify says why."""
    run = tmp_path / "run"
    shutil.copytree(birds, run)
    (index,) = (run / "bank").glob("*.json")
    index.write_text("{}")
    assert find_labelled_cost(divide_rows(str(birds), "bird"), label_rows(0)) is not None
    population = replace(divide_rows(str(birds), "bird"), run=str(run))
    assert find_labelled_cost(population, label_rows(0)) is None
    shutil.rmtree(run / "bank")
    assert find_labelled_cost(population, label_rows(0)) is None
