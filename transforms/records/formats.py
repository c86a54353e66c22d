"""Formats: which chat format a corpus has, and which columns name its lots."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from schemas.corpora import FORMATS, CorpusConfig, FormatName, LotField
from schemas.errors import InputError
from schemas.lots import LOT_FIELDS
from schemas.notices import list_names, shorten_name, suggest_name
from schemas.scores import Side
from transforms.digest_keys import DigestKey
from transforms.files.partitions import FOLDER
from transforms.records.column_types import (
    NAMES_OF_LISTS,
    describe_need,
    fits,
    is_message,
    is_pairs,
    is_plain_list,
    is_text,
)
from transforms.records.columns import find_type, is_list
from transforms.records.json_kinds import TYPE_NAMES
from transforms.records.usual_names import COLUMN_NAMES, FALLBACK_NAMES, LOT_COLUMNS, PARTNERS

STRICT_OPTIONS = (("alpaca", "input"), ("preference", "prompt"))
"""Optional columns whose type is checked even under the format's own name.

Other optional columns have common names and may hold anything.
"""

TURNS_OF_FORMATS = ("messages", "conversations")

INNER_COLUMNS = (
    *("messages", "contents", "conversation", "conversations", "turns", "dialogue", "choices"),
    *("message", "content", "text", "value"),
)
"""The fields with text or messages in a configured column of objects."""

PROMPTS_OF_PAIRS = ("prompt", "conversations", "instruction")
"""The prompt columns of `preference`. Only the first one that exists is read."""


class Layout(NamedTuple):
    """The format of a corpus, and its columns for conversations and lot fields."""

    format: FormatName
    columns: dict[str, str]
    """The corpus's column for each format column."""
    lots: dict[str, LotField]
    turns: bool = False
    """Whether a column holds turns or a system prompt, so that system prompts may differ by row."""
    transcripts: tuple[str, ...] = ()
    """The corpus's text columns that are cut into turns."""
    keys: tuple[str, ...] = ()
    """The lot columns from folder names (`teacher=NAME/`)."""
    sides: tuple[Side, ...] = ()
    """The sides of the corpus's texts, apart from `trained`."""
    labels: tuple[str, ...] = ()
    """The columns that say whether an answer is wanted."""
    rejected_teacher: str | None = None
    """The column with the teacher of a pair's rejected answer."""
    digest_key: DigestKey | None = None
    """The key of the digests, or None."""

    def read_key(self) -> bytes | None:
        """Return the key of the digests, or None.

        Raises: CongenerError: the key can't be read, or isn't the run's own key.
        """
        return None if self.digest_key is None else self.digest_key.read()

    def describe(self) -> str:
        """Describe the layout on one line."""
        columns = ", ".join(sorted(set(self.columns.values())))
        lots = [f"{name}={self._describe_lot_field(field)}" for name, field in self.lots.items()]
        if (self.turns or self.transcripts) and "system_prompt" not in self.lots:
            lots.append("system_prompt=digest of the row's system prompt")
        one = "all rows are one lot, because no column has a field of a lot"
        named = f"lots by {', '.join(lots)}" if lots else one
        return f"format {self.format} (columns {columns}); {named}"

    def _describe_lot_field(self, field: LotField) -> str:
        if field.column is None:
            return repr(field.constant)
        if field.column in self.keys:
            return "folder names" if field.column == FOLDER else f"folders {field.column}"
        return f"column {field.column}"


