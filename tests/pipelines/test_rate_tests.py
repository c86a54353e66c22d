"""Rates of two sets of rows, compared in total or within the teachers of both."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, fisher_exact

from classifiers.guarantees.stratified_differences import compute_stratified_p_values
from pipelines.rate_tests import (
    LEVEL,
    RateShift,
    TeacherShift,
    Within,
    compare_hits,
    describe_power,
    describe_shift,
    differs_in_total,
)

LLAMA = {"llama": 400}
BOTH = {"llama": 350, "vicuna": 350}
COUNTS = st.dictionaries(st.sampled_from(["atlas", "borealis", "cygnus"]), st.integers(1, 60))


def compute_p(was, rows, now, others):
    """Return the p-value of Fisher's exact test."""
    return fisher_exact([[was, rows - was], [now, others - now]]).pvalue


def test_a_new_teacher_is_no_change_of_the_others():
    """The rate of all rows falls, and that of the only teacher of both runs is within chance."""
    (found,) = compare_hits([("praise", {"llama": 77}, {"llama": 57, "vicuna": 1})], (LLAMA, BOTH))
    assert found[:5] == ("praise", 77, 400, 58, 700)
    assert found.within == Within(77, 400, 57, 350)
    assert found.p == pytest.approx(compute_p(77, 400, 57, 350))
    assert not found.has_shifted
    assert differs_in_total(found)
    llama, vicuna = found.teachers
    assert llama[:5] == ("llama", 77, 400, 57, 350)
    assert llama.p == pytest.approx(found.p)
    assert vicuna == TeacherShift("vicuna", 0, 0, 1, 350, None, None)


def test_a_change_of_a_teacher_is_seen_beside_a_new_one():
    """A rate that rises within the common teacher has shifted though the total is the same."""
    (found,) = compare_hits([("praise", {"llama": 40}, {"llama": 70})], (LLAMA, BOTH))
    assert found.before / found.rows_before == found.after / found.rows_after
    assert found.has_shifted
    assert not differs_in_total(found)


def test_like_shares_are_compared_in_total():
    """Where teachers have like shares, the tests are Fisher's, adjusted as scipy adjusts them."""
    rows = {"llama": 200, "vicuna": 200}, {"llama": 450, "vicuna": 450}
    counts = {"a": (0, 13), "b": (3, 3), "c": (7, 1), "d": (0, 0)}
    found = compare_hits(
        [(name, {"llama": was}, {"vicuna": now}) for name, (was, now) in counts.items()], rows
    )
    p = [compute_p(was, 400, now, 900) for was, now in counts.values()]
    assert [item.p for item in found] == pytest.approx(p)
    assert [item.q for item in found] == pytest.approx(false_discovery_control(p))
    assert [item.has_shifted for item in found] == [q <= LEVEL for q in false_discovery_control(p)]
    assert all(item.within is None and item.teachers == () for item in found)


def test_several_teachers_are_strata():
    """The test is the stratified one, and each teacher's own test is adjusted for all of them."""
    rows = {"atlas": 50, "borealis": 300}, {"atlas": 200, "borealis": 100}
    hits = [
        ("a", {"atlas": 10, "borealis": 3}, {"atlas": 60, "borealis": 1}),
        ("b", {"atlas": 2}, {"atlas": 6, "borealis": 30}),
    ]
    found = compare_hits(hits, rows)
    tables = [[[10, 50, 60, 200], [3, 300, 1, 100]], [[2, 50, 6, 200], [0, 300, 30, 100]]]
    p = compute_stratified_p_values(*np.moveaxis(np.array(tables), 2, 0))
    assert [item.p for item in found] == pytest.approx(p)
    assert [item.q for item in found] == pytest.approx(false_discovery_control(p))
    own = [compute_p(*table) for one in tables for table in one]
    flat = [one for item in found for one in sorted(item.teachers, key=lambda one: one.teacher)]
    assert [one.p for one in flat] == pytest.approx(own)
    assert [one.q for one in flat] == pytest.approx(false_discovery_control(own))
    assert [one.teacher for one in found[0].teachers] == ["borealis", "atlas"]


