"""Splits: train, validation and test, found in the names of files and folders.

The rules are those of Hugging Face's `datasets` library.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
"""The words that name each split."""

DATA_FOLDER = "data"
"""The folder in which `datasets` treats the text before `-00000-of-00001` as a split."""

_SPLIT_OF_WORD = {word: split for split, words in SPLIT_WORDS.items() for word in words}
_WORDS = "|".join(sorted(_SPLIT_OF_WORD, key=len, reverse=True))
_IN_FILE = re.compile(rf"(?:^|(?<=[-._ 0-9]))({_WORDS})(?=[-._ 0-9])")
_IN_FOLDER = re.compile(rf"(?:^|(?<=[-._ 0-9]))({_WORDS})(?=[-._ 0-9]|$)")
_NUMBERED = re.compile(r"(\w+(?:\.\w+)*)-[0-9]{5}-of-[0-9]{5}")


class SplitSigns(NamedTuple):
    """A file name's signs of a split: the text before a number, and split words."""

    numbered: str | None
    splits: frozenset[str]


def read_split_signs(file: str) -> SplitSigns:
    """Return the signs of a split in a file name without folders."""
    numbered = _NUMBERED.match(file)
    splits = frozenset(_SPLIT_OF_WORD[word] for word in _IN_FILE.findall(file))
    return SplitSigns(numbered and numbered[1], splits)


def find_split(source: str) -> str | None:
    """Return the split in a source's name, or None.

    In the folder `data/`, the text before a number such as `-00000-of-00001` is the split.
    Otherwise, the nearest folder with a split word decides, or else the file's own name.
    """
    *folders, file = source.split("/")
    numbered = _NUMBERED.match(file)
    if numbered and folders == [DATA_FOLDER]:
        return numbered[1]
    for name, words in ((folder, _IN_FOLDER) for folder in reversed(folders)):
        if found := words.search(name):
            return _SPLIT_OF_WORD[found[1]]
    found = _IN_FILE.search(file)
    return found and _SPLIT_OF_WORD[found[1]]


def list_splits(source: str, listed: Iterable[tuple[str, str]]) -> tuple[str | None, ...]:
    """Return a source's splits from the dataset card, or else the split in its name.

    `listed` are pairs of config name and split name. A split of None is unknown.
    """
    return tuple(dict.fromkeys(split for _, split in listed)) or (find_split(source),)


def rank_splits(splits: Iterable[str | None], priority: Sequence[str]) -> int:
    """Return the lowest rank of some splits (see `rank_split`)."""
    return min(rank_split(split, priority) for split in splits)


def rank_split(split: str | None, priority: Sequence[str]) -> int:
    """Return a split's rank in `priority`, which may list the split or its kind.

    `train_sft` is of the kind `train`. An unlisted split ranks last.
    """
    if split in priority:
        return priority.index(split)
    found = _IN_FOLDER.search(split or "")
    kind = found and _SPLIT_OF_WORD[found[1]]
    return priority.index(kind) if kind in priority else len(priority)
