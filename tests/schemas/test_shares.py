"""Shares: exact comparison, and text that agrees with it."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.shares import (
    count_within,
    exceeds,
    format_bound,
    format_exact,
    format_excess,
    format_interval,
    format_limit,
    format_percent,
    round_down,
    round_up,
    to_exact,
)

PERCENT = st.integers(0, 10_000).map(lambda number: (Fraction(number, 10_000), number / 10_000))


@given(PERCENT, st.integers(1, 100_000))
def test_limits_are_the_decimals_that_were_written(limit, whole):
    """A limit allows exactly its written share of rows."""
    exact, written = limit
    allowed = exact.numerator * whole // exact.denominator
    assert count_within(whole, written) == allowed
    assert not exceeds(allowed, whole, written)
    assert exceeds(allowed + 1, whole, written)


def test_a_limit_that_floats_get_wrong():
    """29 of 100 rows are within a limit of 0.29, although 0.29 * 100 is less than 29."""
    assert 29 > 0.29 * 100
    assert not exceeds(29, 100, 0.29)
    assert exceeds(30, 100, 0.29)
    assert to_exact(1e-17) == Fraction(1, 10**17)


@given(PERCENT, st.integers(1, 10**9), st.integers(1, 10**9))
def test_an_excess_looks_like_one(limit, more, whole):
    """A share above its limit is shown as a larger number."""
    exact, written = limit
    share = exact + Fraction(more, whole * 10**4)
    shown = format_excess(share, written)
    assert shown != format_limit(written)
    if not shown.startswith("more"):
        assert Fraction(shown.rstrip("%")) > Fraction(format_limit(written).rstrip("%"))


@pytest.mark.parametrize(
    ("share", "limit", "shown"),
    [
        (Fraction(3, 40), 0.05, ("7.5%", "5.0%")),
        (Fraction(2901, 10_000), 0.29, ("29.01%", "29.0%")),
        (Fraction(1, 3), 0.33333, ("33.3333%", "33.333%")),
        (Fraction(1, 10**9), 0.0, ("0.0000001%", "0.0%")),
        (Fraction(1, 10**30), 0.0, ("more than 0.0%", "0.0%")),
    ],
)
def test_a_share_has_the_digits_that_it_needs(share, limit, shown):
    """A share has enough digits to differ from its limit."""
    assert (format_excess(share, limit), format_limit(limit)) == shown


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.95, "95%"), (0.9999999, "99.99999%"), (0.5, "50%"), (1e-9, "0.0000001%")],
)
def test_all_digits_can_be_shown(share, shown):
    """A confidence just below 1 isn't shown as 100 %."""
    assert format_exact(share) == shown


@given(st.floats(0, 1), st.integers(0, 6))
def test_bounds_are_rounded_up(share, decimals):
    """A bound is rounded up by less than one step."""
    shown = Fraction(format_bound(share, decimals).rstrip("%")) / 100
    assert to_exact(share) <= shown < to_exact(share) + Fraction(1, 10 ** (decimals + 2))
    assert round_up(0.86474, 4) == 0.8648
    assert round_up(0.8647, 4) == 0.8647


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 6))
def test_intervals_are_rounded_outwards(one, other, decimals):
    """The shown interval contains the exact interval, and is less than two steps wider."""
    low, high = sorted((one, other))
    ends = format_interval(low, high, decimals).split(" to ")
    shown = [Fraction(end.rstrip("%")) / 100 for end in ends]
    step = Fraction(1, 10 ** (decimals + 2))
    assert to_exact(low) - step < shown[0] <= to_exact(low)
    assert to_exact(high) <= shown[1] < to_exact(high) + step


@pytest.mark.parametrize("value", [2.0**53, 1e30, 1.7e308, math.inf, -math.inf])
def test_numbers_without_decimals_stay(value):
    """A float that has no decimals is rounded to itself, however large it is."""
    assert round_up(value, 2) == round_down(value, 2) == value
    assert math.isnan(round_up(math.nan, 2))


def test_an_end_that_needs_no_rounding_stays():
    """Ends with few decimals aren't rounded."""
    assert format_interval(0.07, 0.9199) == "7.00% to 91.99%"
    assert format_interval(0.61499, 0.92011) == "61.49% to 92.02%"
    assert round_down(0.86479, 4) == round_down(0.8647, 4) == 0.8647


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0, "0.00%"),
        (1, "100.00%"),
        (0.5, "50.00%"),
        (1e-9, "<0.01%"),
        (0.00005, "0.01%"),
        (0.99999, ">99.99%"),
        (0.99994, "99.99%"),
    ],
)
def test_only_nothing_and_all_are_rounded_to_themselves(share, shown):
    """Only nothing is 0 %, and only everything is 100 %."""
    assert format_percent(share) == shown


@pytest.mark.parametrize(
    ("share", "shown"), [(0.0004, "<0.1%"), (0.9997, ">99.9%"), (0.296, "29.6%"), (1, "100.0%")]
)
def test_percentages_may_have_fewer_decimals(share, shown):
    """With one decimal, too, only nothing is 0 % and only everything is 100 %."""
    assert format_percent(share, 1) == shown
