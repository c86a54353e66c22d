"""The list of removed rows: complete, bounded, and in the order of `inspect`."""

import re
import shlex
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import removed_rows
from pipelines.inspection import View, inspect_run
from pipelines.removed_rows import (
    FOLDED,
    LISTED,
    RemovedGroup,
    list_flagged_rows,
    list_masked_rows,
    list_removed_rows,
    share_out,
)
from pipelines.report import render_report
from pipelines.row_exceptions import write_exception
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.queries import Filters
from pipelines.runs.rates import compare_groups
from schemas.errors import BudgetError
from tests.support.hostile import filter_answers, filter_hostile_corpus, filter_pairs
from tests.support.runs import read_ledger


def list_groups(run: str) -> list[RemovedGroup]:
    """List a run's removed rows."""
    manifest = load_manifest(run)
    return list_removed_rows(run, manifest, compare_groups(run, manifest))


def name_rows(found) -> list[tuple[str, int]]:
    """Return the places of a list's rows, in order."""
    return [(item.row.source, item.row.row) for fold in found.folds for item in fold]


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("removed"))[0]


def test_every_removed_row_is_listed(hostile):
    """Each removed row is in the list of every trait that fired on it, or of its decision."""
    expected = Counter()
    for row in read_ledger(hostile):
        if row["decision"] in ("drop", "quarantine", "duplicate", "reject"):
            for trait in {reason["trait"] for reason in row["reasons"]}:
                expected[trait, row["decision"], row["source"], row["row"]] += 1
        if row["decision"] in ("duplicate", "reject"):
            expected[None, row["decision"], row["source"], row["row"]] += 1
    found = Counter(
        (group.trait, item.decision, *place)
        for group in list_groups(hostile)
        for item in group.lists
        for place in name_rows(item)
    )
    assert found == expected
    assert set(found.values()) == {1}


def list_masked(run: str) -> list[RemovedGroup]:
    """List a run's masked rows."""
    manifest = load_manifest(run)
    return list_masked_rows(run, manifest, compare_groups(run, manifest))


def test_every_masked_row_is_listed_with_a_passage(hostile):
    """Each masked row is in the list of every trait that fired on it, with some of its text."""
    expected = Counter()
    for row in read_ledger(hostile):
        if row["decision"] == "mask":
            for trait in {reason["trait"] for reason in row["reasons"]}:
                expected[trait, row["source"], row["row"]] += 1
    assert expected
    lists = [(group.trait, item) for group in list_masked(hostile) for item in group.lists]
    assert {item.decision for _, item in lists} == {"mask"}
    assert (
        Counter((trait, *place) for trait, item in lists for place in name_rows(item)) == expected
    )
    rows = [row for _, item in lists for fold in item.folds for row in fold]
    assert all(any(piece.text.strip() for piece in row.pieces) for row in rows)
    assert any(piece.masked for row in rows for piece in row.pieces)


def test_long_lists_of_masked_rows_end_with_a_command(hostile, monkeypatch):
    """Masked rows have a limit of their own, and a command shows the others."""
    whole = list_masked(hostile)
    monkeypatch.setattr(removed_rows, "MASKED_LISTED", 0)
    cut = [item for group in list_masked(hostile) for item in group.lists]
    assert sum(item.listed for item in cut) == 0
    longer = [item for item in cut if item.total > item.listed]
    assert longer
    assert all("decision" in item.command and "mask" in item.command for item in longer)
    assert {item.place for item in longer} == {"clean/"}
    assert sum(item.total for item in cut) == sum(
        item.total for group in whole for item in group.lists
    )


def test_the_lists_have_the_order_of_inspect(hostile):
    """A list's rows are those that `inspect` shows with the same filters, in the same order."""
    groups = list_groups(hostile)
    assert len({group.name for group in groups}) == len(groups)
    for group in groups:
        for item in group.lists:
            filters = Filters(group.trait, decision=item.decision)
            page = inspect_run(hostile, View(filters, limit=LISTED)).page
            assert name_rows(item) == [(row.source, row.row) for row in page.rows]
            assert item.total == item.listed == page.total
            assert item.command is None


def test_the_first_table_has_the_same_numbers(hostile):
    """A trait's lists have as many rows as the column of removed rows."""
    rates = compare_groups(hostile, load_manifest(hostile)).table
    lines = {(line["grouping"], line["trait"]): line for line in rates.to_dicts()}
    for group in list_groups(hostile):
        for item in group.lists:
            if group.trait is not None:
                assert lines["all", group.trait][item.decision] == item.total


def test_long_lists_end_with_the_next_rows(hostile, monkeypatch):
    """Beyond the bound, a command shows exactly the rows that are missing from the list."""
    whole = {group.name: group.lists for group in list_groups(hostile)}
    monkeypatch.setattr(removed_rows, "LISTED", 12)
    monkeypatch.setattr(removed_rows, "FOLDED", 2)
    groups = list_groups(hostile)
    lists = [(group, item) for group in groups for item in group.lists]
    assert sum(item.listed for _, item in lists) <= 12
    (emu,) = [item for group, item in lists if group.trait == "emu" and item.command]
    assert len(emu.folds[0]) == 2
    assert emu.total > emu.listed == sum(map(len, emu.folds))
    words = shlex.split(emu.command)
    assert words[:3] == ["congener", "inspect", "."]
    assert {"--trait=emu", f"--decision={emu.decision}", "2"} < set(words)
    start = int(re.search(r"--start (\d+)", emu.command)[1])
    filters = Filters("emu", decision=emu.decision)
    page = inspect_run(hostile, View(filters, start=start, limit=LISTED)).page
    (before,) = [item for item in whole["emu"] if item.decision == emu.decision]
    shown = [(row.source, row.row) for row in page.rows]
    assert name_rows(emu) + shown == name_rows(before)
    short = [item for _, item in lists if item.total <= emu.listed]
    assert short
    assert all(item.command is None for item in short)


