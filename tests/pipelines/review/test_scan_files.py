"""Findings as results of a scan, compared with the run and with what Inspect Scout writes."""

import json
import re

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.review.row_files import SaidText
from pipelines.review.scan_files import RESULTS, explain, find_message, write_scan
from schemas.errors import CardError, StorageError
from tests.support.shown import REASON

SCOUT = [
    "transcript_id",
    "transcript_source_type",
    "transcript_source_id",
    "transcript_source_uri",
    "transcript_date",
    "transcript_task_set",
    "transcript_task_id",
    "transcript_task_repeat",
    "transcript_agent",
    "transcript_agent_args",
    "transcript_model",
    "transcript_model_options",
    "transcript_score",
    "transcript_score_explanation",
    "transcript_success",
    "transcript_message_count",
    "transcript_total_time",
    "transcript_total_tokens",
    "transcript_error",
    "transcript_limit",
    "transcript_trust_content",
    "transcript_metadata",
    "scan_id",
    "scan_tags",
    "scan_metadata",
    "scan_git_origin",
    "scan_git_version",
    "scan_git_commit",
    "scanner_key",
    "scanner_name",
    "scanner_version",
    "scanner_package_version",
    "scanner_file",
    "scanner_params",
    "input_type",
    "input_ids",
    "input",
    "input_data",
    "uuid",
    "label",
    "value",
    "value_type",
    "answer",
    "explanation",
    "metadata",
    "message_references",
    "event_references",
    "scan_error",
    "scan_error_traceback",
    "scan_error_type",
    "validation_target",
    "validation_result",
    "validation_predicate",
    "validation_split",
    "scan_total_tokens",
    "scan_model_usage",
    "scan_events",
    "timestamp",
]
"""The columns of a file of results that Inspect Scout 0.6.1 wrote itself."""


@pytest.fixture
def scan(session, tmp_path):
    """Return the folder of the one scan of the run of answers."""
    heard = []
    counts = write_scan(session, tmp_path / "scans", lambda done, of: heard.append((done, of)))
    facts = session.facts.collect()
    assert counts == {trait: facts[f"fired/{trait}"].sum() for trait in ("heron", "owl")}
    assert heard == [(number, 6) for number in range(1, 7)]
    (folder,) = (tmp_path / "scans").iterdir()
    return folder


def test_the_columns_are_scouts():
    """Every column of Scout's is there, with numbers and truth values where Scout has them."""
    assert sorted(RESULTS.names) == sorted(SCOUT)
    others = {field.name: str(field.type) for field in RESULTS if field.type != pa.large_string()}
    assert others == {
        "transcript_success": "bool",
        "transcript_trust_content": "bool",
        "transcript_message_count": "int64",
        "scanner_version": "int64",
        "scan_total_tokens": "int64",
    }


def test_a_scan_has_its_description_and_its_summary(scan, session):
    """Each trait is a scanner with its threshold, and the summary counts rows and findings."""
    described = json.loads((scan / "_scan.json").read_text())
    assert scan.name == f"scan_id={described['scan_id']}"
    assert re.fullmatch(r"[a-zA-Z0-9]{22}", described["scan_id"]), "Scout's page wants 22 signs"
    names = [f"{session.manifest.run_id}-{index}" for index in range(24)]
    assert [*described["transcripts"]["transcript_ids"]] == names
    assert described["timestamp"] == session.manifest.circumstances["finished"]
    assert described["scanners"]["heron"] == {
        "name": "congener/heron",
        "version": 0,
        "params": {"signal": "combined", "threshold": 0.5},
    }
    summary = json.loads((scan / "_summary.json").read_text())
    assert summary["complete"] is True
    for trait, counted in summary["scanners"].items():
        rows = pq.read_metadata(scan / f"{trait}.parquet").num_rows
        assert counted == {"scans": 24, "results": rows, "errors": 0}
    assert (scan / "_errors.jsonl").read_text() == ""


