"""JSON texts: canonical JSON, and text that Arrow can hold."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from typing import Any

import orjson
import pyarrow as pa

SURROGATE = re.compile("[\ud800-\udfff]")


def build_texts(texts: Sequence[str | None]) -> pa.Array:
    """Return texts as an array, with U+FFFD for lone surrogates."""
    try:
        return pa.array(texts, pa.string())
    except UnicodeEncodeError:
        return pa.array([text and replace_surrogates(text) for text in texts], pa.string())


def replace_surrogates(text: str) -> str:
    """Replace each lone surrogate in a text with U+FFFD."""
    return SURROGATE.sub("\ufffd", text)


def encode_bytes(value: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(value).decode()


def encode_calls(calls: Any) -> str | None:
    """Return tool calls as JSON with sorted keys and without nulls, or None without calls.

    Calls that are text are returned unchanged. Arrow may add null fields or turn integers into
    floats because of other rows, so nulls are dropped and whole floats become integers.
    """
    if isinstance(calls, str):
        return calls
    return encode_json(_drop_nulls(calls)) if calls else None


def _drop_nulls(value: Any) -> Any:
    """Return a value without null fields and with whole floats as integers."""
    if isinstance(value, dict):
        return {name: _drop_nulls(below) for name, below in value.items() if below is not None}
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        return int(value)
    return [_drop_nulls(below) for below in value] if isinstance(value, list) else value


def encode_json(value: Any) -> str:
    """Return a value as JSON with sorted keys, and with U+FFFD for lone surrogates."""
    try:
        return _dump_sorted(value)
    except TypeError:  # a lone surrogate
        text = json.dumps(value, ensure_ascii=False, default=_describe)
        return _dump_sorted(json.loads(replace_surrogates(text)))


def _dump_sorted(value: Any) -> str:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=_describe).decode()


def _describe(value: Any) -> str:
    """Return text for a value that JSON lacks, as in `--output-format jsonl`."""
    return encode_bytes(value) if isinstance(value, bytes) else str(value)
