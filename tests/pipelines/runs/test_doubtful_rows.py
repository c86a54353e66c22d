"""Rows that a run takes from the student because of named traits."""

import json

import pytest

from pipelines.runs.doubtful_rows import count_new, list_doubtful_rows
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


def test_rows_of_an_earlier_run_are_known_if_they_were_decided_alike():
    """A row counts again only if its decision changed."""
    before = {("a", 0, "owl"): "quarantine", ("a", 1, "owl"): "quarantine"}
    now = {("a", 0, "owl"): "quarantine", ("a", 1, "owl"): "drop", ("a", 2, "fox"): "mask"}
    assert count_new(now, before) == {("owl", "drop"): 1, ("fox", "mask"): 1}
    assert count_new(before, {}) == {("owl", "quarantine"): 2}