@given(totals=st.lists(st.integers(0, 2000), max_size=20), most=st.integers(0, 3000))
def test_lists_are_cut_to_the_same_length(totals, most):
    """The lists fit the bound, one row more in each wouldn't, and none is cut without need."""
    length = share_out(totals, most)
    cut = [min(total, length) for total in totals]
    assert sum(cut) <= most
    if cut != totals:
        assert sum(min(total, length + 1) for total in totals) > most


def test_rows_say_what_else_decided(tmp_path):
    """If another trait's action removed a row, it is named; a further trait is named apart."""
    run = filter_answers(tmp_path, ["a fox and an owl"], ["fox", "owl"])
    (fox, owl) = list_groups(run)
    ((shown,),) = fox.lists[0].folds
    assert [item.trait for item in shown.deciding] == ["owl"]
    assert shown.others == []
    ((shown,),) = owl.lists[0].folds
    assert shown.deciding == []
    assert [item.trait for item in shown.others] == ["fox"]
    assert shown.question == "user: q"
    assert "".join(piece.text for piece in shown.pieces) == "a fox and an owl"


def test_a_row_is_shown_under_the_trait_that_decided(tmp_path):
    """On the page, a row is only in the list of the trait that removed it, with its exception."""
    run = filter_answers(tmp_path, ["a fox and an owl", "a fox"], ["fox", "owl"])
    (fox, owl) = [group.lists[0] for group in list_groups(run)]
    assert (fox.own_folds, fox.elsewhere) == ([], 1)
    ((shown,),) = owl.own_folds
    assert owl.elsewhere == 0
    place = f"{shown.row.source}:{shown.row.row}"
    assert shown.exceptions == [write_exception(place, "owl")]
    page = render_report(run, load_manifest(run))
    assert page.count("to keep it: <code>{row:") >= 1
    assert "fox also fired on 1 row in quarantine, because of other traits" in page
    cut = fox._replace(command="congener inspect .")
    assert cut.own_folds == fox.folds, "the lists of a long run stay as inspect shows them"


def test_flagged_rows_are_listed(tmp_path):
    """Flagged rows are listed by trait, and a run without them has no such section."""
    run = filter_answers(tmp_path, ["a bee", "a goose"], ["bee", "owl"])
    manifest = load_manifest(run)
    (group,) = list_flagged_rows(run, manifest, compare_groups(run, manifest))
    assert (group.trait, group.lists[0].decision, group.lists[0].total) == ("bee", "flag", 1)
    page = render_report(run, manifest)
    assert 'id="flagged-bee"' in page
    assert "Every row that was flagged" in page


def test_a_long_passage_is_cut(tmp_path):
    """A row's text is cut around its evidence, so that a page of rows stays small."""
    run = filter_answers(tmp_path, ["word " * 400 + "owl" + " word" * 400], ["owl"])
    ((shown,),) = list_groups(run)[0].lists[0].folds
    text = "".join(piece.text for piece in shown.pieces)
    assert "owl" in [piece.text for piece in shown.pieces if piece.marked]
    assert len(text) < 200


def test_findings_in_other_texts_are_listed_once(tmp_path):
    """A row that a trait held for both answers of a pair is in the trait's list once."""
    policy = "sides: {rejected: quarantine}\n"
    run = filter_pairs(tmp_path, [("an owl", "an owl"), ("a dog", "owls")], policy)
    (group,) = list_groups(run)
    assert [item.total for item in group.lists] == [2]
    assert len(name_rows(group.lists[0])) == 2


def test_replaced_rows_are_listed(swapped):
    """In a swapped run, replaced rows are listed by the trait of their old answer."""
    (group,) = list_groups(str(swapped))
    assert [(item.decision, item.total) for item in group.lists] == [("quarantine", 3), ("swap", 5)]
    replaced = [item for fold in group.lists[1].folds for item in fold]
    assert {item.row.swap.donor for item in replaced} == {"cedar", "oak"}
    assert all(item.pieces[0].text.startswith(("cedar", "oak")) for item in replaced)


def test_a_stopped_run_lists_rows_without_text(tmp_path):
    """A run that a budget stopped names the rows that it would have removed."""
    with pytest.raises(BudgetError, match="removal_budget"):
        filter_answers(tmp_path, ["an owl", "a goose"], ["owl"], "removal_budget: 0.1\n")
    manifest = load_withdrawn(tmp_path / "run")
    run = str(tmp_path / "run")
    (group,) = list_removed_rows(run, manifest, compare_groups(run, manifest))
    ((shown,),) = group.lists[0].folds
    assert shown.row.record is None


def load_withdrawn(run):
    """Return the manifest of a run that a budget stopped."""
    return inspect_run(str(run), View(limit=0)).manifest


def test_a_run_that_removed_nothing_has_no_list(tmp_path):
    """Flagged and kept rows aren't removed."""
    run = filter_answers(tmp_path, ["a bee", "a goose"], ["bee", "owl"])
    assert list_groups(run) == []


def test_the_page_stays_usable():
    """The bound is some hundreds of rows, in folds that a person can read."""
    assert 100 <= LISTED <= 1000
    assert FOLDED <= 100
