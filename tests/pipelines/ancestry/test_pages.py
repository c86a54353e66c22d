"""The page of a lineage."""

import pytest

from classifiers.lineage.habits import Habit
from classifiers.lineage.ranking import Ranked, Ranking
from classifiers.lineage.trees import Join
from pipelines.ancestry.findings import LIMITS, NO_HABITS
from pipelines.ancestry.pages import SHOWN_CANDIDATES, format_p, format_share, render_page
from pipelines.lineage import Family, Lineage

HOSTILE = '<script>alert("x")</script>\u202e'


def build(
    name: str = "ours", text: str = "Sure !", candidates: int = 3, none: float = 0.1
) -> Family:
    """Return a family with one model."""
    names = tuple(f"teacher {number}" for number in range(candidates))
    share = (1 - none) / candidates
    ranked = [Ranked(n, share, 0.0004, 5.0 - n, 0.5, None) for n in range(candidates)]
    lineage = Lineage(
        name, names, Ranking(ranked, none, False), [Habit(text, 0.5, 0.25, 0.0, 1e-9)], 805, 0
    )
    joins = [Join(0, 1, 1.0)]
    joins += [Join(candidates + leaf - 1, leaf, float(leaf)) for leaf in range(2, candidates + 1)]
    return Family([lineage], (name, *names), joins)


def test_the_page_has_everything():
    """Verdict, candidates, habits, tree and limits are on the page."""
    page = render_page(build())
    for part in ("teacher 0", "none of these", "Sure !", "<svg", 'class="model"', LIMITS[0][-30:]):
        assert part in page
    assert "&lt; 0.001" in page
    assert "30.0 %" in page


def test_the_page_is_self_contained():
    """The page loads nothing and runs nothing."""
    page = render_page(build())
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page


def test_text_from_corpora_is_escaped():
    """Names and habits can't add markup or hide characters."""
    page = render_page(build(HOSTILE, HOSTILE))
    assert "<script" not in page
    assert "\u202e" not in page


def test_long_lists_are_shortened():
    """Of many candidates the first ones are shown, and the page says so."""
    page = render_page(build(candidates=40))
    assert f"The first {SHOWN_CANDIDATES} of 40 candidates are shown." in page
    assert page.count('class="wide"') == SHOWN_CANDIDATES + 1


def test_a_lack_of_habits_is_said():
    """Without a habit, the page says that none passed rather than nothing."""
    family = build()
    bare = family._replace(lineages=[family.lineages[0]._replace(habits=[])])
    assert NO_HABITS in render_page(bare)
    assert NO_HABITS not in render_page(family)


def test_none_of_these_is_marked():
    """If none is the likeliest, its bar is the marked one."""
    assert page_marks(0.9) == page_marks(0.1) == 1
    assert "none of these seems to be the parent" in render_page(build(none=0.9))


def page_marks(none: float) -> int:
    """Count the marked bars."""
    return render_page(build(none=none)).count('class="bar best"')


def test_the_same_findings_give_the_same_bytes():
    """A page can be compared with an earlier one."""
    assert render_page(build()) == render_page(build())


@pytest.mark.parametrize(
    ("given", "expected"), [(0.0004, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")]
)
def test_small_p_values_are_bounds(given, expected):
    """No p-value is shown as zero."""
    assert format_p(given) == expected


def test_shares_are_in_percent():
    """Shares have one decimal."""
    assert format_share(0.12345) == "12.3 %"
