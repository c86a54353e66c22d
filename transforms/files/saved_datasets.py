"""Data sets in the form of `save_to_disk`, which every version of `datasets` reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pyarrow as pa

from transforms.files import storage
from transforms.files.side_files import DATA_SET, SPLITS

INFO = "dataset_info.json"


def encode_stream(table: pa.Table) -> bytes:
    """Encode a table as an Arrow stream, which `datasets` maps into memory."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def write_index(folder: str, files: Mapping[str, Sequence[str]]) -> None:
    """Write the index of a folder with Arrow streams.

    `files` maps each split to its files, as paths below the split's folder. The list of splits is
    written last, so an interrupted write leaves a folder that doesn't load.
    """
    for split, names in files.items():
        state: dict[str, object] = {
            "_data_files": [{"filename": name} for name in names],
            "_fingerprint": "congener",
            "_format_columns": None,
            "_format_kwargs": {},
            "_format_type": None,
            "_output_all_columns": False,
            "_split": split,
        }
        _write_json(storage.join(folder, split, INFO), {})
        _write_json(storage.join(folder, split, DATA_SET), state)
    _write_json(storage.join(folder, SPLITS), {"splits": list(files)})


def _write_json(uri: str, value: object) -> None:
    storage.write_bytes(uri, json.dumps(value, indent=1).encode())
