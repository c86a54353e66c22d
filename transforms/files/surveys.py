"""Surveys of single files, by kind: their rows, schema and possible cuts."""

from __future__ import annotations

import ast
import codecs
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files import storage
from transforms.files.arrow_files import ArrowReader
from transforms.files.compression import BoundedStream, open_decompressed
from transforms.files.csv_files import CsvReader
from transforms.files.footers import check_footer, open_parquet
from transforms.files.json_lines import NOT_JSON, observe_line
from transforms.files.json_values import read_values
from transforms.files.kinds import FileKind, Kind
from transforms.files.nested_types import allow_nulls
from transforms.files.parquet_types import (
    allows_all_nulls,
    check_types,
    choose_types,
    holds_forbidden_nulls,
    holds_null_lists,
    loosen_lists,
)
from transforms.records.json_columns import ColumnKinds

HEAD_BYTES = 64 << 10
"""How many bytes of a bad value are examined to describe it."""

CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
"""Bytes that text never has."""

AFTER_VALUE = "unexpected content after document"
"""The parser's message for a line with several values."""

IS_TEXT = "not a JSON object but text"

EMPTY_REMEDY = (
    "write one object per line; if the file is empty, remove it, since a failed export often "
    "leaves such files"
)

FROM_PYTHON = (
    "python -c 'import ast, json, sys; [print(json.dumps(ast.literal_eval(x))) for x in sys.stdin]'"
)
"""A command that converts Python's notation for objects to JSON."""

PLAIN_REMEDY = (
    "write one object per line; if the file is plain text with one text a line: "
    "jq -Rc 'select(. != \"\") | {text: .}' FILE > FILE.jsonl"
)


class Cut(NamedTuple):
    """A possible end of a shard: the next row, its byte, and its Parquet row group."""

    row: int
    byte: int
    group: int


class SurveyedFile(NamedTuple):
    """A file's row count, cuts and schema.

    JSON has kinds of values instead of a schema.
    """

    rows: int
    cuts: tuple[Cut, ...]
    schema: pa.Schema | None = None
    kinds: ColumnKinds | None = None


def survey_content(
    uri: str, found: FileKind, size: int, limits: ShardLimits, paths: Sequence[str] = ()
) -> SurveyedFile:
    """Survey the content of a file of known kind and size in bytes.

    `paths` are nested JSON fields that may become columns.

    Raises: InputError: the file is truncated, has no row, or has an unusable schema. OSError: the
    file can't be read or decompressed. pa.ArrowException: the file is damaged.
    """
    if found.kind == "parquet":
        return _survey_parquet(uri, size, limits)
    readers: dict[Kind, Callable[..., SurveyedFile]] = {"arrow": _survey_arrow, "csv": _survey_csv}
    max_bytes = limits.compute_max_bytes(size)
    with open_decompressed(uri, found.compression, max_bytes) as stream:
        bounded = BoundedStream(stream, uri, size, limits)
        if found.kind in readers:
            return readers[found.kind](bounded, uri, limits)
        return _survey_values(bounded, found.kind, uri, limits, paths)


def _survey_parquet(uri: str, size: int, limits: ShardLimits) -> SurveyedFile:
    with storage.open_raw(uri) as stream:
        file = open_parquet(stream)
        check_footer(file, uri, size, limits)
        groups = [file.metadata.row_group(index) for index in range(file.num_row_groups)]
        sizes = [(group.num_rows, group.total_byte_size) for group in groups]
        cuts = tuple(cut_groups(sizes, limits))
        return SurveyedFile(file.metadata.num_rows, cuts, choose_types(file.schema_arrow))


def _survey_arrow(stream: Any, uri: str, limits: ShardLimits) -> SurveyedFile:
    reader = ArrowReader(stream, uri)
    check_types(reader.schema, uri)
    loosener = _Loosener(reader.own_schema, reader.schema)
    sizes = []
    for batch in reader.read_batches():
        sizes.append((batch.num_rows, batch.nbytes))
        loosener.observe(batch)
    cuts = tuple(cut_groups(sizes, limits))
    return SurveyedFile(sum(rows for rows, _ in sizes), cuts, loosener.settle())


class _Loosener:
    """Loosens the types of columns that hold nulls where Parquet can't hold them."""

    def __init__(self, own: pa.Schema, schema: pa.Schema) -> None:
        self._own, self._schema = own, schema
        kinds = enumerate(schema.types)
        self._fixed = {index for index, kind in kinds if loosen_lists(kind) != kind}
        self._strict = {index for index, item in enumerate(own) if not allows_all_nulls(item)}
        self._null_lists, self._nulls = set[int](), set[int]()

    def observe(self, batch: pa.RecordBatch) -> None:
        """Look for such nulls in a batch."""
        for index in self._fixed - self._null_lists:
            if holds_null_lists(batch.column(index)):
                self._null_lists.add(index)
        for index in self._strict - self._nulls:
            if holds_forbidden_nulls(self._own.field(index), batch.column(index)):
                self._nulls.add(index)

    def settle(self) -> pa.Schema:
        """Return the schema of all batches."""
        schema = self._schema
        for index in self._null_lists | self._nulls:
            item = schema.field(index)
            if index in self._null_lists:
                item = item.with_type(loosen_lists(item.type))
            if index in self._nulls:
                item = item.with_type(allow_nulls(item.type)).with_nullable(True)
            schema = schema.set(index, item)
        return schema


