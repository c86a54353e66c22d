"""Formats: which chat format a corpus has, and which columns name its lots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from schemas.corpora import FORMATS, CorpusConfig, FormatName, LotField
from schemas.errors import InputError
from schemas.lots import LOT_FIELDS
from transforms.records.json_columns import TYPE_NAMES
from transforms.records.parts import CONTENTS, ROLE_FIELDS

LOT_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "teacher": ("teacher", "teacher_model", "model", "generator"),
    "prompt_source": ("prompt_source", "source", "dataset"),
    "system_prompt": (),
    "date": ("date", "created", "created_at"),
}
"""The usual column names for each lot field; the first that exists is the default."""


class Layout(NamedTuple):
    """The format of a corpus, and the columns of its conversations and lot fields."""

    format: FormatName
    columns: dict[str, str]
    """The corpus's column for each of the format's columns that it has."""
    lots: dict[str, LotField]
    turns: bool = False
    """Whether a column holds turns, which may include a system prompt for each row."""
    transcripts: tuple[str, ...] = ()
    """The corpus's columns of text whose rows are transcripts, each cut into turns."""
    keys: tuple[str, ...] = ()
    """The columns of lots that are keys in the names of folders (`teacher=NAME/`)."""

    def describe(self) -> str:
        """Return the layout in one line."""
        columns = ", ".join(sorted(set(self.columns.values())))
        lots = [f"{name}={self._describe_lot_field(field)}" for name, field in self.lots.items()]
        if (self.turns or self.transcripts) and "system_prompt" not in self.lots:
            lots.append("system_prompt=each row's own")
        named = f"lots by {', '.join(lots)}" if lots else "all rows are one lot: no column names it"
        return f"format {self.format} (columns {columns}); {named}"

    def _describe_lot_field(self, field: LotField) -> str:
        if field.column is None:
            return repr(field.constant)
        return f"{'folders' if field.column in self.keys else 'column'} {field.column}"


def is_turns(kind: pa.DataType) -> bool:
    """Return whether a type is a list of structs with a role of text and a content.

    The content is text or typed parts.
    """
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    if not pa.types.is_struct(kind.value_type):
        return False
    types = {item.name: item.type for item in kind.value_type}
    return any(_may_hold_text(types[name]) for name in ROLE_FIELDS if name in types) and any(
        _may_hold_text(types[name]) or pa.types.is_nested(types[name])
        for name in CONTENTS
        if name in types
    )


def _may_hold_text(kind: pa.DataType) -> bool:
    """Return whether a type is text or null, the type of a field that no row of a file fills."""
    return is_text(kind) or pa.types.is_null(kind)


def is_text(kind: pa.DataType) -> bool:
    """Return whether a type holds text, dictionary-encoded or not."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    checks = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(check(kind) for check in checks)


def _is_text_or_turns(kind: pa.DataType) -> bool:
    return is_text(kind) or is_turns(kind)


EITHER_COLUMNS = ("chosen", "rejected", "prompt", "completion")
"""Columns of formats that hold either text or messages."""

COLUMN_CHECKS: dict[str, Callable[[pa.DataType], bool]] = {
    **dict.fromkeys(("messages", "conversations"), is_turns),
    **dict.fromkeys(EITHER_COLUMNS, _is_text_or_turns),
}
"""The check for the type of each format's column; other columns hold text."""

EXPECTED_TYPES = {
    **dict.fromkeys(("messages", "conversations"), "a list of {role, content} or {from, value}"),
    **dict.fromkeys(EITHER_COLUMNS, "text, or a list of {role, content} or {from, value}"),
}
"""The type of each format's column in words, for error messages; other columns hold text."""


def settle_layout(
    schema: pa.Schema, config: CorpusConfig, partitions: Sequence[str] = ()
) -> Layout:
    """Return a corpus's layout from the configuration, and detect what it leaves open.

    `partitions` are keys in the names of folders. A lot may use one that isn't a column.

    Raises: InputError: no format fits, several do, or a configured column is missing or of a type
        that the format can't use.
    """
    name = config.format or _detect_format(schema)
    needs, uses = FORMATS[name]
    columns = {column: config.columns.get(column, column) for column in (*needs, *uses)}
    for column in needs:
        _require_column(schema, name, column, columns[column])
    present = {column: actual for column, actual in columns.items() if actual in schema.names}
    for column in uses:
        if column in present and not pa.types.is_null(schema.field(present[column]).type):
            _require_column(schema, name, column, present[column])
    turns = any(pa.types.is_nested(schema.field(actual).type) for actual in present.values())
    keys = [key for key in partitions if key not in schema.names]
    lots = _settle_lot_fields(schema, config, keys)
    used = {field.column for field in lots.values()}
    return Layout(name, present, lots, turns, keys=tuple(key for key in keys if key in used))


