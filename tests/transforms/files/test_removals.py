"""Removal on disks that keep open deleted files."""

import errno
import os
import shutil
from pathlib import Path

import pytest

from transforms.files.removals import is_deleted_name, is_emptied, remove

DELETED = ".nfs00000000012abcde00000007"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (DELETED, True),
        (".fuse_hidden0000000200000001", True),
        (".smbdeleteAAA1f2c9", True),
        (".__afs1A2B", True),
        ("nfs00000000012abcde00000007", False),
        (".nfs", False),
        (".nfs-notes.txt", False),
        (".part-0.jsonl.swp", False),
    ],
)
def test_names_of_deleted_files(name, expected):
    """Only the names that file systems give to open deleted files are recognised."""
    assert is_deleted_name(name) is expected


def test_files_links_and_folders_are_removed(tmp_path):
    """Files, folders and links are removed, but not links' targets."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "x").touch()
    (tmp_path / "link").symlink_to(tmp_path / "kept")
    (tmp_path / "folder" / "below").mkdir(parents=True)
    (tmp_path / "folder" / "below" / "y").touch()
    (tmp_path / "file").touch()
    for name in ("link", "folder", "file"):
        remove(tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["kept", "x"]


def refuse_names(monkeypatch, *names):
    """Make the disk refuse to delete these names."""
    real = os.unlink

    def unlink(path, **how):
        if Path(path).name in names:
            raise OSError(errno.EBUSY, "Device or resource busy")
        real(path, **how)

    monkeypatch.setattr(os, "unlink", unlink)


def test_a_folder_with_open_deleted_files_stays(tmp_path, monkeypatch):
    """Open deleted files stay with their folders, and the rest is removed."""
    folder = tmp_path / "run" / "receipts"
    folder.mkdir(parents=True)
    for name in ("a.json", DELETED, "z.json"):
        (folder / name).touch()
    refuse_names(monkeypatch, DELETED)
    remove(tmp_path / "run")
    assert [path.name for path in tmp_path.rglob("*")] == ["run", "receipts", DELETED]
    assert is_emptied(tmp_path / "run")


def test_a_file_that_cannot_be_removed_is_an_error(tmp_path, monkeypatch):
    """The first error is raised after everything else is removed."""
    for name in ("a", "b", "c", DELETED):
        (tmp_path / name).touch()
    refuse_names(monkeypatch, "b", DELETED)
    with pytest.raises(OSError, match="busy"):
        remove(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [DELETED, "b"]


def test_folders_without_files_are_emptied(tmp_path):
    """Missing and empty folders count as emptied."""
    (tmp_path / "empty" / "below").mkdir(parents=True)
    (tmp_path / "full" / "below").mkdir(parents=True)
    (tmp_path / "full" / "below" / ".hidden").touch()
    (tmp_path / "link").symlink_to(tmp_path / "empty")
    expected = {"missing": True, "empty": True, "full": False, "link": False}
    assert {name: is_emptied(tmp_path / name) for name in expected} == expected
    assert not is_emptied(tmp_path / "full" / "below" / ".hidden")


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path, monkeypatch):
    """A folder that can't be listed is an error."""
    (tmp_path / "closed").mkdir()

    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PermissionError):
        is_emptied(tmp_path / "closed")
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "closed")
    assert is_emptied(tmp_path / "closed")
