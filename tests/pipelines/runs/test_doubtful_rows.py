"""Rows that a run takes from the student because of named traits."""

import json
from pathlib import Path

import pytest

from pipelines.report import write_report
from pipelines.runs.doubtful_rows import count_new, list_doubtful_rows
from pipelines.verify import verify_run
from tests.support.hostile import FILE, filter_lines, write_cards

TEXTS = ("an owl", "a fox", "an owl and a fox", "a tern", "an owl again")


@pytest.fixture
def birds(tmp_path):
    """Filter five rows: owls are held, but one by an exception, and foxes are masked."""
    lines = [json.dumps({"text": text}) for text in TEXTS]
    policy = f"exceptions: [{{row: '{FILE}:4', trait: owl, action: keep, reason: read}}]\n"
    cards = write_cards(tmp_path / "traits", ["owl", "fox"])
    return filter_lines(tmp_path, lines, cards, policy)


def test_only_the_trait_that_decided_has_a_row(birds):
    """A row that an exception keeps isn't listed, nor is a trait that only fired on a row."""
    run, manifest = birds
    found = list_doubtful_rows(run, manifest, ["owl", "fox"])
    assert found == {
        (FILE, 0, "owl"): "quarantine",
        (FILE, 2, "owl"): "quarantine",
        (FILE, 1, "fox"): "mask",
    }
    assert list_doubtful_rows(run, manifest, ["fox"]) == {(FILE, 1, "fox"): "mask"}
    assert list_doubtful_rows(run, manifest, []) == {}


def test_a_row_that_a_person_took_out_needs_no_warning(tmp_path):
    """Whoever names a row has read it; the trait's own findings are listed as before."""
    lines = [json.dumps({"text": text}) for text in TEXTS]
    policy = (
        f"exceptions:\n- {{row: '{FILE}:3', trait: owl, action: quarantine, reason: read}}\n"
        f"- {{row: '{FILE}:0', trait: owl, action: drop, reason: read}}\n"
    )
    cards = write_cards(tmp_path / "traits", ["owl"])
    run, manifest = filter_lines(tmp_path, lines, cards, policy)
    assert manifest.conservation.by_decision["quarantine"] == 3
    assert set(list_doubtful_rows(run, manifest, ["owl"])) == {
        (FILE, number, "owl") for number in (0, 2, 4)
    }
    assert (manifest.count_fired("owl"), manifest.count_named("owl")) == (4, 1)
    assert verify_run(run) == []


def test_rows_of_an_earlier_run_are_known_if_they_were_decided_alike():
    """A row counts again only if its decision changed."""
    before = {("a", 0, "owl"): "quarantine", ("a", 1, "owl"): "quarantine"}
    now = {("a", 0, "owl"): "quarantine", ("a", 1, "owl"): "drop", ("a", 2, "fox"): "mask"}
    assert count_new(now, before) == {("owl", "drop"): 1, ("fox", "mask"): 1}
    assert count_new(before, {}) == {("owl", "quarantine"): 2}


def test_the_report_names_a_person_s_decision(tmp_path):
    """The row's example has no threshold that it didn't reach."""
    lines = [json.dumps({"text": text}) for text in TEXTS]
    policy = f"exceptions: [{{row: '{FILE}:3', action: quarantine, reason: a tern}}]\n"
    run, manifest = filter_lines(tmp_path, lines, write_cards(tmp_path / "traits", ["emu"]), policy)
    assert manifest.conservation.by_decision == {"keep": 4, "quarantine": 1}
    page = Path(write_report(run)).read_text(encoding="utf-8")
    assert "</b>, taken out by a person · " in page
    assert "1 from keep to quarantine" in page.replace("<b>", "").replace("</b>", "")
