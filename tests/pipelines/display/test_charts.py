"""Charts: bars add up, and columns stay on the right side of the threshold."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.display.charts import (
    PLOT,
    STEPS,
    Bar,
    find_bin,
    lay_out_histogram,
    lay_out_waterfall,
)
from schemas.policies import DECISIONS, PUBLISHED

BINS = 40

COUNTS = st.lists(st.integers(0, 10**9), min_size=BINS, max_size=BINS)


@given(counts=st.dictionaries(st.sampled_from(DECISIONS), st.integers(0, 10**9)))
def test_the_waterfall_adds_up(counts):
    """Removal bars lead from all rows down to the published rows."""
    total = sum(counts.values())
    bars = lay_out_waterfall(total, counts)
    assert {bar.name: bar.rows for bar in bars if bar.kind != "total"} == {
        name: count for name, count in counts.items() if count
    }
    out = next(index for index, bar in enumerate(bars) if bar.name == "Rows out")
    edge = bars[0].share
    for bar in bars[1:out]:
        assert bar.left + bar.share == pytest.approx(edge, abs=1e-9)
        edge = bar.left
    assert bars[out].share == pytest.approx(edge, abs=1e-9)
    assert bars[out].rows == total - sum(bar.rows for bar in bars[1:out])
    edge = 0.0
    for bar in bars[out + 1 :]:
        assert bar.left == pytest.approx(edge, abs=1e-9)
        edge = bar.left + bar.share
    assert edge == pytest.approx(bars[out].share, abs=1e-9)


def test_the_waterfall_tells_kinds_of_bars_apart():
    """Totals, removals, unchanged rows and changed rows look different."""
    bars = lay_out_waterfall(10, {"keep": 5, "mask": 1, "drop": 3, "reject": 1})
    assert {bar.name: bar.kind for bar in bars} == {
        "Rows in": "total",
        "drop": "removed",
        "reject": "removed",
        "Rows out": "total",
        "keep": "kept",
        "mask": "changed",
    }
    assert bars[0] == Bar("Rows in", "total", 10, 1.0, 0.0)


def test_a_waterfall_of_no_rows():
    """A waterfall without rows has two totals of zero."""
    assert lay_out_waterfall(0, {}) == [
        Bar("Rows in", "total", 0, 0.0, 0.0),
        Bar("Rows out", "total", 0, 0.0, 0.0),
    ]


def test_all_decisions_have_a_bar():
    """Every decision with rows has its own bar, and published decisions follow the second total."""
    bars = lay_out_waterfall(len(DECISIONS), dict.fromkeys(DECISIONS, 1))
    names = [bar.name for bar in bars]
    assert sorted(names) == sorted([*DECISIONS, "Rows in", "Rows out"])
    assert tuple(names[names.index("Rows out") + 1 :]) == PUBLISHED


@given(COUNTS, st.integers(0, BINS), st.integers(0, 12_000))
def test_histograms_stay_inside_their_plot(counts, split, steps):
    """Columns stay inside the plot, on their own side of the threshold."""
    own = min(steps // (STEPS // BINS), BINS - 1)
    below = [
        count if index < own else min(count, split) if index == own else 0
        for index, count in enumerate(counts)
    ]
    above = [count - low if steps <= STEPS else 0 for count, low in zip(counts, below, strict=True)]
    found = lay_out_histogram(below, above, steps / STEPS)
    assert len(found.columns) == sum(count > 0 for count in (*below, *above))
    for column in found.columns:
        assert PLOT.left <= column.x
        assert column.x + column.width <= PLOT.right + 1e-6
        assert 0 < column.height <= PLOT.height + 1e-6
        assert column.y + column.height == pytest.approx(PLOT.bottom)
    assert (found.line is None) == (steps > STEPS)
    if found.line is not None:
        half = PLOT.width / BINS / 2
        assert abs(found.line - (PLOT.left + PLOT.width * steps / STEPS)) <= half + 1e-6
        assert all(
            column.x >= found.line - 1e-6 if column.fired else column.x + column.width <= found.line
            for column in found.columns
        )


@given(COUNTS)
def test_columns_do_not_overlap(counts):
    """The bins' columns are side by side, in order."""
    found = lay_out_histogram(counts, [0] * BINS, 1.5)
    for one, other in pairwise(found.columns):
        assert one.x + one.width < other.x


@given(COUNTS)
def test_higher_counts_have_higher_columns(counts):
    """A higher count has a higher column, and the highest column fills the plot."""
    found = lay_out_histogram(counts, [0] * BINS, 1.5)
    shown = [count for count in counts if count]
    by_count = sorted(zip(shown, found.columns, strict=True), key=lambda pair: pair[0])
    heights = [column.height for _, column in by_count]
    assert heights == sorted(heights)
    if shown and max(shown) >= 9:
        assert heights[-1] == pytest.approx(PLOT.height)


@pytest.mark.parametrize(
    ("most", "labels"),
    [
        (0, ["1"]),
        (9, ["1"]),
        (10, ["1", "10"]),
        (1_500, ["1", "10", "100", "1k"]),
        (2 * 10**9, ["1", "10", "100", "1k", "10k", "100k", "1M", "10M", "100M", "1G"]),
    ],
)
def test_ticks_are_powers_of_ten(most, labels):
    """Each power of ten up to the highest count has a tick, from bottom to top."""
    found = lay_out_histogram([most] + [0] * (BINS - 1), [0] * BINS, 0.5)
    assert [tick.label for tick in found.ticks] == labels
    heights = [tick.y for tick in found.ticks]
    assert heights == sorted(heights, reverse=True)
    assert all(PLOT.top <= y <= PLOT.bottom for y in heights)


@pytest.mark.parametrize(
    ("score", "expected"),
    [(0, 0), (0.0249, 0), (0.025, 1), (0.3, 12), (0.9999, 39), (1, 39)],
)
def test_bins_of_scores(score, expected):
    """A bin includes its lower edge, and the last bin includes 1."""
    assert find_bin(score, BINS) == expected
