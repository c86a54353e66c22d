"""The shared schema of Parquet files, notices and errors."""

import shlex
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files import reconciliation
from transforms.files.reconciliation import DIFFERENCES_NAMED, TableSchema, reconcile
from transforms.files.sources import survey

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def describe(*schemas):
    """Describe files with these schemas, which are never opened."""
    names = (f"{letter}.parquet" for letter in "abcdefghijklm")
    return [TableSchema(*pair) for pair in zip(names, schemas, strict=False)]


@pytest.fixture
def write_files(tmp_path):
    """Return a function that writes arrays to files as column `c`."""

    def write(*arrays):
        files = []
        for number, array in enumerate(arrays):
            table = pa.table({"text": pa.array(["a"] * len(array)), "c": array})
            path = tmp_path / f"{number} of'.parquet"
            pq.write_table(table, path)
            files.append(TableSchema(str(path), pq.read_schema(path)))
        return files

    return write


def test_equal_schemas_are_shared_without_a_notice():
    """Files with different metadata need no notice."""
    one = pa.schema([("a", pa.string())], {"made by": "one"})
    two = pa.schema([("a", pa.string())], {"made by": "two"})
    shared, notices = reconcile(describe(one, two))
    assert shared.equals(one, check_metadata=True)
    assert notices == []


def test_what_was_reconciled_is_said():
    """One notice lists each differing field, its type and its files."""
    one = pa.schema([("a", pa.string()), ("b", pa.int8())])
    two = pa.schema([("b", pa.int8()), ("a", pa.large_string())])
    three = pa.schema([pa.field("a", pa.string(), nullable=False)])
    shared, (notice,) = reconcile(describe(one, two, three, three))
    assert shared == pa.schema([("a", pa.string()), ("b", pa.int8())])
    assert notice.text == (
        "the files' schemas differ, and are read as one schema without loss: "
        "columns in a different order (b.parquet); "
        "'a': large_string, read as string (b.parquet); "
        "'a': string not null, read as string (c.parquet and 1 more); "
        "'b': absent, read as null (c.parquet and 1 more)"
    )


def test_a_long_type_is_cut_between_fields():
    """A type too long to show ends after a whole field, and an absent column needs no type."""
    fields = [(f"field{number}", pa.string()) for number in range(20)]
    one = pa.schema([("a", pa.struct(fields)), ("b", pa.struct(fields))])
    two = pa.schema([("a", pa.struct([*fields[:-1], ("field19", pa.large_string())]))])
    assert [notice.text for notice in reconcile(describe(one, two)).notices] == [
        (
            "the files' schemas differ, and are read as one schema without loss: "
            "'a.field19': large_string, read as string (b.parquet); "
            "'b': absent, read as null (b.parquet)"
        )
    ]
    shown = reconciliation._shorten(pa.struct(fields))
    assert shown == f"struct<{', '.join(f'field{n}: string' for n in range(5))}, …"


def test_only_some_differences_are_named():
    """The notice names the first differences and counts the rest."""
    one = pa.schema([(f"c{number}", pa.int8()) for number in range(DIFFERENCES_NAMED + 3)])
    _, (notice,) = reconcile(describe(one, pa.schema([])))
    assert notice.text.endswith("; and 3 more")


def test_a_conflict_names_both_files_and_the_field():
    """The error for a conflict names both files and the field."""
    item = pa.struct([("role", pa.string()), ("content", pa.list_(pa.string()))])
    files = describe(
        pa.schema([("id", pa.int8())]),
        pa.schema([("id", pa.int8()), ("messages", MESSAGES)]),
        pa.schema([("id", pa.int8()), ("messages", pa.list_(item))]),
    )
    with pytest.raises(InputError) as caught:
        reconcile(files)
    name = MESSAGES.value_field.name
    assert caught.value.where == "b.parquet"
    assert caught.value.problem.startswith(
        f"has 'messages.{name}.content' as string, but c.parquet has it as list<"
    )


CONFLICTS = {
    "text": (pa.array([1, None]), pa.array(["x", None]), "cast the column", 0),
    "other way": (pa.array(["x", None]), pa.array([1.5, None]), "cast the column", 1),
    "float": (pa.array([1]), pa.array([1.5]), "cast the column", 0),
    "nested": (
        pa.array([[{"role": 1}], None]),
        pa.array([[{"role": "x"}]]),
        "cast the column",
        0,
    ),
    "json": (pa.array(["{}", None]), pa.array([{"a": [1]}, None]), "as JSON in text", 1),
    "name": (pa.array([[1]]), pa.array([{"a": 1}]), "another name", 1),
}


