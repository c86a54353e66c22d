"""What is checked of a report: its page, its rates, and its pairs of teachers."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from pipelines.report import write_report
from pipelines.report_checks import check_report, describe_page_check, find_report_version
from pipelines.runs.manifest_file import load_manifest
from pipelines.version import name_code
from schemas.runs import PAIRS_TABLE, RATES_TABLE, REPORT_PAGE
from tests.support.shared_prompts import build_rows, filter_rows


@pytest.fixture
def reported(tmp_path):
    """Filter teachers that share prompts, and write the report."""
    run, _ = filter_rows(tmp_path, build_rows())
    write_report(run)
    return run


def list_problems(run):
    """Return the paths with a finding."""
    return [item.where for item in check_report(run, load_manifest(run))]


def test_a_written_report_is_whole(reported):
    """The page, the rates and the pairs are what the run says."""
    assert {path.name for path in Path(reported, "report").iterdir()} == {
        *("index.html", "rates.parquet", "pairs.parquet"),
    }
    assert list_problems(reported) == []
    assert describe_page_check(reported) == "compared"
    assert find_report_version(reported) == name_code()
    page = Path(reported, REPORT_PAGE).read_text()
    assert "Teachers on the same prompts" in page
    assert "1 pair of teachers has 20 or more prompts in common" in page


@pytest.mark.parametrize("path", [PAIRS_TABLE, RATES_TABLE, REPORT_PAGE])
def test_a_changed_file_is_found(reported, path):
    """Each of the files is made again and compared."""
    file = Path(reported, path)
    if path.endswith("parquet"):
        table = pl.read_parquet(file)
        table.with_columns(p=pl.lit(0.5)).write_parquet(file)
    else:
        file.write_text(file.read_text() + " ")
    assert list_problems(reported) == [path]
    file.write_bytes(b"damaged")
    assert list_problems(reported) == [path]


def test_files_may_be_missing(reported):
    """The pairs and the page may be removed, and the rates not while the page is there."""
    Path(reported, PAIRS_TABLE).unlink()
    assert list_problems(reported) == []
    Path(reported, RATES_TABLE).unlink()
    assert list_problems(reported) == [RATES_TABLE]
    Path(reported, REPORT_PAGE).unlink()
    assert list_problems(reported) == []
    assert describe_page_check(reported) == "none"


def test_tables_without_the_page_are_compared(reported):
    """The page quotes the corpus, so it may be left out."""
    Path(reported, REPORT_PAGE).unlink()
    assert list_problems(reported) == []
    assert describe_page_check(reported) == (
        f"missing (only {RATES_TABLE} and {PAIRS_TABLE} were compared)"
    )


def test_pairs_of_a_run_without_pairs_are_found(tmp_path, reported):
    """A table that the report wouldn't write isn't part of it."""
    (tmp_path / "other").mkdir()
    rows = [row for row in build_rows() if row.get("teacher") == "atlas"]
    run, _ = filter_rows(tmp_path / "other", rows)
    write_report(run)
    assert not Path(run, PAIRS_TABLE).exists()
    Path(run, PAIRS_TABLE).write_bytes(Path(reported, PAIRS_TABLE).read_bytes())
    assert list_problems(run) == [PAIRS_TABLE]
