"""The page of a monitor: its sentences, its drawings, and escaped text."""

import re

import pytest

from pipelines.monitoring.pages import (
    DRAWN,
    HEIGHT,
    LEFT,
    LIMITS,
    MEANINGS,
    ORDER,
    PLAIN_NAMED,
    SHOWN,
    TEACHERS_NAMED,
    TOP,
    WIDTH,
    describe_plain,
    describe_rates,
    describe_reach,
    describe_slope,
    draw_line,
    list_sentences,
    render_page,
)


def build_rate(name, documents, rate):
    """Return a generation's rate."""
    return {
        "generation": name,
        "documents": documents,
        "texts": 200,
        "rate": rate,
        "low": max(0.0, rate - 0.01),
        "high": rate + 0.02,
    }


CHANGE = {
    "change": "accumulated",
    "kind": "phrase",
    "text": "Mind the <gap>",
    "q_value": 1e-5,
    "slope": 0.02,
    "slope_low": 0.01,
    "slope_high": 0.03,
    "variants": ["the gap"],
    "teacher": None,
    "plain": False,
    "rates": [
        build_rate("one", None, 0.0),
        build_rate("two", 4, 0.02),
        build_rate("x<i>", 8, 0.04),
    ],
}

RESULT = {
    "within_teachers": None,
    "differs": True,
    "name": "x<i>",
    "generations": [
        {"number": 1, "name": "one", "texts": 400},
        {"number": 2, "name": "two", "texts": 400},
        {"number": 3, "name": "x<i>", "texts": 1_400},
    ],
    "notes": [],
    "detectable": [],
    "changes": [CHANGE],
}


def test_other_teachers_are_said_with_the_verdict():
    """Whoever reads only the first lines learns that the teachers differ, changes or not."""
    for changes in ([CHANGE], []):
        result = RESULT | {"notes": ["the teachers <differ>"], "changes": changes}
        assert list(list_sentences(result))[-1] == "the teachers <differ>"
        assert "<li>the teachers &lt;differ&gt;</li>" in render_page(result)


def test_the_page_shows_everything():
    """The verdict, the rates, the slope, the other forms, the generations and the limits."""
    page = render_page(RESULT)
    for part in (
        "1 habit changed in x&lt;i&gt; beside 2 earlier generations: 1 accumulated",
        "&lt; 2.0 % → 2.0 % → 4.0 %",
        "+2.00 (+1.00 to +3.00)",
        "the gap",
        "1,400",
        MEANINGS["accumulated"],
    ):
        assert part in page, part
    assert all(limit.replace("'", "&#39;") in page for limit in LIMITS)
    assert MEANINGS["faded"] not in page


def test_texts_are_escaped():
    """Markup of the corpus and of names is shown as text."""
    page = render_page(RESULT)
    assert "<gap>" not in page
    assert "<i>" not in page
    assert "Mind the &lt;gap&gt;" in page


def test_the_page_is_self_contained():
    """No script and no address is loaded, and the same result gives the same page."""
    page = render_page(RESULT)
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert page == render_page(RESULT)


def test_nothing_changed_is_a_page_too():
    """Without changes there is no drawing, and the page says so."""
    page = render_page(RESULT | {"differs": False, "changes": []})
    assert "<h1>No change is shown</h1>" in page
    assert "<svg" not in page
    first = RESULT | {"differs": False, "changes": [], "generations": RESULT["generations"][:1]}
    assert "The first generation" in render_page(first)


def test_many_changes_are_cut():
    """The page draws and lists the first changes, and says how many there are."""
    page = render_page(RESULT | {"changes": [CHANGE] * (SHOWN + 3)})
    assert page.count("<svg") == DRAWN
    assert f"The first {SHOWN} of {SHOWN + 3} changes" in page


def test_lines_are_scaled_to_their_intervals():
    """The highest interval is at the top, a rate of 0 at the bottom, generations evenly spaced."""
    line = draw_line(CHANGE)
    assert line.top == pytest.approx(0.06)
    assert min(mark.high for mark in line.marks) == pytest.approx(TOP)
    assert line.marks[0].y == pytest.approx(TOP + HEIGHT)
    assert [mark.x for mark in line.marks] == [LEFT, LEFT + WIDTH / 2, LEFT + WIDTH]
    assert line.points.count(",") == 3
    assert all(mark.high <= mark.y <= mark.low for mark in line.marks)