@pytest.mark.parametrize("case", CONFLICTS)
def test_the_suggested_command_mends_the_files(write_files, case):
    """The suggested command changes only one column of one file."""
    *arrays, text, changed = CONFLICTS[case]
    files = write_files(*arrays)
    with pytest.raises(InputError) as caught:
        reconcile(files)
    before = [pq.read_table(file.uri).to_pylist() for file in files]
    start, _, command = caught.value.remedy.partition(": ")
    assert text in start
    _, *words = shlex.split(command)
    subprocess.run([sys.executable, *words], check=True, timeout=60)
    mended = [TableSchema(file.uri, pq.read_schema(file.uri)) for file in files]
    assert reconcile(mended).schema.names[:2] == ["text", "c"]
    after = [pq.read_table(file.uri).to_pylist() for file in files]
    assert after[1 - changed] == before[1 - changed]
    assert [row["text"] for row in after[changed]] == [row["text"] for row in before[changed]]


def test_times_fit_the_finer_unit_or_are_refused(write_files):
    """The error for a time beyond nanoseconds names the file."""
    near, far = (pa.array([time], pa.timestamp("ms")) for time in (10**12, 10**14))
    fine = pa.array([1], pa.timestamp("ns"))
    shared, (notice,) = reconcile(write_files(near, fine))
    assert shared.field("c").type == pa.timestamp("ns")
    assert "'c': timestamp[ms], read as timestamp[ns]" in notice.text
    files = write_files(far, fine)
    with pytest.raises(
        InputError, match="a time that can't be read as in the other files"
    ) as caught:
        reconcile(files)
    assert caught.value.where == files[0].uri
    nested = [pa.StructArray.from_arrays([array], names=["t"]) for array in (far, fine)]
    with pytest.raises(InputError, match="a time that can't"):
        reconcile(write_files(*nested))


@pytest.mark.parametrize("suffix", [".arrow", ".arrow.gz"])
@pytest.mark.parametrize("open_writer", [pa.ipc.new_file, pa.ipc.new_stream])
def test_times_in_arrow_files_are_checked_as_in_parquet(tmp_path, suffix, open_writer):
    """Distant times in Arrow files are found before the run."""
    times = pa.array([10**12, 10**14], pa.timestamp("ms"))
    uris = [str(tmp_path / f"{name}{suffix}") for name in ("far", "near", "fine")]
    for uri, array in zip(uris, (times, times[:1], times[:1].cast("timestamp[ns]")), strict=True):
        table = pa.table({"text": ["words"] * len(array), "c": array})
        with pa.output_stream(uri) as stream, open_writer(stream, table.schema) as writer:
            writer.write_table(table, 1)
    assert survey(uris[1:], ShardLimits()).schema.field("c").type == pa.timestamp("ns")
    with pytest.raises(InputError, match="has a time that can't be read as in") as caught:
        survey(uris, ShardLimits())
    assert caught.value.where == uris[0]


def test_other_tables_are_reconciled_and_refused_alike():
    """Arrow and CSV files are reconciled with Parquet, without a command."""
    parquet = TableSchema("a.parquet", pa.schema([("n", pa.int8())]))
    arrow = TableSchema("b.arrow", pa.schema([("n", pa.int16())]), "arrow")
    assert reconcile([parquet, arrow]).schema == arrow.schema
    table = TableSchema("c.csv", pa.schema([("n", pa.string())]), "csv")
    with pytest.raises(InputError, match=r"c.csv has it as string") as caught:
        reconcile([parquet, table])
    assert caught.value.remedy == reconciliation.OTHER_REMEDY


def test_too_many_columns_are_refused(monkeypatch):
    """Different files may not have too many columns together."""
    monkeypatch.setattr(reconciliation, "MAX_FIELDS", 3)
    files = describe(*(pa.schema([(name, pa.int8())]) for name in "abcd"))
    assert len(reconcile(files[:3]).schema) == 3
    with pytest.raises(InputError, match=r"4 columns together, .* more than 3"):
        reconcile(files)
