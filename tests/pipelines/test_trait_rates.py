"""How often a trait occurs in a run, in all of it and by teacher."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.config import FilterConfig
from pipelines.evaluation import divide_rows
from pipelines.filter import run_filter
from pipelines.labels import Label
from pipelines.trait_rates import compare_teachers, measure_rates
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


def test_teachers_have_a_recall_of_their_own(population):
    """The threshold finds every heron, and with it all of each teacher's rows that show it."""
    whole, *teachers = measure_rates(population, label(range(ROWS), lambda row: row % 5 == 0))
    assert [item.recall for item in (whole, *teachers)] == [(1.0, 1.0, 1.0)] * 4
    odd = measure_rates(population, label(range(ROWS), lambda row: row % 2 == 1))
    by_name = {item.teacher: item.recall.estimate for item in odd}
    assert by_name["oak"] == pytest.approx(4 / 20)
    assert by_name["elm"] is None  # no row of it shows the trait


def test_teachers_that_were_read_are_ranked(population):
    """A difference that is large enough for new rows ranks; equal rates can't be ranked."""
    odd = measure_rates(population, label(range(ROWS), lambda row: row % 4 == 3))
    pairs = {(item.first, item.second): item for item in compare_teachers(odd)}
    assert pairs[UNKNOWN, "oak"].difference == (1.0, 1.0, 1.0)
    assert pairs[UNKNOWN, "oak"].is_ranked
    assert pairs[UNKNOWN, "oak"].is_exact
    assert 0.5 < pairs[UNKNOWN, "oak"].on_new_rows.low < 1
    assert pairs[UNKNOWN, "oak"].rows_needed is None
    (equal,) = (item for names, item in pairs.items() if set(names) == {"oak", "elm"})
    assert (equal.is_ranked, equal.rows_needed) == (False, None)


def test_teachers_that_cannot_be_ranked_need_more_rows(population):
    """Few rows leave the order open, and the number of rows is at most that of the corpus."""
    drawn = [row for item in population.ranges for row in item.rows[:9].tolist()]
    rates = measure_rates(population, label(drawn, lambda row: row % 3 == 0))
    pairs = compare_teachers(rates)
    open_ones = [item for item in pairs if not item.is_ranked and item.difference.estimate]
    assert open_ones
    for item in open_ones:
        assert item.difference.low <= 0 <= item.difference.high
        assert rates[0].read < item.rows_needed
    assert set(pairs[0].to_json()) == {
        *("first", "second", "difference", "on_new_rows"),
        *("is_ranked", "is_exact", "rows_needed"),
    }


def test_reading_everything_is_no_claim_about_teachers(population):
    """Two cases against one of 20 are a fact about these rows, and need a larger corpus."""
    few = {3, 7, 2}  # two rows of the unknown teacher, one of elm
    rates = measure_rates(population, label(range(ROWS), lambda row: row in few))
    assert [item.rate.estimate for item in rates[1:]] == [0.0, 0.1, 0.05]
    pairs = compare_teachers(rates)
    assert not any(item.is_ranked for item in pairs)
    (pair,) = (item for item in pairs if {item.first, item.second} == {"elm", UNKNOWN})
    assert pair.difference == pytest.approx((0.05, 0.05, 0.05))
    assert pair.on_new_rows.low < 0 < pair.on_new_rows.high
    assert pair.rows_needed > 10 * ROWS
    assert pair.rows_needed % 100 == 0  # a rough number


def test_new_rows_are_less_certain_than_these(population):
    """The interval for new rows contains that for the rows of the corpus, and the estimate."""
    for item in measure_rates(population, label(range(0, ROWS, 2), lambda row: row % 5 == 0)):
        assert item.on_new_rows.low <= item.rate.low <= item.rate.high <= item.on_new_rows.high
        assert item.on_new_rows.estimate == item.rate.estimate


def test_rates_are_plain_values(population):
    """The JSON of a rate has numbers and texts only."""
    for item in measure_rates(population, label(range(9), lambda row: row % 5 == 0)):
        found = item.to_json()
        assert isinstance(found["rows"], int)
        assert found["teacher"] is None or type(found["teacher"]) is str
        assert set(found["rate"]) == set(found["recall"]) == set(found["on_new_rows"])
        assert set(found["rate"]) == {"estimate", "low", "high"}
        assert "strata" not in found
        assert not any(isinstance(value, np.generic) for value in found.values())