def test_verdicts_are_sentences():
    """The first generation, no change and several kinds of change have a sentence each."""
    (first,) = list_sentences(RESULT | {"generations": RESULT["generations"][:1]})
    assert "first generation" in first
    (none,) = list_sentences(RESULT | {"changes": []})
    assert none == "no change shown in x<i> beside 2 earlier generations"
    changes = [CHANGE | {"change": name} for name in ("faded", "appeared", "faded")]
    (several,) = list_sentences(RESULT | {"changes": changes})
    assert several.endswith("1 appeared, 2 faded")
    assert set(ORDER) == set(MEANINGS)


def test_slopes_and_rates_are_readable():
    """A slope is in points with its interval, and an unknown rate is a bound."""
    assert describe_slope(CHANGE) == "+2.00 (+1.00 to +3.00)"
    assert describe_slope(CHANGE | {"slope": None}) == "–"
    assert describe_rates([build_rate("one", 3, 0.015)]) == "1.5 %"


def test_changes_of_a_teacher_name_it():
    """The title and the table have the teacher, whose name is escaped."""
    change = {**CHANGE, "teacher": "a<b>"}
    assert draw_line(change).title.endswith(" (a<b>)")
    page = render_page({**RESULT, "changes": [change]})
    assert "<small>a&lt;b&gt;</small>" in page
    assert "a<b>" not in page


def test_generations_without_the_teacher_are_not_drawn():
    """They have no mark, and a dash among the rates."""
    absent = {**build_rate("none", None, 0.0), "texts": 0, "high": 1.0}
    change = {**CHANGE, "rates": [CHANGE["rates"][0], absent, *CHANGE["rates"][1:]]}
    assert [mark.label for mark in draw_line(change).marks] == ["one", "two", "x<i>"]
    assert draw_line(change).top < 0.1
    assert " → – → " in describe_rates(change["rates"])


def test_a_generation_without_a_known_teacher_is_not_called_unchanged():
    """The verdict and the heading say that nothing was tested."""
    result = {**RESULT, "within_teachers": [], "changes": [], "differs": False, "notes": ["why"]}
    assert list(list_sentences(result)) == [
        "nothing was tested in x<i> beside 2 earlier generations",
        "why",
    ]
    assert "<h1>Nothing was tested</h1>" in render_page(result)


def test_the_verdict_says_how_small_a_rise_would_have_been_found():
    """Without changes, too, and with the teacher if each was compared with itself."""
    reach = {"teacher": None, "texts": 336, "earlier": 241, "rate": 0.0834}
    for changes in ([CHANGE], []):
        *_, said, how = list_sentences(RESULT | {"changes": changes, "detectable": [reach]})
        assert said == "336 texts against 241 earlier: a new phrase would be found from 8.3 %"
        assert "with a chance of 80 %" in how
    (own,) = describe_reach([reach | {"teacher": "atlas", "rate": None}])
    assert own == "atlas: 336 texts against 241 earlier: too few to find any new phrase"
    *shown, last = describe_reach([reach | {"teacher": str(number)} for number in range(6)])
    assert len(shown) == TEACHERS_NAMED + 1
    assert last == "and 2 more teachers: --json says from which rate"


def test_small_words_are_named_together():
    """They have a sentence and a part of the table, and no drawing."""
    plain = [CHANGE | {"text": text, "plain": True} for text in ("of", "<7.", "of")]
    (said,) = describe_plain([CHANGE, *plain])
    assert said == "style of small words, marks and numbers (3): of  <7."
    page = render_page(RESULT | {"changes": [CHANGE, *plain]})
    assert page.count("<svg") == 1
    assert page.count('<th colspan="6">style of small words, marks and numbers</th>') == 1
    assert page.index("Mind the &lt;gap&gt;") < page.index('<th colspan="6">')
    assert "&lt;7." in page
    many = [CHANGE | {"text": str(number), "plain": True} for number in range(PLAIN_NAMED + 1)]
    assert next(describe_plain(many)).endswith(f" {PLAIN_NAMED - 1} …")
    assert list(describe_plain([CHANGE])) == []


def test_a_page_of_small_words_alone_has_a_table():
    """Nothing is drawn, and everything is listed."""
    page = render_page(RESULT | {"changes": [CHANGE | {"text": "of", "plain": True}]})
    assert "<svg" not in page
    assert "Rates over generations" not in page
    assert "<td>of" in page
