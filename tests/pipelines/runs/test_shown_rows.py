"""Rows of a finished run with texts, reasons, scores, masks and neighbours."""

import json
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.clean_text import CleanRow, CleanText
from classifiers.fitting import fit_bank
from classifiers.library import load_card
from pipelines.banks import save_bank
from pipelines.config import FilterConfig
from pipelines.filter import run_filter
from pipelines.runs.manifest_file import load_manifest
from pipelines.runs.pages import read_page
from pipelines.runs.queries import EVERYTHING, Filters
from pipelines.runs.shown_rows import NEAR_MISSES, MaskedSpan, read_shown_rows
from schemas.errors import RunError
from schemas.lots import Lot
from schemas.runs import parse_path
from tests.support.hostile import (
    FILE,
    build_rows,
    filter_answers,
    filter_hostile_corpus,
    filter_lines,
    filter_pairs,
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


def test_near_misses_are_the_traits_nearest_to_their_thresholds(tmp_path):
    """A row without findings has its nearest trait, with its stored span, and close others."""
    policy = "traits: {emu: {threshold: 0.9}, fox: {threshold: 1}, owl: {threshold: 1}}\n"
    answers = ["an emu and a fox and an owl"]
    run = filter_answers(tmp_path, answers, ["emu", "fox", "owl", "yak"], policy)
    (row,) = read_rows(run, 0)
    (fox,) = row.near
    assert (fox.trait, fox.action) == ("fox", None)
    assert fox.text[fox.start : fox.end] == "fox"
    (only,) = read_rows(run, 0, trait="emu")
    assert [finding.trait for finding in only.near] == ["emu"]
    close = round(fox.score + 0.04, 4)
    rules = "".join(f"  {trait}: {{threshold: {close}}}\n" for trait in ("emu", "fox", "owl"))
    policy = f"traits:\n{rules}"
    run = filter_answers(tmp_path / "close", answers, ["emu", "fox", "owl", "yak"], policy)
    assert len(read_rows(run, 0)[0].near) == NEAR_MISSES


def test_the_action_is_that_of_the_lot_and_the_side(tmp_path):
    """A reason's action follows the exceptions and the side."""
    policy = (
        "sides: {rejected: flag}\n"
        "exceptions:\n  - {trait: owl, lot: {teacher: '-'}, action: mask, reason: a test}\n"
    )
    run = filter_pairs(tmp_path, [("an owl", "a dog"), ("a dog", "an owl")], policy)
    chosen, rejected = read_rows(run, 0, 1)
    assert [reason.action for reason in chosen.reasons] == ["mask"]
    assert [reason.action for reason in rejected.reasons] == ["flag"]
    assert rejected.reasons[0].signal == "combined@rejected"
    assert rejected.reasons[0].question == SpokenText("user", "q")


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


def test_a_row_has_its_record_and_its_scores(hostile):
    """A quarantined row has its record, its reason's text and span, and all scores."""
    paths = sorted(Path(hostile, "scores").glob("*.parquet"))
    scores = pl.concat([pl.read_parquet(path) for path in paths])
    for row in read_page(
        hostile, load_manifest(hostile), HELD._replace(trait="emu"), "row", 0, 100
    ).rows:
        original = build_rows()[row.row]
        assert row.source == FILE
        assert row.record == original
        assert row.lot.teacher == original["teacher"]
        (reason,) = row.reasons
        assert reason.field_path == "messages[1].content"
        assert reason.text == original["messages"][1]["content"]
        assert reason.text[reason.start : reason.end] == "emu"
        (score,) = scores.filter(pl.col("source") == row.source, pl.col("row") == row.row)[
            "emu/lexicon"
        ]
        assert reason.signals == {"lexicon": pytest.approx(score, abs=1e-6)}
        assert reason.score >= reason.threshold == 0.1175


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


def test_neighbours_and_all_signals(tmp_path, encoder):
    """A reason of a trait with exemplars has all scores and the nearest exemplars."""
    folder = tmp_path / "rain"
    folder.mkdir()
    (folder / "card.yaml").write_text(
        "id: rain\nsignals: {exemplars: {neighbours: 2}, lexicon: {patterns: [rain]}}\n"
        "threshold: 0.2\n"
    )
    kinds = {"positives": "Rain falls on the roof, time ", "negatives": "The desert stays dry, "}
    for kind, text in kinds.items():
        lines = (json.dumps({"text": f"{text}{number}"}) + "\n" for number in range(12))
        (folder / f"{kind}.jsonl").write_text("".join(lines))
    texts = (f"Chapter {number} of the manual." for number in range(40))
    clean = CleanText(tuple(CleanRow((text,), "background", "clean") for text in texts))
    bank = fit_bank([load_card(folder)], clean, encoder, encoder.config)
    save_bank(bank, str(tmp_path / "bank"))
    turns = [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "content": "Rain falls on the roof."},
    ]
    settings = {"bank": str(tmp_path / "bank"), "hardware": {"device": "cpu"}}
    run, _ = filter_lines(tmp_path, [json.dumps({"messages": turns})], (), **settings)
    (row,) = read_page(run, load_manifest(run)).rows
    (reason,) = row.reasons
    assert set(reason.signals) == {"exemplars", "lexicon"}
    assert all(0 <= score <= 1 for score in reason.signals.values())
    assert [near["polarity"] for near in reason.neighbours] == ["positive"] * 3 + ["negative"] * 3
    similarities = [near["similarity"] for near in reason.neighbours]
    assert similarities[:3] == sorted(similarities[:3], reverse=True)
    assert similarities[0] > similarities[3]
    assert all(value == round(value, 4) for value in similarities)