def settle_layout(
    schema: pa.Schema, config: CorpusConfig, folder_columns: Sequence[str] = ()
) -> Layout:
    """Settle a corpus's layout from the configuration and the schema.

    `folder_columns` are the columns in folder names, which lot fields may use like other columns.

    Raises: InputError: no format fits, several do, or a configured column is missing or has an
    unsuitable type.
    """
    name = config.format or _detect_format(schema, config.columns)
    needs, uses = FORMATS[name]
    columns = {column: _choose_column(schema, config, column) for column in needs}
    for column, actual in columns.items():
        _require_column(schema, name, column, actual)
    options = {column: _find_option(schema, config, name, column) for column in uses}
    columns |= {column: actual for column, actual in options.items() if actual is not None}
    if name == "preference":
        _settle_prompt_of_pairs(columns)
    nested = any(pa.types.is_nested(_get_type(schema, actual)) for actual in columns.values())
    own = set(schema.names)
    keys = [key for key in folder_columns if key not in own]
    lots = _settle_lot_fields(schema, config, keys)
    used = {field.column for field in lots.values()}
    keys = [key for key in keys if key in used]
    return Layout(name, columns, lots, nested or "system" in columns, keys=tuple(keys))


def _get_type(schema: pa.Schema, name: str) -> pa.DataType:
    return find_type(schema, name) or pa.null()


def _choose_column(schema: pa.Schema, config: CorpusConfig, column: str) -> str:
    """Return a required column's configured name, or the first column that fits."""
    if column in config.columns:
        return _name_column(schema, config.columns, column)
    return next(_find_fitting(schema, column), column)


def _name_column(schema: pa.Schema, columns: dict[str, str], column: str) -> str:
    """Return a column's configured name, or the format's own name.

    In a configured column of objects, the name is the path of the text or messages.
    """
    actual = columns.get(column, column)
    if column not in columns or fits(column, _get_type(schema, actual)):
        return actual
    paths = (f"{actual}.{name}" for name in INNER_COLUMNS)
    return next((path for path in paths if fits(column, _get_type(schema, path))), actual)


def _find_fitting(schema: pa.Schema, column: str) -> Iterator[str]:
    """Yield the corpus columns that fit a format column, starting with the column of that name."""
    lowered = {name.lower(): name for name in schema.names}
    usual = (column, *COLUMN_NAMES.get(column, ()))
    fallback = () if "instruction" in lowered else FALLBACK_NAMES.get(column, ())
    fallback = tuple(name for name in fallback if PARTNERS.get(name, name) in lowered)
    lists = NAMES_OF_LISTS.get(column, ())
    for names, check in ((usual, fits), (fallback, fits), (lists, is_plain_list)):
        found = False
        for name in names:
            actual = name if find_type(schema, name) is not None else lowered.get(name.lower())
            if actual is not None and check(column, _get_type(schema, actual)):
                found = True
                yield actual
        if found:
            return


def _find_option(
    schema: pa.Schema, config: CorpusConfig, name: FormatName, column: str
) -> str | None:
    """Return the corpus's name for an optional column, or None."""
    actual = _name_column(schema, config.columns, column)
    kind = find_type(schema, actual)
    if column in config.columns or (kind is not None and (name, column) in STRICT_OPTIONS):
        if kind is None or not pa.types.is_null(kind):
            _require_column(schema, name, column, actual)
        return actual
    return next(_find_fitting(schema, column), None)


def _settle_prompt_of_pairs(columns: dict[str, str]) -> None:
    """Keep only the first prompt column of a pair.

    `conversations` counts as the prompt, and `input` is read only with `instruction`.
    """
    present = [name for name in PROMPTS_OF_PAIRS if name in columns]
    for name in present[1:]:
        del columns[name]
    if "conversations" in columns:
        columns["prompt"] = columns.pop("conversations")
    if "instruction" not in columns:
        columns.pop("input", None)


def _detect_format(schema: pa.Schema, columns: dict[str, str]) -> FormatName:
    """Return the format whose columns a schema has, under the format's names or usual names."""
    fitting = [name for name in FORMATS if _has_columns(schema, name, columns)]
    if set(fitting) == {"conversations", "preference"} and is_message(_get_type(schema, "chosen")):
        return "preference"  # the pair's sides are single answers after a conversation
    fitting = fitting or _find_by_usual_names(schema, columns)
    if len(fitting) == 1:
        return fitting[0]
    raise _report_formats(schema, fitting)


