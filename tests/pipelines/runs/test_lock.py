"""The lock of a run directory: one process at a time, and nothing left behind."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.runs.lock import lock_run
from schemas.errors import RunError, StorageError

TRY = """
from pipelines.runs.lock import lock_run
try:
    with lock_run({!r}):
        print("got it")
except Exception as error:
    print(type(error).__name__, error)
"""


def lock_elsewhere(run: Path) -> str:
    """Lock a run in another process, and return the output."""
    command = [sys.executable, "-c", TRY.format(str(run))]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    ).stdout


def test_a_second_process_is_refused(tmp_path):
    """A second process can lock a run only after the first."""
    run = tmp_path / "run"
    with lock_run(str(run)):
        (run / ".work" / "run.json").write_text("{}")
        printed = lock_elsewhere(run)
    assert printed.startswith("RunError")
    assert f"another process is writing this run (process {os.getpid()} on " in printed
    assert lock_elsewhere(run) == "got it\n"
    assert (run / ".work" / "run.json").exists()


def test_a_lock_that_its_holder_removed_is_not_mistaken_for_one(tmp_path, monkeypatch):
    """If a finishing run removes the lock file first, a new file is locked."""
    lock, real, removed = tmp_path / ".work" / "lock", fcntl.flock, []

    def lock_late(stream, kind):
        if not removed:  # the other process ends between our opening and locking
            lock.unlink()
            removed.append(True)
        real(stream, kind)

    monkeypatch.setattr(fcntl, "flock", lock_late)
    with lock_run(str(tmp_path)):
        assert lock.exists()
        monkeypatch.undo()
        assert lock_elsewhere(tmp_path).startswith("RunError")


def test_a_lock_without_a_run_leaves_nothing(tmp_path):
    """Releasing a lock without a run removes the folders that it created."""
    with pytest.raises(ValueError, match="wrong"), lock_run(str(tmp_path)):
        raise ValueError("wrong")
    assert list(tmp_path.iterdir()) == []
    with lock_run(str(tmp_path / "run")):
        assert (tmp_path / "run" / ".work" / "lock").exists()
    assert not (tmp_path / "run").exists()


def test_files_of_others_stay(tmp_path):
    """Releasing a lock removes no other file."""
    with lock_run(str(tmp_path / "run")):
        (tmp_path / "run" / "notes.txt").write_text("mine")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_an_output_below_a_file_is_refused(tmp_path):
    """The error for an output below a file names the path."""
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(StorageError, match="can't be created or locked: Not a directory"),
        lock_run(str(tmp_path / "file" / "run")),
    ):
        pass


def test_only_a_folder_can_be_a_run(tmp_path):
    """A file or a broken link is refused, but a link to a folder is accepted."""
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name, problem in (
        ("file", "is a file, but a run is a folder"),
        ("dangling", "is a broken link to .*gone, but a run is a folder"),
    ):
        with pytest.raises(RunError, match=problem) as caught, lock_run(str(tmp_path / name)):
            pass
        assert "another --output" in caught.value.remedy
    with lock_run(str(tmp_path / "link")):
        assert (tmp_path / "folder" / ".work" / "lock").exists()


def test_a_disk_without_locks(tmp_path, monkeypatch):
    """The error on a disk without locks doesn't blame another process."""
    monkeypatch.setattr(
        fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(37, "No locks available"))
    )
    with (
        pytest.raises(StorageError, match="No locks available") as caught,
        lock_run(str(tmp_path)),
    ):
        pass
    assert "filesystem has file locks" in caught.value.remedy


def test_an_object_store_is_not_locked():
    """A run on an object store isn't locked."""
    with lock_run("gs://bucket/run"):
        assert not Path("gs:").exists()


def test_a_folder_that_vanishes_is_an_error(tmp_path, monkeypatch):
    """Locking fails after some tries if the folder keeps vanishing."""

    def fail(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(StorageError, match="can't be created"), lock_run(str(tmp_path / "run")):
        pass
