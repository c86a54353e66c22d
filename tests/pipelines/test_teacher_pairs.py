"""Teachers on the same prompts: who is compared, on which answers, and what isn't compared."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest, false_discovery_control

from pipelines import teacher_pairs
from pipelines.teacher_pairs import (
    FEWEST_ALONE,
    LEAST_SHARED,
    PAIRS,
    PairLine,
    TeacherPairs,
    compare_pairs,
)
from tests.support.shared_prompts import SHARED, build_row, build_rows, filter_rows


@pytest.fixture(scope="module")
def filtered(tmp_path_factory):
    """Filter the answers of three teachers once."""
    return filter_rows(tmp_path_factory.mktemp("pairs"), build_rows())


def test_teachers_are_compared_on_their_shared_prompts(filtered):
    """Only prompts that both answered count, also those of removed rows; the test is exact."""
    found = compare_pairs(*filtered)
    assert (found.pairs, found.note) == (1, "")
    (line,) = (PairLine(*row) for row in found.table.iter_rows())
    assert line[:6] == ("heron", "atlas", "borealis", SHARED, 20, 10)
    assert (line.first_alone, line.second_alone) == (10, 0)
    assert line.p == line.q == pytest.approx(binomtest(0, 10).pvalue, abs=1e-6)
    assert found.differing == [line]
    assert found.found == 1
    assert found.table.schema == PAIRS


def test_blocks_of_prompts_add_up(filtered, monkeypatch):
    """The table doesn't depend on how many prompts are counted together."""
    whole = compare_pairs(*filtered)
    monkeypatch.setattr(teacher_pairs, "PROMPTS_AT_ONCE", 7)
    assert compare_pairs(*filtered).table.equals(whole.table)


def test_only_the_largest_teachers_are_compared(filtered, monkeypatch):
    """With fewer teachers than needed, there is no pair, and the note says so."""
    monkeypatch.setattr(teacher_pairs, "MOST_TEACHERS", 1)
    found = compare_pairs(*filtered)
    assert found.pairs == 0
    assert found.note.startswith(f"no two teachers have {LEAST_SHARED} prompts in common")


def test_long_runs_are_not_compared(filtered, monkeypatch):
    """Reading millions of prompts would take minutes, and the note says so."""
    monkeypatch.setattr(teacher_pairs, "MOST_ROWS", 10)
    found = compare_pairs(*filtered)
    assert found.note == (
        "the run has more than 10 rows, so teachers aren't compared on the same prompts"
    )
    assert found.table.schema == PAIRS
    assert not found.table.height


def test_other_prompts_are_not_compared(tmp_path):
    """Teachers with too few prompts in common have a sentence instead of a table."""
    rows = [
        build_row(f"Question {number + first}?", teacher, fires=False, number=number)
        for teacher, first in (("atlas", 0), ("borealis", 40))
        for number in range(50)
    ]
    found = compare_pairs(*filter_rows(tmp_path, rows))
    assert (found.pairs, found.differing) == (0, [])
    assert found.note == (
        "no two teachers have 20 prompts in common (at most 10), so teachers aren't compared on "
        "the same prompts"
    )


def test_dropped_rows_are_an_obstacle(tmp_path):
    """Their teacher would look better without them."""
    found = compare_pairs(*filter_rows(tmp_path, build_rows(), "drop"))
    assert found.note.startswith("the run doesn't hold the text of 60 dropped rows, so teachers")


def test_a_single_teacher_has_no_pair(tmp_path):
    """A run of one teacher says nothing about pairs, and neither does one without names."""
    rows = [build_row(f"Question {number}?", "atlas", fires=False) for number in range(5)]
    named = filter_rows(tmp_path / "one", rows)
    assert compare_pairs(*named) is None
    none = [build_row(f"Question {number}?", None, fires=False) for number in range(5)]
    assert compare_pairs(*filter_rows(tmp_path / "none", none)) is None
    assert compare_pairs(named[0], named[1].model_copy(update={"withdrawn": object()})) is None


def test_one_of_several_answers_counts(tmp_path):
    """A teacher that answers a prompt twice counts once, whatever the order of rows."""
    rows = build_rows()
    again = [build_row(f"Question {number}?", "borealis", True, number) for number in range(9)]
    one = compare_pairs(*filter_rows(tmp_path / "one", [*rows, *again]))
    two = compare_pairs(*filter_rows(tmp_path / "two", [*again[::-1], *rows[::-1]]))
    assert one.table.equals(two.table)
    assert one.table["prompts"].to_list() == [SHARED]


def test_values_are_adjusted_for_all_pairs_and_traits():
    """Benjamini's and Hochberg's values are scipy's, and traits that never fired don't count."""
    shared = np.full((3, 3), 100)
    alone = np.array([[0, 30, 9], [2, 0, 4], [9, 1, 0]])
    loud = teacher_pairs.PairedCounts(shared, alone + 5, alone)
    quiet = teacher_pairs.PairedCounts(shared, 0 * shared, 0 * shared)
    table = teacher_pairs._tabulate([loud, quiet], ["a", "b", "c"], ["loud", "quiet"])
    assert table["trait"].to_list() == ["loud"] * 3
    ordered = table.sort("first", "second")
    p = [binomtest(*pair).pvalue for pair in ((30, 32), (9, 18), (4, 5))]
    assert ordered["p"].to_list() == pytest.approx(p, abs=1e-6)
    assert ordered["q"].to_list()[:2] == pytest.approx(false_discovery_control(p[:2]), abs=1e-6)
    assert ordered["q"].to_list()[2] is None
    assert table["q"].drop_nulls().is_sorted()


def test_lines_that_cannot_show_a_difference_do_not_hide_one():
    """A hundred rare traits with five prompts each leave the q of a clear difference as it is."""
    shared = np.full((2, 2), 80)
    clear, rare = (np.array([[0, number], [0, 0]]) for number in (11, FEWEST_ALONE - 1))
    counts = [teacher_pairs.PairedCounts(shared, own + 1, own) for own in (clear, *[rare] * 99)]
    names = [f"t{number:02}" for number in range(100)]
    table = teacher_pairs._tabulate(counts, ["a", "b"], names)
    first = table.row(0, named=True)
    assert (first["trait"], first["q"]) == ("t00", first["p"])
    assert table["q"].null_count() == 99
    assert TeacherPairs(table, 1, "").found == 1
    assert binomtest(FEWEST_ALONE, FEWEST_ALONE).pvalue <= teacher_pairs.LEVEL
    assert binomtest(FEWEST_ALONE - 1, FEWEST_ALONE - 1).pvalue > teacher_pairs.LEVEL


def test_the_page_shows_the_first_lines(monkeypatch):
    """Lines that don't differ aren't shown, and a limit cuts the others."""
    monkeypatch.setattr(teacher_pairs, "LINES_SHOWN", 2)
    rows = [("t", "a", str(at), 30, 9, 1, 9, 1, 0.01, 0.02) for at in range(3)]
    table = pl.DataFrame([*rows, (*rows[0][:8], 0.5, 0.6)], PAIRS, orient="row")
    found = TeacherPairs(table, 4, "")
    assert (len(found.differing), found.found) == (2, 3)
