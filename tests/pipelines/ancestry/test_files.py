"""The files of a lineage."""

import json

import polars as pl
import pytest

from classifiers.lineage.habits import Habit
from classifiers.lineage.ranking import Ranked, Ranking
from pipelines.ancestry.files import (
    FILES,
    HABITS,
    PAGE,
    RANKING,
    SUMMARY,
    begin_output,
    write_family,
)
from pipelines.lineage import Family, Lineage
from schemas.errors import RunError


def build() -> Family:
    """Return a family of two models with two candidates."""
    found = []
    for name, overlap in (("one", 0.2), ("two", None)):
        ranked = [
            Ranked(1, 0.8, 0.01, 9.0, 0.5, overlap),
            Ranked(0, 0.1, 1.0, 3.0, 0.1, overlap),
        ]
        habits = [Habit("Sure !", 0.5, 0.25, 0.0, 1e-9)] if overlap else []
        ranking = Ranking(ranked, 0.1, overlap is not None)
        found.append(Lineage(name, ("gpt", "claude"), ranking, habits, 805, 800))
    return Family(found, ("one", "two", "gpt", "claude"), [])


def test_all_files_are_written(tmp_path):
    """The page, the summary and the tables are there, and the page's path is returned."""
    page = write_family(str(tmp_path), build())
    assert page == str(tmp_path / PAGE)
    assert {path.name for path in tmp_path.iterdir()} == set(FILES)
    summary = json.loads((tmp_path / SUMMARY).read_text())
    assert [item["model"] for item in summary["models"]] == ["one", "two"]


def test_tables_have_a_row_for_each_candidate_and_habit(tmp_path):
    """Notebooks read the ranking and the habits with their models."""
    write_family(str(tmp_path), build())
    ranking = pl.read_parquet(tmp_path / RANKING)
    assert ranking["model"].to_list() == ["one", "one", "two", "two"]
    assert ranking["rank"].to_list() == [1, 2, 1, 2]
    assert ranking["candidate"].to_list() == ["claude", "gpt"] * 2
    assert ranking["same_prompts"].to_list() == [0.2, 0.2, None, None]
    habits = pl.read_parquet(tmp_path / HABITS)
    assert habits.select("model", "candidate", "text").rows() == [("one", "claude", "Sure !")]


def test_the_same_findings_give_the_same_bytes(tmp_path):
    """Writing again changes no byte."""
    write_family(str(tmp_path), build())
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    begin_output(str(tmp_path))
    write_family(str(tmp_path), build())
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_of_something_else_is_refused(tmp_path):
    """Files that lineage didn't write aren't mixed with its own."""
    begin_output(str(tmp_path / "new"))
    begin_output(str(tmp_path))
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunError, match="isn't empty") as caught:
        begin_output(str(tmp_path))
    assert caught.value.where == str(tmp_path)
