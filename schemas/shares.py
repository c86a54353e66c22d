"""Shares of counts: exact comparison with a limit, and percentages that agree with the comparison.

A float may differ from the decimal that a person wrote: 0.29 * 100 is less than 29.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction

MOST_DECIMALS = 15
"""The largest number of decimal places in a percentage; a float has no more."""


LEAST_WHOLE = 2**53
"""The number from which on all floats are whole, and have too many digits for `Decimal`."""

LEAST_SHARE, MOST_SHARE = 0.0001, 0.99
"""The smallest and the largest share of rows that a mix adds."""


def to_exact(share: float) -> Fraction:
    """Return a float's decimal notation as an exact fraction."""
    return Fraction(repr(float(share)))


def exceeds(count: int | Fraction, whole: int | Fraction, limit: float) -> bool:
    """Return whether a count exceeds a share of a whole, in exact arithmetic."""
    return count > to_exact(limit) * whole


def count_within(whole: int, limit: float) -> int:
    """Return the largest count within a share of a whole."""
    return int(to_exact(limit) * whole)


def round_up(value: float, decimals: int) -> float:
    """Return the smallest decimal with this many places that isn't below the value."""
    return _round(value, decimals, ROUND_CEILING)


def round_down(value: float, decimals: int) -> float:
    """Return the largest decimal with this many places that isn't above the value."""
    return _round(value, decimals, ROUND_FLOOR)


def _round(value: float, decimals: int, direction: str) -> float:
    if not abs(value) < LEAST_WHOLE:  # NaN and infinity too
        return value
    return float(Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), direction))


def format_percent(share: float, decimals: int = 2) -> str:
    """Format a share in percent; only exactly 0 and 1 are shown as 0 % and 100 %."""
    step = 0.5 * 10.0 ** -(decimals + 2)
    if 0 < share < step:
        return f"<{100 * 2 * step:.{decimals}f}%"
    if 1 - step <= share < 1:
        return f">{100 - 100 * 2 * step:.{decimals}f}%"
    return f"{share:.{decimals}%}"


def format_bound(share: float, decimals: int = 2) -> str:
    """Format an upper bound in percent, rounded up."""
    return f"{round_up(share, decimals + 2):.{decimals}%}"


def format_interval(low: float, high: float, decimals: int = 2) -> str:
    """Format an interval in percent, rounded outwards."""
    return f"{round_down(low, decimals + 2):.{decimals}%} to {format_bound(high, decimals)}"


def format_exact(share: float) -> str:
    """Format a share in percent with all of its digits."""
    return f"{Decimal(repr(float(share))).scaleb(2).normalize():f}%"


def format_limit(limit: float) -> str:
    """Format a limit in percent with all of its digits, at least one decimal."""
    shown = format_exact(limit)
    return shown if "." in shown else shown.replace("%", ".0%")


def format_excess(share: float | Fraction, limit: float) -> str:
    """Format a share above a limit in percent, with enough digits to show the difference."""
    for decimals in range(1, MOST_DECIMALS):
        shown = f"{float(share):.{decimals}%}"
        if Fraction(shown.rstrip("%")) / 100 > to_exact(limit):
            return shown
    return f"more than {format_limit(limit)}"