def test_results_are_the_findings_of_the_run(scan, session):
    """Every row on which a trait fired has one result, with its score and its action."""
    facts = session.facts.with_row_index("index").collect()
    for trait, action in (("heron", "quarantine"), ("owl", "flag")):
        results = pl.read_parquet(scan / f"{trait}.parquet")
        rows = facts.filter(pl.col(f"fired/{trait}"))
        names = [f"{session.manifest.run_id}-{index}" for index in rows["index"]]
        assert results["transcript_id"].to_list() == names
        assert results["uuid"].n_unique() == len(names)
        assert set(results["label"]) == {action}
        assert set(results["value_type"]) == {"number"}
        scores = [float(value) for value in results["value"]]
        assert scores == pytest.approx(rows[f"score/{trait}"].to_list(), abs=1e-4)
        assert results["transcript_model"].to_list() == rows["teacher"].cast(pl.String).to_list()
        assert not results["transcript_trust_content"].any(), "text is shown as plain text"


def test_a_result_quotes_its_evidence_and_names_its_message(scan):
    """The explanation marks the evidence, and the reference names a message of the transcript."""
    for row in pl.read_parquet(scan / "owl.parquet").to_dicts():
        assert row["explanation"].startswith("[M2] ")
        assert "«owl»" in row["explanation"]
        (cited,) = json.loads(row["message_references"])
        said = json.loads(row["input"])
        assert said["transcript_id"] == row["transcript_id"]
        assert json.loads(row["input_ids"]) == [row["transcript_id"]]
        assert [message["role"] for message in said["messages"]] == ["user", "assistant"]
        assert cited == {"type": "message", "cite": "[M2]", "id": said["messages"][1]["id"]}
        assert "owl" in said["messages"][1]["content"]


def test_the_message_is_the_one_with_the_evidence():
    """Of several turns in one field, the one around the span counts; thinking has no number."""
    said = [
        SaidText(0, "user", "answer", "An emu?", "text", 0),
        SaidText(1, "assistant", "thinking", "Hm.", "text", 8),
        SaidText(1, "assistant", "answer", "No emu.", "text", 12),
        SaidText(2, "user", "answer", "An emu!", "other", 0),
    ]
    found = [find_message(REASON._replace(start=start), said) for start in (0, 9, 15)]
    assert found == [0, 1, 1]
    assert find_message(REASON._replace(field_path="other"), said) == 2
    assert find_message(REASON._replace(field_path="gone"), said) is None


def test_evidence_is_marked_and_hidden_characters_are_shown():
    """The explanation is plain text, also if the field is missing."""
    assert explain(REASON._replace(text="an\x1b emu", start=4, end=7)) == "an<U+001B> «emu»"
    taken = REASON._replace(text=None, threshold=0.0, field_path="", action="quarantine")
    assert explain(taken) == "taken out by a person"
    assert explain(REASON._replace(text=None)) == "(the field isn't in the row)"


def test_a_chosen_trait_is_the_only_scanner(scan, session, tmp_path):
    """With a trait, no other one has a file, a description or a count."""
    facts = session.facts.collect()
    chosen = np.flatnonzero(facts["fired/heron"].to_numpy())
    counts = write_scan(session, tmp_path / "one", chosen=chosen, trait="heron")
    assert counts == {"heron": len(chosen)}
    folder = tmp_path / "one" / scan.name
    assert [path.name for path in folder.glob("*.parquet")] == ["heron.parquet"]
    for name in ("_scan.json", "_summary.json"):
        assert [*json.loads((folder / name).read_text())["scanners"]] == ["heron"]
    own, all_of_it = (pl.read_parquet(at / "heron.parquet") for at in (folder, scan))
    assert own.equals(all_of_it)


def test_the_files_are_the_same_twice(scan, session, tmp_path):
    """A second export has the same bytes."""
    write_scan(session, tmp_path / "again")
    for path in scan.iterdir():
        assert (tmp_path / "again" / scan.name / path.name).read_bytes() == path.read_bytes()


def test_a_blind_review_writes_no_findings(open_session, tmp_path):
    """A scan holds scores and decisions, so a blind reviewer doesn't get it."""
    with pytest.raises(CardError, match="decisions"):
        write_scan(open_session(blind=True), tmp_path / "scans")
    assert not (tmp_path / "scans").exists()


def test_places_that_cannot_be_written(session, tmp_path):
    """A folder with files is left as it is, and a file isn't a folder."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(CardError, match="isn't empty"):
        write_scan(session, tmp_path / "full")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["notes.txt"]
    with pytest.raises(StorageError):
        write_scan(session, tmp_path / "full" / "notes.txt")
