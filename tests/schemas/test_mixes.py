"""Mixes: shares as exact ratios, and counts of lots."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.lots import LOT_FIELDS
from schemas.mixes import (
    MIX,
    LotMix,
    MixCounts,
    MixRecord,
    compute_ratio,
)
from schemas.policies import DECISIONS, FILTERED, PUBLISHED
from schemas.shares import LEAST_SHARE, MOST_SHARE

LOTS = (
    LotMix(teacher="atlas", rows=30, wanted=10, added=10),
    LotMix(teacher="borealis", date="2026-01-01", rows=6, wanted=2, added=1),
    LotMix(rows=3, wanted=1, added=0),
)


def test_an_added_row_has_a_decision_of_its_own():
    """The decision puts a row in `clean/`, and `filter` never takes it."""
    assert MIX in DECISIONS
    assert MIX in PUBLISHED
    assert MIX not in FILTERED
    assert "swap" not in FILTERED
    assert set(FILTERED) < set(DECISIONS)


@pytest.mark.parametrize(
    ("share", "ratio"),
    [(0.5, Fraction(1)), (0.25, Fraction(1, 3)), (0.1, Fraction(1, 9)), (0.2, Fraction(1, 4))],
)
def test_a_share_is_of_all_rows_together(share, ratio):
    """A quarter of the rows is a third of the rows to which they are added, exactly."""
    assert compute_ratio(share) == ratio


@given(st.integers(1, 989), st.integers(1, 10**9))
def test_the_ratio_gives_the_share_back(thousandths, rows):
    """Added rows divided by all rows is the share as a person wrote it."""
    share = thousandths / 1000
    added = rows * compute_ratio(share)
    assert added / (rows + added) == Fraction(thousandths, 1000)


def test_counts_add_up_over_lots():
    """Rows, wanted and added rows are sums, and short lots are those with too few."""
    counts = MixCounts(lots=LOTS, by_donor={"elm": 11}, held_out=4)
    assert (counts.rows, counts.wanted, counts.added) == (39, 13, 11)
    assert counts.short == LOTS[1:]
    assert counts.share == 11 / 50
    assert [lot.share for lot in LOTS] == [0.25, 1 / 7, 0]
    assert counts.list_shortest(2) == [LOTS[1], LOTS[2]]
    assert MixCounts().rows == MixCounts().added == 0
    assert MixCounts().short == ()


def test_a_lot_is_described_by_its_known_fields():
    """Unknown fields are left out, and a lot without any known field is a dash."""
    assert [lot.describe() for lot in LOTS] == [
        "teacher atlas",
        "teacher borealis, date 2026-01-01",
        "-",
    ]
    whole = LotMix(
        teacher="a", prompt_source="b", system_prompt="c", date="d", rows=1, wanted=0, added=0
    )
    assert whole.fields == ("a", "b", "c", "d")
    assert len(whole.fields) == len(LOT_FIELDS)
    assert whole.describe() == "teacher a, prompt source b, system prompt c, date d"


@pytest.mark.parametrize("share", [0, -0.1, 1, 1.5, LEAST_SHARE / 2, float("nan")])
def test_a_share_outside_its_bounds_is_refused(share):
    """There is no share of nothing, and none of everything."""
    with pytest.raises(ValidationError):
        MixRecord(parent="p", parent_digest="", parent_root="", donors=(), share=share)


@pytest.mark.parametrize("share", [LEAST_SHARE, 0.5, MOST_SHARE])
def test_a_record_survives_json(share):
    """A record is the same after it was written and read."""
    record = MixRecord(
        parent="p",
        parent_digest="d",
        parent_root="r",
        donors=(),
        share=share,
        seed=7,
        counts=MixCounts(lots=LOTS, by_donor={"elm": 11}),
    )
    assert MixRecord.model_validate_json(record.model_dump_json()) == record
