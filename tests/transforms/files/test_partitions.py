"""Keys and values in folder names."""

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.files.partitions import parse_folder, read_folder_columns, read_partitions


@pytest.mark.parametrize(
    ("folder", "parsed"),
    [
        ("teacher=gpt-4o", ("teacher", "gpt-4o")),
        ("teacher=org%2Fmodel%20x", ("teacher", "org/model x")),
        ("date=2025-08-01", ("date", "2025-08-01")),
        ("a=b=c", ("a", "b=c")),
        ("teacher=__HIVE_DEFAULT_PARTITION__", ("teacher", None)),
        ("teacher=", ("teacher", None)),
        ("=x", None),
        ("plain", None),
        ("_hidden=x", None),
        ("two words=x", None),
    ],
)
def test_the_name_of_a_folder(folder, parsed):
    """A value is URL-decoded, and the default partition is null."""
    assert parse_folder(folder) == parsed


def test_the_folders_of_a_source():
    """All folders count, and the innermost of equal keys wins."""
    assert read_partitions("teacher=a/x/date=1/teacher=b/source=c.parquet") == {
        "teacher": "b",
        "date": "1",
    }
    assert read_partitions("part-0.parquet") == {}


@given(st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable()))
def test_values_are_read_as_arrow_writes_them(tmp_path_factory, value):
    """Any text in Arrow's folder names is read back."""
    folder = tmp_path_factory.mktemp("hive")
    table = pa.table({"teacher": [value], "text": ["a"]})
    scheme = ds.partitioning(pa.schema([("teacher", pa.string())]), flavor="hive")
    ds.write_dataset(table, folder, format="parquet", partitioning=scheme)
    (path,) = (path for path in folder.rglob("*.parquet") if path.is_file())
    assert read_partitions(path.relative_to(folder).as_posix()) == {"teacher": value}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("gpt-4o/train.jsonl", {"folder": "gpt-4o"}),
        ("v1/gpt-4o/part-0.parquet", {"folder": "gpt-4o"}),
        ("gpt-4o/train/0.jsonl", {"folder": "gpt-4o"}),
        ("gpt-4o/date=2025-08-01/0.jsonl", {"folder": "gpt-4o", "date": "2025-08-01"}),
        ("folder=a/gpt-4o/0.jsonl", {"folder": "a"}),
        ("train/0.jsonl", {}),
        ("train.jsonl", {}),
        ("teacher=a/0.jsonl", {"teacher": "a"}),
    ],
)
def test_the_columns_in_folder_names(source, found):
    """The innermost folder that is neither a split nor a partition has a column of its own."""
    assert read_folder_columns(source) == found
