"""Inputs that are folders of a run: which are refused, and what the error advises."""

from pathlib import Path

import pytest

from pipelines.runs.run_inputs import CONTENTS, require_corpus
from schemas.errors import InputError
from schemas.runs import DONORS, FOLDERS


@pytest.fixture
def finished(tmp_path, monkeypatch) -> Path:
    """Return the folder of a finished run, beside which the command runs."""
    monkeypatch.chdir(tmp_path)
    for name in (*FOLDERS, DONORS):
        (tmp_path / "my run" / name).mkdir(parents=True)
    (tmp_path / "my run" / "manifest.json").write_text("{}")
    return tmp_path / "my run"


def refuse(*inputs: str) -> InputError:
    """Return the error for some inputs."""
    with pytest.raises(InputError) as caught:
        require_corpus(inputs)
    return caught.value


def test_the_quarantine_says_how_to_take_rows_back(finished):
    """Held rows come back with release or decide, and clean rows are named for filtering."""
    for given in ("my run/quarantine", "my run/quarantine/", "my run/quarantine/*.jsonl"):
        error = refuse(given)
        assert error.where == given
        assert error.problem == (
            "is quarantine/ of the finished run 'my run': the rows that the run held back from "
            "the corpus"
        )
        assert "congener release 'my run' --reviews LABELS -o RUN2" in error.remedy
        assert "congener decide 'my run' --policy POLICY -o RUN2" in error.remedy
        assert "--input 'my run'/clean" in error.remedy


def test_the_run_itself_is_refused(finished):
    """A whole run has every row several times; its clean rows are named instead."""
    for given in ("my run", "my run/", str(finished), f"{finished}/../my run"):
        error = refuse(given)
        assert "several folders with the same rows" in error.problem
        assert "--input 'my run'/clean" in error.remedy


@pytest.mark.parametrize("name", sorted({*FOLDERS, DONORS} - {"clean"}))
def test_every_folder_but_the_clean_rows_is_refused(finished, name):
    """Each folder's content is said, also for a file in it and a glob."""
    for given in (f"my run/{name}", f"my run/{name}/part.parquet", f"my run/{name}/**"):
        assert CONTENTS[name] in refuse(given).problem
        assert "--input 'my run'/clean" in refuse(given).remedy


def test_clean_rows_are_a_corpus(finished):
    """The folder, its files, its splits and globs in it may be filtered."""
    files = ("my run/clean", "my run/clean/", "my run/clean/train/x.jsonl", "my run/clean/*.jsonl")
    require_corpus([*files, "my run/cl*/*.jsonl", str(finished / "clean")])


def test_a_glob_over_several_folders_is_refused(finished):
    """A pattern that leads into more than the clean rows would read rows twice."""
    for given in ("my run/*", "my run/**", "my run/*/x.parquet", "my run/[cq]*"):
        assert "leads into several folders" in refuse(given).problem


def test_other_inputs_are_no_run(finished, tmp_path):
    """Other folders, stores, standard input, and files of somebody else are left alone."""
    (tmp_path / "corpus" / "quarantine").mkdir(parents=True)
    (tmp_path / "corpus" / "manifest.json").write_text("{}")
    (finished / "notes.jsonl").write_text("{}\n")
    given = ["corpus", "corpus/quarantine", "nowhere", "-", "s3://bucket/run/quarantine"]
    require_corpus([*given, "my run/notes.jsonl", "*.jsonl"])


def test_a_run_that_is_not_finished_is_refused(finished):
    """Rows are missing until the run is finished, also from its clean rows."""
    (finished / "manifest.json").unlink()
    (finished / ".work").mkdir()
    (finished / ".work" / "run.json").write_text("{}")
    for given in ("my run", "my run/clean"):
        error = refuse(given)
        assert "the run 'my run', which isn't finished, so rows are missing" in error.problem
        assert "finish it with the command that began it" in error.remedy


def test_a_run_that_a_budget_stopped_has_no_rows(finished):
    """A withdrawn run has no clean rows, and the error says why."""
    (finished / "manifest.json").unlink()
    (finished / "withdrawn.json").write_text("{}")
    assert "which a budget stopped: it has no clean rows" in refuse("my run").problem


def test_a_donors_run_is_a_run_of_its_own(finished):
    """The clean rows of a run inside another one may be filtered."""
    donor = finished / DONORS / "ada"
    for name in FOLDERS:
        (donor / name).mkdir(parents=True)
    (donor / "manifest.json").write_text("{}")
    require_corpus([str(donor / "clean")])
    assert "finished run 'my run/donors/ada'" in refuse(str(donor / "ledger")).problem


def test_the_first_wrong_input_is_named(finished):
    """Among several inputs, the error is about the wrong one."""
    assert refuse("my run/clean", "my run/ledger").where == "my run/ledger"
