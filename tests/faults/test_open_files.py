"""A disk that keeps deleted files while they are open, like NFS, bindfs and sshfs."""

import errno
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pipelines.filter import run_filter
from pipelines.fit import run_fit
from pipelines.report import write_report
from pipelines.runs.lock import lock_run
from pipelines.verify import list_files_left_aside, verify_run
from schemas.errors import BudgetError, RunError
from tests.faults.sandbox import write_small_root
from transforms.files import storage

pytestmark = pytest.mark.faults


def is_open(path: str) -> bool:
    """Return whether this process has the given file open."""
    found = os.lstat(path)
    for handle in os.listdir("/proc/self/fd"):
        try:
            if os.path.samestat(os.stat(f"/proc/self/fd/{handle}"), found):
                return True
        except FileNotFoundError:
            continue
    return False


def locate(path: Any, dir_fd: int | None) -> str:
    """Return the path of a call, which may be relative to `dir_fd`."""
    above = os.readlink(f"/proc/self/fd/{dir_fd}") if dir_fd is not None else ""
    return os.path.join(above, os.fspath(path))


@pytest.fixture(autouse=True)
def silly_disk(monkeypatch) -> None:
    """Make the disk rename a deleted file until it is closed.

    A folder with such a file can't be removed. All other functions of `os` are real.
    """
    unlink, rmdir, listdir, number = os.unlink, os.rmdir, os.listdir, count()
    replace = os.replace

    def delete(path: Any, *, dir_fd: int | None = None) -> None:
        full = locate(path, dir_fd)
        if not is_open(full):
            unlink(full)
        elif os.path.basename(full).startswith(".nfs"):
            raise OSError(errno.EBUSY, "Device or resource busy", full)
        else:
            os.rename(full, os.path.join(os.path.dirname(full), f".nfs{next(number):024x}"))

    def remove_folder(path: Any, *, dir_fd: int | None = None) -> None:
        full = locate(path, dir_fd)
        for name in listdir(full):
            closed = os.path.join(full, name)
            if name.startswith(".nfs") and not is_open(closed):
                unlink(closed)
        rmdir(full)

    def replace_file(source: Any, target: Any) -> None:
        if os.path.isfile(target) and is_open(target):
            delete(target)
        replace(source, target)

    monkeypatch.setattr(os, "replace", replace_file)
    monkeypatch.setattr(os, "unlink", delete)
    monkeypatch.setattr(os, "rmdir", remove_folder)


@pytest.fixture
def root(tmp_path) -> tuple[Path, Any]:
    """Write a small corpus; return the run's folder and configuration."""
    return tmp_path / "run", write_small_root(tmp_path)


def test_the_disk_keeps_open_files(tmp_path):
    """The fake disk keeps a deleted file until it is closed."""
    with (tmp_path / "open").open("w"):
        (tmp_path / "open").unlink()
        (kept,) = tmp_path.iterdir()
        assert kept.name.startswith(".nfs")
        for refused in (kept.unlink, tmp_path.rmdir):
            with pytest.raises(OSError, match=r"busy|not empty"):
                refused()
    tmp_path.rmdir()


def test_a_run_succeeds_and_leaves_nothing(root):
    """A run succeeds and removes its working folder in spite of the open lock file."""
    run, config = root
    run_filter(config)
    assert not (run / ".work").exists()
    assert verify_run(str(run)) == []
    with pytest.raises(RunError, match="the run is finished"):
        run_filter(config)
    assert not (run / ".work").exists()


def test_a_restart_goes_on_past_open_files(root):
    """A run can be replaced while a program reads an old file."""
    run, config = root
    run_filter(config)
    (clean, *_) = (run / "clean").iterdir()
    with clean.open("rb") as reader:
        run_filter(config, restart=True)
        assert verify_run(str(run)) == []
        (left,) = list_files_left_aside(str(run))
        assert left.problem == "is deleted, but a program still has it open"
        assert reader.read()
    run_filter(config, restart=True)
    assert list_files_left_aside(str(run)) == []


