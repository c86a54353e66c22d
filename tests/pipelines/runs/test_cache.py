"""The cache: its folder, and its copies of remote files."""

import os
import time
from pathlib import Path

import pytest

from pipelines.runs.cache import STALE_SECONDS, fetch_file, get_cache_folder, sweep_cache
from schemas.digests import digest_bytes
from schemas.errors import RunError, StorageError
from schemas.runs import PARQUET
from transforms.files import storage

DATA = b"a ledger"


@pytest.fixture
def remote(monkeypatch, tmp_path):
    """Replace the store with one file; return its URI and a list of the reads."""
    reads = []
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path))
    monkeypatch.setattr(storage, "read_bytes", lambda uri: reads.append(uri) or DATA)
    return "gs://bucket/run/ledger/part.parquet", reads


def test_the_cache_can_be_elsewhere(monkeypatch, tmp_path):
    """The cache is in CONGENER_CACHE, or else below XDG_CACHE_HOME."""
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path / "here"))
    assert get_cache_folder() == tmp_path / "here"
    monkeypatch.delenv("CONGENER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert get_cache_folder() == tmp_path / "congener"


@pytest.mark.parametrize("value", ["", "relative/cache"])
def test_an_unusable_cache_variable_does_not_count(monkeypatch, tmp_path, value):
    """An empty or relative XDG_CACHE_HOME is ignored."""
    monkeypatch.delenv("CONGENER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert get_cache_folder() == tmp_path / ".cache" / "congener"
    monkeypatch.setenv("CONGENER_CACHE", "~/elsewhere")
    assert get_cache_folder() == tmp_path / "elsewhere"


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    """Without a cache folder, nothing is swept, and a remote file is an error."""
    for name in ("CONGENER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert get_cache_folder() is None
    sweep_cache()
    with pytest.raises(StorageError, match="no home folder") as caught:
        fetch_file("gs://bucket/x.parquet", "0" * 64, 1, PARQUET)
    assert "CONGENER_CACHE" in caught.value.remedy


def test_a_cache_that_cannot_be_written_is_named(remote, monkeypatch, tmp_path):
    """The error for an unwritable copy names CONGENER_CACHE."""
    uri, _ = remote
    (tmp_path / "file").touch()
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path / "file" / "below"))
    sweep_cache()
    with pytest.raises(StorageError, match="can't be written") as caught:
        fetch_file(uri, digest_bytes(DATA), len(DATA), PARQUET)
    assert "CONGENER_CACHE" in caught.value.remedy


def test_only_stale_temporary_files_are_swept(monkeypatch, tmp_path):
    """An old temporary file is removed, but a new file stays."""
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path))
    stale, fresh = (tmp_path / f".bank.json.{digit * 32}.tmp" for digit in "ab")
    for path in (stale, fresh):
        path.write_text("half")
    then = time.time() - 2 * STALE_SECONDS
    os.utime(stale, (then, then))
    sweep_cache()
    assert list(tmp_path.iterdir()) == [fresh]


def test_a_local_file_is_its_own_copy(tmp_path):
    """A local file is neither copied nor opened."""
    assert fetch_file(str(tmp_path / "x.parquet"), "0" * 64, 1, PARQUET) == str(
        tmp_path / "x.parquet"
    )


def test_a_remote_file_is_fetched_once(remote):
    """A remote file is fetched only once."""
    uri, reads = remote
    path = fetch_file(uri, digest_bytes(DATA), len(DATA), PARQUET)
    assert Path(path).read_bytes() == DATA
    assert Path(path).name == f"{digest_bytes(DATA)}.parquet"
    assert fetch_file(uri, digest_bytes(DATA), len(DATA), PARQUET) == path
    assert reads == [uri]


def test_a_cut_copy_is_fetched_again(remote):
    """A copy of the wrong length isn't used."""
    uri, reads = remote
    path = Path(fetch_file(uri, digest_bytes(DATA), len(DATA), PARQUET))
    path.write_bytes(DATA[:-1])
    assert Path(fetch_file(uri, digest_bytes(DATA), len(DATA), PARQUET)).read_bytes() == DATA
    assert len(reads) == 2


def test_another_file_is_refused(remote):
    """A file with another digest is an error, and no copy is kept."""
    uri, _ = remote
    with pytest.raises(RunError, match=r"part\.parquet: doesn't match the manifest"):
        fetch_file(uri, "0" * 64, len(DATA), ".jsonl.gz")
    assert not (get_cache_folder() / "files" / f"{'0' * 64}.jsonl.gz").exists()
