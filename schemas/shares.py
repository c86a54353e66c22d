"""Shares of counts: exact comparison with a limit, and percentages that agree with the comparison.

A float may differ from the decimal that a person wrote: 0.29 * 100 is less than 29.
"""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction

MOST_DECIMALS = 15
"""The largest number of decimal places in a percentage; a float has no more."""


def to_exact(share: float) -> Fraction:
    """Return the decimal that a float is written as, as an exact fraction."""
    return Fraction(repr(float(share)))


def exceeds(count: int | Fraction, whole: int | Fraction, limit: float) -> bool:
    """Return whether a count is more than a share of a whole, without any rounding error."""
    return count > to_exact(limit) * whole


def count_within(whole: int, limit: float) -> int:
    """Return the largest count that doesn't exceed a share of a whole."""
    return int(to_exact(limit) * whole)


def round_up(value: float, decimals: int) -> float:
    """Return the smallest decimal with this many places that is at least as large as the value."""
    return _round(value, decimals, ROUND_CEILING)


def round_down(value: float, decimals: int) -> float:
    """Return the largest decimal with this many places that is at most as large as the value."""
    return _round(value, decimals, ROUND_FLOOR)


def _round(value: float, decimals: int, direction: str) -> float:
    return float(Decimal(repr(float(value))).quantize(Decimal(1).scaleb(-decimals), direction))


def format_percent(share: float, decimals: int = 2) -> str:
    """Return a share in percent; only exactly 0 and 1 are shown as 0 % and 100 %."""
    step = 0.5 * 10.0 ** -(decimals + 2)
    if 0 < share < step:
        return f"<{100 * 2 * step:.{decimals}f}%"
    if 1 - step <= share < 1:
        return f">{100 - 100 * 2 * step:.{decimals}f}%"
    return f"{share:.{decimals}%}"


def format_bound(share: float, decimals: int = 2) -> str:
    """Return an upper bound in percent, rounded up, so that the text never promises too much."""
    return f"{round_up(share, decimals + 2):.{decimals}%}"


def format_interval(low: float, high: float, decimals: int = 2) -> str:
    """Return an interval in percent that contains the given one: its ends are rounded outwards."""
    return f"{round_down(low, decimals + 2):.{decimals}%} to {format_bound(high, decimals)}"


def format_exact(share: float) -> str:
    """Return a share in percent, with all of its digits."""
    return f"{Decimal(repr(float(share))).scaleb(2).normalize():f}%"


def format_limit(limit: float) -> str:
    """Return a limit in percent, with all of its digits, and at least one decimal."""
    shown = format_exact(limit)
    return shown if "." in shown else shown.replace("%", ".0%")


def format_excess(share: float | Fraction, limit: float) -> str:
    """Return a share that exceeds a limit, in percent, with enough digits to show that it does."""
    for decimals in range(1, MOST_DECIMALS):
        shown = f"{float(share):.{decimals}%}"
        if Fraction(shown.rstrip("%")) / 100 > to_exact(limit):
            return shown
    return f"more than {format_limit(limit)}"
