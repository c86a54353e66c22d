"""A finished run: its manifest, its tables, and single rows from its files."""

import gzip
import json
import math
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.filter import run_filter
from pipelines.inspection import View, inspect_as_dicts
from pipelines.report import write_report
from pipelines.runs import finished
from pipelines.runs.finished import BATCH_ROWS, read_rows, scan_folder
from schemas.errors import RunError
from schemas.runs import CLEAN_CARD
from tests.support.runs import read_lines
from transforms.files import storage


def test_folders_are_read_in_corpus_order(run):
    """Files are read in corpus order, without strays."""
    folder, manifest = run
    pq.write_table(pa.table({"anything": [1]}), folder / "ledger" / "zzz.parquet")
    expected = [(f"{part}.jsonl", row) for part in range(2) for row in range(20)]
    frame = scan_folder(str(folder), manifest, "ledger", row_index="index").collect()
    assert frame.select("source", "row").rows() == expected
    assert frame["index"].to_list() == list(range(40))
    for name in ("ledger", "spans"):
        table = finished.read_folder(str(folder), manifest, name)
        keys = (table.column(column).to_pylist() for column in ("source", "row"))
        assert list(zip(*keys, strict=True)) == expected
    card = manifest.outputs[0].model_copy(update={"path": CLEAN_CARD})
    with_card = manifest.model_copy(update={"outputs": (*manifest.outputs, card)})
    clean = finished.list_outputs(manifest, "clean")
    assert finished.list_outputs(with_card, "clean") == clean != []
    outputs = finished.list_outputs(manifest, "ledger")
    assert [output.rows for output in outputs] == [7, 7, 6, 7, 7, 6]
    assert finished.read_table(str(folder), outputs[0]).num_rows == 7
    with pytest.raises(RunError, match="has no rows in swaplist/"):
        finished.read_folder(str(folder), manifest, "swaplist")


def test_a_missing_file_is_named(run):
    """The error for a missing file names the file."""
    folder, manifest = run
    gone = sorted((folder / "ledger").glob("*.parquet"))[1]
    gone.unlink()
    with pytest.raises(RunError, match="is missing, but the manifest lists it") as caught:
        scan_folder(str(folder), manifest, "ledger")
    assert Path(caught.value.where) == gone
    assert "congener verify" in caught.value.remedy
    with pytest.raises(RunError, match="is missing, but the manifest lists it"):
        read_rows(str(folder), "quarantine/gone.parquet", [0])


def test_remote_files_are_fetched(run, tmp_path, monkeypatch):
    """A remote run's files are copied to the cache and scanned there."""
    folder, manifest = run
    monkeypatch.setenv("CONGENER_CACHE", str(tmp_path / "cache"))
    real = storage.read_bytes
    monkeypatch.setattr(
        storage, "read_bytes", lambda uri: real(uri.replace("gs://bucket", str(folder.parent)))
    )
    remote = f"gs://bucket/{folder.name}"
    frame = scan_folder(remote, manifest, "scores").collect()
    assert frame.equals(scan_folder(str(folder), manifest, "scores").collect())
    assert len(list((tmp_path / "cache" / "files").iterdir())) == 6
    output = finished.list_outputs(manifest, "scores")[0]
    assert finished.get_local_path(str(folder), output) == f"{folder}/{output.path}"
    assert Path(finished.get_local_path(remote, output)).is_relative_to(tmp_path / "cache")


def test_a_run_of_no_rows_scans_as_no_rows(config):
    """A run without rows has empty tables."""
    empty = Path(config.input[0]) / "empty"
    empty.mkdir()
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), empty / "none.parquet")
    manifest = run_filter(config.model_copy(update={"input": (str(empty),)}))
    assert manifest.conservation.rows_in == 0
    frame = scan_folder(config.output, manifest, "ledger", row_index="index").collect()
    assert frame.height == 0
    assert {"index", "decision", "reasons", "teacher"} <= set(frame.columns)


def test_single_rows_are_read_by_index(tmp_path):
    """Single rows are in file order, with the requested columns."""
    rows = [
        {"text": f"row {index}", "deep": [{"a.b": index}], "when": None}
        for index in range(2 * BATCH_ROWS + 500)
    ]
    (tmp_path / "rejects").mkdir()
    pq.write_table(
        pa.Table.from_pylist(rows), tmp_path / "rejects" / "rows.parquet", row_group_size=700
    )
    path = (str(tmp_path), "rejects/rows.parquet")
    indexes = [2 * BATCH_ROWS + 499, 0, BATCH_ROWS, BATCH_ROWS - 1, 0]
    assert read_rows(*path, indexes) == {index: rows[index] for index in sorted(indexes)}
    assert list(read_rows(*path, indexes)) == sorted(set(indexes))
    assert read_rows(*path, [5], ["deep"]) == {5: {"deep": [{"a.b": 5}]}}
    assert read_rows(*path, []) == {}
    assert json.dumps(read_rows(*path, [3])[3]) == json.dumps(rows[3])


