"""Tokens as Parquet files in the folders of the clean rows, with the corpus's other columns."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from schemas.outputs import CLEAN_EXTRA
from schemas.runs import CLEAN_CARD
from transforms.files import storage

ENDING = re.compile(r"\.(parquet|jsonl)(\.\w+)?$")
"""The end of a clean file's name, with the compression's own end if there is one."""

DATA_SET_CARD = CLEAN_CARD.rpartition("/")[2]


def name_token_file(path: str) -> str:
    """Return the name of the tokens of a clean file, below the output's folder."""
    return f"{ENDING.sub('', path.removeprefix('clean/'))}.parquet"


def add_columns(
    tokens: pa.Table, clean: pa.Table, read: Collection[str], left: Collection[int]
) -> pa.Table:
    """Put a clean file's other columns before the columns of its tokens.

    The columns in `read`, of which the tokens are made, and the one with the masks aren't among
    them, because trainers would take them for rows to tokenize. `left` are the numbers of the rows
    that have no tokens. A column of the corpus with the name of a column of tokens is left out.
    """
    kept = pa.array([number not in left for number in range(clean.num_rows)], pa.bool_())
    own = clean.filter(kept)
    hidden = {*read, CLEAN_EXTRA.name, *tokens.schema.names}
    names = [name for name in own.schema.names if name not in hidden]
    columns = [*(own[name] for name in names), *tokens.columns]
    return pa.table(columns, names=[*names, *tokens.schema.names])


def write_token_file(uri: str, table: pa.Table) -> None:
    """Write a table as Parquet.

    Raises: StorageError: the file can't be written.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    storage.write_bytes(uri, bytes(sink.getvalue()))


def write_split_card(folder: str, files: Mapping[str, Sequence[str]]) -> None:
    """Write a card that says which files each split has.

    Without it, `datasets` takes the most frequent kind of file in the folder, and the record and
    the list of omitted rows are JSON.

    Raises: StorageError: the file can't be written.
    """
    splits = [{"split": split, "path": list(names)} for split, names in files.items()]
    front = yaml.safe_dump({"configs": [{"config_name": "default", "data_files": splits}]})
    storage.write_bytes(storage.join(folder, DATA_SET_CARD), f"---\n{front}---\n".encode())
