"""The cache: where it is, and copies of remote files that go by their digest."""

from pathlib import Path

import pytest

from pipelines.runs.cache import cache_folder, fetched
from schemas.digests import digest_bytes
from schemas.errors import RunError
from transforms.files import storage

DATA = b"a ledger"


@pytest.fixture
def remote(monkeypatch, tmp_path):
    """Stand in for a store with one file; return the URI and what was read."""
    reads = []
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path))
    monkeypatch.setattr(storage, "read_bytes", lambda uri: reads.append(uri) or DATA)
    return "gs://bucket/run/ledger/part.parquet", reads


def test_the_cache_can_be_put_elsewhere(monkeypatch, tmp_path):
    """CONGENER_CACHE names the folder; XDG_CACHE_HOME is second."""
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    monkeypatch.delenv("CONGENER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "congener"


def test_a_local_file_is_its_own_copy(tmp_path):
    """Nothing is fetched, nor looked at, of what is on a disk."""
    assert fetched(str(tmp_path / "x.parquet"), "0" * 64, 1) == str(tmp_path / "x.parquet")


def test_a_remote_file_is_fetched_once(remote):
    """The copy is the file's bytes, and serves the next time."""
    uri, reads = remote
    path = fetched(uri, digest_bytes(DATA), len(DATA))
    assert Path(path).read_bytes() == DATA
    assert fetched(uri, digest_bytes(DATA), len(DATA)) == path
    assert reads == [uri]


def test_a_cut_copy_is_fetched_again(remote):
    """A copy of another length doesn't count."""
    uri, reads = remote
    path = Path(fetched(uri, digest_bytes(DATA), len(DATA)))
    path.write_bytes(DATA[:-1])
    assert Path(fetched(uri, digest_bytes(DATA), len(DATA))).read_bytes() == DATA
    assert len(reads) == 2


def test_another_file_is_refused(remote):
    """A file that isn't the one that the manifest names is an error, and isn't kept."""
    uri, _ = remote
    with pytest.raises(RunError, match=r"part\.parquet: isn't as the manifest says"):
        fetched(uri, "0" * 64, len(DATA))
    assert not (cache_folder() / "files" / f"{'0' * 64}.parquet").exists()
