"""Pages of a finished run's rows."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.runs.deciding_traits import order_traits
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.pages import (
    STRONGEST_FIRST,
    Page,
    choose_rows,
    read_page,
    scan_margins,
)
from pipelines.runs.queries import EVERYTHING, Filters
from schemas.errors import RunError
from tests.support.hostile import (
    EMUS,
    filter_answers,
    filter_hostile_corpus,
    filter_lines,
    write_cards,
)
from tests.support.runs import read_ledger

KEPT = EVERYTHING._replace(decision="keep")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("rows"))[0]


@pytest.fixture(scope="module")
def geese(tmp_path_factory) -> str:
    """Filter rows of two teachers, one of them with a lower threshold."""
    folder = tmp_path_factory.mktemp("geese")
    lines = [
        json.dumps({"text": " ".join(["emu"] * count) or "a goose", "teacher": teacher})
        for teacher in ("strict", "mild")
        for count in (0, 1, 3, 9)
    ]
    policy = (
        "traits: {emu: {threshold: 0.9}}\n"
        "exceptions:\n"
        "  - {trait: emu, lot: {teacher: strict}, threshold: 0.5, action: flag, reason: a test}\n"
    )
    cards = write_cards(folder / "traits", ["emu", "owl"])
    return filter_lines(folder, lines, cards, policy)[0]


def list_rows(run: str, *view) -> list[int]:
    """Return the row numbers of a page."""
    return [row.row for row in read_page(run, load_manifest(run), *view).rows]


def test_rows_on_which_a_trait_fired_come_with_the_highest_score_first(hostile):
    """By default, rows with a reason are sorted by descending score."""
    rows = read_page(hostile, load_manifest(hostile), limit=1000).rows
    expected = [
        (-max(reason["score"] for reason in row["reasons"]), row["row"])
        for row in read_ledger(hostile)
        if row["reasons"]
    ]
    assert [row.row for row in rows] == [number for _, number in sorted(expected)]
    assert {row.decision for row in rows} == {"flag", "mask", "quarantine", "drop", "duplicate"}


def test_decisions_and_traits_come_before_scores(hostile):
    """By decision, each deciding trait's rows are together, by its score."""
    rows = read_page(hostile, load_manifest(hostile), order="decision", limit=1000).rows
    keys = []
    for row in rows:
        first = row.reasons[0]
        assert first.trait == order_traits(row)[0]
        keys.append((STRONGEST_FIRST.index(row.decision), first.trait, -first.score, row.row))
    assert keys == sorted(keys)
    assert [rows[0].decision, rows[-1].decision] == ["drop", "duplicate"]
    assert len({trait for _, trait, *_ in keys}) > 2


def test_kept_rows_have_no_trait_to_sort_by(geese):
    """Rows without a finding stay sorted by their distance from a threshold."""
    assert list_rows(geese, KEPT, "decision", 0, 10) == list_rows(geese, KEPT, "score", 0, 10)


def test_the_nearest_to_a_threshold_first(hostile):
    """In threshold order, the smallest margin comes first."""
    assert list_rows(hostile, Filters("emu"), "threshold", 0, 3) == [60, 60 + EMUS + 7, 61]


def test_a_traits_own_score_counts(tmp_path):
    """A trait filter sorts rows by that trait's scores."""
    run = filter_answers(tmp_path, ["emu emu bee", "emu emu emu emu", "emu"], ["bee", "emu"])
    assert list_rows(run) == [0, 1, 2]
    assert list_rows(run, Filters("emu")) == [1, 0, 2]


def test_kept_rows_are_sorted_by_their_distance_from_a_threshold(geese):
    """Kept rows come in order of their distance below their lot's threshold, the closest first."""
    assert [row["decision"] for row in read_ledger(geese)] == [
        *("keep", "keep", "keep", "flag"),
        *("keep", "keep", "keep", "keep"),
    ]
    assert list_rows(geese, KEPT, "score", 0, 10) == [2, 7, 1, 6, 5, 0, 4]
    assert list_rows(geese, KEPT, "row", 0, 10) == [0, 1, 2, 4, 5, 6, 7]


