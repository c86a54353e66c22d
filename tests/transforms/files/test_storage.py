"""Storage: patterns and atomic writes."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from schemas.errors import InputError, StorageError
from transforms.files import storage


@pytest.fixture
def tree(tmp_path):
    """Make a folder with visible and hidden files."""
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
    """Return files' paths relative to the root."""
    return [os.path.relpath(item.uri, root) for item in found]


def test_a_folder_is_every_file_below_it(tree):
    """Visible files at any depth are found in order."""
    found = storage.find(str(tree))
    assert names(found, tree) == ["a.txt", "b.txt", "deep/er/c.txt"]
    assert [item.size for item in found] == [5, 5, 13]


def test_a_file_is_itself(tree):
    """A path to a file finds the file, even if hidden."""
    assert names(storage.find(str(tree / ".hidden")), tree) == [".hidden"]


def test_a_glob_matches(tree):
    """`*` matches within a folder, and `**` at any depth."""
    assert names(storage.find(str(tree / "*.txt")), tree) == ["a.txt", "b.txt"]
    assert "deep/er/c.txt" in names(storage.find(str(tree / "**.txt")), tree)


def test_a_name_with_glob_signs_is_found(tmp_path):
    """A file with glob characters is found by its exact name."""
    path = tmp_path / "data[1].txt"
    path.write_text("x")
    assert [item.uri for item in storage.find(str(path))] == [str(path)]


@pytest.mark.parametrize("pattern", ["nothing/*.jsonl", "no-such-file.jsonl"])
def test_nothing_found_is_an_error(tmp_path, monkeypatch, pattern):
    """If nothing matches, the error names the pattern and what to check."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        storage.find(pattern)
    assert caught.value.where == pattern
    assert "matches no file" in str(caught.value)
    assert "check the path" in caught.value.remedy


def test_the_name_of_a_data_set_is_explained():
    """The error for a bare data set name has a hint."""
    assert "hf://datasets/owner/name" in storage.suggest_path("owner/name")
    assert "hf://" not in storage.suggest_path("a/b/c.jsonl")


def test_an_empty_folder_is_a_separate_error(tmp_path):
    """The error for a folder of hidden files explains hiding."""
    (tmp_path / ".hidden").write_text("x")
    with pytest.raises(InputError, match="is a folder without files") as caught:
        storage.find(str(tmp_path))
    assert "start with . or _" in caught.value.remedy


def test_an_unknown_scheme_is_an_error():
    """The error for an unknown scheme lists the known schemes."""
    with pytest.raises(InputError, match="nowhere://bucket/x") as caught:
        storage.find("nowhere://bucket/x")
    assert "isn't read" in caught.value.problem
    assert "gs://, s3://" in caught.value.remedy


def test_local_paths_and_uris():
    """Everything with a scheme is remote."""
    assert storage.is_local("/data/x")
    assert storage.is_local("x y/z")
    assert not storage.is_local("gs://bucket/x")


def test_join_keeps_one_slash():
    """Path components are joined by one slash."""
    assert storage.join("/run/", "clean", "x") == "/run/clean/x"
    assert storage.join("gs://bucket/run", "x") == "gs://bucket/run/x"


def test_open_raw_does_not_decompress(tmp_path):
    """A file is read without decompression."""
    path = tmp_path / "x.gz"
    path.write_bytes(b"\x1f\x8b not really")
    with storage.open_raw(str(path)) as stream:
        assert stream.read() == b"\x1f\x8b not really"
    assert storage.read_bytes(str(path)) == b"\x1f\x8b not really"


def test_open_raw_names_a_missing_file(tmp_path):
    """The error for a missing file has its path, the reason and a remedy."""
    with pytest.raises(InputError, match=r"gone\.txt: can't be opened: No such file"):
        storage.open_raw(str(tmp_path / "gone.txt"))
    with pytest.raises(InputError) as caught:
        storage.read_bytes(str(tmp_path / "gone.txt"))
    assert caught.value.remedy == storage.READ_REMEDY


def test_write_makes_folders_and_replaces(tmp_path):
    """A write makes folders, replaces the file, and leaves no temporary file."""
    uri = storage.join(str(tmp_path), "a", "b", "x.bin")
    storage.write_bytes(uri, b"one")
    storage.write_bytes(uri, b"two")
    assert Path(uri).read_bytes() == b"two"
    assert [item.name for item in Path(uri).parent.iterdir()] == ["x.bin"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch, step):
    """A failed write leaves the old file and no temporary file."""
    path = tmp_path / "x.bin"
    storage.write_bytes(str(path), b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
    with pytest.raises(StorageError, match=r"x\.bin: can't be written: No space left on device"):
        storage.write_bytes(str(path), b"new")
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["x.bin"]


def test_the_name_appears_when_the_file_is_complete(tmp_path, monkeypatch):
    """Until the file is complete, only a hidden temporary file exists."""
    seen = []
    monkeypatch.setattr(
        os, "fsync", lambda _: seen.append([item.name for item in tmp_path.iterdir()])
    )
    storage.write_bytes(str(tmp_path / "x.bin"), b"data")
    (before,), after = seen  # the second call syncs the folder, after the rename
    assert storage.TEMPORARY.fullmatch(before)
    assert before.startswith(".x.bin.")
    assert after == ["x.bin"]
    assert storage.exists(str(tmp_path / "x.bin"))


def test_listing_is_sorted_and_skips_temporary_files(tree):
    """Listing gives visible files in the folder, sorted."""
    assert [Path(uri).name for uri in storage.list_folder(str(tree), ".txt")] == ["a.txt", "b.txt"]
    assert list(storage.list_folder(str(tree / "deep"), ".txt")) == []
    assert list(storage.list_folder(str(tree / "none"), ".txt")) == []


def test_remove_tree(tree):
    """A folder is removed with its content, and a missing folder isn't an error."""
    storage.remove_tree(str(tree / "deep"))
    assert not storage.exists(str(tree / "deep"))
    assert storage.exists(str(tree / "a.txt"))
    storage.remove_tree(str(tree / "deep"))


