"""Which chat format a corpus is in, and which columns name its lots: detected from the schema, said aloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import pyarrow as pa

from schemas.corpora import FORMATS, LOT_FIELDS, CorpusConfig, FormatName, LotField
from schemas.errors import InputError

LOT_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "teacher": ("teacher", "teacher_model", "model", "generator"),
    "prompt_source": ("prompt_source", "source", "dataset"),
    "system_prompt": (),
    "date": ("date", "created", "created_at"),
}
"""Columns taken for a lot field, the first that is there, unless the configuration says otherwise."""


class Layout(NamedTuple):
    """Where a corpus keeps its conversations and its lots' names."""

    format: FormatName
    columns: dict[str, str]
    lots: dict[str, LotField]
    turns: bool = False
    """Whether a column holds turns, among which may be a system prompt of the row's own."""

    def column(self, name: str) -> str | None:
        """Return the corpus's column for a format's column, or None when it has none."""
        return self.columns.get(name)

    def described(self) -> str:
        """Say in one line what was settled."""
        held = ", ".join(sorted(set(self.columns.values())))
        lots = [f"{name}={_field(place)}" for name, place in self.lots.items()]
        if self.turns and "system_prompt" not in self.lots:
            lots.append("system_prompt=each row's own")
        named = (
            f"lots by {', '.join(lots)}" if lots else "all rows are one lot: nothing names others"
        )
        return f"format {self.format} (columns {held}); {named}"


def _field(place: LotField) -> str:
    return f"column {place.column}" if place.column is not None else f"{place.constant!r}"


def is_turns(kind: pa.DataType, role: str, content: str) -> bool:
    """Say whether a type is a list of structs that hold these two fields: a role of text, and a content of text or of parts."""
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)) or not pa.types.is_struct(
        kind.value_type
    ):
        return False
    types = {item.name: item.type for item in kind.value_type}
    if not {role, content} <= set(types):
        return False
    return _may_hold_text(types[role]) and (
        _may_hold_text(types[content]) or pa.types.is_nested(types[content])
    )


def _may_hold_text(kind: pa.DataType) -> bool:
    """Say whether a type is text, or null, which is what a field has that no row of a file fills."""
    return is_text(kind) or pa.types.is_null(kind)


def is_text(kind: pa.DataType) -> bool:
    """Say whether a type holds text, dictionary-encoded or not."""
    return (
        is_text(kind.value_type)
        if pa.types.is_dictionary(kind)
        else pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
    )


def _is_messages(kind: pa.DataType) -> bool:
    return is_turns(kind, "role", "content")


FITS: dict[str, Callable[[pa.DataType], bool]] = {
    "messages": _is_messages,
    "conversations": lambda kind: is_turns(kind, "from", "value") or _is_messages(kind),
    "chosen": lambda kind: _is_messages(kind) or is_text(kind),
    "rejected": lambda kind: _is_messages(kind) or is_text(kind),
    "prompt": lambda kind: is_text(kind) or _is_messages(kind),
    "completion": lambda kind: is_text(kind) or _is_messages(kind),
}
"""What a format's column must hold; those not named here hold text."""

TURNS, EITHER = "a list of {role, content}", "text, or a list of {role, content}"
HOLDS = {
    "messages": TURNS,
    "conversations": "a list of {from, value} or {role, content}",
    **dict.fromkeys(("chosen", "rejected", "prompt", "completion"), EITHER),
}
"""The same in words."""


def settle_layout(schema: pa.Schema, config: CorpusConfig) -> Layout:
    """Settle a corpus's format and lot columns from its schema, as far as the configuration hasn't.

    Raises: InputError: No format fits, several do, or a column that the configuration names isn't there.
    """
    name = config.format or _detected(schema)
    needs, uses = FORMATS[name]
    columns = {column: config.columns.get(column, column) for column in (*needs, *uses)}
    for column in needs:
        _require(schema, name, column, columns[column])
    present = {column: actual for column, actual in columns.items() if actual in schema.names}
    for column in uses:
        if column in present and not pa.types.is_null(schema.field(present[column]).type):
            _require(schema, name, column, present[column])
    turns = any(pa.types.is_nested(schema.field(actual).type) for actual in present.values())
    return Layout(name, present, _lots(schema, config), turns)


def _detected(schema: pa.Schema) -> FormatName:
    fitting = [
        name
        for name, (needs, _) in FORMATS.items()
        if all(
            column in schema.names and fits(column, schema.field(column).type) for column in needs
        )
    ]
    if len(fitting) == 1:
        return fitting[0]
    there = ", ".join(f"{item.name}: {item.type}" for item in schema)
    if not fitting:
        known = "; ".join(f"{name}: {', '.join(needs)}" for name, (needs, _) in FORMATS.items())
        problem, remedy = (
            f"no known format fits the columns ({there})",
            f"name it with --format and --column; formats need {known}",
        )
        raise _almost(schema, problem) or InputError(problem, remedy=remedy)
    raise InputError(
        f"several formats fit: {', '.join(fitting)} (columns {there})",
        remedy="say which one the trainer uses with --format; if the files differ, filter each kind in a run of its own",
    )


def _almost(schema: pa.Schema, problem: str) -> InputError | None:
    """Say why the format whose columns are all there by name isn't detected, if there is one."""
    name = next(
        (name for name, (needs, _) in FORMATS.items() if set(needs) <= set(schema.names)), None
    )
    try:
        for column in FORMATS[name][0] if name else ():
            _require(schema, str(name), column, column)
    except InputError as error:
        return InputError(f"{problem}: {error.problem}", remedy=error.remedy)
    return None


def fits(column: str, kind: pa.DataType) -> bool:
    """Say whether a column's type suits its part in a format."""
    return FITS.get(column, is_text)(kind)


def _require(schema: pa.Schema, name: str, column: str, actual: str) -> None:
    if actual not in schema.names:
        raise InputError(
            f"format {name} needs column {actual!r}, the corpus has {', '.join(schema.names)}",
            remedy=f"name it with --column {column}=COLUMN",
        )
    if not fits(column, schema.field(actual).type):
        kind = schema.field(actual).type
        raise InputError(
            f"column {actual!r} is {kind}, which format {name} can't use as {column!r}: that is {HOLDS.get(column, 'text')}",
            remedy=_unfit(column, kind),
        )


def _unfit(column: str, kind: pa.DataType) -> str:
    if pa.types.is_null(kind):
        return "the column is empty in every row: fill it, or name another format with --format"
    if is_text(kind) and column in ("messages", "conversations"):
        return "if it is JSON in a string, decode it first: each row's value has to be a list, not text"
    return "convert the column, or name another one with --column, another format with --format"


def _lots(schema: pa.Schema, config: CorpusConfig) -> dict[str, LotField]:
    lots = {}
    for name in LOT_FIELDS:
        place: LotField | None = getattr(config, name)
        if place is None:
            column = next(
                (
                    item
                    for item in LOT_COLUMNS[name]
                    if item in schema.names and not pa.types.is_nested(schema.field(item).type)
                ),
                None,
            )
            place = LotField(column=column) if column else None
        elif place.column is not None and place.column not in schema.names:
            raise InputError(
                f"{name} is to come from column {place.column!r}, the corpus has {', '.join(schema.names)}"
            )
        if place is not None:
            lots[name] = place
    return lots
