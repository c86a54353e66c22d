"""Source names, and repeated files."""

import os
from pathlib import Path

import pytest

from transforms.files.names import FILES_NAMED, NamedFile, leave_out_repeats, name_files
from transforms.files.stems import build_stem


def list_names(found):
    """Return files' source names in order."""
    return [file.name for file in name_files(found)]


@pytest.mark.parametrize(
    ("found", "names"),
    [
        ({"in": ["in/test/a.jsonl"]}, ["test/a.jsonl"]),
        ({"in/": ["in/a.jsonl", "in/b/c.jsonl"]}, ["a.jsonl", "b/c.jsonl"]),
        ({".": ["a.jsonl"]}, ["a.jsonl"]),
        ({"in/test/a.jsonl": ["in/test/a.jsonl"]}, ["a.jsonl"]),
        ({"in/*/a.jsonl": ["in/x/a.jsonl"]}, ["x/a.jsonl"]),
        ({"in/x/*.jsonl": ["in/x/a.jsonl", "in/x/b.jsonl"]}, ["a.jsonl", "b.jsonl"]),
        ({"in/a[1]": ["in/a[1]/b.jsonl"]}, ["b.jsonl"]),
        ({"in/a": ["in/a/x.jsonl"], "in/b": ["in/b/x.jsonl"]}, ["a/x.jsonl", "b/x.jsonl"]),
        ({"in": ["in/x.jsonl"], "in/b": ["in/b/x.jsonl"]}, ["x.jsonl", "b/x.jsonl"]),
        ({"in/teacher=a": ["in/teacher=a/x.jsonl"]}, ["teacher=a/x.jsonl"]),
        (
            {"in/teacher=a/date=1/x.jsonl": ["in/teacher=a/date=1/x.jsonl"]},
            ["teacher=a/date=1/x.jsonl"],
        ),
        (
            {"s3://bucket/in/": ["s3://bucket/in/d//a.jsonl", "s3://bucket/in/d/a.jsonl"]},
            ["d//a.jsonl", "d/a.jsonl"],
        ),
        ({"s3://one/a": ["s3://one/a/x"], "s3://two/a": ["s3://two/a/x"]}, ["one/a/x", "two/a/x"]),
        ({"/": ["/a/x.jsonl"]}, ["a/x.jsonl"]),
        (
            {"https://h/d/x.jsonl?download=true": ["https://h/d/x.jsonl?download=true"]},
            ["x.jsonl"],
        ),
        (
            {uri: [uri] for uri in ("https://h/x.csv?key=a/b#c", "https://h/y.csv?key=a/b")},
            ["x.csv", "y.csv"],
        ),
        (
            {uri: [uri] for uri in ("https://h/x?v=1/2", "https://h/x?v=3", "https://h/y?v=1")},
            ["x?v=1%2F2", "x?v=3", "y"],
        ),
        ({"s3://b/in": ["s3://b/in/x?v=1.jsonl"]}, ["x?v=1.jsonl"]),
    ],
)
def test_files_are_named_below_what_was_given(found, names):
    """A file's name is its path below the given folders' common root."""
    assert list_names(found) == names


def test_a_name_does_not_depend_on_how_a_folder_is_written(tmp_path, monkeypatch):
    """Relative and absolute paths give the same names."""
    monkeypatch.chdir(tmp_path)
    found = {
        "in/a": ["in/a/x.jsonl"],
        "in/../in/b": ["in/../in/b/x.jsonl"],
        f"{tmp_path}/in/c": [f"{tmp_path}/in/c/x.jsonl"],
    }
    assert list_names(found) == ["a/x.jsonl", "b/x.jsonl", "c/x.jsonl"]


@pytest.fixture
def make_files(tmp_path):
    """Return a function that makes a file and links to it."""

    def make(file, links=(), hard=()):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("{}\n")
        for name in (*links, *hard):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if name in links:
                path.symlink_to(tmp_path / file)
            else:
                path.hardlink_to(tmp_path / file)
        return [NamedFile(str(tmp_path / name), name) for name in (*links, file, *hard)]

    return make