def test_the_target_of_a_removed_link_stays(tmp_path):
    """Removing a link to a folder keeps the folder."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "mine").write_text("x")
    (tmp_path / "clean").symlink_to("elsewhere")
    storage.remove_tree(str(tmp_path / "clean"))
    assert [item.name for item in tmp_path.iterdir()] == ["elsewhere"]
    assert (tmp_path / "elsewhere" / "mine").exists()


def test_files_that_cannot_be_removed_or_read_are_named(tmp_path, monkeypatch):
    """The error for a file that can't be removed or read names the file."""
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


def test_sweeping_removes_files_of_killed_writes(tmp_path):
    """Old temporary files are removed at any depth."""
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


def test_dangling_links_are_found_and_pipes_refused(tmp_path):
    """A dangling link is found but can't be opened, and a pipe is refused."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "loop.jsonl").symlink_to("loop.jsonl")
    (tmp_path / "in" / "folder").symlink_to(tmp_path)
    (tmp_path / "in" / ".hidden").symlink_to("nowhere")
    names = [str(tmp_path / "in" / name) for name in ("folder", "loop.jsonl")]
    assert [found.uri for found in storage.find(str(tmp_path / "in"))] == names
    assert [found.uri for found in storage.find(names[1])] == names[1:]
    with pytest.raises(InputError, match=r"loop\.jsonl: is a broken link to loop\.jsonl: Too many"):
        storage.open_raw(names[1])
    os.mkfifo(tmp_path / "in" / "x.jsonl")
    for pattern in (tmp_path / "in", tmp_path / "in" / "x.jsonl"):
        with pytest.raises(InputError, match=r"x\.jsonl: is a pipe, a socket or a device"):
            storage.find(str(pattern))


def test_linked_folders_are_followed_once(tmp_path):
    """Linked folders are followed once."""
    for path in ("in/real/r.jsonl", "out/deep/o.jsonl"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    links = {"in/linked": "../out", "in/again": "real", "in/real/loop": "../../in", "out/back": "."}
    for path, target in links.items():
        (tmp_path / path).symlink_to(target)
    found = [item.uri.removeprefix(f"{tmp_path}/") for item in storage.find(str(tmp_path / "in"))]
    assert found == [
        "in/again",
        "in/linked/back",
        "in/linked/deep/o.jsonl",
        "in/real/loop",
        "in/real/r.jsonl",
    ]


def test_an_input_may_be_a_link(tmp_path):
    """A link to a folder is read like the folder, and files are named below the link."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").touch()
    (tmp_path / "link").symlink_to("data")
    assert [item.uri for item in storage.find(f"{tmp_path}/link")] == [f"{tmp_path}/link/a.jsonl"]


@pytest.fixture
def close_folders(monkeypatch):
    """Return a function that makes folders unlistable."""
    scan = os.scandir

    def close(*names):
        def scan_open(folder):
            if Path(folder).name in names:
                raise PermissionError(13, "Permission denied", folder)
            return scan(folder)

        monkeypatch.setattr(os, "scandir", scan_open)

    return close


def test_an_unreadable_folder_is_an_error(tmp_path, close_folders):
    """The error for an unreadable folder names the folder."""
    (tmp_path / "closed").mkdir()
    (tmp_path / "x.jsonl").touch()
    close_folders("closed")
    with pytest.raises(InputError, match=r"can't be listed.*Permission denied.*closed"):
        storage.find(str(tmp_path))


