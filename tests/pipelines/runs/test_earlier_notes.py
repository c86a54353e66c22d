"""Masks and flags that a run's clean rows have from an earlier run."""

import json
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.config import FilterConfig
from pipelines.diff import compare_runs
from pipelines.filter import run_filter
from pipelines.runs.earlier_notes import (
    describe_earlier_notes,
    has_earlier_notes,
    read_earlier_notes,
)
from pipelines.runs.manifest_file import load_manifest
from schemas.errors import RunError
from schemas.receipts import NoteCounts
from tests.support.corpora import CARD, build_conversation, write_rows

ANSWERS = ("A heron stood.", "An owl sat.", "A fox ran.", "A heron and an owl.")


@pytest.fixture
def filter_rows(tmp_path, card_folder):
    """Return a function that filters a folder for one animal, with an action."""

    def call(source, output, animal, action):
        card = CARD.replace("herons?", animal)
        config = FilterConfig(
            input=(str(source),),
            output=str(tmp_path / output),
            traits=(str(card_folder(animal, f"action: {action}\n{card}")),),
        )
        run_filter(config)
        return config.output

    return call


@pytest.fixture(params=["jsonl", "parquet"])
def corpus(request, tmp_path):
    """Write four rows as JSON Lines or Parquet."""
    rows = [build_conversation(number, answer) for number, answer in enumerate(ANSWERS)]
    path = tmp_path / "in" / f"rows.{request.param}"
    if request.param == "jsonl":
        return write_rows(path, rows)
    path.parent.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def test_a_kept_mask_is_no_published_text(corpus, filter_rows):
    """A run of a run's clean rows keeps their masks, so its text isn't published by diff."""
    first = filter_rows(corpus, "first", "heron", "mask")
    second = filter_rows(Path(first, "clean"), "second", "owl", "flag")
    found = compare_runs(first, second)
    assert found.by_content, "the corpora differ"
    assert found.kinds == {"other action": 1, "other traits": 1}
    (move,) = found.moves
    assert (move.before, move.after, move.rows) == ("keep", "flag", 1)
    assert found.settings[-1] == (
        "in the second run, 2 rows have a mask or a flag only from an earlier run, "
        "which counts here"
    )
    lost = {item.trait: (item.before, item.after) for item in found.traits}
    assert lost == {"heron": (2, 0), "owl": (0, 2)}, "what fired in each run"
    back = compare_runs(second, first)
    assert back.kinds == found.kinds


def test_a_mask_that_is_really_gone_is_published_text(corpus, filter_rows):
    """From the original input, the same two policies do differ in what a student learns."""
    first = filter_rows(corpus, "first", "heron", "mask")
    second = filter_rows(corpus, "second", "owl", "flag")
    assert compare_runs(first, second).kinds == {"other action": 1, "published text": 2}


def test_notes_are_read_with_their_places(corpus, filter_rows):
    """Only rows with a mask or a flag are read, each at its place in the clean file."""
    first = filter_rows(corpus, "first", "heron", "mask")
    assert not has_earlier_notes(load_manifest(first))
    assert read_earlier_notes(first, load_manifest(first)).is_empty()
    second = filter_rows(Path(first, "clean"), "second", "fox", "quarantine")
    manifest = load_manifest(second)
    assert has_earlier_notes(manifest)
    notes = read_earlier_notes(second, manifest)
    assert notes.select("output_row", "noted", "by").rows() == [
        (0, "mask", "heron"),
        (2, "mask", "heron"),  # the fox between them is in quarantine
    ]
    ledger = pl.read_parquet(Path(second, "ledger", "*.parquet"))
    assert set(notes["output"]) <= set(ledger["output"])


def test_a_missing_file_is_an_error(corpus, filter_rows):
    """Notes of a clean file that isn't there can't be left out."""
    first = filter_rows(corpus, "first", "heron", "flag")
    second = filter_rows(Path(first, "clean"), "second", "owl", "flag")
    for path in Path(second, "clean").rglob("rows*"):
        path.unlink()
    with pytest.raises(RunError, match="is missing, but the manifest lists it"):
        read_earlier_notes(second, load_manifest(second))


def test_the_field_of_another_program_is_no_note(filter_rows, tmp_path):
    """A line whose field `congener` isn't a note has neither a mask nor a flag."""
    rows = [build_conversation(number, answer) for number, answer in enumerate(ANSWERS)]
    corpus = write_rows(tmp_path / "in" / "rows.jsonl", rows)
    first = filter_rows(corpus, "first", "heron", "flag")
    second = filter_rows(Path(first, "clean"), "second", "fox", "flag")
    (path,) = Path(second, "clean").rglob("*.jsonl")
    assert read_earlier_notes(second, load_manifest(second))["noted"].to_list() == ["flag"] * 3
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[0]["congener"] = {"decision": "odd"}
    path.write_text("".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines))
    assert read_earlier_notes(second, load_manifest(second))["output_row"].to_list() == [2, 3]


def test_the_sentence_counts_rows(no_rows):
    """Masks and flags are counted together, and a run of its own says nothing."""
    assert [*describe_earlier_notes(no_rows, "first")] == []
    counts = NoteCounts(masked=3, masked_before=2, flagged=1, flagged_before=1)
    manifest = no_rows.model_copy(update={"notes": counts})
    assert [*describe_earlier_notes(manifest, "first")] == [
        "in the first run, 3 rows have a mask or a flag only from an earlier run, which counts here"
    ]
