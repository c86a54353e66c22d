"""Rows of a finished run, read from its files with their segments and notes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from schemas.outputs import CLEAN_EXTRA
from schemas.runs import is_json_lines, parse_path
from transforms.files import storage
from transforms.files.json_lines import decode_lines, parse_line
from transforms.notes import remove_line_note, replace_field
from transforms.records.answers import LastAnswer, find_answer, replace_answer
from transforms.records.columns import find_type
from transforms.records.companions import Companions, find_in_records, find_in_table
from transforms.records.formats import Layout
from transforms.records.plain_values import list_rows
from transforms.records.prompts import Prompt, build_prompt
from transforms.records.segments import Segments, extract_segments
from transforms.records.stored_columns import take_corpus_columns

EXTRA = CLEAN_EXTRA.name


@dataclass(frozen=True)
class StoredRows:
    """Rows without their notes, which are in `notes`.

    For Parquet, `table` has all columns of the corpus. For JSON Lines, `table` has the columns of
    the format, and `lines` the rows' bytes. `records` has every row with all of its columns.
    """

    table: pa.Table
    records: list[dict[str, Any]]
    lines: list[bytes] | None
    notes: list[Any]
    layout: Layout
    segments: Segments
    companions: Mapping[int, Companions]

    def __len__(self) -> int:
        return len(self.records)

    def build_prompt(self, row: int) -> Prompt:
        """Return a row's prompt."""
        own = self.segments.find_in_row(row)
        return build_prompt(self.segments, own, self.records[row], self.layout.columns)

    def find_answer(self, row: int) -> LastAnswer | None:
        """Return a row's last answer, or None if it isn't one message of plain text."""
        return find_answer(self.segments, self.segments.find_in_row(row), self.records[row])


def read_table(run: str, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read a run's Parquet file."""
    data = storage.read_bytes(storage.join(run, path))
    return pq.read_table(pa.BufferReader(data), columns=columns)


def read_lines(run: str, path: str) -> list[bytes]:
    """Read the lines of a run's JSON Lines file."""
    return decode_lines(storage.read_bytes(storage.join(run, path)), parse_path(path).suffix)


def read_stored_rows(run: str, path: str, layout: Layout) -> StoredRows:
    """Read a file of `clean/` or `quarantine/`.

    Raises: ValueError: the file isn't one of a run.
    """
    if is_json_lines(path):
        return read_noted_lines(read_lines(run, path), layout)
    table = read_table(run, path)
    notes = [None] * table.num_rows
    if EXTRA in table.column_names:
        notes = table.column(EXTRA).to_pylist()
        table = table.drop_columns([EXTRA])
    return arrange_table(table, layout, notes)


def read_noted_lines(lines: Sequence[bytes], layout: Layout) -> StoredRows:
    """Return JSON lines with their notes taken off."""
    records = [parse_line(line, math.inf)[0] for line in lines]
    notes = [record.pop(EXTRA, None) for record in records]
    return arrange_lines([remove_line_note(line) for line in lines], records, layout, notes)


def arrange_table(
    table: pa.Table, layout: Layout, notes: Sequence[Any] | None = None
) -> StoredRows:
    """Return the rows of a table of the corpus's columns."""
    columns = {
        name: own
        for name, own in layout.columns.items()
        if find_type(table.schema, own) is not None
    }
    own = layout._replace(columns=columns)
    found = find_in_table(table, layout.columns)
    segments = extract_segments(table, own)
    given = list(notes or [None] * table.num_rows)
    return StoredRows(table, list_rows(table), None, given, own, segments, found)


def arrange_lines(
    lines: list[bytes],
    records: list[dict[str, Any]],
    layout: Layout,
    notes: Sequence[Any] | None = None,
) -> StoredRows:
    """Return the rows of JSON lines, which are parsed as `records`.

    Raises: ValueError: a row has a value that doesn't fit its column.
    """
    table = take_corpus_columns(records, layout.columns)
    columns = {name: own for name, own in layout.columns.items() if own in table.column_names}
    own = layout._replace(columns=columns)
    found = dict(find_in_records(enumerate(records), columns))
    segments = extract_segments(table, own)
    given = list(notes or [None] * len(lines))
    return StoredRows(table, records, lines, given, own, segments, found)


def replace_answers(
    stored: StoredRows, answers: Sequence[tuple[int, LastAnswer, str]]
) -> StoredRows:
    """Return only the given rows, each with another text in place of its answer.

    Each item has a row, its answer, and the other text. All other values stay as they are, and so
    do the other bytes of JSON lines.
    """
    rows = [row for row, *_ in answers]
    if stored.lines is None:
        return _replace_in_table(stored, rows, answers)
    lines, records = [], []
    for row, answer, text in answers:
        record, line = stored.records[row], stored.lines[row]
        changes = replace_answer(record, answer, text)
        for name, value in changes.items():
            line = replace_field(line, name, value)
        lines.append(line)
        records.append({**record, **changes})
    return arrange_lines(lines, records, stored.layout)


def _replace_in_table(
    stored: StoredRows, rows: Sequence[int], answers: Sequence[tuple[int, LastAnswer, str]]
) -> StoredRows:
    table = stored.table.take(pa.array(rows, pa.int64()))
    raw = _list_columns(table, stored.records, answers)
    for number, (_, answer, text) in enumerate(answers):
        record = {name: values[number] for name, values in raw.items()}
        for name, value in replace_answer(record, answer, text).items():
            raw[name][number] = value
    for name, values in raw.items():
        item = table.schema.field(name)
        table = table.set_column(table.column_names.index(name), item, pa.array(values, item.type))
    return arrange_table(table.combine_chunks(), stored.layout)


def _list_columns(
    table: pa.Table,
    records: Sequence[Mapping[str, Any]],
    answers: Sequence[tuple[int, LastAnswer, str]],
) -> dict[str, list[Any]]:
    """Return the values of the columns that hold the answers, in Python's own types."""
    heads = dict.fromkeys(
        name for row, answer, _ in answers for name in replace_answer(records[row], answer, "")
    )
    return {name: table.column(name).to_pylist() for name in heads}