@pytest.mark.parametrize("name", ["lost+found", "$RECYCLE.BIN", "System Volume Information"])
def test_a_folder_of_the_system_that_cannot_be_listed_is_found_as_a_file(
    tmp_path, close_folders, name
):
    """A system folder that can't be listed is found as a file."""
    (tmp_path / "deep" / name).mkdir(parents=True)
    (tmp_path / "deep" / "x.jsonl").touch()
    assert names(storage.find(str(tmp_path)), tmp_path) == ["deep/x.jsonl"]
    close_folders(name)
    assert names(storage.find(str(tmp_path)), tmp_path) == sorted([f"deep/{name}", "deep/x.jsonl"])
    with pytest.raises(InputError, match="can't be listed"):
        storage.find(str(tmp_path / "deep" / name))


def test_a_private_folder_is_for_its_owner_alone(tmp_path):
    """Only the owner can read a private folder."""
    folder = tmp_path / "deep" / "quarantine"
    storage.keep_private(str(folder))
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "train").mkdir()
    files = folder / "a", folder / "train" / "b"
    for path in files:
        path.touch(0o644)
    storage.keep_private(str(folder))
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600, 0o600]
    assert (folder / "train").stat().st_mode & 0o777 == 0o700


def test_links_are_not_followed_when_a_folder_is_made_private(tmp_path):
    """Making a folder private doesn't follow links, and a link is refused."""
    folder, outside = tmp_path / "in", tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "file").write_text("x")
    (outside / "file").chmod(0o644)
    folder.mkdir()
    (folder / "a").symlink_to(outside / "file")
    (folder / "b").symlink_to(outside)
    (folder / "c").symlink_to("nowhere")
    storage.keep_private(str(folder))
    modes = [path.stat().st_mode & 0o777 for path in (folder, outside, outside / "file")]
    assert modes == [0o700, 0o755, 0o644]
    (tmp_path / "link").symlink_to(outside)
    with pytest.raises(StorageError, match="link: is a link"):
        storage.keep_private(str(tmp_path / "link"))
    assert outside.stat().st_mode & 0o777 == 0o755


def test_links_in_a_path_are_found(tmp_path):
    """The first link in a path below a folder is found."""
    (tmp_path / "real" / "a").mkdir(parents=True)
    (tmp_path / "real" / "a" / "file").write_text("x")
    (tmp_path / "real" / "b").symlink_to("a")
    (tmp_path / "linked").symlink_to("real")
    assert storage.find_link(str(tmp_path / "linked"), "a/file") is None
    assert storage.find_link(str(tmp_path / "linked"), "b/file") == "b"
    assert storage.find_link("gs://bucket/run", "b/file") is None


def test_a_folder_that_cannot_be_made_private_is_an_error(tmp_path):
    """The error for a file in place of the private folder names the file."""
    (tmp_path / "x").touch()
    with pytest.raises(StorageError, match="x: can't be made private") as caught:
        storage.keep_private(str(tmp_path / "x"))
    assert caught.value.remedy == storage.WRITE_REMEDY


def test_a_tree_is_listed_with_relative_paths(tree):
    """A tree lists all files, without following links."""
    (tree / "deep" / "link").symlink_to(tree)
    listed = storage.list_tree(str(tree))
    assert listed == sorted(listed)
    assert {"a.txt", ".hidden", ".work/d.txt", "deep/er/c.txt", "deep/link"} <= set(listed)
    assert not any(name.startswith("deep/link/") for name in listed)


LOCAL_ONLY = """
import sys
from transforms.files import storage
from transforms.files.sources import survey
from schemas.corpora import ShardLimits
root = sys.argv[1]
storage.write_bytes(root + "/in/x.jsonl", b'{"text": "a"}')
assert storage.exists(root + "/in/x.jsonl") and not storage.exists(root + "/none")
assert survey([root + "/in"], ShardLimits()).sources[0].rows == 1
assert storage.list_tree(root) == ["in/x.jsonl"]
storage.remove_tree(root + "/in")
print([name for name in ("apache_beam", "torch") if name in sys.modules])
storage.exists("nowhere://bucket/x")
"""


