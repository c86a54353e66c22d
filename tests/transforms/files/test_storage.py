"""Files: what patterns match, and writes that appear whole or not at all."""

import os
from pathlib import Path

import pytest

from schemas.errors import InputError, StorageError
from transforms.files import storage


@pytest.fixture
def tree(tmp_path):
    """Make a folder with files below it, hidden ones among them."""
    for name in (
        "b.txt",
        "a.txt",
        "deep/er/c.txt",
        ".hidden",
        "_success",
        ".work/d.txt",
        "deep/.e.txt",
        "deep/_f/g.txt",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


def names(found, root):
    """Return paths below the root."""
    return [os.path.relpath(item.uri, root) for item in found]


def test_a_folder_is_every_file_below_it(tree):
    """Files are found at any depth, sorted; those hidden by a dot or an underscore aren't."""
    found = storage.find(str(tree))
    assert names(found, tree) == ["a.txt", "b.txt", "deep/er/c.txt"]
    assert [item.size for item in found] == [5, 5, 13]


def test_a_file_is_itself(tree):
    """A path to a file is that file, hidden or not."""
    assert names(storage.find(str(tree / ".hidden")), tree) == [".hidden"]


def test_a_glob_matches(tree):
    """Stars match within a folder, two stars below it."""
    assert names(storage.find(str(tree / "*.txt")), tree) == ["a.txt", "b.txt"]
    assert "deep/er/c.txt" in names(storage.find(str(tree / "**.txt")), tree)


def test_a_name_with_glob_signs_is_found(tmp_path):
    """A file whose name looks like a pattern is taken for the file it is."""
    path = tmp_path / "data[1].txt"
    path.write_text("x")
    assert [item.uri for item in storage.find(str(path))] == [str(path)]


@pytest.mark.parametrize("pattern", ["nothing/*.jsonl", "no-such-file.jsonl"])
def test_nothing_found_is_an_error(tmp_path, monkeypatch, pattern):
    """An empty match names the pattern and says what to do."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        storage.find(pattern)
    assert caught.value.where == pattern
    assert "matches no file" in str(caught.value)
    assert "check the path" in caught.value.remedy


def test_an_empty_folder_is_an_error_of_its_own(tmp_path):
    """A folder that holds nothing, or only what is hidden, isn't told to quote a glob."""
    (tmp_path / ".hidden").write_text("x")
    with pytest.raises(InputError, match="is a folder without a file") as caught:
        storage.find(str(tmp_path))
    assert "hidden" in caught.value.remedy


def test_an_unknown_scheme_is_an_error():
    """A filesystem that isn't installed is named, with the extras that bring one."""
    with pytest.raises(InputError, match="nowhere://bucket/x") as caught:
        storage.find("nowhere://bucket/x")
    assert "gcp, aws" in caught.value.remedy


def test_local_paths_and_uris():
    """Whatever has a scheme is remote."""
    assert storage.is_local("/data/x")
    assert storage.is_local("x y/z")
    assert not storage.is_local("gs://bucket/x")


def test_join_keeps_one_slash():
    """Path components are joined by one slash, on disks and in buckets."""
    assert storage.join("/run/", "clean", "x") == "/run/clean/x"
    assert storage.join("gs://bucket/run", "x") == "gs://bucket/run/x"


def test_open_raw_gives_the_bytes_as_they_are(tmp_path):
    """A compressed file isn't decompressed because of its name."""
    path = tmp_path / "x.gz"
    path.write_bytes(b"\x1f\x8b not really")
    with storage.open_raw(str(path)) as stream:
        assert stream.read() == b"\x1f\x8b not really"
    assert storage.read_bytes(str(path)) == b"\x1f\x8b not really"


def test_open_raw_names_what_is_not_there(tmp_path):
    """A missing file is an error with its path."""
    with pytest.raises(InputError, match=r"gone\.txt: can't be opened: No such file"):
        storage.open_raw(str(tmp_path / "gone.txt"))


def test_write_makes_folders_and_replaces(tmp_path):
    """A write makes the folders it needs, replaces what is there, and leaves nothing beside it."""
    uri = storage.join(str(tmp_path), "a", "b", "x.bin")
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, b"two")
    assert Path(uri).read_bytes() == b"two"
    assert [item.name for item in Path(uri).parent.iterdir()] == ["x.bin"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch, step):
    """When the disk or the rename fails, the old file stands as it was and the temporary one is gone."""
    path = tmp_path / "x.bin"
    storage.write_bytes(str(path), b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(StorageError, match=r"x\.bin: can't be written: No space left on device"):
        storage.write_bytes(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["x.bin"]


def test_the_name_appears_only_when_the_file_is_whole(tmp_path, monkeypatch):
    """Until the bytes are on the disk, only a hidden temporary file is there."""
    seen = []
    monkeypatch.setattr(
        os, "fsync", lambda _: seen.append([item.name for item in tmp_path.iterdir()])
    )
    storage.write_bytes(str(tmp_path / "x.bin"), b"data")
    (before,), after = seen  # the second is the folder's, after the rename
    assert storage.TEMPORARY.fullmatch(before)
    assert before.startswith(".x.bin.")
    assert after == ["x.bin"]
    assert storage.exists(str(tmp_path / "x.bin"))


def test_listing_is_sorted_and_skips_temporary_files(tree):
    """Only direct, visible entries with the ending are listed; a folder that isn't there has none."""
    assert [Path(uri).name for uri in storage.listing(str(tree), ".txt")] == ["a.txt", "b.txt"]
    assert list(storage.listing(str(tree / "deep"), ".txt")) == []
    assert list(storage.listing(str(tree / "none"), ".txt")) == []


def test_remove_tree(tree):
    """A folder goes with all below it; one that isn't there is no error."""
    storage.remove_tree(str(tree / "deep"))
    assert not storage.exists(str(tree / "deep"))
    assert storage.exists(str(tree / "a.txt"))
    storage.remove_tree(str(tree / "deep"))


def test_a_link_goes_and_what_it_leads_to_stays(tmp_path):
    """Removing a run's folder that is a link to another place removes the link alone."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("x")
    (tmp_path / "clean").symlink_to("elsewhere")
    storage.remove_tree(str(tmp_path / "clean"))
    assert [item.name for item in tmp_path.iterdir()] == ["elsewhere"]
    assert (tmp_path / "elsewhere" / "mine").exists()


def test_what_cannot_be_removed_or_read_is_named(tmp_path, monkeypatch):
    """A removal and a read that the disk refuses say which file, and end with a code of their own or as bad input."""
    (tmp_path / "x").write_text("x")
    monkeypatch.setattr(
        Path,
        "unlink",
        lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied")),
    )
    with pytest.raises(StorageError, match=r"x: can't be removed: Permission denied") as caught:
        storage.remove_tree(str(tmp_path / "x"))
    assert caught.value.exit_code == 6
    with pytest.raises(InputError, match="Is a directory"):
        storage.read_bytes(str(tmp_path))


def test_sweeping_takes_what_a_killed_write_left(tmp_path):
    """Temporary files go, at any depth; others of like names stay, and so do those that are too young."""
    left = tmp_path / "clean" / f".part-0.parquet.{'0a' * 16}.tmp"
    kept = [
        tmp_path / "clean" / ".mine.tmp",
        tmp_path / "clean" / "x.tmp",
        tmp_path / f"part.{'0a' * 16}.tmp",
    ]
    left.parent.mkdir()
    for path in (left, *kept):
        path.write_text("half")
    assert storage.sweep(str(tmp_path), older_than=60) == []
    assert storage.sweep(str(tmp_path)) == [str(left)]
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
    assert storage.sweep(str(tmp_path / "none")) == []
    assert storage.sweep("gs://bucket/run") == []


def test_links_that_lead_nowhere_are_found_and_pipes_refused(tmp_path):
    """Neither is passed over in silence: a link is opened, and says why it can't be; a pipe would block for ever."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "loop.jsonl").symlink_to("loop.jsonl")
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    (tmp_path / "in" / ".hidden").symlink_to("nowhere")
    names = [str(tmp_path / "in" / name) for name in ("folder", "loop.jsonl")]
    assert [found.uri for found in storage.find(str(tmp_path / "in"))] == names
    assert [found.uri for found in storage.find(names[1])] == names[1:]
    with pytest.raises(
        InputError, match=r"loop\.jsonl: can't be opened: Too many levels of symbolic links"
    ):
        storage.open_raw(names[1])
    os.mkfifo(tmp_path / "in" / "x.jsonl")
    for pattern in (tmp_path / "in", tmp_path / "in" / "x.jsonl"):
        with pytest.raises(InputError, match=r"x\.jsonl: is no file but a pipe"):
            storage.find(str(pattern))


def test_a_folder_that_can_t_be_listed_is_an_error(tmp_path, monkeypatch):
    """A folder without the right to read it is named, not taken for empty."""
    (tmp_path / "x.jsonl").touch()

    def walk(root, onerror):
        onerror(PermissionError(13, "Permission denied", f"{root}/closed"))
        return iter(())

    monkeypatch.setattr(storage.os, "walk", walk)
    with pytest.raises(InputError, match=r"can't be listed.*Permission denied.*closed"):
        storage.find(str(tmp_path))