LINES = [b'{"a": 1}', b'{"a": NaN}', b'{"a": "x\\ud800"}', b'{"b": [1, "x"]}']


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".jsonl", bytes),
        (".jsonl.gz", gzip.compress),
        (".jsonl.zst", lambda data: pa.compress(data, "zstd", asbytes=True)),
    ],
)
def test_single_rows_of_json_lines_are_read_by_index(tmp_path, suffix, pack):
    """Single rows of plain and compressed files are parsed like input rows."""
    (tmp_path / "clean").mkdir()
    path = (str(tmp_path), f"clean/part{suffix}")
    (tmp_path / path[1]).write_bytes(pack(b"".join(line + b"\n" for line in LINES)))
    assert read_rows(*path, [3, 0, 3]) == {0: {"a": 1}, 3: {"b": [1, "x"]}}
    rows = finished.read_json_lines(*path)
    assert (rows[0], rows[2], rows[3]) == ({"a": 1}, {"a": "x\ud800"}, {"b": [1, "x"]})
    assert math.isnan(rows[1]["a"])
    assert read_rows(*path, [1]).keys() == {1}
    assert read_rows(*path, []) == {}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b'{"a": 1}\n', r"row 1 of clean/part\.jsonl is missing"),
        (b'{"a": 1}\n[]\n', "row 1: not a JSON object"),
        (b'{"a": 1}\n{"a"\n', "row 1: not JSON"),
        (b'{"a": 1}\n{"a": 2}', "the last line has no line break"),
    ],
)
def test_damaged_json_lines_are_reported_in_a_line(tmp_path, data, problem):
    """A missing or unparseable row is a `RunError`."""
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "part.jsonl").write_bytes(data)
    with pytest.raises(RunError, match=f"a file of the run can't be read: {problem}"):
        read_rows(str(tmp_path), "clean/part.jsonl", [1])


def test_json_lines_are_scanned_in_corpus_order(run):
    """`clean/` is one numbered frame over all files, and `read_folder` gives equal rows."""
    folder, manifest = run
    frame = scan_folder(str(folder), manifest, "clean", row_index="index").collect()
    lines = [json.loads(line) for line in read_lines(folder, "clean")]
    assert len(lines) == 32
    assert frame.drop("index").to_dicts() == lines
    assert frame["index"].to_list() == list(range(32))
    table = finished.read_folder(str(folder), manifest, "clean")
    assert isinstance(table, pa.Table)
    assert table.to_pylist() == lines


@pytest.mark.parametrize("kind", ["quarantine", "ledger", "scores"])
def test_a_damaged_file_is_reported_in_a_line(run, kind):
    """Any library's error about a damaged file becomes a `RunError` with a remedy."""
    folder, manifest = run
    for path in (folder / kind).iterdir():
        path.write_bytes(b"none of a run's formats")
    with pytest.raises(RunError, match="a file of the run can't be read: ") as caught:
        finished.read_folder(str(folder), manifest, kind)
    assert f"congener verify {folder} names the file" in caught.value.remedy
    for read in (lambda: inspect_as_dicts(str(folder), View()), lambda: write_report(str(folder))):
        with pytest.raises(RunError, match=rf"doesn't match its manifest: {kind}/.* was changed"):
            read()


def test_damaged_pages_are_reported_in_a_line(run):
    """Damaged pages behind an intact footer are a `RunError`."""
    folder, manifest = run
    for path in (folder / "scores").iterdir():
        data = bytearray(path.read_bytes())
        data[4 : len(data) // 3] = b"\xff" * (len(data) // 3 - 4)
        path.write_bytes(data)
    with pytest.raises(RunError, match="a file of the run can't be read"):
        finished.read_folder(str(folder), manifest, "scores")


@pytest.mark.parametrize(
    "error",
    [pa.ArrowInvalid("a footer\nwith details"), pl.exceptions.ComputeError("x"), OSError("a page")],
    ids=["arrow", "polars", "page"],
)
def test_errors_of_readers_are_the_runs(error):
    """A `RunError` has the first line of a reader's error and a quoted command."""
    with (
        pytest.raises(RunError, match="a file of the run can't be read: ") as caught,
        finished.report_damage("my run"),
    ):
        raise error
    assert "details" not in caught.value.problem
    assert "congener verify 'my run'" in caught.value.remedy
    assert caught.value.__cause__ is error


def test_other_errors_are_passed_on():
    """A bug isn't blamed on a file."""
    with pytest.raises(ZeroDivisionError), finished.report_damage("run"):
        raise ZeroDivisionError
