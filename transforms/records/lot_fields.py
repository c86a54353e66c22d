"""Lot fields: how values become names, and fields whose names hardly ever repeat."""

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
"""The length of the day at the start of an ISO date."""

FAR_DAY = re.compile(r"-?\d{4,}-\d\d-\d\d")
"""The day in a date whose year may have more than four digits."""

EPOCH = re.compile(r"\d+(?:\.\d+)?")

SECONDS_OF_DIGITS = {10: 1.0, 13: 1e-3, 16: 1e-6, 19: 1e-9}
"""The unit of an epoch timestamp in seconds, keyed by the timestamp's number of digits.

These numbers of digits hold from 2001 to 2286.
"""

LONGEST_NAME = 200
"""The longest name, in characters. A longer value counts as text."""

LONG_TEXT = "text:"
"""A long text is named by this prefix and the beginning of its digest."""

TEXT_HEX = 16

PROMPT_HEX = 8
"""The number of hex digits that name a system prompt."""

FEWEST_ROWS = 4
"""With fewer rows than this, different names mean nothing."""

NEARLY_ALL = 0.9
"""If at least this share of the names differ, nearly every row is a lot of its own."""


def read_lot_column(name: str, column: pa.ChunkedArray, key: bytes | None = None) -> list[str]:
    """Return a lot field's values as names.

    A repeated value is formatted only once.
    """
    if not pa.types.is_string(column.type):
        return [format_lot_field(name, value, key) for value in list_values(column)]
    encoded = column.combine_chunks().dictionary_encode(null_encoding="encode")
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    known = [format_lot_field(name, value, key) for value in encoded.dictionary.to_pylist()]
    return [known[code] for code in encoded.indices.to_pylist()]


def format_lot_field(name: str, value: object, key: bytes | None = None) -> str:
    """Return a lot field's value as a name.

    A date is cut to its day. A system prompt or a long text is replaced by its digest.
    """
    if value is None or value == "":
        return UNKNOWN
    if name == "system_prompt":  # the ledger must hold no text from the corpus
        return name_system_prompt(str(value), key)
    text = format_day(str(value)) if name == "date" else str(value)
    return text if len(text) <= LONGEST_NAME else _name_text(text, key)


def _name_text(text: str, key: bytes | None) -> str:
    return LONG_TEXT + digest_bytes(text.encode("utf-8", "surrogatepass"), key)[:TEXT_HEX]


def format_day(date: str) -> str:
    """Return the day of an ISO date, or the UTC day of an epoch timestamp."""
    digits = len(date.partition(".")[0])
    if digits in SECONDS_OF_DIGITS and EPOCH.fullmatch(date):
        seconds = float(date) * SECONDS_OF_DIGITS[digits]
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    found = FAR_DAY.match(date)
    return found.group() if found else date[:DAY_CHARACTERS]


def name_system_prompt(text: str, key: bytes | None = None) -> str:
    """Return a system prompt's name in a lot."""
    return digest_bytes(text.strip().encode("utf-8", "surrogatepass"), key)[:PROMPT_HEX]


def find_long_texts(tables: Sequence[pa.Table], layout: Layout) -> dict[str, int]:
    """Count each lot field's values that are replaced by digests."""
    found = {
        name: sum(value.startswith(LONG_TEXT) for value in values)
        for name, values in _read_names(tables, layout)
    }
    return {name: count for name, count in found.items() if count}


def _read_names(tables: Sequence[pa.Table], layout: Layout) -> Iterator[tuple[str, list[str]]]:
    """Yield each lot field from a column, with its known names in these tables."""
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
    """Return a column's names, without rows whose value isn't UTF-8."""
    try:
        return read_lot_column(name, column)
    except UnicodeDecodeError:
        if len(column) == 1:
            return []
    return [
        found for row in range(len(column)) for found in _list_names(name, column.slice(row, 1))
    ]


def find_single_rows(tables: Sequence[pa.Table], layout: Layout) -> dict[str, tuple[int, int]]:
    """Return the lot fields whose names are nearly all different.

    Each field has its number of different names and its number of named rows.
    """
    found = {}
    for name, names in _read_names(tables, layout):
        different = len(set(names))
        if len(names) >= FEWEST_ROWS and different >= NEARLY_ALL * len(names):
            found[name] = (different, len(names))
    return found
