"""CSV and TSV files, whose values are read as text without any change."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.errors import InputError
from transforms.files.footers import check_fields
from transforms.files.json_lines import MAX_LINE_BYTES

DELIMITERS = (",", "\t", ";", "|")

SEPARATOR = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)
"""A first line that tells Excel the separator."""

csv.field_size_limit(MAX_LINE_BYTES)


class CsvRow(NamedTuple):
    """A row: its values, its text in the file and, for a reject, the reason."""

    values: list[str]
    text: str
    error: str | None

    def encode(self) -> bytes:
        """Return the row's bytes in the file."""
        return self.text.encode(errors="surrogateescape")


class _Lines:
    """Reads and counts a file's lines, and keeps the lines since the last row."""

    def __init__(self, stream: Any, uri: str) -> None:
        self._text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
        self._uri = uri
        self._held: list[str] = []
        self._size = 0
        self.count = 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE_BYTES + 1)
        if not line:
            raise StopIteration
        self.count += 1
        self._held.append(line)
        self._size += len(line)
        if self._size > MAX_LINE_BYTES:
            raise InputError(
                f"has a row longer than {MAX_LINE_BYTES >> 20} MiB, which begins on line "
                f"{self.count - len(self._held) + 1:,}",
                where=self._uri,
                remedy="check the quotes: one that isn't closed joins the lines after it",
            )
        return line

    def take(self) -> str:
        """Return the text of the lines since the last call."""
        text = "".join(self._held)
        self._held, self._size = [], 0
        return text


class CsvReader:
    """Reads the header of a CSV or TSV file, and then its rows."""

    def __init__(self, stream: Any, uri: str) -> None:
        self._uri = uri
        self._lines = _Lines(stream, uri)
        first = next(self._lines, "")
        delimiter = "\t" if ".tsv" in uri.lower() else max(DELIMITERS, key=first.count)
        if named := SEPARATOR.fullmatch(first):
            delimiter, first = named[1], next(self._lines, "")
        self._rows = csv.reader(chain([first], self._lines), delimiter=delimiter, strict=True)
        self.schema = pa.schema([(name, pa.string()) for name in self._read_header()])
        check_fields(self.schema, uri)

    def _read_header(self) -> list[str]:
        try:
            names = next(self._rows, [])
        except csv.Error as error:
            raise InputError(
                f"line 1: {error}", where=self._uri, remedy="check the quotes of the header"
            ) from error
        if not names:
            raise InputError(
                "has no header", where=self._uri, remedy="name the columns on the first line"
            )
        self._lines.take()
        return names

    def read_rows(self) -> Iterator[CsvRow]:
        """Yield the rows, without blank lines.

        Raises: InputError: a row of several lines has unbalanced quotes.
        """
        width = len(self.schema)
        while True:
            begin = self._lines.count + 1
            try:
                values = next(self._rows, None)
            except csv.Error as error:
                yield self._reject(begin, error)
                continue
            if values is None:
                return
            text = self._lines.take()
            if values:
                yield CsvRow(values, text, self._find_error(values, text, width, begin))

    def _reject(self, begin: int, error: csv.Error) -> CsvRow:
        text = self._lines.take()
        if self._lines.count > begin:
            raise InputError(
                f"the quotes of the row on lines {begin:,} to {self._lines.count:,} aren't "
                f"balanced, so it may have swallowed other rows: {error}",
                where=self._uri,
                remedy="double the quotes inside quoted values",
            ) from error
        return CsvRow([], text, f"line {begin:,}: {error}")

    @staticmethod
    def _find_error(values: list[str], text: str, width: int, line: int) -> str | None:
        if len(values) != width:
            return f"line {line:,}: has {len(values)} values for {width} columns"
        if not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                return f"line {line:,}: isn't UTF-8"
        return None


def build_table(rows: list[CsvRow], schema: pa.Schema) -> pa.Table:
    """Return rows without rejects as a table."""
    columns = zip(*(row.values for row in rows), strict=True) if rows else [[] for _ in schema]
    arrays = [pa.array(list(values), pa.string()) for values in columns]
    return pa.Table.from_arrays(arrays, schema=schema)
