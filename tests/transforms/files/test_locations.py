"""Paths as people write them."""

import os
from pathlib import Path

import pytest

from schemas.errors import InputError
from transforms.files.locations import (
    STDIN,
    describe_unusable,
    expand_home,
    expand_input,
    ignores_case,
    is_local,
    is_read_only,
    is_repository,
    refuse_scheme,
    require_reachable,
)


def test_uris_are_not_local():
    """Everything with a scheme is on an object store."""
    assert is_local("data/a.jsonl")
    assert not is_local("gs://bucket/a.jsonl")


def test_a_tilde_is_the_home_folder(monkeypatch, tmp_path):
    """`~` and `~user` become home folders."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert expand_home("~/data") == f"{tmp_path}/data"
    assert expand_home("~") == str(tmp_path)
    assert expand_home("~root/data").endswith("/data")
    assert not expand_home("~root/data").startswith("~")
    for path in ("data/~", "~nobody-of-this-name/data", "s3://bucket/~"):
        assert expand_home(path) == path


def test_a_uri_of_a_file_is_its_path():
    """A `file://` URI becomes an unescaped path."""
    assert expand_home("file:///a/b%20c.jsonl") == "/a/b c.jsonl"
    assert expand_input("file://localhost/a") == "/a"


@pytest.mark.parametrize(
    ("path", "expected"), [("owner/name-2.0", True), ("a/b/c", False), ("./a", False), ("a", False)]
)
def test_a_path_may_be_the_name_of_a_data_set(path, expected):
    """A path of an owner and a name may be a hub data set."""
    assert is_repository(path) is expected


def test_a_file_may_be_called_tilde(monkeypatch, tmp_path):
    """An existing path stays as it is."""
    monkeypatch.chdir(tmp_path)
    Path("~kept").mkdir()
    Path("~").mkdir()
    assert expand_home("~kept/a.jsonl") == "~kept/a.jsonl"
    assert expand_home("~/a.jsonl") == "~/a.jsonl"


@pytest.mark.parametrize(
    ("text", "problem"),
    [("a\0b", "contains a NUL character"), ("b\udcff", "isn't UTF-8"), ("héron/✓", None)],
)
def test_unusable_texts_are_described(text, problem):
    """NUL and invalid UTF-8 are refused in a path."""
    assert describe_unusable(text) == problem


@pytest.mark.parametrize("path", ["x" * 300, "y/" * 3000, "a\0b"])
def test_a_path_that_cannot_be_looked_up_is_refused(path):
    """The error for a path with NUL or a long name names the path."""
    with pytest.raises(InputError, match="can't be looked up") as caught:
        require_reachable(path)
    assert caught.value.where == path


def test_a_folder_that_cannot_be_searched_is_named(monkeypatch, tmp_path):
    """A folder that can't be searched is an error."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "lstat", refuse)
    with pytest.raises(InputError, match="can't be looked up: Permission denied"):
        require_reachable(str(tmp_path / "deep" / "file"))


def test_missing_paths_and_uris_are_left_to_the_reader(tmp_path):
    """A missing path is accepted."""
    (tmp_path / "file").touch()
    for path in ("none", "file/below"):
        require_reachable(str(tmp_path / path))
    require_reachable("gs://bucket/" + "x" * 300)


def test_a_dash_is_standard_input():
    """`-` is standard input, and `./-` is a file."""
    assert expand_input("-") == STDIN
    assert expand_input("./-") == "./-"


def test_uris_of_the_web_and_the_hub_are_only_read():
    """Web files and standard input can't be written to."""
    assert all(map(is_read_only, (STDIN, "https://a/b", "hf://datasets/o/n")))
    assert not any(map(is_read_only, ("gs://b/o", "out/https:", "s3://b")))


@pytest.mark.parametrize("uri", ["ftp://host/a", "file:///a.jsonl", "az://b/o"])
def test_other_schemes_are_refused_with_those_that_are_read(uri):
    """The error for an unknown scheme lists all possible inputs."""
    error = refuse_scheme(uri)
    assert "isn't read" in error.problem
    assert all(known in error.remedy for known in ("gs://", "s3://", "https://", "hf://", " - "))
    assert refuse_scheme("gs://b/o") is None
    assert refuse_scheme("data/a.jsonl") is None


def test_a_disk_that_ignores_case_finds_a_folder_under_another_name(tmp_path):
    """A disk ignores case if a folder's name in the other case leads to the same folder."""
    folder = tmp_path / ".work"
    assert not ignores_case(str(folder))
    folder.mkdir()
    (tmp_path / ".WORK").mkdir()
    assert not ignores_case(str(folder))
    (tmp_path / ".WORK").rmdir()
    (tmp_path / ".WORK").symlink_to(folder)
    assert ignores_case(str(folder))
