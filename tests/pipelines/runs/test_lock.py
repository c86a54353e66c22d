"""One process at a time on a run directory."""

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.runs.lock import claimed
from schemas.errors import RunError, StorageError

TRY = """
from pipelines.runs.lock import claimed
try:
    with claimed({!r}):
        print("got it")
except Exception as error:
    print(type(error).__name__, error)
"""


def attempt(run: Path) -> str:
    """Claim a run in another process and return what it was told."""
    command = [sys.executable, "-c", TRY.format(str(run))]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]
    ).stdout


def test_a_second_process_is_refused(tmp_path):
    """While one process holds a run, another one is told so at once, and by whom; afterwards it gets it."""
    run = tmp_path / "run"
    with claimed(str(run)):
        (run / ".work" / "run.json").write_text("{}")
        told = attempt(run)
    assert told.startswith("RunError")
    assert f"another process is writing this run (process {os.getpid()} on " in told
    assert attempt(run) == "got it\n"
    assert (run / ".work" / "run.json").exists()


def test_a_lock_that_its_holder_removed_is_not_mistaken_for_one(tmp_path, monkeypatch):
    """A process that locked the file which a finishing run just removed locks the new one instead."""
    lock, real, removed = tmp_path / ".work" / "lock", fcntl.flock, []

    def late(stream, kind):
        if not removed:  # the other process ends between our opening and our locking
            lock.unlink()
            removed.append(True)
        real(stream, kind)

    monkeypatch.setattr(fcntl, "flock", late)
    with claimed(str(tmp_path)):
        assert lock.exists()
        monkeypatch.undo()
        assert attempt(tmp_path).startswith("RunError")


def test_claiming_what_is_never_begun_leaves_nothing(tmp_path):
    """A claim that ends before anything was begun leaves no working folder, nor the run directory if it made that."""
    with pytest.raises(ValueError, match="wrong"), claimed(str(tmp_path)):
        raise ValueError("wrong")
    assert list(tmp_path.iterdir()) == []
    with claimed(str(tmp_path / "run")):
        assert (tmp_path / "run" / ".work" / "lock").exists()
    assert not (tmp_path / "run").exists()


def test_what_was_begun_or_put_there_stays(tmp_path):
    """A claim takes away its own lock at most."""
    with claimed(str(tmp_path / "run")):
        (tmp_path / "run" / "notes.txt").write_text("mine")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_place_that_cannot_be_locked(tmp_path):
    """An output below a file is an error with the place, not a fault of the program."""
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(StorageError, match="can't be made or locked: Not a directory"),
        claimed(str(tmp_path / "file" / "run")),
    ):
        pass


def test_what_is_no_folder_holds_no_run(tmp_path):
    """A file, or a link that leads nowhere, is told as what it is; a link to a folder is as good as the folder."""
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name, problem in (
        ("file", "is a file, and a run is a folder"),
        ("dangling", "is a link to .*gone, which isn't there"),
    ):
        with pytest.raises(RunError, match=problem) as caught, claimed(str(tmp_path / name)):
            pass
        assert "another --output" in caught.value.remedy
    with claimed(str(tmp_path / "link")):
        assert (tmp_path / "folder" / ".work" / "lock").exists()


def test_a_disk_without_locks(tmp_path, monkeypatch):
    """A filesystem that knows no locks is named as the reason, and not another process."""
    monkeypatch.setattr(
        fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(37, "No locks available"))
    )
    with pytest.raises(StorageError, match="No locks available"), claimed(str(tmp_path)):
        pass


def test_an_object_store_is_not_locked():
    """A URI is taken as it is."""
    with claimed("gs://bucket/run"):
        assert not issubclass(StorageError, RunError)


def test_a_folder_that_is_gone_as_soon_as_it_is_made_is_an_error(tmp_path, monkeypatch):
    """A mount that vanished says "no such file" whatever is made there: an end with a reason, not a loop."""

    def gone(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(Path, "mkdir", gone)
    with pytest.raises(StorageError, match="can't be made"), claimed(str(tmp_path / "run")):
        pass