def test_a_report_is_replaced_while_it_is_read(root):
    """A new report replaces one that a program reads, and the run stays sound."""
    run, config = root
    run_filter(config)
    write_report(str(run))
    with (run / "report" / "index.html").open("rb") as page, (run / "manifest.json").open("rb"):
        write_report(str(run))
        assert any(path.name.startswith(".nfs") for path in (run / "report").iterdir())
        assert verify_run(str(run)) == []
        assert page.read()
        run_filter(config, restart=True)
        assert verify_run(str(run)) == []
        left = {file.problem for file in list_files_left_aside(str(run))}
        assert left == {"is deleted, but a program still has it open"}


def test_a_restart_that_fails_can_be_repeated(root, monkeypatch):
    """After a failed restart with an open file, the next run accepts the folder."""
    run, config = root
    run_filter(config)
    (clean, *_) = (run / "clean").iterdir()
    real = storage.write_bytes

    def fail(uri: str, data: bytes) -> None:
        if uri.endswith("run.json"):
            raise RunError("no space")
        real(uri, data)

    with clean.open("rb"):
        monkeypatch.setattr(storage, "write_bytes", fail)
        with pytest.raises(RunError, match="no space"):
            run_filter(config, restart=True)
        monkeypatch.setattr(storage, "write_bytes", real)
        run_filter(config)
    assert verify_run(str(run)) == []


def test_the_real_error_is_reported(root, tmp_path):
    """An error in cleaning up doesn't hide the error that stopped a run."""
    run, config = root
    with pytest.raises(ZeroDivisionError), lock_run(str(run)):
        raise ZeroDivisionError
    assert not run.exists()
    policy = tmp_path / "policy.yaml"
    policy.write_text("removal_budget: 0\nreject_budget: 0\n")
    with pytest.raises(BudgetError, match="removal_budget"):
        run_filter(config.model_copy(update={"policy": str(policy)}))
    assert not (run / "clean").exists()
    assert not (run / ".work").exists()


def refuse(_path: str) -> None:
    """Fail like a read-only disk."""
    raise OSError(errno.EROFS, "Read-only file system")


def test_a_cleaning_that_fails_does_not_fail_the_run(root, monkeypatch):
    """A run succeeds even if cleaning up fails, and a notice names the remaining files."""
    run, config = root
    texts: list[str] = []
    real: Callable[[Path], None] = storage.removals.remove

    def fail_at_the_end(path: Path) -> None:
        if path.name == ".work":
            refuse(str(path))
        real(path)

    monkeypatch.setattr(storage.removals, "remove", fail_at_the_end)
    run_filter(config, listener=lambda event: texts.append(str(getattr(event, "notice", ""))))
    assert any(".work can't be removed: Read-only file system" in text for text in texts)
    assert verify_run(str(run)) == []
    monkeypatch.setattr(storage.removals, "remove", refuse)
    with pytest.raises(RunError, match="the run is finished"):
        run_filter(config)


def test_a_budget_is_reported_if_nothing_can_be_removed(root, tmp_path, monkeypatch):
    """A run over budget reports the budget even if its files can't be removed."""
    _, config = root
    policy = tmp_path / "policy.yaml"
    policy.write_text("removal_budget: 0\nreject_budget: 1\n")
    texts: list[str] = []
    monkeypatch.setattr(storage.removals, "remove", refuse)
    with pytest.raises(BudgetError, match="removal_budget"):
        run_filter(
            config.model_copy(update={"policy": str(policy)}),
            listener=lambda event: texts.append(str(getattr(event, "notice", ""))),
        )
    assert any("clean can't be removed: Read-only file system" in text for text in texts)


def test_a_bank_is_replaced_while_it_is_open(root, tmp_path):
    """`fit --restart` writes a new bank while a program reads the old bank."""
    _, config = root
    bank = tmp_path / "bank"
    first = run_fit(config, str(bank)).bank
    with (bank / "heron" / "texts.json").open("rb"):
        assert run_fit(config, str(bank), restart=True).bank.digest == first.digest
    assert (bank / "bank.json").is_file()
