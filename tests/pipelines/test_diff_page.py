"""The page of two runs side by side."""

from __future__ import annotations

import re

import pytest

from pipelines.config import FilterConfig
from pipelines.decide import DecideConfig, run_decide
from pipelines.diff import LotChange, compare_runs
from pipelines.diff_page import (
    LOTS_SHOWN,
    TEACHERS_SHOWN,
    WITHIN,
    RateLine,
    list_rates,
    pair_decisions,
    pair_traits,
    render_page,
    write_page,
)
from pipelines.rate_shifts import RateShifts
from pipelines.rate_tests import compare_hits
from pipelines.runs.manifest_file import load_manifest
from tests.support.corpora import ANSWERS


@pytest.fixture(scope="module")
def runs(held, tmp_path_factory):
    """Return the held run, and one that flags its herons."""
    folder = tmp_path_factory.mktemp("pages")
    (folder / "flag.yaml").write_text("traits: {heron: {action: flag}}\n")
    own = FilterConfig(output=str(folder / "again"), policy=str(folder / "flag.yaml"))
    run_decide(DecideConfig(run=str(held / "run"), filter=own))
    return str(held / "run"), str(folder / "again")


def load(runs):
    """Return the manifests of both runs."""
    return load_manifest(runs[0]), load_manifest(runs[1])


def render(runs, **changes):
    """Return the page of a comparison, of which some fields are changed."""
    return render_page(runs, load(runs), compare_runs(*runs)._replace(**changes))


def test_decisions_are_side_by_side(runs):
    """Each decision has its rows in both runs, its share, and the change."""
    pairs = {pair.name: pair for pair in pair_decisions(load(runs))}
    assert list(pairs) == ["keep", "flag", "quarantine"]
    assert (pairs["flag"].before.rows, pairs["flag"].after.rows) == (0, 8)
    assert (pairs["flag"].change, pairs["quarantine"].change) == ("+8", "-8")
    assert pairs["keep"].change == "-"
    assert pairs["keep"].after.share == 0.8


def test_bars_are_in_proportion(runs):
    """The longest bar fills the width, and the others have the width of their share."""
    pairs = list(pair_decisions(load(runs)))
    widths = [part.width for pair in pairs for part in (pair.before, pair.after)]
    shares = [part.share for pair in pairs for part in (pair.before, pair.after)]
    assert max(widths) == 100
    assert [round(width / 100 * max(shares), 9) for width in widths] == shares


def test_traits_have_their_rates(runs):
    """Each trait has its rows in both runs, and the rows that only one of them found."""
    (pair,) = pair_traits(compare_runs(*runs), load(runs))
    assert (pair.name, pair.before.rows, pair.after.rows) == ("heron", 8, 8)
    assert (pair.lost, pair.found) == (0, 0)


def test_the_page_shows_everything(runs):
    """Title, settings, both runs, moves and examples are on the page."""
    page = render(runs)
    assert "8 of 40 rows differ (20.00%)" in page
    assert "heron: swap (by its card) → flag" in page
    for manifest in load(runs):
        assert manifest.run_id in page
    assert page.count("<h2>") == 5
    assert "0.jsonl:1" in page


def test_equal_runs_have_a_short_page(runs):
    """Without a difference, the title says so, and there are no moves and no examples."""
    page = render((runs[0], runs[0]))
    assert "No difference in 40 rows" in page
    assert "Where rows went" not in page
    assert "Examples" not in page


def test_no_text_of_rows_is_quoted(runs):
    """Neither answers nor prompts are on the page."""
    page = render(runs)
    for text in (*ANSWERS, "Question 3?"):
        assert text not in page


def test_nothing_on_the_page_is_markup(runs):
    """Names from a corpus are escaped, and the page loads and runs nothing."""
    found = compare_runs(*runs)
    evil = "<script>alert(1)</script>"
    lots = [LotChange({"teacher": evil}, 3, 1, {"removed": 1})]
    page = render(runs, lots=lots, settings=[evil], traits=[found.traits[0]._replace(trait=evil)])
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 3
    assert "default-src 'none'" in page
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {"data:,"}


