"""Stems: the paths of rows below `clean/`."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.runs import shard_path
from transforms.files.partitions import read_partitions
from transforms.files.patterns import find_glob_sign, is_hidden_name
from transforms.files.splits import find_split, read_split_signs
from transforms.files.stems import (
    FILE_BYTES,
    FOLDER_BYTES,
    build_stem,
    find_folders_alike,
    is_stem,
)

SHARD = "part-000007-0123456789ab"

COMPONENTS = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), max_size=12
) | st.sampled_from(
    ["", ".", "..", "~", "a*b", "teacher=gpt 4", "test", "#train", "x:dev", "A" * 300, "é" * 150]
)
SOURCES = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("source", "stem"),
    [
        ("a.jsonl", "a"),
        ("data/train-00000-of-00002.parquet", "data/train-00000-of-00002"),
        ("teacher=org%2Fx/part-0.parquet", "teacher=org%2Fx/part-0"),
        ("x.y/b.jsonl.gz", "x.y/b"),
        ("b.JSON.zst", "b"),
        ("b.csv.bz2", "b"),
        ("b.jsonlines.gzip", "b"),
        ("b.data", "b.data"),
        (".jsonl", "~365369f9~jsonl"),
        (f"a.{SHARD}.jsonl", "a"),
        (f"{SHARD}.jsonl", SHARD),
        ("日本語/हिन्दी é.jsonl", "日本語/हिन्दी é"),
    ],
)
def test_the_stem_of_a_source(source, stem):
    """A stem is the source's path without suffixes."""
    assert build_stem(source) == stem


@pytest.mark.parametrize(
    "source",
    ["a/../b.jsonl", "./x.jsonl", "a//b.jsonl", "_x/a.jsonl", ".x.jsonl", "a*b/?[c].jsonl"],
)
def test_unsafe_names_have_a_digest(source):
    """An unsafe name becomes safe characters and a digest."""
    parts = build_stem(source).split("/")
    assert any("~" in part for part in parts)
    assert len(parts) == len(source.split("/"))
    assert not any(part in ("", ".", "..") or is_hidden_name(part) for part in parts)


@given(SOURCES)
def test_places_are_safe_and_stable(source):
    """Every source has a safe stem inside the folder."""
    stem = build_stem(source)
    assert is_stem(stem)
    path = PurePosixPath(shard_path("clean", SHARD, ".jsonl.zst", stem))
    assert path.parts[0] == "clean"
    assert ".." not in path.parts
    assert find_glob_sign(str(path)) is None
    assert not any(is_hidden_name(part) for part in path.parts)
    *folders, file = stem.split("/")
    assert len(file.encode()) <= FILE_BYTES
    assert all(len(folder.encode()) <= FOLDER_BYTES for folder in folders)


@given(SOURCES)
def test_places_keep_splits_and_partitions(source):
    """A stem keeps the split and partition keys."""
    file = build_stem(f"{source}.jsonl") + f".{SHARD}.jsonl"
    own = read_split_signs(f"{source}.jsonl".rpartition("/")[2])
    assert read_split_signs(file.rpartition("/")[2]).splits == own.splits
    if all(len(part.encode()) < FILE_BYTES for part in source.split("/")):
        assert read_partitions(file) == read_partitions(f"{source}.jsonl")
        assert find_split(file) == find_split(f"{source}.jsonl")


@pytest.mark.parametrize("word", ["train", "dev", "evaluation"])
def test_a_long_name_keeps_its_split(word):
    """A split in the middle of a long name is kept."""
    source = f"{'x' * 150}-{word}-{'y' * 90}.jsonl"
    stem = build_stem(source)
    assert len(stem.encode()) <= FILE_BYTES
    assert find_split(f"{stem}.jsonl") == find_split(source) is not None
    assert build_stem(source.replace("x", "z", 1)) != stem


@pytest.mark.parametrize(
    "path", ["", "a/", "/a", "../a", "a/../b", ".a", "_a", "a*b", "a\nb", "a" * 200, "a/./b"]
)
def test_other_paths_are_no_places(path):
    """A path outside the folder, hidden or unsafe can't be a stem."""
    assert not is_stem(path)


@pytest.mark.parametrize(
    ("stems", "expected"),
    [
        (["a/Train/x", "a/train/y"], ("a/Train", "a/train")),
        (["A/train/x", "b/x", "a/test/y"], ("A", "a")),
        (["caf\u00e9/x", "cafe\u0301/x"], ("caf\u00e9", "cafe\u0301")),
        (["stra\u00dfe/x", "STRASSE/x"], ("stra\u00dfe", "STRASSE")),
        (["train/x", "train/X", "test/x", "x", "X"], None),
        ([], None),
    ],
)
def test_folders_that_some_disks_do_not_tell_apart_are_found(stems, expected):
    """Folders that differ only in case or in the form of an accent are found at any depth."""
    assert find_folders_alike(stems) == expected
