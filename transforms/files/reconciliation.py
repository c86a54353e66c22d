"""Reconciliation: the schema that tables share, and how their own schemas differ from it."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import pyarrow as pa

from schemas.errors import InputError
from schemas.notices import Notice, shorten_name
from transforms.files.arrow_files import ArrowReader
from transforms.files.compression import Compression, open_decompressed
from transforms.files.footers import MAX_FIELDS, open_parquet
from transforms.files.metadata import limit_metadata
from transforms.files.shared_schemas import (
    ABSENT,
    Difference,
    SchemaUnion,
    TypeConflictError,
    conform,
    count_absent,
    has_types,
    list_differences,
    merge_schemas,
)

DIFFERENCES_NAMED = 8
OTHER_REMEDY = (
    "write both files as Parquet, with one type for the column, or filter them in separate runs"
)
ANY_SIZE = 1 << 40
"""A limit for surveyed files, whose size has been checked."""

LONGEST_TYPE = 100
"""How many characters of a type are shown."""


class TableSchema(NamedTuple):
    """The schema of a Parquet file or of another kind of table."""

    uri: str
    schema: pa.Schema
    kind: str = "parquet"
    compression: Compression = "none"


class Reconciled(NamedTuple):
    """The schema that files share, and notices about differing files."""

    schema: pa.Schema
    notices: list[Notice]


def reconcile(files: Sequence[TableSchema]) -> Reconciled:
    """Return a schema that can hold all files' rows without loss.

    Raises: InputError: no type can hold a column's values from two files, the files together have
    too many columns, or a time doesn't fit the unit that the files share.
    """
    union = SchemaUnion()
    for index, file in enumerate(files):
        try:
            union.add(file.schema)
        except TypeConflictError as error:
            raise _explain_conflict(files[:index], file, error) from None
        if union.leaves > MAX_FIELDS:
            raise InputError(
                f"the files up to this one have {union.leaves:,} columns together, counted at all "
                f"depths, more than {MAX_FIELDS:,}",
                where=file.uri,
                remedy="filter files of different columns in separate runs",
            )
    shared = union.settle()
    shared, notices = limit_metadata(shared)
    differing = [file for file in files if not has_types(file.schema, shared)]
    for file in differing:
        _require_times_fit(file, shared)
    return Reconciled(shared, [*notices, *_describe_differences(differing, shared)])


def _require_times_fit(file: TableSchema, shared: pa.Schema) -> None:
    """Check that a file's times fit the shared, finer unit.

    Raises: InputError: a time doesn't fit.
    """
    names = [
        item.name
        for item in file.schema
        if item.type != shared.field(item.name).type and _holds_time(item.type)
    ]
    wanted = pa.schema([shared.field(name) for name in names])
    for table in _read_columns(file, names):
        try:
            conform(table, wanted)
        except pa.ArrowInvalid as error:
            kinds = ", ".join(f"{item.name!r} as {_shorten(item.type)}" for item in wanted)
            raise InputError(
                f"has a time that can't be read as in the other files ({kinds}): {error}",
                where=file.uri,
                remedy="write the other files with the coarser unit, or filter them separately",
            ) from error


def _read_columns(file: TableSchema, names: list[str]) -> Iterator[pa.Table]:
    """Yield some columns of a Parquet or Arrow file in small tables. CSV files have no times."""
    if not names or file.kind not in ("parquet", "arrow"):
        return
    with open_decompressed(file.uri, file.compression, ANY_SIZE) as stream:
        if file.kind == "parquet":
            batches = open_parquet(stream).iter_batches(columns=names)
        else:
            batches = ArrowReader(stream, file.uri).read_batches()
        for batch in batches:
            yield pa.table(batch).select(names)


def _holds_time(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_holds_time(kind.field(index).type) for index in range(kind.num_fields))
    return bool(pa.types.is_temporal(kind))


def _describe_differences(files: Sequence[TableSchema], shared: pa.Schema) -> Iterator[Notice]:
    """Yield a notice about each difference: the fields, the files, and how the fields are read."""
    first: dict[Difference, str] = {}
    counts = Counter[Difference]()
    for file in files:
        for difference in list_differences(file.schema, shared):
            counts[difference] += 1
            first.setdefault(difference, file.uri)
    for absence in count_absent([file.schema for file in files], shared):
        first[absence.difference] = files[absence.first].uri
        counts[absence.difference] = absence.files
    named = [
        f"{_describe_difference(difference)} ({_name_files(uri, counts[difference])})"
        for difference, uri in islice(first.items(), DIFFERENCES_NAMED)
    ]
    more = f"; and {len(first) - DIFFERENCES_NAMED} more" if len(first) > DIFFERENCES_NAMED else ""
    if named:
        yield Notice(
            "the files' schemas differ, and are read as one schema without loss: "
            f"{'; '.join(named)}{more}"
        )


def _describe_difference(difference: Difference) -> str:
    path, own, wanted = difference
    if own == ABSENT:
        return f"{shorten_name(path)!r}: {own}, read as null"
    text = f"{shorten_name(path)!r}: {_shorten(own)}" if path else own
    return text + (f", read as {_shorten(wanted)}" if wanted else "")


def _name_files(first: str, count: int) -> str:
    return first if count == 1 else f"{first} and {count - 1} more"


def _shorten(kind: object) -> str:
    """Write a type in at most `LONGEST_TYPE` characters, cut between two fields."""
    text = str(kind)
    if len(text) <= LONGEST_TYPE:
        return text
    cut = text[: LONGEST_TYPE - 1]
    return f"{cut[: cut.rfind(', ') + 2] or cut}…"


def _explain_conflict(
    earlier: Sequence[TableSchema], file: TableSchema, conflict: TypeConflictError
) -> InputError:
    """Return the error for two conflicting files, with a command that resolves the conflict."""
    pairs = ((item, _find_conflict(item, file)) for item in earlier)
    first, own = next(((item, found) for item, found in pairs if found), (earlier[0], conflict))
    return InputError(
        f"has {'.'.join(own.path)!r} as {_shorten(own.one)}, but {file.uri} has it as "
        f"{_shorten(own.other)}: no type holds both without loss",
        where=first.uri,
        remedy=_suggest_command(first, file, own)
        if first.kind == file.kind == "parquet"
        else OTHER_REMEDY,
    )


def _find_conflict(one: TableSchema, other: TableSchema) -> TypeConflictError | None:
    try:
        merge_schemas(one.schema, other.schema)
    except TypeConflictError as error:
        return error
    return None


def _suggest_command(first: TableSchema, second: TableSchema, conflict: TypeConflictError) -> str:
    """Return a command that casts a column, writes it as JSON text or renames it."""
    to_second = _is_wider(conflict.other, conflict.one)
    change, like = (first, second) if to_second else (second, first)
    column, file = conflict.path[0], json.dumps(change.uri)
    name, kind, target = (
        json.dumps(column),
        change.schema.field(column).type,
        like.schema.field(column).type,
    )
    if _can_cast(kind, target):
        text = "cast the column"
        new = f"t[{name}].cast(pq.read_schema({json.dumps(like.uri)}).field({name}).type)"
    elif pa.types.is_nested(kind) and _is_text(target):
        text = "write the column as JSON in text"
        rows = f"[None if v is None else json.dumps(v, default=str) for v in t[{name}].to_pylist()]"
        new = f"pa.array({rows}, pa.string())"
    else:
        text, new = "give one of the columns another name", ""
    changed = (
        f"t.set_column(t.schema.get_field_index({name}), {name}, {new})"
        if new
        else f"t.rename_columns({{{name}: {json.dumps(f'{column}_2')}}})"
    )
    code = (
        "import json, pyarrow as pa, pyarrow.parquet as pq; "
        f"t = pq.ParquetFile({file}).read(); pq.write_table({changed}, {file})"
    )
    return f"{text}: python -c {shlex.quote(code)}"


def _is_wider(one: pa.DataType, other: pa.DataType) -> bool:
    """Return whether `one` is the better type to cast to.

    Text is the best type, and floats come next.
    """
    order = (_is_text, pa.types.is_floating)
    return [check(one) for check in order] > [check(other) for check in order]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _can_cast(kind: pa.DataType, target: pa.DataType) -> bool:
    try:
        pa.array([], kind).cast(target)
    except (pa.ArrowException, TypeError):
        return False
    return True
