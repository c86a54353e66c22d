"""Rows of a finished run with texts, reasons, scores, masks and neighbours."""

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.pages import read_page
from pipelines.runs.queries import EVERYTHING, Filters
from pipelines.runs.shown_rows import MaskedSpan, read_shown_rows
from schemas.errors import RunError
from schemas.lots import Lot
from schemas.runs import parse_path
from tests.support.hostile import (
    FILE,
    build_rows,
    filter_answers,
    filter_hostile_corpus,
    filter_lines,
    write_cards,
)
from tests.support.runs import read_ledger
from transforms.files import storage
from transforms.records.questions import SpokenText

HELD = EVERYTHING._replace(decision="quarantine")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> str:
    """Filter the hostile corpus; return the run directory."""
    return filter_hostile_corpus(tmp_path_factory.mktemp("rows"))[0]


def read_rows(run: str, *indexes: int, **options):
    """Return the rows of a run at these indexes."""
    return read_shown_rows(run, load_manifest(run), indexes, **options)


def test_rows_come_in_the_order_in_which_they_are_asked_for(hostile):
    """Rows come in the order of the given indexes, with repeats."""
    indexes = [61, 3, 80, 3, 0]
    ledger = read_ledger(hostile)
    found = read_rows(hostile, *indexes)
    assert [(row.source, row.row, row.decision) for row in found] == [
        (ledger[index]["source"], ledger[index]["row"], ledger[index]["decision"])
        for index in indexes
    ]


def test_a_masked_row_has_its_masks(tmp_path):
    """A masked row has the masks in `clean/` and the corpus's record."""
    run = filter_answers(tmp_path, ["Hi. A fox ran. Bye.", "a goose"], ["fox"])
    row, kept = read_rows(run, 0, 1)
    (mask,) = row.masks
    assert mask == MaskedSpan("messages[1].content", 4, 14)
    assert "congener" not in row.record
    assert [reason.action for reason in row.reasons] == ["mask"]
    assert (kept.masks, kept.reasons) == ((), ())


def test_a_masked_row_of_a_table(tmp_path):
    """In Parquet too, the run's column is removed, and unread columns are absent by default."""
    (tmp_path / "in").mkdir()
    table = pa.table({"text": ["A fox ran.", "a goose"], "size": [1, 2]})
    pq.write_table(table, tmp_path / "in" / "rows.parquet")
    run = str(tmp_path / "run")
    cards = write_cards(tmp_path / "traits", ["fox"])
    run_filter(FilterConfig(input=(str(tmp_path / "in"),), output=run, traits=cards))
    (whole,) = read_rows(run, 0)
    (part,) = read_rows(run, 0, whole=False)
    assert whole.record == {"text": "A fox ran.", "size": 1}
    assert part.record == {"text": "A fox ran."}
    assert whole.masks == part.masks == (MaskedSpan("text", 0, 10),)


def test_a_dropped_row_has_no_record(hostile):
    """A dropped row has reasons and scores, but no record."""
    (row, *_) = read_page(hostile, load_manifest(hostile), Filters(decision="drop")).rows
    assert row.record is None
    assert row.reasons[0].text is None
    assert (row.reasons[0].trait, row.reasons[0].action) == ("elk", "drop")


def test_a_duplicate_is_shown_as_the_row_that_it_repeats(hostile):
    """A duplicate has the repeated row's record and number."""
    duplicates = EVERYTHING._replace(decision="duplicate")
    for row in read_page(hostile, load_manifest(hostile), duplicates).rows:
        source, number = row.copy_of
        assert source == FILE
        assert number < row.row
        content = build_rows()[number]["messages"][1]["content"]
        assert row.record["messages"][1]["content"] == content
        assert row.answer == SpokenText("assistant", content) or row.reasons[0].text == content


def test_a_reject_has_its_error_and_its_bytes(hostile):
    """A reject has its reason and content, but no record."""
    (row,) = read_page(hostile, load_manifest(hostile), Filters(decision="reject")).rows
    assert row.error.startswith("not JSON")
    assert row.raw.startswith(b"not JSON")
    assert (row.record, row.record_id, row.lot) == (None, None, Lot())


def test_commands_that_show_a_run_start_without_models():
    """Inspecting or reporting a run loads neither torch nor Beam."""
    script = (
        "import sys, pipelines.inspection, pipelines.report; "
        "print([name for name in ('torch', 'apache_beam', 'faiss') if name in sys.modules])"
    )
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, capture_output=True, check=True, text=True)
    assert found.stdout == "[]\n"


def test_rows_have_their_lots(tmp_path):
    """A row's lot has a dash for every unknown field."""
    lines = [json.dumps({"text": "owl", "teacher": "atlas", "source": None})]
    run, _ = filter_lines(tmp_path, lines, write_cards(tmp_path / "traits", ["owl"]))
    (row,) = read_rows(run, 0)
    assert row.lot == Lot("atlas", "-", "-", "-")


def test_only_the_files_of_a_page_are_opened(hostile, monkeypatch):
    """Showing a row opens only its shard's files."""
    manifest = load_manifest(hostile)
    opened, open_raw = [], storage.open_raw
    whole = read_page(hostile, manifest, HELD, "row", 0, 0).total
    monkeypatch.setattr(
        "pipelines.runs.finished.storage.open_raw", lambda uri: opened.append(uri) or open_raw(uri)
    )
    read_page(hostile, manifest, HELD, "row", whole - 1, 1)
    folders = [parse_path(output.path).folder for output in manifest.outputs]
    assert folders.count("quarantine") > 1
    names = [Path(uri).relative_to(hostile).parts[0] for uri in opened]
    assert sorted(names) == ["ledger", "quarantine", "scores", "spans"]


def test_missing_scores_are_named(tmp_path):
    """The error for removed scores names the missing file."""
    run = filter_answers(tmp_path, ["an owl"], ["owl"])
    next(Path(run, "scores").glob("*.parquet")).unlink()
    with pytest.raises(RunError, match=r"scores/.*is missing"):
        read_page(run, load_manifest(run))
