"""Compute the positions of bars, columns and axes in a report's charts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas.policies import PUBLISHED, REMOVED
from schemas.scores import SCORE_DECIMALS

STEPS: int = 10**SCORE_DECIMALS

LEAST_TOP = 9
"""The lowest end of a histogram's axis, which leaves room for two ticks."""

COUNT_UNITS = ((10**9, "G"), (10**6, "M"), (10**3, "k"))


class Bar(NamedTuple):
    """A bar of the waterfall: its rows, and its width and left end as shares of all rows."""

    name: str
    kind: str
    rows: int
    share: float
    left: float


class Plot(NamedTuple):
    """A histogram's area in its drawing."""

    left: float = 40.0
    top: float = 18.0
    width: float = 280.0
    height: float = 84.0
    gap: float = 0.75
    """The gap between two columns."""

    @property
    def right(self) -> float:
        """Return the right edge."""
        return self.left + self.width

    @property
    def bottom(self) -> float:
        """Return the lower edge of the columns."""
        return self.top + self.height


PLOT = Plot()


class Column(NamedTuple):
    """A column of a histogram.

    `fired` says whether the rows reach the threshold.
    """

    x: float
    y: float
    width: float
    height: float
    fired: bool


class Tick(NamedTuple):
    """A tick of a histogram's vertical axis."""

    y: float
    label: str


class Histogram(NamedTuple):
    """A histogram's columns and ticks, and its threshold's position.

    The position is None if the threshold is above 1.
    """

    columns: list[Column]
    ticks: list[Tick]
    line: float | None


def lay_out_waterfall(rows_in: int, by_decision: Mapping[str, int]) -> list[Bar]:
    """Return the bars: rows in, each kind of removal, rows out, and each published decision."""
    whole = max(rows_in, 1)
    left = rows_in
    bars = [Bar("Rows in", "total", rows_in, rows_in / whole, 0.0)]
    for name in reversed(REMOVED):
        if count := by_decision.get(name, 0):
            left -= count
            bars.append(Bar(name, "removed", count, count / whole, left / whole))
    bars.append(Bar("Rows out", "total", left, left / whole, 0.0))
    start = 0
    for name in PUBLISHED:
        if count := by_decision.get(name, 0):
            kind = "kept" if name == "keep" else "changed"
            bars.append(Bar(name, kind, count, count / whole, start / whole))
            start += count
    return bars


def lay_out_histogram(
    below: Sequence[int], above: Sequence[int], threshold: float, plot: Plot = PLOT
) -> Histogram:
    """Lay out a histogram of scores from 0 to 1 on a logarithmic scale.

    `below` and `above` count each bin's rows on either side of the threshold. The threshold line
    separates the two counts of its bin.
    """
    bins = len(below)
    most = max(LEAST_TOP, *map(sum, zip(below, above, strict=True)))
    top = math.log10(most + 1)
    split = None if threshold > 1 else find_bin(threshold, bins)
    columns = [
        _lay_out_column(plot, bins, index, index == split, count, fired, top)
        for index in range(bins)
        for fired, count in ((False, below[index]), (True, above[index]))
        if count
    ]
    ticks = [
        Tick(plot.top + plot.height * (1 - math.log10(count + 1) / top), _abbreviate(count))
        for count in (10**power for power in range(int(math.log10(most)) + 1))
    ]
    line = None if split is None else plot.left + (split + 0.5) * plot.width / bins
    return Histogram(columns, ticks, line)


def find_bin(score: float, bins: int) -> int:
    """Return the bin of a score. The last bin includes 1.

    Scores are first rounded to whole steps, so that a float's last bits don't matter.
    """
    return min(round(score * STEPS) * bins // STEPS, bins - 1)


def _lay_out_column(
    plot: Plot, bins: int, index: int, halved: bool, count: int, fired: bool, top: float
) -> Column:
    """Lay out a column. In the threshold's bin, the column stays on its own side of the line."""
    step = plot.width / bins
    width = step / 2 if halved else step
    left = plot.left + (index + 1) * step - width if fired else plot.left + index * step
    height = plot.height * math.log10(count + 1) / top
    return Column(left, plot.bottom - height, width - plot.gap, height, fired)


def _abbreviate(count: int) -> str:
    for size, unit in COUNT_UNITS:
        if count >= size:
            return f"{count // size}{unit}"
    return str(count)
