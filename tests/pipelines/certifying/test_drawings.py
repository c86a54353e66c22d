"""The drawing of a bound that shrinks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipelines.certify import carry_over, certify_run
from pipelines.certifying.drawings import (
    SHARES,
    describe_certificate,
    draw_curve,
    explain_page,
)
from pipelines.certifying.records import read_sample
from pipelines.certifying.statements import state
from pipelines.display.charts import PLOT
from pipelines.report import write_report
from pipelines.verify import verify_run
from schemas.certificates import ReadPoint
from schemas.runs import CERTIFICATE, REPORT_PAGE
from tests.support.certificates import (
    answer_truth,
    certify_small,
    decide_small,
    draw_small,
    fill_sheet,
    keep_rows,
)

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


def test_a_page_that_quotes_a_missing_certificate_is_explained(run, tmp_path):
    """Verify says what the page quotes, instead of that the page was changed."""
    folder = str(run[0])
    first = certify_small(run[0], tmp_path)
    page = Path(write_report(folder))
    kept = page.read_bytes()
    assert explain_page(folder, kept).endswith("it was changed")
    sheet = fill_sheet(tmp_path / "audit.jsonl", read_sample(folder), lambda item: True)
    second = certify_run(folder, [sheet]).certificate
    one, two = first.digest[:16], second.digest[:16]
    assert f"quotes the certificate {one}, and the run's is {two}" in explain_page(folder, kept)
    page.write_bytes(kept)
    shutil.rmtree(run[0] / CERTIFICATE)
    (finding,) = verify_run(folder)
    assert finding.where == REPORT_PAGE
    assert f"quotes the certificate {one}, which is missing" in finding.problem
    write_report(folder)
    assert verify_run(folder) == []


def test_a_carried_certificate_has_no_drawing(run, tmp_path):
    """Nobody read rows of this run one by one; the page says whose certificate it is."""
    certify_small(run[0], tmp_path, rows=30)
    decide_small(run[0], tmp_path / "again", keep_rows(1, 6))
    carry_over(str(tmp_path / "again"), str(run[0]))
    page = Path(write_report(str(tmp_path / "again"))).read_text()
    own = page.split('<section id="certificate"')[1].split("</section>")[0]
    assert "<svg" not in own
    assert f"Carried over from the certificate of run {run[1].run_id}" in own
    assert "share of rows with the trait" not in own
    assert "kept rows read<br>in that run" in own
    assert "all were read" not in own
    assert "<small>of 6</small>" in own
    assert "carries the bounds over again" in own
    first = page.split('id="sign-off"')[1].split("</section>")[0]
    assert "2 kept rows of this run weren" in first
    assert "of them.</p>" not in first
