"""Repeated keys in JSON objects, whose values would depend on the parser."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from transforms.records.column_types import WRAPPERS
from transforms.records.columns import find_column, get_value, split_steps
from transforms.records.json_columns import IS_LOT
from transforms.records.parts import (
    CHANNELS_OF_FIELDS,
    CHANNELS_OF_KEYS,
    EXCHANGE_FIELDS,
    ROLE_FIELDS,
)

READ_KEYS = frozenset(
    (*ROLE_FIELDS, *CHANNELS_OF_FIELDS, *CHANNELS_OF_KEYS, *EXCHANGE_FIELDS, *WRAPPERS)
)
"""The keys that are read below a column."""


LONGEST_PATH = 500
"""The longest path of a key, in characters; a long key is repeated in every path below it."""

SPACED_KEY = re.compile(rb'"\s*:')

REASON = "field {!r} occurs twice, and JSON readers differ on which value counts"


class _Repeating(dict[str, Any]):
    """An object with repeated keys."""

    repeated: frozenset[str] = frozenset()


def find_repeated_keys(
    lines: Sequence[bytes], objects: Sequence[Mapping[str, Any]], schema: pa.Schema
) -> dict[int, str]:
    """Find rows that repeat a key that is read; return the reject reasons, keyed by row.

    `lines` are the bytes of `objects`, and `schema` holds the columns that are read. A parsed
    object holds a repeated key only once, so only a line with more keys than its object is parsed
    again.
    """
    return {
        index: REASON.format(path)
        for index, (line, value) in enumerate(zip(lines, objects, strict=True))
        if _has_more_keys(line, _count_keys(value)) and (path := _find_path(line, schema))
    }


def _has_more_keys(line: bytes, known: int) -> bool:
    """Return whether a JSON line may have more keys than `known`."""
    more = line.count(b'":') - known
    if more < 0:  # white space follows some keys
        more = len(SPACED_KEY.findall(line)) - known
    return more > 0 and more > line.count(b'\\":')  # inside a string, a quotation mark is escaped


def _count_keys(value: Mapping[str, Any]) -> int:
    """Count the keys of an object and of all nested objects."""
    count, waiting = 0, [value]
    for item in waiting:
        count += len(item)
        for below in item.values():
            if isinstance(below, dict):
                waiting.append(below)
            elif isinstance(below, list):
                waiting += _list_objects(below)
    return count


def _list_objects(items: Sequence[Any]) -> list[Any]:
    """Return the objects in a list and in its nested lists."""
    found = [item for item in items if isinstance(item, dict)]
    lists = [item for item in items if isinstance(item, list)] if len(found) < len(items) else []
    while lists:
        nested = lists.pop()
        found += (item for item in nested if isinstance(item, dict))
        lists += (item for item in nested if isinstance(item, list))
    return found


def _find_path(line: bytes, schema: pa.Schema) -> str | None:
    """Return the path of a line's first key that is both read and repeated, or None."""
    try:
        row = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_build_object, parse_int=float)
    except (ValueError, RecursionError):
        return None
    for item in schema:
        column = find_column(item.name, row) or item.name
        steps = (column, *(split_steps(item.name[len(column) :]) or ()))
        if path := _find_on_path(row, steps):
            return path
        if item.metadata != IS_LOT and (path := _find_below(get_value(row, item.name), item.name)):
            return path
    return None


def _build_object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object that knows its repeated keys."""
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    repeating = _Repeating(found)
    counts = Counter(name for name, _ in pairs)
    repeating.repeated = frozenset(name for name, count in counts.items() if count > 1)
    return repeating


def _find_on_path(value: Any, steps: Iterable[str | int]) -> str | None:
    """Return the path of the first repeated key on the way to a column, or None."""
    path = ""
    for step in steps:
        path += f"[{step}]" if isinstance(step, int) else f".{step}"
        if isinstance(value, _Repeating) and step in value.repeated:
            return path[1:]
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return None


def _find_below(value: Any, path: str) -> str | None:
    """Return the path of the first key below a column that is both read and repeated, or None."""
    waiting = [(value, path)]
    while waiting:
        item, at = waiting.pop()
        if isinstance(item, _Repeating) and (keys := item.repeated & READ_KEYS):
            return f"{at}.{min(keys)}"
        if isinstance(item, dict):
            waiting += [
                (below, f"{at}.{key}"[:LONGEST_PATH]) for key, below in reversed(item.items())
            ]
        elif isinstance(item, list):
            waiting += [
                (item[index], f"{at}[{index}]"[:LONGEST_PATH])
                for index in reversed(range(len(item)))
            ]
    return None
