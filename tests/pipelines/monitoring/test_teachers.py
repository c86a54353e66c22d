"""Generations with other shares of teachers: what is compared with what, and what is said."""

import pytest

from classifiers.lots.drift import Drift
from classifiers.lots.trends import WINDOW
from pipelines.monitoring.history import Generation
from pipelines.monitoring.teachers import (
    Changed,
    _order,
    compare_generations,
    describe_teachers,
    sum_teachers,
    take_teacher,
)
from tests.support.generations import count_generation

PLAIN, OTHER, RISEN, OFTEN = (
    count_generation(number, every) for number, every in ((1, 0), (2, 0), (3, 4), (4, 4))
)
LEVEL = 0.05


def build(number, inventory, teachers, by_teacher):
    """Return a generation."""
    return Generation(number, f"gen{number}", 400, "", inventory, "", None, teachers, by_teacher)


FIRST = build(1, PLAIN, {"atlas": 400}, {"atlas": PLAIN})
ADDED = build(2, RISEN, {"atlas": 200, "borealis": 200}, {"atlas": OTHER, "borealis": RISEN})


def test_a_new_teachers_habit_is_no_change():
    """All rows have the habit more often, and the only common teacher doesn't."""
    found = compare_generations([FIRST, ADDED], LEVEL)
    assert found.changes == []
    assert found.teachers == ("atlas",)
    alone = [item._replace(by_teacher=None) for item in (FIRST, ADDED)]
    whole = compare_generations(alone, LEVEL)
    assert whole.teachers is None
    assert "gap" in whole.changes[0].drift.text
    assert whole.changes[0].teacher is None


def test_a_change_of_a_common_teacher_is_found():
    """The teacher and its generations are named."""
    risen = ADDED._replace(by_teacher={"atlas": OFTEN, "borealis": OTHER})
    found = compare_generations([FIRST, risen], LEVEL)
    first = found.changes[0]
    assert "gap" in first.drift.text
    assert (first.teacher, first.drift.change) == ("atlas", "appeared")
    assert [item.inventory for item in first.generations] == [PLAIN, OFTEN]
    assert found.candidates > 0
    assert [item.drift.rank for item in found.changes] == sorted(
        (item.drift.rank for item in found.changes), reverse=True
    )


def test_like_shares_are_compared_as_a_whole():
    """Where teachers have like shares, all rows are one lot."""
    before = build(1, PLAIN, ADDED.teachers, {"atlas": PLAIN, "borealis": PLAIN})
    found = compare_generations([before, ADDED], LEVEL)
    assert found.teachers is None
    assert "gap" in found.changes[0].drift.text
    assert describe_teachers([before, ADDED]) == []


def test_teachers_share_the_level():
    """With several teachers, each is tested at a part of the level."""
    before = build(1, PLAIN, {"atlas": 300, "borealis": 100}, {"atlas": PLAIN, "borealis": PLAIN})
    both = compare_generations([before, ADDED], LEVEL)
    one = compare_generations([before._replace(by_teacher={"borealis": PLAIN}), ADDED], LEVEL / 2)
    assert both.teachers == ("atlas", "borealis")
    own = [item.drift for item in both.changes if item.teacher == "borealis"]
    assert own == [item.drift for item in one.changes]


def test_generations_without_the_teacher_are_skipped():
    """A teacher is compared with those of its generations that are known."""
    lacking = build(2, OTHER, {"cygnus": 400}, {"cygnus": OTHER})
    last = ADDED._replace(number=3)
    assert [item.number for item in take_teacher([FIRST, lacking, last], "atlas")] == [1, 3]
    found = compare_generations([FIRST, lacking, last], LEVEL)
    assert found.teachers == ("atlas",)


def test_nothing_is_tested_without_a_common_teacher():
    """There is no change, and the notes say why."""
    last = build(2, RISEN, {"borealis": 400}, {"borealis": RISEN})
    found = compare_generations([FIRST, last], LEVEL)
    assert (found.changes, found.candidates, found.teachers) == ([], 0, ())
    notes = describe_teachers([FIRST, last])
    assert "new teacher: borealis, 400 rows, not comparable" in notes
    assert "vanished teacher: atlas, 400 rows, not comparable" in notes
    assert notes[0].endswith("), so nothing was tested: no teacher's texts are in both")


def test_notes_name_who_was_compared():
    """The shares and the compared teacher have one line, and the new teacher has another."""
    shares, new = describe_teachers([FIRST, ADDED])
    compared = "each teacher was compared with its own earlier texts: atlas"
    assert "borealis 0 of 400 before, 200 of 400 now" in shares
    assert shares.endswith(f"), so {compared}")
    assert "may differ" not in shares
    assert new == "new teacher: borealis, 200 rows, not comparable"
    only, how = describe_teachers([FIRST, ADDED], ("borealis",))
    assert (only, how) == ("only rows of borealis were read", compared)


@pytest.mark.parametrize("lacking", [0, 1])
def test_a_history_without_counts_is_compared_as_a_whole(lacking):
    """It was recorded by an earlier version, and the note says that teachers may be the reason."""
    generations = [FIRST, ADDED]
    generations[lacking] = generations[lacking]._replace(by_teacher=None)
    assert compare_generations(generations, LEVEL).teachers is None
    assert "so a change may be one of teachers" in describe_teachers(generations)[0]


def test_what_was_left_out_is_said():
    """Teachers with few texts, and generations without counts, are counted."""
    older = build(1, PLAIN, {"atlas": 400}, None)
    before = build(2, PLAIN, {"atlas": 395, "dove": 5}, {"atlas": PLAIN})
    last = build(3, RISEN, {"atlas": 200, "borealis": 195, "dove": 5}, ADDED.by_teacher)
    note = describe_teachers([older, before, last])[0]
    assert "atlas; 1 teacher with fewer than 16 texts" in note
    assert note.endswith("; 1 generation without counts of each teacher left out")


def test_only_the_newest_generations_count():
    """Teachers of generations that aren't compared any more don't count."""
    old = build(1, PLAIN, {"dove": 400}, {"dove": PLAIN})
    later = [FIRST._replace(number=number) for number in range(2, WINDOW + 2)]
    assert sum_teachers([old, *later]) == ({"atlas": 400 * (WINDOW - 1)}, {"atlas": 400})
    unknown = FIRST._replace(teachers=None)
    assert sum_teachers([unknown, ADDED])[0] == {}
    assert describe_teachers([unknown, ADDED]) == []


def test_each_comparison_says_how_small_a_rise_it_finds():
    """All rows have one rate, and of several teachers each has its own."""
    (whole,) = compare_generations([FIRST, FIRST._replace(number=2)], LEVEL).reach
    assert whole.teacher is None
    assert (whole.texts, whole.earlier) == (PLAIN.totals[1], PLAIN.totals[1])
    assert whole.rate is not None
    (atlas,) = compare_generations([FIRST, ADDED], LEVEL).reach
    assert atlas.teacher == "atlas"
    last = build(2, RISEN, {"borealis": 400}, {"borealis": RISEN})
    assert compare_generations([FIRST, last], LEVEL).reach == ()


def test_small_words_come_after_everything_else():
    """They are last however much they changed, unless they appeared."""
    drift = Drift("phrase", "of", "rose", (3, 90), 1e-9, 1e-8, None, 5.0)
    small, named = Changed(drift, None, ()), Changed(drift._replace(text="gap", rank=1.0), None, ())
    new = Changed(drift._replace(change="appeared"), None, ())
    assert _order([small, named, new]) == [new, named, small]
    assert (small.is_plain, named.is_plain, new.is_plain) == (True, False, False)
