"""The drawing of a bound that shrinks."""

from __future__ import annotations

import pytest

from pipelines.certifying.drawings import SHARES, describe_certificate, draw_curve
from pipelines.certifying.statements import state
from pipelines.display.charts import PLOT
from schemas.certificates import ReadPoint
from tests.support.certificates import answer_truth, draw_small

POINTS = [
    ReadPoint(read=1, bound=1.0, adjusted=1.0),
    ReadPoint(read=100, bound=0.035, adjusted=0.05),
    ReadPoint(read=1_000, bound=0.0036, adjusted=0.0041),
]


def read_line(text: str) -> list[tuple[float, float]]:
    """Return the points of a line."""
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in text.split())]


def test_lines_fall_from_left_to_right():
    """More rows are further right, and lower shares are lower."""
    curve = draw_curve(POINTS, 0.01)
    for line in map(read_line, (curve.seen, curve.adjusted)):
        assert [x for x, _ in line] == sorted(x for x, _ in line)
        assert [y for _, y in line] == sorted(y for _, y in line)
        assert all(PLOT.left <= x <= PLOT.right for x, _ in line)
        assert all(PLOT.top <= y <= PLOT.bottom for _, y in line)
    assert read_line(curve.seen)[0][1] == PLOT.top
    assert curve.most == 1_000


def test_ticks_reach_below_the_lowest_bound():
    """The axis begins at 100 % and ends at a share below every bound and the target."""
    curve = draw_curve(POINTS, None)
    assert next(tick.label for tick in curve.ticks) == "100%"
    assert [tick.label for tick in curve.ticks][-1] == "0.3%"
    assert curve.target is None
    lower = draw_curve(POINTS, 0.0005)
    assert [tick.label for tick in lower.ticks][-1] == "0.03%"
    assert lower.target is not None
    assert PLOT.top < lower.target < PLOT.bottom


def test_without_seeded_texts_there_is_one_line():
    """The second line is empty."""
    bare = [point.model_copy(update={"adjusted": None}) for point in POINTS]
    assert draw_curve(bare, None).adjusted == ""


@pytest.mark.parametrize("points", [[], POINTS[:1]])
def test_few_points_are_no_problem(points):
    """An audit that has just begun has a drawing, too."""
    curve = draw_curve(points, None)
    assert len(read_line(curve.seen)) == len(points)
    assert curve.ticks


def test_a_tiny_bound_stays_in_the_plot():
    """Bounds below the lowest tick are drawn at the bottom."""
    curve = draw_curve([ReadPoint(read=5, bound=1e-6, adjusted=None)], None)
    assert read_line(curve.seen)[0][1] == pytest.approx(PLOT.bottom)
    assert len(curve.ticks) == len(SHARES)


def test_a_single_trait_is_named_once(run, tmp_path):
    """With one trait, its own statement is the only one."""
    sample = draw_small(run[0], tmp_path).sample
    section = describe_certificate(state(run[1], sample, answer_truth(sample)), ())
    assert [item.trait for item in section.statements] == ["heron"]
    assert "doesn't end with this one" in str(section.history)