def _has_columns(schema: pa.Schema, name: FormatName, columns: dict[str, str]) -> bool:
    """Return whether a format has the configured columns, and its required columns exist."""
    needs, uses = FORMATS[name]
    return set(columns) <= {*needs, *uses} and all(
        fits(column, _get_type(schema, _name_column(schema, columns, column))) for column in needs
    )


def _find_by_usual_names(schema: pa.Schema, columns: dict[str, str]) -> list[FormatName]:
    """Return the formats whose required columns exist under usual names.

    Only the formats with the most required columns are returned.

    Raises: InputError: several columns may serve as the same format column.
    """
    found: dict[FormatName, list[list[str]]] = {}
    for name, (needs, uses) in FORMATS.items():
        if set(columns) <= {*needs, *uses}:
            found[name] = [
                [columns[column]] if column in columns else list(_find_fitting(schema, column))
                for column in needs
            ]
    complete = {name: choices for name, choices in found.items() if all(choices)}
    most = max(map(len, complete.values()), default=0)
    fitting = [name for name, choices in complete.items() if len(choices) == most]
    if len(fitting) == 1:
        _refuse_choices(fitting[0], complete[fitting[0]])
    return fitting


def _refuse_choices(name: FormatName, choices: Sequence[Sequence[str]]) -> None:
    """Refuse a format with several candidates for one column."""
    for column, found in zip(FORMATS[name][0], choices, strict=True):
        if len(found) > 1 and found[0] != column:
            raise InputError(
                f"format {name} fits, but its column {column!r} may be any of {list_names(found)}",
                remedy=f"name it with --format {name} --column {column}=COLUMN",
            )


def _report_formats(schema: pa.Schema, fitting: Sequence[str]) -> InputError:
    """Return the error for a schema that fits no format, or several."""
    columns = list_names([f"{item.name}: {_describe_type(item.type)}" for item in schema])
    if fitting:
        return InputError(
            f"several formats fit: {', '.join(fitting)} (columns {columns})",
            remedy="choose the one that the trainer uses with --format; "
            "if the files differ, filter each kind in a separate run",
        )
    known = "; ".join(f"{name}: {', '.join(needs)}" for name, (needs, _) in FORMATS.items())
    problem = f"no known format fits the columns ({columns})"
    remedy = (
        f"name the format and its columns, {_suggest_options(schema)}; the formats and the columns "
        f"that they need: {known}"
    )
    return _explain_near_miss(schema, problem) or InputError(problem, remedy=remedy)


def _suggest_options(schema: pa.Schema) -> str:
    """Return example options that name a format for the first text columns."""
    texts = [item.name for item in schema if pa.types.is_string(item.type)][:2]
    name: FormatName = "completion" if len(texts) > 1 else "text"
    pairs = zip(FORMATS[name][0], texts or ["COLUMN"], strict=True)
    columns = " ".join(f"--column {column}={shlex.quote(text)}" for column, text in pairs)
    return f"for example --format {name} {columns}"


def _explain_near_miss(schema: pa.Schema, problem: str) -> InputError | None:
    """Return an error that says why a format doesn't fit although its columns exist, or None."""
    name = next(
        (name for name, (needs, _) in FORMATS.items() if set(needs) <= set(schema.names)), None
    )
    try:
        for column in FORMATS[name][0] if name else ():
            _require_column(schema, str(name), column, column)
    except InputError as error:
        return InputError(f"{problem}: {error.problem}", remedy=error.remedy)
    return None


def _require_column(schema: pa.Schema, name: str, column: str, actual: str) -> None:
    kind = find_type(schema, actual)
    if kind is None:
        raise InputError(
            f"format {name} needs column {actual!r}, but the corpus has {list_names(schema.names)}",
            remedy=f"name the column with --column {column}=COLUMN",
        )
    if not (fits(column, kind) or is_plain_list(column, kind)):
        raise InputError(
            f"column {actual!r} is {_describe_type(kind)}, "
            f"which format {name} can't use as {column!r}: it needs {describe_need(column)}",
            remedy=_suggest_conversion(column, actual, kind),
        )


