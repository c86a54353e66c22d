"""Saved data sets: `datasets` loads what congener writes."""

import datasets
import pyarrow as pa

from transforms.files.saved_datasets import encode_stream, write_index
from transforms.files.storage import write_bytes


def test_datasets_loads_every_split(tmp_path):
    """A folder with two splits loads with its rows in order."""
    rows = {"train": [[[1, 2]], [[3]]], "test": [[[4]]]}
    files = {}
    for split, parts in rows.items():
        for number, values in enumerate(parts):
            name = f"data-{number:05}.arrow"
            table = pa.table({"input_ids": pa.array(values, pa.list_(pa.int32()))})
            write_bytes(f"{tmp_path}/out/{split}/{name}", encode_stream(table))
            files.setdefault(split, []).append(name)
    write_index(f"{tmp_path}/out", files)
    loaded = datasets.load_from_disk(f"{tmp_path}/out")
    assert {name: split["input_ids"] for name, split in loaded.items()} == {
        "train": [[1, 2], [3]],
        "test": [[4]],
    }


def test_a_table_without_rows_loads_too(tmp_path):
    """A file without rows loads too."""
    table = pa.table({"input_ids": pa.array([], pa.list_(pa.int32()))})
    write_bytes(f"{tmp_path}/train/a.arrow", encode_stream(table))
    write_index(str(tmp_path), {"train": ["a.arrow"]})
    assert datasets.load_from_disk(str(tmp_path))["train"].num_rows == 0