def _detect_format(schema: pa.Schema) -> FormatName:
    fitting = [name for name, (needs, _) in FORMATS.items() if _has_columns(schema, needs)]
    if len(fitting) == 1:
        return fitting[0]
    columns = ", ".join(f"{item.name}: {_describe_type(item.type)}" for item in schema)
    if fitting:
        raise InputError(
            f"several formats fit: {', '.join(fitting)} (columns {columns})",
            remedy="choose the one that the trainer uses with --format; "
            "if the files differ, filter each kind in a separate run",
        )
    known = "; ".join(f"{name}: {', '.join(needs)}" for name, (needs, _) in FORMATS.items())
    problem = f"no known format fits the columns ({columns})"
    remedy = f"name the format with --format and its columns with --column; formats need {known}"
    raise _explain_near_miss(schema, problem) or InputError(problem, remedy=remedy)


def _has_columns(schema: pa.Schema, needs: tuple[str, ...]) -> bool:
    return all(
        column in schema.names and fits(column, schema.field(column).type) for column in needs
    )


def _explain_near_miss(schema: pa.Schema, problem: str) -> InputError | None:
    """Return why a format doesn't fit although all its columns exist, or None."""
    name = next(
        (name for name, (needs, _) in FORMATS.items() if set(needs) <= set(schema.names)), None
    )
    try:
        for column in FORMATS[name][0] if name else ():
            _require_column(schema, str(name), column, column)
    except InputError as error:
        return InputError(f"{problem}: {error.problem}", remedy=error.remedy)
    return None


def fits(column: str, kind: pa.DataType) -> bool:
    """Return whether a type suits a format's column."""
    return COLUMN_CHECKS.get(column, is_text)(kind)


def _require_column(schema: pa.Schema, name: str, column: str, actual: str) -> None:
    if actual not in schema.names:
        raise InputError(
            f"format {name} needs column {actual!r}, but the corpus has {', '.join(schema.names)}",
            remedy=f"name the column with --column {column}=COLUMN",
        )
    kind = schema.field(actual).type
    if not fits(column, kind):
        raise InputError(
            f"column {actual!r} is {_describe_type(kind)}, "
            f"which format {name} can't use as {column!r}: "
            f"it needs {EXPECTED_TYPES.get(column, 'text')}",
            remedy=_suggest_conversion(column, kind),
        )


def _describe_type(kind: pa.DataType) -> str:
    return TYPE_NAMES.get(kind, str(kind))


def _suggest_conversion(column: str, kind: pa.DataType) -> str:
    """Return the remedy for a column whose type a format can't use."""
    if pa.types.is_null(kind):
        return "the column is empty in every row: fill it, or name another format with --format"
    if is_text(kind) and column in ("messages", "conversations"):
        return "if it is JSON in a string, decode it first: each row needs a list, not text"
    return "convert the column, or name another one with --column or another format with --format"


def _settle_lot_fields(
    schema: pa.Schema, config: CorpusConfig, keys: Sequence[str]
) -> dict[str, LotField]:
    lots = {}
    for name in LOT_FIELDS:
        field: LotField | None = getattr(config, name) or _detect_lot_field(schema, name, keys)
        if field is None:
            continue
        if field.column is not None and field.column not in (*schema.names, *keys):
            raise InputError(
                f"{name} is configured to come from column {field.column!r}, "
                f"but the corpus has {', '.join([*schema.names, *keys])}",
                remedy=f"name one of these columns for {name}, or set a constant",
            )
        lots[name] = field
    return lots


def _detect_lot_field(schema: pa.Schema, name: str, keys: Sequence[str]) -> LotField | None:
    """Return the first usual column of a lot field, or None; a nested column can't hold a name."""
    flat = {item.name for item in schema if not pa.types.is_nested(item.type)}
    for column in LOT_COLUMNS[name]:
        if column in flat or column in keys:
            return LotField(column=column)
    return None