def test_nothing_is_tested_without_a_common_teacher():
    """With other teachers alone, there is no p-value, and the sentence says why."""
    (found,) = compare_hits([(None, {"llama": 9}, {"vicuna": 1})], (LLAMA, {"vicuna": 300}))
    assert (found.p, found.q, found.has_shifted) == (None, None, False)
    assert found.within == Within(0, 0, 0, 0)
    assert describe_shift(found) == (
        "9 of 400 (2.25%) before, 1 of 300 (0.33%) now; not tested, because no teacher is in both "
        "runs"
    )
    assert compare_hits([], (LLAMA, BOTH)) == []
    assert compare_hits([], (LLAMA, LLAMA)) == []


def test_a_shift_is_said_with_its_totals():
    """The line has both counts with their totals, and the p-value if there is a test."""
    shift = RateShift(None, 3, 400, 31, 900, 0.00401, 0.00401)
    counts = "3 of 400 (0.75%) before, 31 of 900 (3.44%) now"
    assert describe_shift(shift) == f"{counts}; p = 0.004 (Fisher's exact test)"
    assert describe_shift(shift, has_p=False) == counts
    assert describe_shift(shift._replace(before=0, rows_before=0)).startswith("0 of 0 (0.00%)")
    within = shift._replace(within=Within(3, 400, 5, 450))
    assert describe_shift(within) == (
        f"{counts}; of the teachers in both runs 3 of 400 (0.75%) before, 5 of 450 (1.11%) now; "
        "p = 0.004 within teachers (Cochran-Mantel-Haenszel test)"
    )
    assert describe_shift(within, has_p=False) == counts
    same = shift._replace(within=Within(*shift[1:5]))
    assert describe_shift(same).startswith(f"{counts}; p = 0.004 within teachers")


def test_no_difference_says_what_would_have_been_one():
    """A rise is named if none was found, among the teachers of both sets if rates are within."""
    shift = RateShift(None, 8, 700, 11, 700, 0.6, 0.6)
    said = describe_power(shift)
    assert said.startswith("a rise to 3.")
    assert said.endswith("% would have been found with 80% probability")
    assert describe_power(shift._replace(p=0.01)) == ""
    assert describe_power(shift._replace(p=None, q=None)) == ""
    few = shift._replace(within=Within(0, 3, 0, 3))
    assert describe_power(few) == "so few rows that no rise would have been found"


def test_objects_in_json_have_names():
    """The counts of both runs' teachers, and of each teacher, are objects."""
    (found,) = compare_hits([("a", {"llama": 7}, {"vicuna": 1})], (LLAMA, BOTH))
    as_json = found.to_json()
    assert as_json["within"] == {"before": 7, "rows_before": 400, "after": 0, "rows_after": 350}
    assert [item["teacher"] for item in as_json["teachers"]] == ["llama", "vicuna"]
    assert as_json["teachers"][1]["q"] is None
    plain = RateShift(None, 3, 400, 31, 900, 0.1, 0.1).to_json()
    assert (plain["within"], plain["teachers"]) == (None, [])


@given(COUNTS, COUNTS, st.data())
def test_counts_add_up(before, now, data):
    """Totals are the sums over teachers, and the counts of both runs' teachers are part of them."""
    hits = [
        {name: data.draw(st.integers(0, count)) for name, count in rows.items()}
        for rows in (before, now)
    ]
    (found,) = compare_hits([("a", *hits)], (before, now))
    assert found[1:5] == (
        *(sum(hits[0].values()), sum(before.values())),
        *(sum(hits[1].values()), sum(now.values())),
    )
    if found.within is None:
        return
    own = [item for item in found.teachers if item.p is not None]
    assert found.within == tuple(sum(item[at] for item in own) for at in range(1, 5))
    assert found[1:5] == tuple(sum(item[at] for item in found.teachers) for at in range(1, 5))
    assert (found.p is None) == (not set(before) & set(now))