def _survey_csv(stream: Any, uri: str, limits: ShardLimits) -> SurveyedFile:
    reader = CsvReader(stream, uri)
    cuts, good = _RowCuts(limits), False
    offset, first_error = 0, None
    for row in reader.read_rows():
        cuts.add(offset, len(row.text))
        offset += len(row.text)
        good = good or row.error is None
        first_error = first_error or row.error
    if not good:
        raise InputError(
            f"has no row below its header{f': {first_error}' if first_error else ''}",
            where=uri,
            remedy="name the columns on the first line, and write one row per line",
        )
    return SurveyedFile(cuts.rows, cuts.finish(), reader.schema)


def _survey_values(
    stream: Any, kind: Kind, uri: str, limits: ShardLimits, paths: Sequence[str]
) -> SurveyedFile:
    kinds, cuts, first_error, first = ColumnKinds(paths=paths), _RowCuts(limits), "", b""
    for offset, value in read_values(stream, kind, uri):
        cuts.add(offset, len(value))
        error = observe_line(kinds, value)
        if error and not first_error:
            first_error, first = f"row {cuts.rows - 1} at byte {offset:,}: {error}", value
    if not kinds.counts:
        raise InputError(
            "has no JSON object with a field" + (f": {first_error}" if first_error else ""),
            where=uri,
            remedy=_suggest_remedy(first, first_error, kind),
        )
    return SurveyedFile(cuts.rows, cuts.finish(), None, kinds)


def _suggest_remedy(value: bytes, error: str, kind: Kind) -> str:
    """Return the remedy for a file without rows, from its first value and the error."""
    head = value[:HEAD_BYTES]
    if CONTROL.search(head):
        return "if it is compressed, decompress it; if it is another kind of file, convert it"
    if not _is_utf8(head):
        return "if its text isn't UTF-8, convert it: iconv -f ENCODING -t UTF-8 FILE > NEW"
    return _suggest_for_text(head, error, kind)


def _suggest_for_text(head: bytes, error: str, kind: Kind) -> str:
    if AFTER_VALUE in error:
        return "write one object per line: jq -c . FILE > FILE.jsonl"
    if error.endswith(IS_TEXT):
        each = ".[] | " if kind == "array" else ""
        return f"give each text a name: jq -c '{each}{{text: .}}' FILE > FILE.jsonl"
    if _is_python(head):
        return f"write its Python objects as JSON: {FROM_PYTHON} < FILE > FILE.jsonl"
    return PLAIN_REMEDY if NOT_JSON in error else EMPTY_REMEDY


def _is_utf8(head: bytes) -> bool:
    """Return whether the beginning of a text is UTF-8.

    The beginning may end inside a character.
    """
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return True


def _is_python(text: bytes) -> bool:
    """Return whether a line of text is a Python dictionary."""
    try:
        return isinstance(ast.literal_eval(text.decode().strip()), dict)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


class _RowCuts:
    """Collects a file's cuts, one before each row that would overfill a shard."""

    def __init__(self, limits: ShardLimits) -> None:
        self._limits = limits
        self._cuts = [Cut(0, 0, 0)]
        self.rows = self._end = 0

    def add(self, offset: int, size: int) -> None:
        """Add a row of `size` bytes."""
        last, limits = self._cuts[-1], self._limits
        if self.rows - last.row >= limits.rows or (
            self.rows > last.row and offset - last.byte + size > limits.bytes
        ):
            self._cuts.append(Cut(self.rows, offset, 0))
        self.rows, self._end = self.rows + 1, offset + size

    def finish(self) -> tuple[Cut, ...]:
        """Return all cuts, including the end of the file."""
        return (*self._cuts, Cut(self.rows, self._end, 0))


def cut_groups(sizes: Sequence[tuple[int, int]], limits: ShardLimits) -> Iterator[Cut]:
    """Yield cuts between row groups, and inside groups larger than a shard.

    `sizes` holds each group's rows and bytes.
    """
    row = offset = 0
    held_rows = held_bytes = 0
    yield Cut(0, 0, 0)
    for group, (rows, size) in enumerate(sizes):
        if not rows:
            continue
        if held_rows and (held_rows + rows > limits.rows or held_bytes + size > limits.bytes):
            yield Cut(row, offset, group)
            held_rows = held_bytes = 0
        step = max(1, min(limits.rows, rows * limits.bytes // max(size, 1)))
        inside = list(range(step, rows, step)) if rows > step else []
        yield from (Cut(row + index, offset + size * index // rows, group) for index in inside)
        held_rows, held_bytes = (
            (rows - inside[-1], size * (rows - inside[-1]) // rows)
            if inside
            else (held_rows + rows, held_bytes + size)
        )
        row, offset = row + rows, offset + size
    if row:
        yield Cut(row, offset, len(sizes))
