"""The rows of label files in every form."""

from __future__ import annotations

import json
import subprocess
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.label_files import (
    is_chained,
    is_review,
    is_table,
    parse_line,
    parse_time,
    read_entries,
    report_mixed,
)
from schemas.digests import digest_config
from schemas.errors import CardError


def test_every_form_gives_the_same_rows(tmp_path):
    """JSON Lines, CSV, TSV and Parquet hold the same fields, apart from a CSV's texts."""
    lines, csv = tmp_path / "l.jsonl", tmp_path / "l.csv"
    tsv, parquet = tmp_path / "l.tsv", tmp_path / "l.PARQUET"
    lines.write_text(
        '{"source": "a", "row": 3, "label": "yes", "score": 0.5}\n\n'
        '{"source": "b,\\n", "row": null, "label": "no", "score": null}\n'
    )
    csv.write_text('source,row,label,score\na,3,yes,0.5\n"b,\n",,no,\n')
    tsv.write_text("source\trow\tlabel\tscore\na\t3\tyes\t0.5\n")
    columns = {"source": ["a", "b,\n"], "row": [3.0, float("nan")], "label": ["yes", "no"]}
    pq.write_table(pa.table(columns | {"score": [0.5, None]}), parquet)
    rows = [entry.fields for entry in read_entries(lines)]
    assert rows[0] == {"source": "a", "row": 3, "label": "yes", "score": 0.5}
    assert [entry.fields for entry in read_entries(csv)] == rows
    assert [entry.fields for entry in read_entries(tsv)] == rows[:1]
    assert [entry.fields for entry in read_entries(parquet)] == rows
    assert [entry.place for entry in read_entries(lines)] == ["line 1", "line 3"]
    assert [entry.place for entry in read_entries(csv)] == ["row 1", "row 2"]
    assert [is_table(path) for path in (lines, csv, tsv, parquet)] == [False, True, True, True]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("l.csv", "a,b\n1\n", "has 1 values for 2 columns"),
        ("l.csv", "", "has no header"),
        ("l.parquet", "a,b\n", "can't be read as Parquet"),
        ("l.jsonl", "a,b\n", "is not a JSON object"),
    ],
)
def test_a_damaged_file_is_an_error(tmp_path, name, content, problem):
    """The error names the file."""
    (tmp_path / name).write_text(content)
    with pytest.raises(CardError, match=problem) as caught:
        list(read_entries(tmp_path / name))
    assert name in str(caught.value.where)


def chain(labels, before="d" * 64):
    """Return lines with digests, as the review writes them."""
    lines = []
    for number, label in enumerate(labels):
        line = {"source": "a", "row": number, "label": label, "before": before}
        before = line["digest"] = digest_config(line)
        lines.append(line)
    return lines


