"""A finished run, read back."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.filter import run_filter
from pipelines.inspection import EVERYTHING, inspect_as_dicts
from pipelines.report import write_report
from pipelines.runs.finished import BATCH_ROWS, load_run, rows_at, scan
from schemas.errors import RunError


def test_the_manifest_comes_back_as_it_was_written(run):
    """What is read is what the run returned."""
    folder, manifest = run
    assert load_run(str(folder)) == manifest


def test_what_is_no_finished_run_is_told_apart(tmp_path, run):
    """Nothing there, a file, a folder that is no run, a run that is unfinished: each with what to do."""
    folder, _ = run
    (folder / "manifest.json").unlink()
    (tmp_path / "begun" / ".work").mkdir(parents=True)
    (tmp_path / "file").write_text("")
    for place, problem, remedy in (
        (tmp_path / "nowhere", "is not there", "check the path"),
        (tmp_path / "file", "is a file", "name the folder"),
        (folder, "is no run", "name the folder"),
        (tmp_path / "begun", "unfinished", "resumes"),
    ):
        with pytest.raises(RunError, match=problem) as caught:
            load_run(str(place))
        assert caught.value.where == str(place)
        assert remedy in caught.value.remedy


@pytest.mark.parametrize("damage", ["{", "{}", '{"run_id": 7}', "\xff"])
def test_a_damaged_manifest_is_refused(run, damage):
    """A manifest that isn't one is an error that says so."""
    folder, _ = run
    (folder / "manifest.json").write_bytes(damage.encode("latin-1"))
    with pytest.raises(RunError, match=r"manifest.json is none of congener's: field") as caught:
        load_run(str(folder))
    assert "pydantic" not in str(caught.value)


def test_a_scan_is_in_corpus_order_and_reads_only_what_the_manifest_names(run):
    """Rows come source by source and in order, and a stray file beside them changes nothing."""
    folder, manifest = run
    pq.write_table(pa.table({"anything": [1]}), folder / "ledger" / "zzz.parquet")
    frame = scan(str(folder), manifest, "ledger", row_index="index").collect()
    assert frame.select("source", "row").rows() == [
        (f"{part}.jsonl", row) for part in range(2) for row in range(20)
    ]
    assert frame["index"].to_list() == list(range(40))


def test_a_missing_file_is_named(run):
    """A file that the manifest names and the folder lacks is an error, not fewer rows."""
    folder, manifest = run
    gone = sorted((folder / "ledger").glob("*.parquet"))[1]
    gone.unlink()
    with pytest.raises(RunError, match="is missing") as caught:
        scan(str(folder), manifest, "ledger")
    assert Path(caught.value.where) == gone
    assert "congener verify" in caught.value.remedy


def test_a_run_of_no_rows_scans_as_no_rows(config):
    """An input without a single row makes a run without files, whose ledger is empty."""
    empty = Path(config.input[0]) / "empty"
    empty.mkdir()
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), empty / "none.parquet")
    manifest = run_filter(config.model_copy(update={"input": (str(empty),)}))
    assert manifest.conservation.rows_in == 0
    frame = scan(config.output, manifest, "ledger", row_index="index").collect()
    assert frame.height == 0
    assert {"index", "decision", "reasons"} <= set(frame.columns)


def test_single_rows_are_read_by_place(tmp_path):
    """Rows come from across batches and row groups, in the file's order, with only the columns asked for."""
    rows = [
        {"text": f"row {place}", "deep": [{"a.b": place}], "when": None}
        for place in range(2 * BATCH_ROWS + 500)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=700)
    path = (str(tmp_path), "rows.parquet")
    places = [2 * BATCH_ROWS + 499, 0, BATCH_ROWS, BATCH_ROWS - 1, 0]
    assert rows_at(*path, places) == {place: rows[place] for place in sorted(places)}
    assert list(rows_at(*path, places)) == sorted(set(places))
    assert rows_at(*path, [5], ["deep"]) == {5: {"deep": [{"a.b": 5}]}}
    assert rows_at(*path, []) == {}
    assert json.dumps(rows_at(*path, [3])[3]) == json.dumps(rows[3])


def test_a_row_of_a_missing_file_is_an_error_of_the_run(run):
    """A file that is gone is the run's fault (exit code 4), not the input's."""
    folder, _ = run
    with pytest.raises(RunError, match="is missing, though the manifest names it"):
        rows_at(str(folder), "quarantine/gone.parquet", [0])


@pytest.mark.parametrize("kind", ["quarantine", "ledger", "scores"])
def test_a_damaged_file_is_told_in_a_line(run, kind):
    """Whichever library stumbles over it, the error is the run's and says how to find the file."""
    folder, _ = run
    for path in (folder / kind).iterdir():
        path.write_bytes(b"no parquet at all")
    for look in (
        lambda: inspect_as_dicts(str(folder), EVERYTHING, 0, 5),
        lambda: write_report(str(folder)),
    ):
        with pytest.raises(RunError, match="a file of the run can't be read: ") as caught:
            look()
        assert f"congener verify {folder} names it" in caught.value.remedy


def test_pages_that_cant_be_decoded_are_told_in_a_line(run):
    """A file whose footer is whole and whose pages aren't is the run's fault as well."""
    folder, _ = run
    for path in (folder / "quarantine").iterdir():
        data = bytearray(path.read_bytes())
        data[4 : len(data) // 3] = b"\xff" * (len(data) // 3 - 4)
        path.write_bytes(data)
    with pytest.raises(RunError, match="a file of the run can't be read"):
        inspect_as_dicts(str(folder), EVERYTHING, 0, 5)


def test_a_manifest_of_another_format_is_no_forgery(run):
    """It is told by its format, before its digest is looked at."""
    folder, manifest = run
    (folder / "manifest.json").write_bytes(
        manifest.model_copy(update={"format": 1}).sealed().to_bytes()
    )
    with pytest.raises(RunError, match="has format 1, this version reads 2"):
        load_run(str(folder))


def test_a_manifest_that_is_a_folder_is_an_error_of_the_run(run):
    """What stands in the manifest's place is the run's fault, with a remedy."""
    folder, _ = run
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    with pytest.raises(RunError, match=r"manifest.json can't be opened: Is a directory") as caught:
        load_run(str(folder))
    assert "from a copy of the run" in caught.value.remedy
