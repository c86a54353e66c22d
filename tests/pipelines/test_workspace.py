"""A run directory while it is being made."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipelines import workspace
from schemas.errors import RunError


def test_a_second_process_is_refused(tmp_path):
    """While one process holds a run, another one is told so at once."""
    run = str(tmp_path / "run")
    code = f"from pipelines.workspace import claimed\ntry:\n  with claimed({run!r}): print('got it')\nexcept Exception as error: print(type(error).__name__, error)"
    with workspace.claimed(run):
        workspace.open_run(run, {"inputs": 1}, restart=False)
        told = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2]
        ).stdout
    assert told.startswith("RunError")
    assert "another process" in told


def test_claiming_what_is_never_begun_leaves_nothing(tmp_path):
    """A claim that ends before anything was begun leaves no working folder."""
    with pytest.raises(ValueError, match="wrong"), workspace.claimed(str(tmp_path)):
        raise ValueError("wrong")
    assert list(tmp_path.iterdir()) == []


def test_a_run_resumes_only_as_itself(tmp_path):
    """The same identity resumes; another one is refused, naming what differs."""
    run = str(tmp_path)
    workspace.open_run(run, {"bank_digest": "a", "inputs": [1]}, restart=False)
    workspace.open_run(run, {"bank_digest": "a", "inputs": [1]}, restart=False)
    with pytest.raises(RunError, match="another bank_digest"):
        workspace.open_run(run, {"bank_digest": "b", "inputs": [1]}, restart=False)
    workspace.open_run(run, {"bank_digest": "b", "inputs": [1]}, restart=True)


def test_a_foreign_folder_is_not_written_into(tmp_path):
    """A directory with a `clean` folder that is no unfinished run is refused."""
    (tmp_path / "clean").mkdir()
    with pytest.raises(RunError, match="no unfinished run"):
        workspace.open_run(str(tmp_path), {}, restart=False)


def test_clear_leaves_other_files_alone(tmp_path):
    """Starting over removes what a run writes, and nothing else."""
    (tmp_path / "notes.txt").write_text("mine")
    for folder in workspace.FOLDERS:
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text("old")
    (tmp_path / "manifest.json").write_text("{}")
    workspace.clear(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_receipts_of_changed_files_do_not_count(tmp_path, config):
    """Receipts are believed only while their files are as they say."""
    from pipelines import filter as module

    def stop(*_):
        raise RuntimeError("stop")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "in_order", stop)
        with pytest.raises(RuntimeError, match="stop"):
            module.run_filter(config)
    all_done = workspace.receipts(config.output)
    assert len(all_done) == 6
    changed = next((Path(config.output) / "ledger").iterdir())
    changed.write_bytes(b"")
    assert set(all_done) - set(workspace.receipts(config.output)) == {changed.stem}
