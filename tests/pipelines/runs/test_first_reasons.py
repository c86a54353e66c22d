"""The first reasons of many rows, compared with the rows as they are shown."""

import json

import pytest

from pipelines.runs.deciding_traits import order_traits
from pipelines.runs.first_reasons import scan_first_reasons
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.pages import INDEX
from pipelines.runs.queries import scan_ledger
from pipelines.runs.shown_rows import read_shown_rows
from tests.support.hostile import (
    filter_answers,
    filter_hostile_corpus,
    filter_lines,
    write_cards,
)
from tests.support.runs import read_ledger

STRICTER_FOX = """\
traits: {emu: {action: flag}, fox: {action: quarantine}}
exceptions:
  - {trait: fox, lot: {teacher: mild}, action: keep, reason: a test}
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("first"))[0]


def read_first(run):
    """Return the trait and the score of each row's first reason, by the row's index."""
    manifest = load_manifest(run)
    found = scan_first_reasons(scan_ledger(run, manifest, row_index=INDEX), manifest, INDEX)
    return {index: (trait, score) for index, trait, score in found.collect().iter_rows()}


def test_the_first_reason_is_the_one_that_is_shown_first(hostile):
    """For every row with a reason, it is the first of `order_traits`, and of the shown reasons."""
    manifest, found = load_manifest(hostile), read_first(hostile)
    ledger = read_ledger(hostile)
    assert sorted(found) == [at for at, row in enumerate(ledger) if row["reasons"]]
    rows = read_shown_rows(hostile, manifest, sorted(found), whole=False)
    assert any(len(row.reasons) > 1 for row in rows)
    for (trait, score), row in zip((found[at] for at in sorted(found)), rows, strict=True):
        assert trait == order_traits(row)[0] == row.reasons[0].trait
        assert score == pytest.approx(row.reasons[0].score, abs=1e-4)


def test_a_milder_trait_with_a_higher_score_comes_second(tmp_path):
    """The trait that holds a row is its first, unless an exception makes it the milder one."""
    lines = [
        json.dumps({"text": "fox emu emu emu emu", "teacher": name}) for name in ("strict", "mild")
    ]
    cards = write_cards(tmp_path / "traits", ["emu", "fox"])
    run = filter_lines(tmp_path, lines, cards, STRICTER_FOX)[0]
    assert [row["decision"] for row in read_ledger(run)] == ["quarantine", "flag"]
    assert [trait for trait, _ in read_first(run).values()] == ["fox", "emu"]


def test_rows_without_a_reason_have_none(tmp_path):
    """A run in which nothing fired has no first reasons."""
    assert read_first(filter_answers(tmp_path, ["a goose"], ["emu"])) == {}
