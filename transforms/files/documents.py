"""JSON files that are one object with rows inside, and commands that extract the rows."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.corpora import ShardLimits
from schemas.errors import InputError
from transforms.files.compression import open_decompressed
from transforms.files.json_lines import parse_line
from transforms.files.json_values import read_values
from transforms.files.sources import Source
from transforms.records.parts import ROLE_FIELDS
from transforms.records.usual_names import COLUMN_NAMES

READ = {
    name.lower()
    for column, names in COLUMN_NAMES.items()
    for name in (column, "conversations", *names)
}
"""The lower-case names of columns that some format reads."""

ROLES = frozenset(ROLE_FIELDS)

PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def explain_documents(sources: Iterable[Source], limits: ShardLimits) -> InputError | None:
    """Return the error for the first JSON file that is one object with rows inside, or None."""
    for source in sources:
        if source.kinds is not None and source.rows == 1:
            max_bytes = limits.compute_max_bytes(source.size)
            with open_decompressed(source.uri, source.compression, max_bytes) as stream:
                _, line = next(read_values(stream, source.kind, source.uri))
            if found := explain_document(parse_line(line)[0], source.uri):
                return found
    return None


def explain_document(value: Mapping[str, Any], uri: str) -> InputError | None:
    """Return the error for an object that holds a whole file's rows, or None for other objects."""
    if orient := _find_orient(value):
        how = "" if orient == "columns" else f', orient="{orient}"'
        return InputError(
            "is one object that holds a table column by column, as pandas writes it",
            where=uri,
            remedy=f"write its rows: {_write_command(uri, how)}",
        )
    rows = {name: items for name, items in value.items() if _holds_rows(name, items)}
    if not rows:
        return None
    name = max(rows, key=lambda name: len(rows[name]))
    inside = ".row" if all(isinstance(item.get("row"), dict) for item in rows[name]) else ""
    is_plain = PLAIN_KEY.match(name) is not None
    key = f".{name}" if is_plain else f".[{json.dumps(name)}]"
    output = name if is_plain else "rows"
    command = f"jq -c {shlex.quote(f'{key}[]{inside}')} {shlex.quote(uri)} > {output}.jsonl"
    return InputError(
        f"is one object with rows inside, in {', '.join(map(repr, rows))}",
        where=uri,
        remedy=f"take the rows out: {command}",
    )


def _holds_rows(name: str, items: Any) -> bool:
    """Return whether a field is a list of objects that may be rows rather than turns."""
    if not isinstance(items, list) or not items or name.lower() in READ:
        return False
    return all(isinstance(item, dict) and ROLES.isdisjoint(item) for item in items)


def _find_orient(value: Mapping[str, Any]) -> str | None:
    """Return an object's pandas layout, or None if the object isn't a pandas table."""
    if {"columns", "data"} <= set(value) and all(
        isinstance(value[name], list) for name in ("columns", "data")
    ):
        return "split"
    columns = list(value.values())
    numbered = (
        isinstance(column, dict) and column and list(column) == list(map(str, range(len(column))))
        for column in columns
    )
    return "columns" if columns and all(numbered) else None


def _write_command(uri: str, orient: str) -> str:
    """Return a command that converts a pandas table to JSON Lines."""
    code = (
        f"import pandas as pd; pd.read_json({uri!r}{orient})"
        '.to_json("rows.jsonl", orient="records", lines=True, force_ascii=False)'
    )
    return f"python -c {shlex.quote(code)}"
