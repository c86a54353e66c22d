"""Look up a row's fields by the field paths in reasons and spans."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from transforms.records.columns import STEP, find_column, get_value
from transforms.records.json_texts import encode_calls, replace_surrogates


def get_field_text(record: Mapping[str, Any], path: str, columns: Iterable[str]) -> str | None:
    """Return the text of a row's field, or None.

    `columns` are the columns that the run reads, by name or path. An unread column may have a name
    like a field path, such as `messages[0].content`. Tool calls are returned as the scored JSON.
    """
    column = find_column(path, columns)
    if column is None:
        return None
    value = _follow(get_value(record, column), path[len(column) :])
    return replace_surrogates(value) if isinstance(value, str) else encode_calls(value)


def find_read_column(path: str, columns: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the file's column that contains a field, or None."""
    column = find_column(path, columns)
    return None if column is None else find_column(column, names)


def _follow(value: Any, path: str) -> Any:
    """Return the value at a path below a value, or None.

    Keys may contain dots and brackets. The shortest key that leads to a value wins, because read
    fields have short names.
    """
    if not path or value is None:
        return value
    if isinstance(value, dict) and path.startswith("."):
        fitting = (key for key in value if find_column(path[1:], [key]) is not None)
        found = (_follow(value[key], path[len(key) + 1 :]) for key in sorted(fitting, key=len))
        return next((item for item in found if item is not None), None)
    step = STEP.match(path)
    if step is None or not step[1]:
        return None
    return _follow(_get_item(value, int(step[1])), path[step.end() :])


def _get_item(value: Any, index: int) -> Any:
    """Return an item of a list. Content that isn't a list counts as a single part."""
    if isinstance(value, list):
        return value[index] if index < len(value) else None
    return value if index == 0 else None
