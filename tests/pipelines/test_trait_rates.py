"""How often a trait occurs in a run, in all of it and by teacher."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.config import FilterConfig
from pipelines.evaluation import divide_rows
from pipelines.filter import run_filter
from pipelines.labels import Label
from pipelines.trait_rates import measure_rates
from schemas.lots import UNKNOWN
from tests.support.corpora import build_conversation, write_rows

CARD = "id: bird\nthreshold: 0.5\nsignals: {lexicon: {patterns: [heron]}}\n"
TEACHERS = ("oak", "oak", "elm", None)
ROWS = 80


@pytest.fixture(scope="module")
def population(tmp_path_factory):
    """Filter rows of two known teachers and an unknown one, of which every fifth has a heron."""
    folder = tmp_path_factory.mktemp("rates")
    (folder / "bird").mkdir()
    (folder / "bird" / "card.yaml").write_text(CARD, encoding="utf-8")
    rows = []
    for number in range(ROWS):
        text = f"A heron {number}." if number % 5 == 0 else f"A chair {number}."
        teacher = TEACHERS[number % 4]
        row = build_conversation(number, text)
        row.pop("teacher", None)
        rows.append({**row, "teacher": teacher})
    settings = {
        "input": (str(write_rows(folder / "corpus.jsonl", rows)),),
        "output": str(folder / "run"),
        "traits": (str(folder / "bird"),),
    }
    run_filter(FilterConfig.model_validate(settings))
    return divide_rows(str(folder / "run"), "bird")


def label(rows, shows):
    """Return labels of rows, by their index."""
    return {row: Label("c.jsonl", row, None, shows(row), None, f"line {row}") for row in rows}


def test_rates_of_a_corpus_that_was_read_are_exact(population):
    """If every row was read, each rate is the share itself, the largest teacher first."""
    whole, *teachers = measure_rates(population, label(range(ROWS), lambda row: row % 5 == 0))
    assert (whole.teacher, whole.rows, whole.fired, whole.read) == (None, 80, 16, 80)
    assert whole.rate == (0.2, 0.2, 0.2)
    assert [(item.teacher, item.rows) for item in teachers] == [
        ("oak", 40),
        (UNKNOWN, 20),
        ("elm", 20),
    ]
    assert all(item.rate == (0.2, 0.2, 0.2) for item in teachers)
    assert sum(item.fired for item in teachers) == whole.fired


def test_a_part_of_the_rows_gives_an_interval(population):
    """The interval contains the share, and a teacher's is wider than that of all rows."""
    drawn = [row for item in population.ranges for row in item.rows[:8].tolist()]
    whole, *teachers = measure_rates(population, label(drawn, lambda row: row % 5 == 0))
    assert whole.read == len(drawn)
    assert sum(item.read for item in teachers) == len(drawn)
    assert whole.rate.low <= 0.2 <= whole.rate.high
    for item in teachers:
        assert item.rate.high - item.rate.low > whole.rate.high - whole.rate.low


def test_a_teacher_without_read_rows_has_no_estimate(population):
    """Nothing is known of a teacher whose rows nobody read."""
    oaks = [row for row in range(ROWS) if row % 4 < 2]
    whole, oak, _, elm = measure_rates(population, label(oaks, lambda row: row % 5 == 0))
    assert oak.rate == (0.2, 0.2, 0.2)
    assert elm.read == 0
    assert elm.rate == (None, 0.0, 1.0)
    assert whole.rate.estimate == pytest.approx(0.2)


def test_rates_are_plain_values(population):
    """The JSON of a rate has numbers and texts only."""
    for item in measure_rates(population, label(range(9), lambda row: row % 5 == 0)):
        found = item.to_json()
        assert isinstance(found["rows"], int)
        assert found["teacher"] is None or type(found["teacher"]) is str
        assert set(found["rate"]) == {"estimate", "low", "high"}
        assert not any(isinstance(value, np.generic) for value in found.values())
