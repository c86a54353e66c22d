"""Table metadata, which is copied from the input to every output file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from schemas.notices import Notice, list_names, warn

MOST_BYTES = 256 << 10
"""The largest metadata of an output file, in bytes. Few tables have a tenth as much."""


def limit_metadata(schema: pa.Schema) -> tuple[pa.Schema, list[Notice]]:
    """Return a schema with at most `MOST_BYTES` of metadata, and a notice about omitted metadata.

    The largest entries are omitted first. Every shard's file has this metadata, so a few megabytes
    would become gigabytes.
    """
    entries = sorted(
        (_measure(key, value), where or key.decode(errors="replace"))
        for where, key, value in _list_entries(schema)
    )
    largest = total = 0
    for size, _ in entries:
        total += size
        if total > MOST_BYTES:
            largest = min(largest, size - 1)  # entries of equal size are all left out
            break
        largest = size
    else:
        return schema, []
    left = [name for size, name in reversed(entries) if size > largest]
    notice = warn(
        f"metadata of more than {MOST_BYTES >> 10} KiB aren't copied, because every output "
        f"file would repeat them: {list_names(list(dict.fromkeys(left)))}; the rows are complete"
    )
    fields = [_limit_field(item, largest) for item in schema]
    return pa.schema(fields, _limit(schema.metadata, largest)), [notice]


def _measure(key: bytes, value: bytes) -> int:
    return len(key) + len(value)


def _list_entries(schema: pa.Schema) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield a schema's metadata entries, and then each column's entries with its name."""
    for key, value in (schema.metadata or {}).items():
        yield "", key, value
    for item in schema:
        for key, value in _list_field_entries(item):
            yield f"those of column {item.name}", key, value


def _list_field_entries(item: pa.Field) -> Iterator[tuple[bytes, bytes]]:
    yield from (item.metadata or {}).items()
    for below in _list_fields(item.type):
        yield from _list_field_entries(below)


def _list_fields(kind: pa.DataType) -> Iterable[pa.Field]:
    return [kind.field(index) for index in range(kind.num_fields)] if _is_rebuilt(kind) else ()


def _is_rebuilt(kind: pa.DataType) -> bool:
    """Return whether a type is a struct or a list, whose fields also have metadata."""
    checks = (pa.types.is_struct, pa.types.is_list, pa.types.is_large_list)
    return any(check(kind) for check in checks)


def _limit(metadata: Mapping[bytes, bytes] | None, largest: int) -> dict[bytes, bytes] | None:
    kept = {
        key: value for key, value in (metadata or {}).items() if _measure(key, value) <= largest
    }
    return kept or None


def _limit_field(item: pa.Field, largest: int) -> pa.Field:
    """Return a field without metadata entries beyond `largest`, at any depth."""
    metadata = _limit(item.metadata, largest)
    below = [_limit_field(field, largest) for field in _list_fields(item.type)]
    return pa.field(item.name, _replace_fields(item.type, below), item.nullable, metadata)


def _replace_fields(kind: pa.DataType, fields: list[pa.Field]) -> pa.DataType:
    if pa.types.is_struct(kind):
        return pa.struct(fields)
    if pa.types.is_list(kind):
        return pa.list_(fields[0])
    return pa.large_list(fields[0]) if pa.types.is_large_list(kind) else kind