def write_lines(path, lines):
    """Write lines of JSON, and return the path."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_lines_that_fit_their_digests_are_read(tmp_path):
    """A file of the review is read as it is, and lines without digests may follow."""
    lines = [*chain([True, False, "unsure"]), {"source": "a", "row": 9, "label": None}]
    path = write_lines(tmp_path / "l.jsonl", lines)
    assert [entry.fields for entry in read_entries(path)] == lines
    assert [is_chained(line) for line in lines] == [True, True, True, False]


def test_the_command_that_splits_a_mixed_file_is_named(tmp_path):
    """The error names the lines without digests; its command leaves the review as it was."""
    path, sound = tmp_path / "labels of ada.jsonl", chain([True, False, "unsure"])
    bare = [{"source": "a", "row": row, "label": None} for row in range(12)]
    mixed = write_lines(path, [*sound[:1], *bare[:11], *sound[1:], *bare[11:]])
    error = report_mixed(mixed, read_entries(mixed))
    assert error.problem.startswith("12 lines have no digest, though the other lines are a")
    assert error.problem.endswith("review's: lines 2 to 12, 15")
    command = error.remedy.partition(": ")[2].partition("; then give both files")[0]
    subprocess.run(["/bin/sh", "-c", command], check=True)
    other = tmp_path / "labels of ada.answers.jsonl"
    assert [entry.fields for entry in read_entries(path)] == sound
    assert [entry.fields for entry in read_entries(other)] == bare
    assert report_mixed(path, read_entries(path)) is None
    assert report_mixed(other, read_entries(other)) is None


def test_lines_that_are_no_labels_are_not_moved(tmp_path):
    """A line that isn't a label is damage, which no command repairs; a table isn't a review."""
    path = write_lines(tmp_path / "l.jsonl", [*chain([True]), {"a": 1}])
    assert report_mixed(path, read_entries(path)) is None
    assert report_mixed(tmp_path / "l.csv", read_entries(path)) is None


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda lines: lines[1].update(label=True), "line 2"),
        (lambda lines: lines.pop(1), "line 2"),
        (lambda lines: lines.insert(0, lines.pop(2)), "line 2"),
        (lambda lines: lines[0].update(reason="x"), "line 1"),
    ],
    ids=["changed", "removed", "moved", "added"],
)
def test_a_line_that_was_changed_afterwards_is_refused(tmp_path, change, place):
    """Every command that reads labels notices a changed, removed or moved line."""
    lines = chain([True, False, False, False])
    change(lines)
    with pytest.raises(CardError, match="isn't as the review wrote it") as caught:
        list(read_entries(write_lines(tmp_path / "l.jsonl", lines)))
    assert str(caught.value.where).endswith(place)


def test_a_line_is_an_object():
    """A line of JSON that isn't an object is an error."""
    assert parse_line('{"a": 1}', "l") == {"a": 1}
    with pytest.raises(CardError, match="is not a JSON object"):
        parse_line("[1]", "l")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (12.5, 12.5),
        ("1970-01-01T00:01:00", 60),
        ("1970-01-01T01:00:00+01:00", 0),
        (datetime(1970, 1, 1, 0, 1, tzinfo=UTC), 60),
    ],
    ids=str,
)
def test_a_time_is_in_seconds(value, expected):
    """Numbers, ISO 8601 and timestamps are times; a time without a zone is in UTC."""
    assert parse_time({"time": value}, "l") == expected


@pytest.mark.parametrize("value", ["yesterday", True, [1]], ids=str)
def test_a_wrong_time_is_an_error(value):
    """Anything else isn't a time."""
    with pytest.raises(CardError, match="neither a number nor a date"):
        parse_time({"time": value}, "l line 1")


def test_parquet_keeps_its_types(tmp_path):
    """Bools, whole numbers, times and nulls of Parquet are read as they are."""
    time = datetime(1970, 1, 1, 0, 1, tzinfo=UTC)
    columns = {"label": [True, None], "row": [2, None], "time": [time, None], "score": [0.25, 1.0]}
    pq.write_table(pa.table(columns), tmp_path / "l.parquet")
    first, second = read_entries(tmp_path / "l.parquet")
    assert first.fields == {"label": True, "row": 2, "time": time, "score": 0.25}
    assert second.fields == {"label": None, "row": None, "time": None, "score": 1}
    assert parse_time(first.fields, "l") == 60


def test_csv_cells_are_numbers_only_where_numbers_are_expected(tmp_path):
    """Digits are a text in every column but row and score."""
    path = tmp_path / "l.csv"
    path.write_text("record_id,row,score,label\n123,x,y,1\n")
    (entry,) = read_entries(path)
    assert entry.fields == {"record_id": "123", "row": "x", "score": "y", "label": "1"}


def test_a_review_is_known_by_its_first_line(tmp_path):
    """The first line that isn't blank tells; a missing file and a table aren't a review's."""
    path = tmp_path / "l.jsonl"
    assert not is_review(path)
    chained = json.dumps({"label": True, "before": "0" * 64, "digest": "1" * 64})
    for text, expected in (("", False), (f"\n{chained}\n{{}}\n", True), ("{}\n", False)):
        path.write_text(text)
        assert is_review(path) == expected
    (tmp_path / "l.csv").write_text(chained)
    assert not is_review(tmp_path / "l.csv")
