"""The page of a trial: arms with intervals, the dose curve, examples, and what it doesn't show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from jinja2 import Template

from classifiers.guarantees.stratified import Interval
from pipelines.display.excerpts import escape_name
from pipelines.display.page_templates import build_environment
from pipelines.teaching.findings import (
    ArmFinding,
    Findings,
    format_interval,
    format_share,
    list_sentences,
)
from pipelines.version import name_code
from schemas.trials import TrialConfig

SHOWN_ANSWERS = 3
"""How many questions are quoted with an answer of each arm."""

LIMITS = (
    (
        "A tiny student shows how the rows of this corpus teach. A production student is larger, "
        "begins with other weights and may inherit more or less: passing here isn't passing there."
    ),
    (
        "A trait that needs the teacher's own weights shows only in students that begin with them. "
        "Students that begin with other weights show what can be read in the text."
    ),
    (
        "The trial measures the trait as its judge sees it, on its questions. Other forms of the "
        "trait and other questions aren't covered."
    ),
)
"""What every trial leaves open."""


class Chart(NamedTuple):
    """The area of a drawing, in its own units."""

    left: float = 190.0
    width: float = 350.0
    top: float = 8.0
    row: float = 22.0


CHART = Chart()


class Whisker(NamedTuple):
    """An arm in the chart: its label, its height, its point and the ends of its interval."""

    name: str
    y: float
    point: float
    low: float
    high: float
    is_control: bool
    label: str


class CurvePoint(NamedTuple):
    """A dose in the curve: its place, its interval, and its label."""

    x: float
    y: float
    low: float
    high: float
    label: str


def lay_out_arms(arms: Sequence[ArmFinding], chart: Chart = CHART) -> list[Whisker]:
    """Return where each arm is drawn. The scale ends at the largest upper bound."""
    top = find_top([item.rate for item in arms])

    def place(value: float) -> float:
        return chart.left + chart.width * min(max(value, 0.0), top) / top

    return [
        Whisker(
            item.arm,
            chart.top + chart.row * (index + 0.5),
            place(item.rate.estimate or 0.0),
            place(item.rate.low),
            place(item.rate.high),
            item.removed is None,
            format_share(item.rate.estimate),
        )
        for index, item in enumerate(arms)
    ]


def find_top(rates: Sequence[Interval]) -> float:
    """Return the end of the scale: the largest upper bound, at least 2 % and at most 100 %."""
    return min(1.0, max([0.02, *(item.high for item in rates)]))


def lay_out_doses(findings: Findings) -> list[CurvePoint]:
    """Return the points of the dose curve, in a drawing of 540 by 190."""
    top = find_top([dose.rate for dose in findings.doses])

    def rise(value: float) -> float:
        return 160 - 140 * min(max(value, 0.0), top) / top

    return [
        CurvePoint(
            40 + 480 * dose.clean,
            rise(dose.rate.estimate or 0.0),
            rise(dose.rate.low),
            rise(dose.rate.high),
            f"{dose.clean:.0%}",
        )
        for dose in findings.doses
    ]


def render_page(
    config: TrialConfig,
    findings: Findings,
    facts: Mapping[str, str],
    answers: Sequence[tuple[str, Mapping[str, str]]],
    *,
    circular: bool,
) -> str:
    """Return the page.

    `facts` are shown as they are. `answers` pair questions with an answer of each arm.
    """
    return _load_template().render(
        config=config,
        findings=findings,
        facts=facts,
        answers=list(answers)[:SHOWN_ANSWERS],
        sentences=list(list_sentences(findings, circular=circular)),
        whiskers=lay_out_arms(findings.arms),
        top=find_top([item.rate for item in findings.arms]),
        chart=CHART,
        has_neighbours=any(item.neighbours is not None for item in findings.arms),
        doses=lay_out_doses(findings),
        dose_top=find_top([dose.rate for dose in findings.doses]),
        limits=LIMITS,
        version=name_code(),
    )


@cache
def _load_template() -> Template:
    environment = build_environment()
    filters: dict[str, Any] = {
        "share": format_share,
        "interval": format_interval,
        "escape_name": escape_name,
        "coordinate": lambda value: f"{value:.2f}".rstrip("0").rstrip("."),
    }
    environment.filters |= filters
    return environment.get_template("trial.html.j2")
