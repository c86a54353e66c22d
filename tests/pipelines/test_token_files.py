"""Tokens as Parquet files: their names, the corpus's other columns, and the card of the splits."""

from pathlib import Path

import datasets
import pyarrow as pa
import pytest

from pipelines.token_files import (
    add_columns,
    name_token_file,
    write_split_card,
    write_token_file,
)

TOKENS = pa.table({"input_ids": [[1, 2], [3]], "labels": [[-100, 2], [3]]})


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("clean/a/train.part-000000-3f.parquet", "a/train.part-000000-3f.parquet"),
        ("clean/train.part-000001-3f.jsonl.zst", "train.part-000001-3f.parquet"),
        ("clean/my.jsonl/train.part-000001-3f.jsonl", "my.jsonl/train.part-000001-3f.parquet"),
    ],
)
def test_a_file_keeps_its_name_and_folder(path, name):
    """Only the end of the name changes, because `datasets` takes the splits from the rest."""
    assert name_token_file(path) == name


def test_other_columns_come_along():
    """Columns that were rendered, masks, and names of token columns are left out; rows agree."""
    clean = pa.table(
        {
            "prompt": ["a", "b", "c"],
            "source": ["x", "y", "z"],
            "labels": ["old", "old", "old"],
            "congener": [None, None, None],
        }
    )
    found = add_columns(TOKENS, clean, ["prompt"], {1})
    assert found.column_names == ["source", "input_ids", "labels"]
    assert found.to_pylist() == [
        {"source": "x", "input_ids": [1, 2], "labels": [-100, 2]},
        {"source": "z", "input_ids": [3], "labels": [3]},
    ]


def test_the_card_names_the_files_of_each_split(tmp_path):
    """`datasets` reads the Parquet files, not the JSON beside them, with the splits of the card."""
    files = {"train": ["a/x.parquet", "b/x.parquet"], "held": ["b/y.parquet"]}
    for name in (name for names in files.values() for name in names):
        write_token_file(str(tmp_path / "out" / name), TOKENS)
    for name in ("congener.json", "left-out.jsonl", "other.jsonl", "more.jsonl"):
        Path(tmp_path, "out", name).write_text('{"row": 1}\n')
    write_split_card(str(tmp_path / "out"), files)
    found = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: rows.num_rows for split, rows in found.items()} == {"train": 4, "held": 2}
    assert found["held"]["labels"][1] == [3]