def test_local_paths_need_neither_beam_nor_torch(tmp_path):
    """Local files are handled without importing Beam."""
    ended = subprocess.run(
        [sys.executable, "-c", LOCAL_ONLY, str(tmp_path)],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.stdout == "[]\n", ended.stderr
    assert "apache_beam" in ended.stderr
    assert "nowhere://bucket/x: can't be looked up" in ended.stderr


RUN = (
    "memory://bucket/run/clean/a.parquet",
    "memory://bucket/run/clean/b.parquet",
    "memory://bucket/run/clean/deep/c.parquet",
    "memory://bucket/run/_hidden/d.parquet",
    "memory://bucket/run/manifest.json",
)
NEIGHBOUR = "memory://bucket/run2/x"


@pytest.fixture
def run(objects):
    """Return a store with a run and a similarly named object."""
    objects.update({uri: uri.encode() for uri in (*RUN, NEIGHBOUR)})
    return objects


def test_objects_are_found_like_files(run):
    """A URI finds its object, a folder its visible objects, and a glob its matches."""
    visible = [uri for uri in RUN if "_hidden" not in uri]
    assert [item.uri for item in storage.find("memory://bucket/run")] == sorted(visible)
    assert storage.find(RUN[0]) == [(RUN[0], len(RUN[0]))]
    found = storage.find("memory://bucket/run/clean/*.parquet")
    assert [item.uri for item in found] == list(RUN[:2])


def test_an_object_with_glob_signs_in_its_name_is_found(objects):
    """A name with glob characters is first tried literally."""
    objects["memory://bucket/b[1].txt"] = b"x"
    assert storage.find("memory://bucket/b[1].txt") == [("memory://bucket/b[1].txt", 1)]


def test_nothing_in_a_bucket_is_an_error(objects):
    """A prefix without objects is an error."""
    with pytest.raises(InputError, match="memory://bucket/none: matches no file"):
        storage.find("memory://bucket/none")
    assert objects == {}


def test_objects_are_written_read_and_looked_up(objects):
    """An object is read as written, and its prefix exists as a folder."""
    storage.write_bytes("memory://bucket/run/x", b"data")
    assert objects == {"memory://bucket/run/x": b"data"}
    assert storage.read_bytes("memory://bucket/run/x") == b"data"
    assert storage.exists("memory://bucket/run/x")
    assert storage.exists("memory://bucket/run")
    assert not storage.exists("memory://bucket/ru")


def test_folders_of_objects_are_listed(run):
    """A folder lists its direct objects, and a tree all paths."""
    clean = "memory://bucket/run/clean"
    assert list(storage.list_folder(clean, ".parquet")) == list(RUN[:2])
    assert list(storage.list_folder(clean, ".json")) == []
    assert storage.list_tree("memory://bucket/run/") == sorted(
        uri.removeprefix("memory://bucket/run/") for uri in RUN
    )
    assert NEIGHBOUR in run


def test_objects_are_removed_with_all_below_them(run):
    """Removing a prefix removes only the objects below it."""
    storage.remove_tree("memory://bucket/run")
    assert list(run) == [NEIGHBOUR]
    storage.remove_tree("memory://bucket/run")


@pytest.mark.parametrize(
    ("action", "error", "problem"),
    [
        (storage.find, InputError, "can't be listed: no right to look"),
        (storage.exists, StorageError, "can't be looked up: no right to look"),
        (storage.list_tree, StorageError, "can't be listed: no right to list"),
        (storage.remove_tree, StorageError, "can't be removed: no right to look"),
    ],
)
def test_errors_of_a_store_name_uri_and_remedy(objects, action, error, problem):
    """A store's error names the URI, the reason and a remedy."""
    with pytest.raises(error) as caught:
        action("memory://closed/x")
    assert (caught.value.where, caught.value.problem) == ("memory://closed/x", problem)
    assert caught.value.remedy
    assert objects == {}


def test_a_missing_object_has_the_remedy_for_stores(objects):
    """The remedy for a missing object names bucket and credentials."""
    with pytest.raises(InputError, match="memory://bucket/x: can't be opened") as caught:
        storage.open_raw("memory://bucket/x")
    assert caught.value.remedy == storage.STORE_REMEDY
    assert objects == {}


def test_a_fingerprint_shows_every_change(tmp_path):
    """A fingerprint changes with the content, even at the same size and time."""
    path = tmp_path / "a"
    path.write_bytes(b"one")
    first = storage.take_fingerprint(str(path))
    assert storage.take_fingerprint(str(path)) == first
    before = path.stat()
    time.sleep(0.02)  # longer than a tick of the file system's clock
    path.write_bytes(b"two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert storage.take_fingerprint(str(path)) != first
    with pytest.raises(FileNotFoundError):
        storage.take_fingerprint(str(tmp_path / "absent"))


def test_a_fingerprint_shows_the_target_of_a_link(tmp_path):
    """A link that leads elsewhere has another fingerprint, even to an equal file of one time."""
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"one")
    link, found = tmp_path / "link", set()
    for name in ("a", "b"):
        link.unlink(missing_ok=True)
        link.symlink_to(name)
        found.add(storage.take_fingerprint(str(link)).rpartition(" ")[2])
    assert found == {"a", "b"}


def test_standard_input_is_gone_after_its_run():
    """An unfetched web file exists, but standard input doesn't."""
    assert not storage.exists("stdin://stdin")
    assert storage.exists("https://host/a.jsonl")