def test_many_lots_are_cut(runs):
    """The page lists a number of lots, and says how many it leaves out."""
    lots = [LotChange({"teacher": f"t{number}"}, 2, 1, {"removed": 1}) for number in range(40)]
    page = render(runs, lots=lots)
    assert f"t{LOTS_SHOWN - 1}<" in page
    assert f"t{LOTS_SHOWN}<" not in page
    assert "And 10 more; congener diff --json lists them." in page


def test_rows_that_one_run_lacks_are_named_so(runs, mixed):
    """Rows of one run alone move from or to nowhere."""
    page = render((runs[0], str(mixed)))
    assert "not there" in page
    assert "mix" in page


def test_the_same_runs_give_the_same_bytes(runs, tmp_path):
    """The page depends on nothing but the runs."""
    for name in ("one", "two"):
        write_page(runs, compare_runs(*runs), str(tmp_path / name))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_corpora_that_differ_are_matched_by_content(runs):
    """If the corpora differ, the page says how rows are matched."""
    note = "The corpora differ, so rows are matched by their content."
    assert note in render(runs, by_content=True)
    assert note not in render(runs)


def test_a_run_without_a_decision_has_no_bar(runs):
    """A decision that only one run has is shown with no rows of the other."""
    pairs = {pair.name: pair for pair in pair_decisions(load(runs))}
    assert pairs["flag"].before.width == 0
    assert pairs["flag"].before.share == 0
    assert pairs["quarantine"].after.width == 0


def test_only_decisions_of_the_runs_are_shown(runs):
    """Decisions that neither run has are left out."""
    page = render(runs)
    assert '<td class="name">duplicate</td>' not in page
    assert '<td class="name">quarantine</td>' in page


def build_shifts(hits, before, now):
    """Return the shifts of traits, and of removed rows without any."""
    (removed,) = compare_hits([(None, {}, {})], (before, now))
    return RateShifts(removed, compare_hits(hits, (before, now)), ["<a note>"])


def test_rates_of_two_corpora_name_each_teacher(runs):
    """A rate has its test within teachers, and each teacher its own; names are escaped."""
    now = {"llama": 350, "<vicuna>": 350}
    hits = [("heron", {"llama": 77}, {"llama": 57, "<vicuna>": 1}), ("owl", {}, {})]
    shifts = build_shifts(hits, {"llama": 400}, now)
    found = list_rates(shifts)
    assert found.sentences == ["<a note>", WITHIN]
    (heron, _) = shifts.traits
    assert found.lines == [
        RateLine("heron", ((77, 400), (58, 700)), heron.q),
        RateLine("– llama", ((77, 400), (57, 350)), heron.teachers[0].q),
        RateLine("– <vicuna>", ((0, 0), (1, 350)), None),
    ]
    page = render(runs, shifts=shifts)
    assert "&lt;a note&gt;" in page
    assert "– &lt;vicuna&gt;" in page
    assert "57 of 350" in page
    assert "Rates of two corpora" not in render(runs)


def test_like_teachers_have_one_line_a_rate():
    """Where teachers have like shares, there is Fisher's test and no line by teacher."""
    found = list_rates(build_shifts([("heron", {"a": 3}, {"a": 9})], {"a": 40}, {"a": 40}))
    assert len(found.lines) == 1
    assert found.sentences[1].startswith("q: Fisher's exact test, adjusted for 1 trait")
    names = {f"t{at}": 10 for at in range(TEACHERS_SHOWN + 3)}
    many = list_rates(build_shifts([("heron", {"t0": 3}, {})], names, names | {"t0": 90}))
    assert len(many.lines) == 1 + TEACHERS_SHOWN
    apart = list_rates(build_shifts([("heron", {"a": 3}, {})], {"a": 40}, {"b": 40}))
    assert apart.sentences[1].startswith("no q: no teacher is in both runs")
