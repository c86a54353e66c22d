"""Splits in file and folder names."""

import pytest
from datasets.data_files import get_data_patterns, resolve_pattern

from transforms.files.splits import (
    SPLIT_WORDS,
    find_split,
    list_splits,
    rank_split,
    rank_splits,
    read_split_signs,
)

NAMES = [
    "train.jsonl",
    "test.parquet",
    "dev.jsonl.gz",
    "my-eval_set.jsonl",
    "2024val01.jsonl",
    "a b validation c.jsonl",
    "train_sft-00000-of-00002.parquet",
    "chats.jsonl",
    "latest.jsonl",
    "training-notes.jsonl",
    "Train.jsonl",
    "valid/part-0.jsonl",
    "x/test-set/y/part-0.jsonl",
    "x/contest/part-0.jsonl",
    "test/train/part-0.jsonl",
    "data/train-00000-of-00002.parquet",
    "data/test_gen-00000-of-00001.parquet",
    "data/whatever-00000-of-00001.parquet",
    "en/whatever-00000-of-00001.parquet",
]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_read_as_datasets_does(tmp_path, name):
    """A single file has the split that `load_dataset` gives it."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    patterns = get_data_patterns(str(tmp_path))
    found = {
        split
        for split, globs in patterns.items()
        if any(matches(glob, tmp_path, path) for glob in globs)
    }
    assert found
    assert (find_split(name) or "train") in found
    assert len(found) == 1 or find_split(name) == "train", "the nearest folder decides"


def matches(glob, base, path):
    """Return whether a `datasets` pattern matches a file."""
    try:
        return str(path) in resolve_pattern(glob, str(base))
    except FileNotFoundError:
        return False


def test_every_word_of_datasets_is_known():
    """The split words are the same as in `datasets`."""
    from datasets.data_files import SPLIT_KEYWORDS

    assert {str(split): tuple(words) for split, words in SPLIT_KEYWORDS.items()} == SPLIT_WORDS


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("chats.jsonl", None),
        ("latest.jsonl", None),
        ("Train.jsonl", None),
        ("test/train/a.jsonl", "train"),
        ("train/test.jsonl", "train"),
        ("data/train/x-00000-of-00001.parquet", "train"),
        ("data/train_sft-00000-of-00002.parquet", "train_sft"),
        ("x/data/train_sft-00000-of-00002.parquet", "train"),
        ("x/whatever-00000-of-00002.parquet", None),
        ("data/what-ever-00000-of-00002.parquet", None),
    ],
)
def test_the_split_of_a_source(name, split):
    """Numbering in `data/` comes first, then the nearest folder, then the file's name."""
    assert find_split(name) == split


def test_the_signs_in_a_files_name():
    """The text before a number, and split words, are signs of a split."""
    assert read_split_signs("train_sft-00000-of-00002-ab.parquet") == ("train_sft", {"train"})
    assert read_split_signs("train-vs-test.jsonl") == (None, {"train", "test"})
    assert read_split_signs("dev.valid.jsonl") == (None, {"validation"})
    assert read_split_signs("chats.jsonl") == (None, frozenset())


def test_the_rank_of_a_split():
    """A split's own name, or else its kind, gives the rank."""
    priority = ("test", "train_sft", "train")
    ranks = [
        rank_split(split, priority)
        for split in ("test", "test_gen", "train_sft", "train_gen", "validation", "other", None)
    ]
    assert ranks == [0, 0, 1, 2, 3, 3, 3]


def test_a_card_decides_before_a_name():
    """A card's splits replace the split in the name."""
    assert list_splits("test/a.jsonl", ()) == ("test",)
    assert list_splits("a.jsonl", ()) == (None,)
    assert list_splits("test/a.jsonl", [("x", "train"), ("y", "train")]) == ("train",)
    assert list_splits("a.jsonl", [("x", "train"), ("y", "held")]) == ("train", "held")


def test_a_file_of_several_splits_has_the_first_rank():
    """The first listed split of a file gives the rank."""
    assert rank_splits(("train", "test"), ("test", "train")) == 0
    assert rank_splits((None,), ("test",)) == 1