def test_a_link_to_a_file_of_the_input_is_left_out(make_files):
    """If a link and its target are given, only the target is read, with a notice."""
    files = make_files("m.jsonl", links=["a.jsonl", "z.jsonl"])
    kept, notices = leave_out_repeats(files)
    assert [file.name for file in kept] == ["m.jsonl"]
    uri = kept[0].uri
    assert [notice.text for notice in notices] == [
        f"{files[0].uri} is the same file as {uri}, and is read once",
        f"{files[1].uri} is the same file as {uri}, and is read once",
    ]


def test_a_second_spelling_is_left_out(make_files, tmp_path, monkeypatch):
    """A file that is given by two paths is read once."""
    monkeypatch.chdir(tmp_path)
    files = [*make_files("m.jsonl"), NamedFile("m.jsonl", "m.jsonl")]
    kept, (notice,) = leave_out_repeats(files)
    assert len(kept) == 1
    assert "same file" in notice.text


def test_a_hard_link_is_the_same_file(make_files):
    """A hard link to an included file is left out."""
    kept, notices = leave_out_repeats(make_files("x/a.jsonl", hard=["y/b.jsonl"]))
    assert [file.name for file in kept] == ["x/a.jsonl"]
    assert len(notices) == 1


@pytest.mark.parametrize(
    ("file", "link"),
    [
        ("train.jsonl", "test.jsonl"),
        ("train/a.jsonl", "test/a.jsonl"),
        ("teacher=a/x.jsonl", "teacher=b/x.jsonl"),
    ],
)
def test_a_file_of_two_splits_is_read_for_each(make_files, file, link):
    """A file in two splits or partitions is read for each."""
    files = make_files(file, links=[link])
    kept, (notice,) = leave_out_repeats(files)
    assert kept == files
    assert notice.severity == "warning"
    assert "each is read" in notice.text


def test_a_disk_without_numbers_for_files_makes_none_the_same(make_files, monkeypatch):
    """Without inode numbers, files count as different, and links are recognised."""
    files = [*make_files("a.jsonl", links=["b.jsonl"]), *make_files("c.jsonl")]
    real = Path.stat

    def number_nothing(path, **options):
        found = list(real(path, **options))
        found[1] = 0
        return os.stat_result(found)

    monkeypatch.setattr(Path, "stat", number_nothing)
    kept, _ = leave_out_repeats(files)
    assert [file.name for file in kept] == ["a.jsonl", "c.jsonl"]


def test_a_doubled_slash_on_a_store_is_another_name():
    """On an object store, `d//a` and `d/a` are different."""
    uris = ["s3://bucket/d//a.jsonl", "s3://bucket/d/a.jsonl", "s3://bucket/d/./a.jsonl"]
    for pattern in ("s3://bucket/d", "s3://bucket/*"):
        named = [file.name for file in name_files({pattern: uris})]
        assert len(set(named)) == len({build_stem(name) for name in named}) == len(uris)


def test_equal_files_and_objects_on_stores_are_all_read(tmp_path):
    """Equal copies and similarly named objects are all kept."""
    files = [NamedFile(f"s3://bucket/{name}", name) for name in ("a.jsonl", "d//a.jsonl")]
    for name in ("x.jsonl", "y.jsonl"):
        (tmp_path / name).write_text("{}\n")
        files.append(NamedFile(str(tmp_path / name), name))
    (tmp_path / "z.jsonl").symlink_to(tmp_path / "nowhere")
    files.append(NamedFile(str(tmp_path / "z.jsonl"), "z.jsonl"))
    assert leave_out_repeats(files) == (files, [])


def test_many_repeated_files_are_few_notices(make_files):
    """Notices name the first repeated files and count the rest."""
    files = make_files("in/a.jsonl", links=[f"in/l{number}.jsonl" for number in range(50)])
    kept, notices = leave_out_repeats(files)
    assert len(kept) == 1
    assert len(notices) == FILES_NAMED
    assert notices[-1].text.endswith(f"the same is true of {50 - FILES_NAMED} more")
