"""Whether other shares of teachers are said, and which teachers are named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.teacher_shares import (
    LEAST_MOVED,
    TEACHERS_SHOWN,
    describe_shares,
    have_moved,
    list_incomparable,
    name_teacher,
)
from schemas.lots import UNKNOWN

COUNTS = st.dictionaries(st.sampled_from(["atlas", "borealis", "cygnus"]), st.integers(1, 1000))


def test_an_added_teacher_is_named_with_its_rows():
    """A reader sees who came in, and that rates may differ for that reason alone."""
    assert describe_shares({"llama": 400}, {"llama": 350, "vicuna": 350}) == (
        "the teachers' shares of the rows differ (llama 400 of 400 before, 350 of 700 now; "
        "vicuna 0 of 400 before, 350 of 700 now), so rates may differ for that reason alone"
    )


def test_the_sets_can_have_other_names():
    """An audit has no before and now, but a reference and a corpus."""
    said = describe_shares({"llama": 4}, {"owl": 7}, ("here", "there"), "texts may differ")
    assert str(said).endswith("owl 0 of 4 here, 7 of 7 there), so texts may differ")


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ({"llama": 400}, {"llama": 7}),
        ({"llama": 400, "vicuna": 400}, {"llama": 9, "vicuna": 9}),
        ({"llama": 1000}, {"llama": 995, "vicuna": 5}),
        ({}, {"llama": 1}),
        ({"llama": 1}, {}),
    ],
)
def test_like_shares_are_not_mentioned(before, now):
    """Other numbers of rows with like shares aren't a reason, and a stray row isn't one."""
    assert describe_shares(before, now) is None


def test_rows_that_name_no_teacher_are_called_so():
    """The sign for an unknown teacher would say nothing."""
    assert "no named teacher 9 of 9 before, 0 of 9 now" in str(
        describe_shares({UNKNOWN: 9}, {"llama": 9})
    )


def test_only_the_teachers_that_differ_most_are_named():
    """The others are counted."""
    found = describe_shares({"llama": 100}, {f"t{at}": 10 + at for at in range(6)})
    assert str(found).count(" before, ") == TEACHERS_SHOWN
    assert "3 more teachers)" in str(found)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31m"])
def test_names_are_escaped(name):
    """A corpus names its teachers, and may not change the terminal."""
    assert name not in str(describe_shares({"llama": 1}, {name: 1}))


def test_new_and_vanished_teachers_have_lines():
    """Each has its rows, and rows that name no teacher are called so."""
    before, now = {"llama": 400, "yi": 1}, {"llama": 350, "vicuna": 1350, UNKNOWN: 2, "phi": 0}
    assert list(list_incomparable(before, now)) == [
        "new teacher: vicuna, 1,350 rows, not comparable",
        "new teacher: no named teacher, 2 rows, not comparable",
        "vanished teacher: yi, 1 row, not comparable",
    ]
    assert list(list_incomparable(now, now)) == []


def test_a_new_teacher_has_the_traits_that_fired_on_its_rows():
    """They can't be tested, so their counts and shares are in its line, the most frequent first."""
    fired = {
        "owl": {"llama": 9, "vicuna": 5},
        "bee": {"vicuna": 5},
        "elk": {"vicuna": 14},
        "fox": {"llama": 2},
    }
    before, now = {"llama": 400, "yi": 3}, {"llama": 350, "vicuna": 350, "phi": 10}
    assert list(list_incomparable(before, now, fired)) == [
        "new teacher vicuna, 350 rows, not tested: elk 14 (4.00%), bee 5 (1.43%), owl 5 (1.43%)",
        "new teacher phi, 10 rows, not tested: no trait fired",
        "vanished teacher: yi, 3 rows, not comparable",
    ]
    assert "\x1b" not in next(list_incomparable({}, {"\x1b[31m": 1}, fired))


def test_many_new_teachers_are_counted():
    """The largest ones are named, and the others have one line."""
    found = list(list_incomparable({}, {f"t{at}": 10 + at for at in range(7)}))
    assert len(found) == TEACHERS_SHOWN + 1
    assert found[0].startswith("new teacher: t6")
    assert found[-1] == "3 more new teachers: 33 rows, not comparable"


def test_names_cannot_change_a_terminal():
    """A name's control characters are escaped."""
    assert "\x1b" not in name_teacher("\x1b[31m")
    assert "\x1b" not in next(list_incomparable({}, {"\x1b[31m": 1}))


@given(COUNTS, COUNTS)
def test_what_is_said_is_what_is_tested(before, now):
    """Shares are said to differ exactly if rates are compared within teachers."""
    assert have_moved(before, now) == (describe_shares(before, now) is not None)


@given(COUNTS, COUNTS)
def test_both_directions_agree(before, now):
    """Shares differ both ways or not at all, and never from themselves."""
    assert (describe_shares(before, now) is None) == (describe_shares(now, before) is None)
    assert describe_shares(now, now) is None
    assert LEAST_MOVED > 0
