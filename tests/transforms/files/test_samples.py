"""Samples: the first rows of each file."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from schemas.corpora import CorpusConfig, ShardLimits
from transforms.files import samples
from transforms.files.samples import (
    FEWEST_ROWS,
    Sample,
    find_unsampled,
    list_flagged,
    list_objects,
    read_sample,
    take_values,
)
from transforms.files.sources import survey
from transforms.records.formats import settle_layout


def sample_folder(folder):
    """Survey a folder, and return the corpus and a sample."""
    limits = ShardLimits()
    corpus = survey([str(folder)], limits)
    return read_sample(corpus, settle_layout(corpus.schema, CorpusConfig()), limits)


def write_lines(path, texts, **fields):
    """Write rows in the `text` format as JSON Lines."""
    path.write_text("".join(json.dumps({"text": text, **fields}) + "\n" for text in texts))


def test_every_file_gives_its_first_rows(tmp_path, monkeypatch):
    """A sample has the first rows of each file."""
    monkeypatch.setattr(samples, "MOST_ROWS", 24)
    for name in ("a", "b"):
        write_lines(tmp_path / f"{name}.jsonl", [f"{name}{number}" for number in range(30)])
    sample = sample_folder(tmp_path)
    assert [shard.table.column("text").to_pylist() for shard in sample.shards] == [
        [f"{name}{number}" for number in range(12)] for name in ("a", "b")
    ]
    assert sample.describe() == "a sample of 24 rows (the first rows of all files)"


def test_the_rows_of_all_files_are_one_shard(tmp_path):
    """A sample's rows keep their files, row numbers and bytes."""
    for name in ("a", "b"):
        write_lines(tmp_path / f"{name}.jsonl", [f"{name}{number}" for number in range(2)])
    merged = sample_folder(tmp_path).merge()
    assert merged.table.column("text").to_pylist() == ["a0", "a1", "b0", "b1"]
    assert merged.sources == ["a.jsonl"] * 2 + ["b.jsonl"] * 2
    assert merged.numbers == [0, 1] * 2
    assert [json.loads(line)["text"] for line in merged.lines] == ["a0", "a1", "b0", "b1"]
    assert Sample((), 0).merge() is None


def test_parquet_of_all_files_is_one_shard(tmp_path):
    """Tables are joined to one sample without JSON lines."""
    for name, kind in (("a", pa.string()), ("b", pa.large_string())):
        table = pa.table({"text": pa.array([name], kind), "n": [1]})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    merged = sample_folder(tmp_path).merge()
    assert merged.table.to_pylist() == [{"text": "a", "n": 1}, {"text": "b", "n": 1}]
    assert merged.lines is None


def test_many_files_are_sampled_evenly(tmp_path, monkeypatch):
    """Of many files, only some are read, at even intervals, and the sample says so."""
    monkeypatch.setattr(samples, "MOST_FILES", 2)
    for number in range(5):
        write_lines(tmp_path / f"{number}.jsonl", [str(number)])
    sample = sample_folder(tmp_path)
    assert [shard.sources for shard in sample.shards] == [["0.jsonl"], ["3.jsonl"]]
    assert sample.describe() == "a sample of 2 rows (the first rows of 2 of 5 files)"


def test_long_rows_make_a_small_sample(tmp_path, monkeypatch):
    """Fewer long rows are read, but at least one per file."""
    monkeypatch.setattr(samples, "MOST_BYTES", 4_000)
    write_lines(tmp_path / "a.jsonl", ["x" * 1_000] * 20)
    assert 1 <= sample_folder(tmp_path).rows < FEWEST_ROWS
    write_lines(tmp_path / "a.jsonl", ["x" * 9_000] * 20)
    assert sample_folder(tmp_path).rows == 1


def test_rows_of_json_lines_have_all_their_fields(tmp_path):
    """JSON Lines objects keep all fields, and bad lines are omitted."""
    write_lines(tmp_path / "a.jsonl", ["x"], note={"b": [1]})
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write("nonsense\n")
    (shard,) = sample_folder(tmp_path).shards
    assert list_objects(shard) == [{"text": "x", "note": {"b": [1]}}]


def test_rows_of_parquet_have_no_bytes(tmp_path):
    """Parquet objects have no binary columns, and invalid UTF-8 gives None."""
    text = pa.array([b"x", b"\xff"]).view(pa.string())
    table = pa.table({"text": text, "note": ["n", "m"], "image": [b"i", b"j"]})
    pq.write_table(table, tmp_path / "a.parquet")
    (shard,) = sample_folder(tmp_path).shards
    assert list_objects(shard) == [{"text": "x", "note": "n"}, None]


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_columns_without_a_value_are_found(tmp_path, suffix):
    """Unknown columns of text or objects are listed."""
    row = {"text": "x", "n": 1, "note": "y", "meta": {"a": [1]}}
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
    else:
        (tmp_path / "a.jsonl").write_text(json.dumps(row) + "\n")
    corpus = survey([str(tmp_path)], ShardLimits())
    assert find_unsampled(corpus, {"text"}) == ("meta", "note")
    assert find_unsampled(corpus, set(row)) == ()


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_the_sample_is_part_of_the_corpus(tmp_path, suffix):
    """A sample has the run's rows, columns and types."""
    table = pa.table({"text": [f"t{number}" for number in range(50)], "teacher": ["a"] * 50})
    if suffix == "parquet":
        pq.write_table(table, tmp_path / "a.parquet", row_group_size=7)
    else:
        rows = (json.dumps(row) + "\n" for row in table.to_pylist())
        (tmp_path / "a.jsonl").write_text("".join(rows))
    (shard,) = sample_folder(tmp_path).shards
    assert shard.table.equals(table)


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_values_of_any_column_are_taken(tmp_path, suffix):
    """Any column's values are taken from all files."""
    rows = [{"text": "x", "label": 1}, {"text": "y", "label": 0}]
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    else:
        (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    sample = sample_folder(tmp_path)
    assert take_values(sample, ["label", "other"]) == {"label": [1, 0], "other": []}
    assert take_values(sample, []) == {}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_rows_with_odd_flags_are_listed(tmp_path, suffix):
    """A row with a text, list or object as a flag is listed."""
    for name, flag in (("a", "maybe"), ("b", True)):
        folder = tmp_path / name
        folder.mkdir()
        row = {"messages": [{"role": "user", "content": "x", "train": flag}]}
        if suffix == "parquet":
            pq.write_table(pa.Table.from_pylist([row]), folder / "a.parquet")
        else:
            (folder / "a.jsonl").write_text(json.dumps(row) + "\n")
        assert list(list_flagged(sample_folder(folder))) == ([row] if name == "a" else [])