def _describe_type(kind: pa.DataType) -> str:
    return TYPE_NAMES.get(kind) or shorten_name(str(kind))


def _suggest_conversion(column: str, actual: str, kind: pa.DataType) -> str:
    """Return the remedy for a column of an unsuitable type."""
    if pa.types.is_null(kind):
        return "the column is empty in every row: fill it, or name another format with --format"
    if is_text(kind) and column in TURNS_OF_FORMATS:
        return (
            "if it is JSON in a string, decode it, since each row needs a list, not text: "
            f"jq -c '.{actual} |= fromjson' FILE > FILE.jsonl"
        )
    if column in TURNS_OF_FORMATS and pa.types.is_nested(kind):
        return _suggest_turns(actual, kind)
    if pa.types.is_struct(kind):
        return (
            "if the column holds objects, name the field in them that holds the text, for example "
            f"--column {column}={actual}.text; otherwise convert the column"
        )
    return "convert the column, or name another one with --column or another format with --format"


def _suggest_turns(column: str, kind: pa.DataType) -> str:
    """Return the remedy for conversations that aren't lists of turns."""
    item = kind.value_type if is_list(kind) else pa.null()
    if is_list(item):
        split = f"jq -c '. as $row | .{column}[] | $row + {{{column}: .}}' FILE > FILE.jsonl"
        remedy = f"if each list is a conversation, give it a row of its own: {split}"
        name = f"jq -c '.{column} |= map({{user: .[0], assistant: .[1]}})' FILE > FILE.jsonl"
        pairs = f"; if it is a question with its answer, name them: {name}"
        return remedy + (pairs if is_pairs(kind) else "")
    if pa.types.is_struct(item) and item.get_field_index("kwargs") >= 0:
        turns = "{role: .id[-1]} + .kwargs"
    else:
        turns = ". + {role: .author, content: .text}"
    return (
        "give each turn a role and a content, for example if it has other fields: "
        f"jq -c '.{column} |= map({turns})' FILE > FILE.jsonl"
    )


def _settle_lot_fields(
    schema: pa.Schema, config: CorpusConfig, keys: Sequence[str]
) -> dict[str, LotField]:
    lots = {}
    for name in LOT_FIELDS:
        field: LotField | None = getattr(config, name) or _detect_lot_field(schema, name, keys)
        if field is None:
            continue
        if field.column is not None and not _is_known(schema, field.column, keys):
            raise InputError(
                f"{name} is configured to come from column {field.column!r}, "
                f"but the corpus has {list_names([*schema.names, *keys])}",
                remedy=f"{suggest_name(field.column, [*schema.names, *keys])}name one of these "
                f"columns for {name}, or set a constant",
            )
        lots[name] = field
    return lots


def _detect_lot_field(schema: pa.Schema, name: str, keys: Sequence[str]) -> LotField | None:
    """Return the first usual column for a lot field, or None. Nested columns are skipped."""
    for column in LOT_COLUMNS[name]:
        if _is_known(schema, column, keys) and not pa.types.is_nested(_get_type(schema, column)):
            return LotField(column=column)
    return None


def _is_known(schema: pa.Schema, column: str, keys: Sequence[str]) -> bool:
    return column in keys or find_type(schema, column) is not None


def list_paths(config: CorpusConfig) -> Iterable[str]:
    """Return the configured columns, and the paths inside them that may hold text or messages."""
    lots = (getattr(config, name) for name in LOT_FIELDS)
    inner = (f"{name}.{below}" for name in config.columns.values() for below in INNER_COLUMNS)
    named = (field.column for field in lots if field and field.column)
    return (*config.columns.values(), *inner, *named)
