"""Lot fields: how values become names, and which fields make nearly every row a lot of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pyarrow as pa

from schemas.digests import digest_bytes
from schemas.lots import UNKNOWN
from transforms.records.columns import find_type, take_column
from transforms.records.formats import Layout
from transforms.records.plain_values import list_values

DAY_CHARACTERS = 10
"""How many characters at the start of an ISO date give the day."""

FAR_DAY = re.compile(r"-?\d{4,}-\d\d-\d\d")
"""A pattern for the day in a date whose year may have more than four digits."""

EPOCH = re.compile(r"\d+(?:\.\d+)?")

SECONDS_OF_DIGITS = {10: 1.0, 13: 1e-3, 16: 1e-6, 19: 1e-9}
"""The unit of an epoch timestamp in seconds, keyed by its digit count in the years 2001 to 2286."""

LONGEST_NAME = 200
"""The longest value that counts as a name, in characters; a longer one counts as text."""

LONG_TEXT = "text:"
"""The prefix of a long text's name in a lot; the text's digest follows."""

TEXT_HEX = 16

PROMPT_HEX = 8
"""How many hex digits name a system prompt in a lot."""

FEWEST_ROWS = 4
"""If fewer rows than this have a name, it means nothing that all the names are different."""

NEARLY_ALL = 0.9
"""If at least this share of the names are different, nearly every row is a lot of its own."""


def read_lot_column(name: str, column: pa.ChunkedArray, key: bytes | None = None) -> list[str]:
    """Return a lot field's values as text; a repeated text is formatted only once."""
    if not pa.types.is_string(column.type):
        return [format_lot_field(name, value, key) for value in list_values(column)]
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    known = [format_lot_field(name, value, key) for value in encoded.dictionary.to_pylist()]
    return [known[code] for code in encoded.indices.to_pylist()]


def format_lot_field(name: str, value: object, key: bytes | None = None) -> str:
    """Return a lot field's value as text; a date becomes its day, and a system prompt its digest.

    A long value is text from the corpus rather than a name, and is replaced by its digest.
    """
    if value is None or value == "":
        return UNKNOWN
    if name == "system_prompt":  # the ledger holds no text from the corpus
        return name_system_prompt(str(value), key)
    text = format_day(str(value)) if name == "date" else str(value)
    return text if len(text) <= LONGEST_NAME else _name_text(text, key)


def _name_text(text: str, key: bytes | None) -> str:
    return LONG_TEXT + digest_bytes(text.encode("utf-8", "surrogatepass"), key)[:TEXT_HEX]


def format_day(date: str) -> str:
    """Return the day of an ISO date, or the UTC day of an epoch timestamp in any usual unit."""
    digits = len(date.partition(".")[0])
    if digits in SECONDS_OF_DIGITS and EPOCH.fullmatch(date):
        seconds = float(date) * SECONDS_OF_DIGITS[digits]
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    found = FAR_DAY.match(date)
    return found.group() if found else date[:DAY_CHARACTERS]


def name_system_prompt(text: str, key: bytes | None = None) -> str:
    """Return the name that stands for a system prompt in a lot."""
    return digest_bytes(text.strip().encode("utf-8", "surrogatepass"), key)[:PROMPT_HEX]


def find_long_texts(tables: Sequence[pa.Table], layout: Layout) -> dict[str, int]:
    """Return how many values are replaced by digests, for each lot field that has such values."""
    found = {
        name: sum(value.startswith(LONG_TEXT) for value in values)
        for name, values in _read_names(tables, layout)
    }
    return {name: count for name, count in found.items() if count}


def _read_names(tables: Sequence[pa.Table], layout: Layout) -> Iterator[tuple[str, list[str]]]:
    """Yield each lot field that comes from a column, with its known values in these tables."""
    for name, field in layout.lots.items():
        column = field.column
        if column is not None and column not in layout.keys:
            yield (
                name,
                [
                    value
                    for table in tables
                    if find_type(table.schema, column) is not None
                    for value in _list_names(name, take_column(table, column))
                    if value != UNKNOWN
                ],
            )


def _list_names(name: str, column: pa.ChunkedArray) -> list[str]:
    """Return the names in a column, leaving out rows whose value isn't UTF-8."""
    try:
        return read_lot_column(name, column)
    except UnicodeDecodeError:
        if len(column) == 1:
            return []
    return [
        found for row in range(len(column)) for found in _list_names(name, column.slice(row, 1))
    ]


def find_single_rows(tables: Sequence[pa.Table], layout: Layout) -> dict[str, tuple[int, int]]:
    """Return the lot fields that make nearly every row in these tables a lot of its own.

    Each field comes with its number of different names and the number of rows that have a name.
    """
    found = {}
    for name, names in _read_names(tables, layout):
        different = len(set(names))
        if len(names) >= FEWEST_ROWS and different >= NEARLY_ALL * len(names):
            found[name] = (different, len(names))
    return found
