"""The cache of vectors: bounded, safe with other processes, and silent about its problems."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.runs import vector_cache as module
from pipelines.runs.vector_cache import VectorCache


@pytest.fixture
def cache(tmp_path):
    """Return a cache whose folder doesn't exist yet."""
    return VectorCache(tmp_path / "vectors", "1.0")


def set_age(folder, key, seconds):
    """Let a file seem to be used this many seconds after the beginning of time."""
    os.utime(folder / "vectors" / f"{key}-1.0.safetensors", (seconds, seconds))


def test_data_is_kept_by_key(cache, tmp_path):
    """Data is found under its key and by the same version, and only there."""
    assert cache.load("a") is None
    cache.save("a", b"one")
    assert (cache.load("a"), cache.load("b")) == (b"one", None)
    cache.save("a", b"two")
    assert cache.load("a") == b"two"
    assert VectorCache(tmp_path / "vectors", "1.1").load("a") is None


@pytest.mark.parametrize(("most_bytes", "most_files"), [(35, 100), (10_000, 3)])
def test_what_was_not_used_for_longest_is_removed(
    cache, tmp_path, monkeypatch, most_bytes, most_files
):
    """Beyond the largest size or number of files, the least recently used data goes first."""
    monkeypatch.setattr(module, "LARGEST_SHARE", 1)
    monkeypatch.setattr(module, "MOST_BYTES", most_bytes)
    monkeypatch.setattr(module, "MOST_FILES", most_files)
    for age, key in enumerate("abc"):
        cache.save(key, b"x" * 10)
        set_age(tmp_path, key, age)
    cache.load("a")
    cache.save("d", b"x" * 10)
    assert [key for key in "abcd" if cache.load(key)] == ["a", "c", "d"]


def test_data_that_would_push_out_the_rest_is_not_kept(cache, monkeypatch):
    """A group that takes more than its share isn't kept."""
    monkeypatch.setattr(module, "MOST_BYTES", 40)
    cache.save("a", b"x" * 11)
    cache.save("b", b"x" * 10)
    assert (cache.load("a"), cache.load("b")) == (None, b"x" * 10)


def test_a_folder_that_cannot_be_used_is_no_obstacle(tmp_path):
    """If the folder can't be written or read, nothing is kept and nothing is raised."""
    (tmp_path / "file").write_text("")
    cache = VectorCache(tmp_path / "file" / "vectors", "1.0")
    cache.save("a", b"x")
    assert cache.load("a") is None
    (tmp_path / "a-1.0.safetensors").mkdir()
    folder = VectorCache(tmp_path, "1.0")
    folder.save("a", b"x")
    assert folder.load("a") is None


def test_two_writers_do_not_mix_their_data(cache):
    """While several writers replace the same file, a reader sees one whole version of it."""
    versions = [bytes([number]) * 50_000 for number in range(4)]
    cache.save("a", versions[0])
    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(cache.save, "a", version) for version in versions * 5]
        read = [cache.load("a") for _ in range(50)]
        for write in writes:
            write.result()
    assert set(read) <= set(versions)
