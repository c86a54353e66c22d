"""File kinds, detected by content, and files without rows."""

import bz2
import gzip
import io
import json
import zipfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files import kinds
from transforms.files.kinds import detect_kind, is_data_file

TURN = {"role": "user", "content": "a"}
FROM = {"from": "human", "value": "a"}


@pytest.fixture
def detect(tmp_path):
    """Return a function that detects a file's kind from its content and name."""

    def find(data: bytes, name: str = "x"):
        path = tmp_path / name
        path.write_bytes(data)
        return detect_kind(str(path), len(data), ShardLimits())

    return find


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"a": 1}\n{"a": 2}\n', "jsonl"),
        ('{"a": 1}', "jsonl"),
        ('\n\n \ufeff\n{"a": 1}\n', "jsonl"),
        ('{"a": "cut\n{"a": 2}\n{"a": 3}\n', "jsonl"),
        ('{"a": 1,\n{"a": 2}\n', "jsonl"),
        ('{"a": 1} x\n{"a": 2}\n', "jsonl"),
        ('{"a": "' + "x" * 200_000 + '"}\n{"a": 2}\n', "jsonl"),
        ('{\n"a": 1\n}\n{\n"a": 2\n}', "objects"),
        ('{"a": 1}{"a": 2}', "objects"),
        ('[{"a": 1}]', "array"),
        ("[]", "array"),
        ("\r\n\t  \ufeff [\n{}]", "array"),
        (" " * 200_000 + "[1]", "array"),
        ("hello\n", "jsonl"),
    ],
)
def test_json_is_told_apart_by_its_first_values(detect, text, kind):
    """Lines, arrays and multi-line objects are recognised."""
    assert detect(text.encode()) == (kind, "none")
    assert detect(gzip.compress(text.encode())) == (kind, "gzip")
    assert str(detect(text.encode())) == kinds.KIND_NAMES[kind]


def test_tables_are_found_by_content_or_name(detect):
    """Content shows Parquet and Arrow, and names show CSV and TSV."""
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), sink)
    assert detect(sink.getvalue(), "odd.json").kind == "parquet"
    for new in (pa.ipc.new_stream, pa.ipc.new_file):
        sink = io.BytesIO()
        with new(sink, pa.schema([("a", pa.int8())])):
            pass
        assert detect(sink.getvalue(), "odd.json").kind == "arrow"
        assert str(detect(bz2.compress(sink.getvalue()))) == "Arrow in bz2"
    assert detect(b"a,b\n1,2\n", "x.CSV").kind == "csv"
    assert detect(gzip.compress(b"a\tb\n"), "x.tsv.gz").kind == "csv"
    assert detect(b'{"a": 1}\n', "x.csv").kind == "jsonl"


def build_zip(name: str = "a.jsonl") -> bytes:
    """Return a zip archive with one file."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(name, "{}")
    return sink.getvalue()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "Git LFS pointer"),
        (b"/annex/objects/SHA256E-s9--0.jsonl\n", "git-annex pointer"),
        (b"<!DOCTYPE html>\n<html>", "web page"),
        (b'# xet version 0\nfilesize = 9\nhash = "0"\n', "pointer of Xet"),
        (build_zip(), "zip archive"),
        (build_zip("[Content_Types].xml"), "document of Excel"),
        (build_zip("weights.npy"), "NumPy arrays"),
        (b'\x1e{"a": 1}\n\x1e{"a": 2}\n', "record separator"),
        (b'{"a": 1},\n{"a": 2},\n', "commas between its objects"),
        (b"x" * 257 + b"ustar\x0000", "tar archive"),
        (b"\x04\x22\x4d\x18data", "lz4"),
        (b"\x80\x04\x95", "pickle"),
        ('{"a": 1}'.encode("utf-16"), "UTF-16"),
        ('{"a": 1}'.encode("utf-16-le"), "UTF-16"),
        ('[{"a": 1}]'.encode("utf-16-be"), "UTF-16"),
        ('{"a": 1}'.encode("utf-32"), "UTF-32"),
        (gzip.compress(b"x" * 257 + b"ustar\x0000"), "tar archive inside gzip"),
        (gzip.compress(gzip.compress(b"{}")), "compressed twice: gzip inside gzip"),
        (gzip.compress(b"PAR1data"), "Parquet inside gzip"),
        (b"", "is empty"),
    ],
    # test ids must be equal in all processes, and an archive holds the time
    ids=lambda value: value if isinstance(value, str) else "file",
)
def test_files_that_hold_no_rows_are_named(detect, tmp_path, data, problem):
    """The error for a file without rows names its kind and a remedy."""
    with pytest.raises(InputError, match=problem) as caught:
        detect(data, "x.jsonl")
    assert caught.value.where == str(tmp_path / "x.jsonl")
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (f"{json.dumps([TURN])}\n{json.dumps([TURN])}\n", "jq -c '{messages: .}'"),
        (f"{json.dumps([FROM, FROM])}\n{json.dumps([FROM])}\n", "jq -c '{conversations: .}'"),
        (json.dumps([[FROM], [FROM]]), "jq -c '.[] | {conversations: .}'"),
    ],
)
def test_lists_of_turns_are_refused_with_the_command(detect, text, remedy):
    """The command for lists of turns makes each list a column of a row."""
    with pytest.raises(InputError, match="lists of turns as its rows") as caught:
        detect(text.encode())
    assert remedy in caught.value.remedy


def test_rows_with_a_role_are_no_turns(detect):
    """Objects with a format's column are rows, even with a role."""
    assert detect(json.dumps([TURN | {"messages": []}]).encode()).kind == "array"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/x.jsonl", True),
        ("x.JSON.GZ", True),
        ("x.parquet", True),
        ("x.csv.bz2", True),
        ("x.ndjson.xz", True),
        ("x.arrow", True),
        ("x.py", False),
        ("jsonl", False),
        ("x.jsonl.tmp", False),
        ("README.md", False),
    ],
)
def test_names_say_which_files_are_data(name, expected):
    """A data file has a known suffix in any case."""
    assert is_data_file(name) is expected
