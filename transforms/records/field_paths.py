"""Lookup of fields in single rows, by the field paths in reasons and spans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transforms.records.columns import STEP, find_column
from transforms.records.json_texts import encode_calls, replace_surrogates


def get_field_text(record: Mapping[str, Any], path: str) -> str | None:
    """Return the text of a row's field, or None if the row has no such field.

    Tool calls are returned as the JSON that was scored.
    """
    column = find_column(path, record)
    if column is None:
        return None
    value = record[column]
    for index, key in STEP.findall(path, len(column)):
        value = _get_key(value, key) if key else _get_item(value, int(index))
    return replace_surrogates(value) if isinstance(value, str) else encode_calls(value)


def _get_key(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _get_item(value: Any, index: int) -> Any:
    """Return an item of a list; content that isn't a list of parts counts as a single part."""
    if isinstance(value, list):
        return value[index] if index < len(value) else None
    return value if index == 0 else None
