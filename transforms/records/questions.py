"""Texts of one row: a text's question, the last answer, and all fields with text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from transforms.records.formats import Layout
from transforms.records.json_columns import ColumnKinds, project_rows, select_columns
from transforms.records.segments import Segments, extract_segments


class SpokenText(NamedTuple):
    """A speaker's role and text. Several fields of one turn are joined."""

    role: str
    text: str


def find_question(
    record: Mapping[str, Any], path: str, start: int, layout: Layout
) -> SpokenText | None:
    """Return the last turn of another speaker before a stretch of a field, or None.

    `path` is the field's path, and `start` the stretch's offset.
    """
    segments = extract_record_segments(record, layout)
    own = [index for index, name in enumerate(segments.field_paths) if name == path]
    if not own:
        return None
    # a transcript's turns are in one field
    speaking = max((index for index in own if segments.starts[index] <= start), default=own[0])
    return _find_turn_before(segments, speaking)


def _find_turn_before(segments: Segments, speaking: int) -> SpokenText | None:
    """Return the last turn of another speaker before a segment, or None."""
    roles, before = segments.roles, speaking
    while before and roles[before - 1] == roles[speaking]:
        before -= 1
    first = before
    while first and roles[first - 1] == roles[before - 1]:
        first -= 1
    if first == before:
        return None
    return SpokenText(roles[first], "\n".join(segments.texts[first:before]))


class Exchange(NamedTuple):
    """An answer, and the turn of another speaker before it; None for what a record lacks."""

    question: SpokenText | None
    answer: SpokenText | None


def find_last_exchange(record: Mapping[str, Any], layout: Layout) -> Exchange:
    """Return the record's last assistant turn, or else its last text, with its question."""
    segments = extract_record_segments(record, layout)
    roles = segments.roles
    own = [index for index, role in enumerate(roles) if role == "assistant"] or range(len(roles))
    if not own:
        return Exchange(None, None)
    last = own[-1]
    return Exchange(
        _find_turn_before(segments, last), SpokenText(roles[last], segments.texts[last])
    )


class SpokenField(NamedTuple):
    """A field with text, and the roles of those who speak in it."""

    path: str
    roles: tuple[str, ...]


def list_fields(record: Mapping[str, Any], layout: Layout) -> list[SpokenField]:
    """Return the record's fields with text, in the order of turns."""
    segments = extract_record_segments(record, layout)
    roles: dict[str, dict[str, None]] = {}
    for path, role in zip(segments.field_paths, segments.roles, strict=True):
        roles.setdefault(path, {})[role] = None
    return [SpokenField(path, tuple(own)) for path, own in roles.items()]


def extract_record_segments(record: Mapping[str, Any], layout: Layout) -> Segments:
    """Return the segments of one JSON record of a corpus."""
    columns = tuple(layout.columns.values())
    kinds = ColumnKinds(paths=columns)
    kinds.observe(record)
    schema = kinds.settle_schema()
    known = [name for name in columns if name in schema.names]
    table, _ = project_rows([record], select_columns(schema, known, ()))
    fitting = {name: own for name, own in layout.columns.items() if own in known}
    return extract_segments(table, layout._replace(columns=fitting))
