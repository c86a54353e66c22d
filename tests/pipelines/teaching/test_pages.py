"""The page of a trial: escaped, self-contained, with its charts in place."""

import re
from html.parser import HTMLParser

import pytest

from classifiers.guarantees.stratified import Interval
from classifiers.heredity.arms import Unbuilt
from pipelines.teaching.findings import ArmFinding, draw_findings
from pipelines.teaching.pages import (
    CHART,
    LIMITS,
    SHOWN_ANSWERS,
    find_top,
    lay_out_arms,
    lay_out_doses,
    render_page,
)
from tests.support.trial_outcomes import RATES, build_outcomes

HOSTILE = '<script>alert(1)</script>"\u202e\x1b[31m'


class Balance(HTMLParser):
    """Checks that every tag is closed."""

    VOID = ("meta", "link", "line", "circle", "rect", "polyline", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []

    def handle_starttag(self, tag, attrs):
        """Note a tag."""
        self.names.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        """Close the last tag, which must be this one."""
        assert tag in self.VOID or self.open.pop() == tag


def render(trial_config, answers=(), circular=False, unbuilt=()):
    """Return the page of usual findings."""
    findings = draw_findings(build_outcomes(RATES), unbuilt)
    facts = {"run one": "abc", "judge": "the pattern a<b"}
    return render_page(trial_config, findings, facts, answers, circular=circular)


def test_the_page_is_whole_and_self_contained(trial_config):
    """Every tag is closed; nothing is loaded and no script runs."""
    page = render(trial_config, [("Why?", {"drop": "So."})])
    found = Balance()
    found.feed(page)
    assert found.open == []
    assert {"svg", "table", "blockquote"} <= set(found.names)
    assert not {"script", "img", "iframe", "form"} & set(found.names)
    assert not re.search(r"(?:src|href)=\"(?!data:|#)", page)
    assert "default-src 'none'" in page


def test_texts_are_escaped(trial_config):
    """Questions, answers, reasons and facts can't leave their element."""
    page = render(trial_config, [(HOSTILE, {"drop": HOSTILE})], unbuilt=[Unbuilt("mask", HOSTILE)])
    assert "<script>" not in page
    assert "\u202e" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;" in page
    assert "a&lt;b" in page


def test_every_arm_has_a_row_and_a_whisker(trial_config):
    """The table and the chart list all arms, with the share of each."""
    page = render(trial_config)
    for arm in RATES:
        assert page.count(f">{arm}<") == 2
    assert page.count("<circle") == len(RATES) + 5
    assert "as clean" in page
    assert "removed of what is inherited" in page


def test_what_a_trial_leaves_open_is_said(trial_config):
    """The limits are on every page, and a circular judge is named."""
    page = render(trial_config)
    assert all(sentence.split(".")[0].replace("'", "&#39;") in page for sentence in LIMITS)
    assert "same detector" not in page
    assert "same detector" in render(trial_config, circular=True)


def test_only_a_few_answers_are_quoted(trial_config):
    """The page quotes the first questions."""
    answers = [(f"Question {number}?", {"drop": "So."}) for number in range(9)]
    assert render(trial_config, answers).count("<blockquote") == SHOWN_ANSWERS
    assert "<blockquote" not in render(trial_config)


def test_the_same_trial_gives_the_same_page(trial_config):
    """The page depends on nothing but the findings."""
    assert render(trial_config) == render(trial_config)


def build_arm(low, estimate, high, arm="drop"):
    """Return an arm with a rate."""
    return ArmFinding(arm, Interval(estimate, low, high), None, None, None, None)


@pytest.mark.parametrize("high", [0.001, 0.3, 1.4])
def test_whiskers_stay_in_the_chart(high):
    """Ends below 0 and above 1 are cut at the edges, and the point is between the ends."""
    whiskers = lay_out_arms([build_arm(-0.2, high / 2, high), build_arm(0, 0, 0)])
    for item in whiskers:
        assert CHART.left <= item.low <= item.point <= item.high <= CHART.left + CHART.width
    assert whiskers[0].y < whiskers[1].y
    assert whiskers[1].point == CHART.left


def test_the_scale_ends_at_the_largest_bound():
    """The scale shows small rates large, but at least 2 % and at most all."""
    assert find_top([Interval(0.1, 0.05, 0.2), Interval(0.1, 0.05, 0.3)]) == 0.3
    assert find_top([Interval(0.0, 0.0, 0.001)]) == 0.02
    assert find_top([Interval(0.9, 0.5, 1.6)]) == 1.0


def test_the_dose_curve_falls():
    """More clean rows are further right, and a lower rate is lower on the page."""
    points = lay_out_doses(draw_findings(build_outcomes(RATES), []))
    assert [item.label for item in points] == ["0%", "10%", "25%", "50%", "100%"]
    assert [item.x for item in points] == sorted(item.x for item in points)
    assert points[0].y < points[-1].y <= 160
    assert all(item.high <= item.y <= item.low for item in points)


def test_neighbours_have_a_column_if_they_are_measured(trial_config):
    """The column is there for all arms, or for none."""
    near = build_outcomes(dict.fromkeys(RATES, 0.25), metric="neighbour")
    findings = draw_findings([*build_outcomes(RATES), *near], [])
    page = render_page(trial_config, findings, {}, [], circular=False)
    assert "neighbours of the trait" in page
    assert "neighbours of the trait" not in render(trial_config)
    found = Balance()
    found.feed(page)
    assert found.open == []
    assert found.names.count("td") == 7 * len(RATES)


def test_slices_have_a_table_if_they_were_tried(trial_config):
    """The table names each slice, escaped, with what it removes, installs and leaves."""
    name = f"source {HOSTILE}"
    arms = {f"{arm}: {name}": rate for arm, rate in (("swap", 0.0), ("drop", 0.3))}
    arms |= {f"{arm}: {name}": 0.8 for arm in ("only slice", "random swap")}
    findings = draw_findings(build_outcomes({**RATES, **arms}), [], slices=[name])
    page = render_page(trial_config, findings, {}, [], circular=False)
    assert "its swap removes" in page
    assert "<script>" not in page
    assert "its swap removes" not in render(trial_config)
    found = Balance()
    found.feed(page)
    assert found.open == []
