"""File patterns: globs and hidden names."""

from pathlib import PurePosixPath

import pytest

from transforms.files.patterns import FoundFile, find_glob_sign, is_hidden, is_hidden_name


@pytest.mark.parametrize(
    ("name", "sign"),
    [("a/*.jsonl", "*"), ("what?", "?"), ("b[1].txt", "["), ("plain", None), ("a]b", None)],
)
def test_glob_signs_are_found(name, sign):
    """`*`, `?` and `[` make a name a glob."""
    assert find_glob_sign(name) == sign


@pytest.mark.parametrize(
    ("name", "hidden"), [(".work", True), ("_SUCCESS", True), ("a.b_c", False), ("a", False)]
)
def test_names_are_hidden_by_their_first_character(name, hidden):
    """Only a leading dot or underscore hides a name."""
    assert is_hidden_name(name) is hidden


def test_a_file_in_a_hidden_folder_is_hidden():
    """A hidden folder below the root hides its files."""
    root = PurePosixPath("/data/.corpus")
    assert is_hidden(root / ".work" / "a.jsonl", root)
    assert is_hidden(root / "deep" / "_a.jsonl", root)
    assert not is_hidden(root / "deep" / "a.jsonl", root)


def test_found_files_sort_by_uri():
    """Files are sorted by URI."""
    assert sorted([FoundFile("b", 1), FoundFile("a", 2)]) == [("a", 2), ("b", 1)]