def test_margins_use_the_thresholds_of_lots(geese):
    """A row's margin uses its lot's threshold."""
    manifest = load_manifest(geese)
    margins = scan_margins(geese, manifest, "emu").sort("index").collect()["margin"].to_list()
    rows = read_page(geese, manifest, Filters("emu", row="2"), "row").rows
    assert [row.near[0].threshold for row in rows] == [0.5]
    assert margins[2] == pytest.approx(rows[0].near[0].score - 0.5, abs=1e-6)
    assert margins[7] == pytest.approx(margins[3] - 0.4, abs=1e-6)
    assert (margins[0], margins[4]) == (None, None)
    assert margins[3] > 0 > margins[7]


def test_a_row_is_shown_whatever_its_decision(hostile):
    """A named row is on the page even without a finding."""
    page = read_page(hostile, load_manifest(hostile), Filters(row="0"))
    assert (page.total, page.rows[0].decision, page.rows[0].reasons) == (1, "keep", ())


def test_an_unknown_trait_is_refused_for_kept_rows_too(geese):
    """With the decision keep, an unknown trait is an error."""
    with pytest.raises(RunError, match="no trait of this run is called"):
        read_page(geese, load_manifest(geese), KEPT._replace(trait="swan"))


def test_a_run_in_which_nothing_fired_has_an_empty_page(tmp_path):
    """A run without findings has an empty page."""
    run = filter_answers(tmp_path, ["a goose"], ["owl"])
    page = read_page(run, load_manifest(run))
    assert page == Page(0, 0, 5, ())
    assert (page.next_start, page.previous_start) == (None, None)


def test_a_page_beyond_all_rows_is_empty(hostile):
    """A page beyond all rows is empty, even with huge numbers."""
    manifest = load_manifest(hostile)
    assert list(read_page(hostile, manifest, EVERYTHING, "row", 10**30, 10**30).rows) == []


@given(
    start=st.integers(0, 25),
    limit=st.integers(0, 25),
    order=st.sampled_from(["decision", "score", "threshold", "row"]),
)
@settings(max_examples=20)
def test_pages_are_slices(hostile, start, limit, order):
    """A page is a slice of all rows, and knows its neighbours."""
    manifest = load_manifest(hostile)
    whole = read_page(hostile, manifest, order=order, limit=1000).rows
    page = read_page(hostile, manifest, EVERYTHING, order, start, limit)
    assert (page.total, page.rows) == (len(whole), whole[start : start + limit])
    assert page.next_start == (start + limit if limit and start + limit < len(whole) else None)
    assert (page.previous_start is None) == (start == 0 or limit == 0)


@given(st.integers(1, 30), st.integers(1, 40))
def test_pages_lead_through_all_rows_and_back(limit, total):
    """Next pages visit every row once, and previous pages lead back."""
    page, seen = Page(total, 0, limit, ()), []
    while True:
        seen += range(page.start, min(page.start + limit, total))
        if page.next_start is None:
            break
        page = page._replace(start=page.next_start)
    assert seen == list(range(total))
    while page.previous_start is not None:
        assert page.previous_start < page.start
        page = page._replace(start=page.previous_start)
    assert page.start == 0


def test_chosen_rows_are_those_of_the_page(hostile):
    """The indexes are those of the page's rows in the ledger, with the same total."""
    manifest = load_manifest(hostile)
    ledger = read_ledger(hostile)
    for filters in (EVERYTHING, KEPT, Filters("emu")):
        page = read_page(hostile, manifest, filters, "decision", 1, 4)
        total, indexes = choose_rows(hostile, manifest, filters, "decision", 1, 4)
        assert total == page.total
        places = [(ledger[index]["source"], ledger[index]["row"]) for index in indexes]
        assert places == [(row.source, row.row) for row in page.rows]
    assert choose_rows(hostile, manifest, EVERYTHING, "row", 0, 0)[1] == []
    assert choose_rows(hostile, manifest, EVERYTHING, "row", 10**6, 5)[1] == []
