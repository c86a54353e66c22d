"""The rows of label files: JSON Lines, CSV and Parquet."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from classifiers.library import read_text_file
from pipelines.display.shell_words import quote_word
from schemas.digests import digest_config
from schemas.errors import CardError, InputError
from schemas.notices import choose_form, format_count
from transforms.files.csv_files import CsvReader

TABLES = (".csv", ".tsv", ".parquet")
"""The endings of files to which no line can be added. All others are read as JSON Lines."""

DIGEST = re.compile(r"[0-9a-f]{64}")


class Entry(NamedTuple):
    """The fields of one row of a file, and its place: `line 3` or `row 3`."""

    place: str
    fields: dict[str, Any]


def is_table(path: Path) -> bool:
    """Return whether a file of labels is CSV or Parquet."""
    return path.suffix.lower() in TABLES


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the rows of a file. Lines that `review` wrote must fit their digests.

    Raises: CardError: the file can't be read, a row isn't of its kind, or a line was changed.
    """
    if not is_table(path):
        yield from _read_json_lines(path)
    elif path.suffix.lower() == ".parquet":
        yield from _read_parquet(path)
    else:
        yield from _read_csv(path)


def parse_line(line: str, where: str) -> dict[str, Any]:
    """Return the fields of one line of JSON.

    Raises: CardError: it isn't a JSON object.
    """
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise CardError("is not a JSON object", where=where) from error
    if not isinstance(fields, dict):
        raise CardError("is not a JSON object", where=where)
    return fields


def _read_json_lines(path: Path) -> Iterator[Entry]:
    before: str | None = None
    for number, line in enumerate(read_text_file(path).split("\n"), 1):
        if line.strip():
            place = f"line {number}"
            fields = parse_line(line, f"{path} {place}")
            if is_chained(fields):
                _check_link(fields, before, f"{path} {place}")
                before = fields["digest"]
            yield Entry(place, fields)


def is_review(path: Path) -> bool:
    """Return whether `review` wrote a file: whether its first line has digests.

    Raises: CardError: the first line isn't a JSON object.
    """
    if is_table(path) or not path.is_file():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        first = next((line for line in file if line.strip()), "")
    return bool(first) and is_chained(parse_line(first, f"{path} line 1"))


def is_chained(fields: Mapping[str, Any]) -> bool:
    """Return whether a line has the digests of a file that `review` wrote."""
    digests = (fields.get("before"), fields.get("digest"))
    return all(isinstance(value, str) and DIGEST.fullmatch(value) for value in digests)


def report_mixed(path: Path, entries: Iterable[Entry]) -> CardError | None:
    """Return an error with the command that splits a review's file, if some lines have no digest.

    An earlier version of `traits eval` added such lines to a review's file.
    """
    entries = list(entries)
    others = [entry for entry in entries if not is_chained(entry.fields)]
    are_labels = all("label" in entry.fields for entry in others)
    if is_table(path) or not 0 < len(others) < len(entries) or not are_labels:
        return None
    bare = [int(entry.place.removeprefix("line ")) for entry in others]
    ranges = _join_numbers(bare)
    named = ", ".join(part.replace(",", " to ") for part in ranges)
    other = path.with_name(f"{path.stem}.answers{path.suffix}")
    here, there = quote_word(str(path)), quote_word(str(other))
    printed, removed = (";".join(f"{part}{action}" for part in ranges) for action in "pd")
    return CardError(
        f"{format_count(len(bare), 'line')} {choose_form(len(bare), 'has', 'have')} no digest, "
        f"though the other lines are a review's: {choose_form(len(bare), 'line', 'lines')} {named}",
        where=str(path),
        remedy="move them to a file of their own: "
        f"sed -n '{printed}' {here} >> {there} && sed -i '{removed}' {here}; then give both files",
    )


def _join_numbers(numbers: Sequence[int]) -> list[str]:
    """Return ascending numbers as ranges that `sed` takes, such as `5,104`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return [str(first) if first == last else f"{first},{last}" for first, last in runs]


def _check_link(fields: Mapping[str, Any], before: str | None, where: str) -> None:
    """Compare a line with its digest, and with the digest of the line before it.

    Raises: CardError: they differ. The first line's `before` is the digest of a run.
    """
    own = {name: value for name, value in fields.items() if name != "digest"}
    if digest_config(own) != fields["digest"] or before not in (None, fields["before"]):
        raise CardError(
            "isn't as the review wrote it: its digest doesn't fit",
            where=where,
            remedy="restore the file; to change a label, label the row again with congener review",
        )


def _read_csv(path: Path) -> Iterator[Entry]:
    """Yield the rows of CSV or TSV. Rows count from 1, without the header."""
    data = io.BytesIO(read_text_file(path).encode())
    try:
        reader = CsvReader(data, str(path))
        for number, row in enumerate(reader.read_rows(), 1):
            if row.error is not None:
                raise CardError(row.error, where=str(path), remedy="check the row's quotes")
            pairs = zip(reader.schema.names, row.values, strict=True)
            yield Entry(f"row {number}", {name: _parse_cell(name, text) for name, text in pairs})
    except InputError as error:
        raise CardError(error.problem, where=str(path), remedy=error.remedy) from error


def _parse_cell(name: str, text: str) -> Any:
    """Return the value of a CSV cell. Only rows and scores are numbers."""
    if not text.strip():
        return None
    with suppress(ValueError):
        if name == "row":
            return int(text)
        if name == "score":
            return float(text)
    return text


def _read_parquet(path: Path) -> Iterator[Entry]:
    try:
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException, ValueError) as error:
        raise CardError(
            f"can't be read as Parquet: {str(error).splitlines()[0]}", where=str(path)
        ) from error
    for number, row in enumerate(rows, 1):
        yield Entry(f"row {number}", {name: _simplify(value) for name, value in row.items()})


def _simplify(value: object) -> object:
    """Return a whole number for a float without a fraction, and None for NaN.

    pandas writes columns with missing numbers as floats.
    """
    if isinstance(value, float):
        if math.isnan(value):
            return None
        return int(value) if value.is_integer() else value
    return value


def parse_time(fields: Mapping[str, Any], where: str) -> float | None:
    """Return when a label was given, in seconds since 1970, if the row says so.

    A time without a zone counts as UTC.

    Raises: CardError: the time is neither a number nor in the form of ISO 8601.
    """
    value = fields.get("time")
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    with suppress(ValueError, TypeError, OverflowError):
        given = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        zoned = given if given.tzinfo else given.replace(tzinfo=UTC)
        return zoned.timestamp()
    raise CardError(
        f"time {str(value)[:40]!r} is neither a number nor a date",
        where=where,
        remedy="write it like 2026-11-27T10:30:00, or leave it out",
    )
