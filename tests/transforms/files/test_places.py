"""Places of sources below `clean/`."""

from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.runs import shard_path
from transforms.files.partitions import read_partitions
from transforms.files.patterns import find_glob_sign, is_hidden_name
from transforms.files.places import FILE_BYTES, FOLDER_BYTES, find_place, is_place
from transforms.files.splits import find_split, read_split_signs

SHARD = "part-000007-0123456789ab"

COMPONENTS = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0"), max_size=12
) | st.sampled_from(
    ["", ".", "..", "~", "a*b", "teacher=gpt 4", "test", "#train", "x:dev", "A" * 300, "é" * 150]
)
SOURCES = st.lists(COMPONENTS, min_size=1, max_size=4).map("/".join)


@pytest.mark.parametrize(
    ("source", "place"),
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
def test_the_place_of_a_source(source, place):
    """A place is the source's path without suffixes, those of an earlier run's shard included."""
    assert find_place(source) == place


@pytest.mark.parametrize(
    "source",
    ["a/../b.jsonl", "./x.jsonl", "a//b.jsonl", "_x/a.jsonl", ".x.jsonl", "a*b/?[c].jsonl"],
)
def test_unsafe_names_have_a_digest(source):
    """A name that can't be used is replaced by its safe characters and a digest."""
    parts = find_place(source).split("/")
    assert any("~" in part for part in parts)
    assert len(parts) == len(source.split("/"))
    assert not any(part in ("", ".", "..") or is_hidden_name(part) for part in parts)


@given(SOURCES)
def test_places_are_safe_and_stable(source):
    """Any source has a place inside the folder, without globs, which is its own place."""
    place = find_place(source)
    assert is_place(place)
    path = PurePosixPath(shard_path("clean", SHARD, ".jsonl.zst", place))
    assert path.parts[0] == "clean"
    assert ".." not in path.parts
    assert find_glob_sign(str(path)) is None
    assert not any(is_hidden_name(part) for part in path.parts)
    *folders, file = place.split("/")
    assert len(file.encode()) <= FILE_BYTES
    assert all(len(folder.encode()) <= FOLDER_BYTES for folder in folders)


@given(SOURCES)
def test_places_keep_splits_and_partitions(source):
    """The rows of a source keep its split and its keys, whatever else is in its name."""
    file = find_place(f"{source}.jsonl") + f".{SHARD}.jsonl"
    own = read_split_signs(f"{source}.jsonl".rpartition("/")[2])
    assert read_split_signs(file.rpartition("/")[2]).splits == own.splits
    if all(len(part.encode()) < FILE_BYTES for part in source.split("/")):
        assert read_partitions(file) == read_partitions(f"{source}.jsonl")
        assert find_split(file) == find_split(f"{source}.jsonl")


@pytest.mark.parametrize("word", ["train", "dev", "evaluation"])
def test_a_long_name_keeps_its_split(word):
    """A word for a split in the middle of a long name is kept."""
    source = f"{'x' * 150}-{word}-{'y' * 90}.jsonl"
    place = find_place(source)
    assert len(place.encode()) <= FILE_BYTES
    assert find_split(f"{place}.jsonl") == find_split(source) is not None
    assert find_place(source.replace("x", "z", 1)) != place


@pytest.mark.parametrize(
    "path", ["", "a/", "/a", "../a", "a/../b", ".a", "_a", "a*b", "a\nb", "a" * 200, "a/./b"]
)
def test_other_paths_are_no_places(path):
    """A path that leads elsewhere, is hidden or isn't safe is no place."""
    assert not is_place(path)
