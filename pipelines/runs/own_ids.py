"""Find the rows of a finished run by the ids that the corpus itself gives them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.runs.finished import get_local_path, list_outputs, report_damage
from schemas.manifests import Manifest
from schemas.receipts import Output
from schemas.runs import CORPUS_FOLDERS, is_json_lines, parse_path
from transforms.files import storage
from transforms.files.json_lines import decode_lines, parse_line
from transforms.records.columns import find_column, find_type, get_value, take_column

OWN_IDS = (
    *("id", "_id", "uid", "uuid", "record_id", "row_id", "example_id", "sample_id", "item_id"),
    *("conversation_id", "prompt_id", "question_id", "custom_id"),
)
"""The usual names of columns with ids.

Another column is named as in `--row key=VALUE`, or by its path as in `--row meta.key=VALUE`.
"""

NAMED_COLUMN = re.compile(r"([^=]{1,200})=(.*)", re.DOTALL)


def find_own_rows(run: str, manifest: Manifest, wanted: str) -> list[tuple[str, int]]:
    """Return the file and the index of each stored row whose own id is `wanted`.

    An id is a text or a whole number in one of the columns `OWN_IDS`. `COLUMN=VALUE` looks in that
    column, or at that path in a nested one, if no row has the whole text as its id. Rows that the
    run doesn't store, such as dropped ones, aren't found.

    Raises: RunError: a file is missing or damaged.
    """
    found = list(_search(run, manifest, OWN_IDS, wanted))
    named = NAMED_COLUMN.fullmatch(wanted)
    if not found and named:
        found = list(_search(run, manifest, (named[1],), named[2]))
    return found


def find_own_id(record: Mapping[str, Any]) -> str | None:
    """Return the id that a corpus gives a row, from the first of the columns `OWN_IDS` with one."""
    values = (record.get(name) for name in OWN_IDS)
    ids = (value for value in values if isinstance(value, str | int) and value != "")
    return next((str(value) for value in ids if not isinstance(value, bool)), None)


def _search(
    run: str, manifest: Manifest, columns: Sequence[str], wanted: str
) -> Iterator[tuple[str, int]]:
    outputs = [item for name in CORPUS_FOLDERS for item in list_outputs(manifest, name)]
    for output in outputs:
        with report_damage(run, ValueError):
            path = get_local_path(run, output)
            search = _search_lines if is_json_lines(output.path) else _search_table
            yield from ((output.path, index) for index in search(path, output, columns, wanted))


def _search_lines(path: str, output: Output, columns: Sequence[str], wanted: str) -> Iterator[int]:
    """Yield the indexes of JSON lines; only those that may hold the id are parsed."""
    spellings = {json.dumps(wanted, ensure_ascii=ascii_only)[1:-1] for ascii_only in (True, False)}
    spellings |= {text.replace("/", "\\/") for text in spellings}
    needles = [text.encode(errors="surrogatepass") for text in spellings]
    lines = decode_lines(storage.read_bytes(path), parse_path(output.path).suffix)
    for index, line in enumerate(lines):
        if any(needle in line for needle in needles):
            record, error = parse_line(line, float("inf"))
            if error is None and any(_is_id(get_value(record, name), wanted) for name in columns):
                yield index


def _is_id(value: object, wanted: str) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    return str(value) == wanted


def _search_table(path: str, _: Output, columns: Sequence[str], wanted: str) -> Iterator[int]:
    """Yield the indexes of Parquet rows; only the columns with ids are read."""
    schema = pq.read_schema(path)
    kinds = {name: find_type(schema, name) for name in columns}
    own = [name for name, kind in kinds.items() if kind is not None and _holds_ids(kind)]
    table = pq.read_table(path, columns=[find_column(name, schema.names) for name in own])
    found = {
        index
        for name in own
        for index in pc.indices_nonzero(
            pc.fill_null(pc.equal(take_column(table, name).cast(pa.string()), wanted), False)
        ).to_pylist()
    }
    yield from sorted(found)


def _holds_ids(kind: pa.DataType) -> bool:
    own = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer)
    return any(is_kind(own) for is_kind in tests)
